"""Devices and the arithmetic on them."""

import os
import resource
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from benchmark.configuration import RunConfig
from methods.errors import InputError

Precision = Literal["fp32", "tf32", "bf16"]

OUT_OF_MEMORY = (
    "CUDA error: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
)
"""What errors of CUDA, its libraries and the host's allocator say that are no ``torch.OutOfMemoryError``."""


def choose_device(name: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` means on this machine.

    Raises:
        InputError: If it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"no device {name!r} here: {reason} (valid: auto, cpu, cuda, cuda:N)") from None
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, in torch's allocator or in a CUDA library outside it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and any(words in said for words in OUT_OF_MEMORY)


def reset_peak_memory(device: torch.device) -> None:
    """Begin to look for the most memory anew: the peak of one run is not that of an earlier one in its process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        # 5: of the resident set, proc(5)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: torch.device) -> float:
    """Return the most memory in MiB since :func:`reset_peak_memory`: of a CUDA device's tensors, or of this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**10
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@dataclass(frozen=True)
class PrecisionConfig:
    """How numbers are computed on a device."""

    device: torch.device
    precision: Precision  # fp32, tf32 (CUDA's matrix products on 10-bit mantissas) or bf16 (autocast)
    deterministic: bool  # whether only kernels are used that give the same bits every time

    @classmethod
    def of(cls, device: torch.device, precision: Precision | None, deterministic: bool | None) -> "PrecisionConfig":
        """Fill in a device's defaults: the CPU computes in fp32 and repeatably, CUDA in tf32 and freely.

        Raises:
            InputError: For tf32 on a device that has no such arithmetic.
        """
        cuda = device.type == "cuda"
        if precision == "tf32" and not cuda:
            raise InputError("train.precision tf32 exists on CUDA devices alone (valid here: fp32, bf16)")
        return cls(
            device, precision or ("tf32" if cuda else "fp32"), (not cuda) if deterministic is None else deterministic
        )

    def apply(self, threads: int) -> None:
        """Set this process up; every run sets all of it, so that none inherits another's."""
        torch.set_num_threads(threads)
        reduced = self.precision != "fp32"
        torch.backends.cuda.matmul.allow_tf32 = reduced
        torch.backends.cudnn.allow_tf32 = reduced
        torch.backends.cudnn.benchmark = not self.deterministic
        if self.device.type == "cuda":
            # cuBLAS reads it when it is first used; without it deterministic products raise
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(self.deterministic)
            # nothing here reads memory that it has not written
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of forward passes."""
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def check_settings(runs: Iterable[RunConfig], device: torch.device) -> None:
    """Refuse what the device has not.

    Raises:
        InputError: For tf32 or a recorded step on a device that is not CUDA's.
    """
    for run in runs:
        PrecisionConfig.of(device, run.train.precision, run.train.deterministic)
        if run.train.graph is True and device.type != "cuda":
            raise InputError(f"train.graph needs a CUDA device (here: {device.type})")


def setting_remarks(runs: Iterable[RunConfig], device: torch.device) -> list[str]:
    """Return one line for each setting that costs more than it brings on the device."""
    compiled = {run.train.precision == "bf16" for run in runs if run.train.compile}
    if device.type != "cpu" or not compiled:
        return []
    plain = "train.compile brings nothing on a CPU: 0.86 of the matrix rate was measured with it, 0.90 without"
    slow = "train.compile with train.precision=bf16 was measured 12 times slower on a CPU than without: leave it out"
    return [slow if reduced else plain for reduced in sorted(compiled)]
