"""Devices, the arithmetic on them, and what ``bench doctor --deep`` has measured of them, which runs are trained by.

A machine's record is of a device, its driver and the version of torch, and is stored in the user's cache folder.
Recorded steps are chosen by it because it shows that they change no number; whatever changes numbers is advised alone.
"""

import os
import re
import resource
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.configuration import RunConfig, TrainConfig
from benchmark.store import environment, put
from methods.errors import InputError, message_of

Precision = Literal["fp32", "tf32", "bf16"]

OUT_OF_MEMORY = "CUDA error: out of memory", "_STATUS_ALLOC_FAILED", "DefaultCPUAllocator: can't allocate memory"
"""What errors of CUDA, its libraries and the host's allocator say that are no ``torch.OutOfMemoryError``."""


def choose_device(name: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` means, or raise an InputError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"no device {name!r} here: {message_of(error)} (valid: auto, cpu, cuda, cuda:N)") from None
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, in torch's allocator or in a CUDA library outside it."""
    named = isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
    return named or isinstance(error, torch.OutOfMemoryError | MemoryError)


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
    def of(cls, device: torch.device, train: TrainConfig) -> "PrecisionConfig":
        """Fill in a device's defaults: on the CPU fp32, repeatably; on CUDA tf32, freely.

        Raises an InputError for tf32 or a recorded step on a device that is not CUDA's.
        """
        cuda = device.type == "cuda"
        if train.precision == "tf32" and not cuda:
            raise InputError("train.precision tf32 exists on CUDA devices alone (valid here: fp32, bf16)")
        if train.graph is True and not cuda:
            raise InputError(f"train.graph needs a CUDA device (here: {device.type})")
        precision = train.precision or ("tf32" if cuda else "fp32")
        return cls(device, precision, not cuda if train.deterministic is None else train.deterministic)

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
    """Raise an InputError for a setting of some run that the device has not."""
    for run in runs:
        PrecisionConfig.of(device, run.train)


# ---- what was measured of a machine ----

WORTH_ADVISING = 1.1
"""A gain below this is no advice."""

DOCTOR_MINUTES = 9
"""That ``bench doctor --deep`` takes unless another time is given."""


class Machine(BaseModel):
    """What a record holds for: another driver or another torch may choose other kernels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    driver: str
    torch_version: str

    @classmethod
    def of(cls, device: torch.device) -> "Machine":
        """Return what a device of this machine runs with; a CPU, and a system that does not say it, has no driver."""
        driver = _driver_version() if device.type == "cuda" else ""
        return cls(device=environment.device_name(str(device)), driver=driver, torch_version=version("torch"))

    @property
    def file(self) -> Path:
        """Where its record is stored."""
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        name = re.sub(r"[^A-Za-z0-9]+", "-", self.device).strip("-").lower()
        digest = sha256(self.model_dump_json().encode()).hexdigest()[:8]
        return Path(cache) / "okdbench" / "machines" / f"{name}-{digest}.json"


class MachineRecord(BaseModel):
    """What was measured of a machine."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    machine: Machine
    workload: str  # the method and network of which gains were measured
    # by arithmetic and optimiser, such as tf32 sgd: whether a method's recorded steps gave the bits of standard ones
    recorded: dict[str, dict[str, bool]] = {}
    # how many runs on one device at the same time train most images a second in all
    runs_per_device: int = Field(1, ge=1)
    # images a second with graph, bf16 or compile relative to those without; parallel: of runs_per_device runs to one
    gains: dict[str, float] = {}

    def write(self) -> None:
        """Store the record in place of an older one."""
        put(self.machine.file, self.model_dump_json(indent=1) + "\n")

    def allows_recording(self, method: str, precision: Precision, optimizer: str) -> bool:
        """Return whether recorded steps are known to change no number.

        They are where they gave a method the same bits; a method that was not tried has to have them where every
        method that was tried had.
        """
        tried = self.recorded.get(recording_key(precision, optimizer), {})
        return tried.get(method, bool(tried) and all(tried.values()))


def recording_key(precision: str, optimizer: str) -> str:
    """Return under what a record says which methods' recorded steps are exact."""
    return f"{precision} {optimizer}"


def read_machine_record(device: torch.device) -> MachineRecord | None:
    """Return the record of this machine; None if there is none, or none that can be read."""
    with suppress(OSError, ValidationError):
        machine = Machine.of(device)
        record = MachineRecord.model_validate_json(machine.file.read_text(encoding="utf-8"))
        return record if record.machine == machine else None
    return None


def records_steps(train: TrainConfig, method: str, arithmetic: PrecisionConfig) -> bool:
    """Return whether a run's steps are to be recorded, if its method allows it."""
    if train.graph != "auto":
        return train.graph
    if arithmetic.device.type != "cuda" or train.compile:
        return False
    record = read_machine_record(arithmetic.device)
    return record is not None and record.allows_recording(method, arithmetic.precision, train.optimizer)


def machine_remarks(runs: Iterable[RunConfig], device: torch.device, runs_per_device: int = 1) -> list[str]:
    """Return one line for each thing that a plan leaves unused on a GPU, or that is not known of it."""
    runs = list(runs)
    if device.type != "cuda":
        return []
    record = read_machine_record(device)
    if record is None:
        # 1.3 to 3: modelled from counted launches of the published networks, not measured
        advice = (
            f"bench doctor --deep ({DOCTOR_MINUTES} minutes, once for this GPU) measures whether recorded training "
            "steps change no number here; they are then chosen, and likely to be 1.3 to 3 times as fast (modelled)"
        )
        return [advice] if any(run.train.graph == "auto" for run in runs) else []
    lines = []
    # what changes numbers, where some run is without it
    for name, setting, used in (
        ("bf16", "train.precision=bf16", all(run.train.precision == "bf16" for run in runs)),
        ("compile", "train.compile=true", all(run.train.compile for run in runs)),
    ):
        if not used and (gain := record.gains.get(name, 0.0)) >= WORTH_ADVISING:
            lines.append(
                f"--set {setting} is {gain:.1f} times as fast here ({record.workload}); it changes numbers: for all "
                "runs that are compared, or for none"
            )
    best, gain = min(record.runs_per_device, len(runs)), record.gains.get("parallel", 0.0)
    if best > runs_per_device and gain >= WORTH_ADVISING:
        lines.append(
            f"--trials-per-gpu {best}: {record.runs_per_device} runs on one GPU train {gain:.1f} times as many images "
            f"as one ({record.workload})"
        )
    return lines


def _driver_version() -> str:
    with suppress(OSError):
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
        if found := re.search(r"\s(\d+\.\d[\d.]*)\s", text.partition("\n")[0]):
            return found[1]
    return ""
