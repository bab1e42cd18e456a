"""What a run was made with: versions, device, commit, and which runs can be the same bit for bit."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from methods.plugins import OWN_PACKAGES

PACKAGES = ("okdbench", "torch", "torchvision", "numpy")
# variables that choose the processor's instructions, and with them the last bits of every sum
CPU_DISPATCH = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA")

# where the source files are that decide what a run computes from one epoch to the next
TRAINING = ("methods", "benchmark/training", "benchmark/datasets")
# what runs of one environment group have in common: only they give the same bits
GROUP = ("hardware", "torch", "cuda", *CPU_DISPATCH)


def group(environment: Mapping[str, str] | None) -> str:
    """Return the environment group of a run, as ``AMD EPYC, torch 2.15.0``; empty if nothing is known of it."""
    known = [(key, (environment or {}).get(key, "")) for key in GROUP]
    return ", ".join(value if key == "hardware" else f"{key} {value}" for key, value in known if value)


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide numbers, and what tells this code from other code.

    That is the git commit, a hash of the source files, and the variables of :data:`CPU_DISPATCH` that are set.
    """
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found |= {"commit": "", "source": source_hash()}
    here = Path(__file__).parents[2]
    if (here / ".git").exists():
        # with a + if the working tree was changed
        command = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
            found["commit"] = done.stdout.strip()
    return found | {name: os.environ[name] for name in CPU_DISPATCH if os.environ.get(name)}


@cache
def source_hash(parts: Sequence[str] = OWN_PACKAGES) -> str:
    """Return the hash of this project's source files: equal where the same code runs.

    Args:
        parts: Packages, or folders of them; both packages if not given.
    """
    digest = sha256()
    for part in parts:
        package, _, below = part.partition("/")
        folder = Path(str(import_module(package).__file__)).parent / below
        for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
            digest.update(f"{part}/{path.relative_to(folder).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def device_name(device: str) -> str:
    """Return the hardware behind a torch device such as ``cuda:0``, as its maker names it."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    models = (line.partition(":")[2].strip() for line in _cpuinfo().splitlines() if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _cpuinfo() -> str:
    with suppress(OSError):
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return ""


def multiplies_bfloat16(cpuinfo: str | None = None) -> bool:
    """Return whether a processor has instructions for matrix products of bfloat16 numbers: AVX-512's, AMX's or Arm's.

    It is the processor of the ``/proc/cpuinfo`` that is given, or of this machine.
    """
    text = _cpuinfo() if cpuinfo is None else cpuinfo
    lines = (line for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    return not {word for line in lines for word in line.split()}.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})
