"""What a machine has, what is missing, and what to do about it: nothing is started, written or downloaded."""

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from benchmark import datasets
from benchmark.configuration import PLACE
from benchmark.scheduling import usable_cpus
from benchmark.store import environment
from methods.errors import message_of

NEEDED = ("torch", "numpy", "pandas", "pydantic")
PACKAGES = {
    "ray": "runs at the same time: pip install 'ray[tune]', or bench run --engine serial",
    "torchvision": "torchvision:NAME, cifar10 and cifar100: pip install torchvision",
    "scipy": "intervals, p values and bench sweep: pip install scipy",
    "scikit-learn": "the dataset digits and bench sweep: pip install scikit-learn",
    "matplotlib": "figures: pip install matplotlib",
    "rich": "colours and live displays: pip install rich",
    "onnx": "bench export --to FILE.onnx: pip install 'okdbench[onnx]'",
    "onnxruntime": "bench export --to FILE.onnx: pip install 'okdbench[onnx]'",
    "onnxscript": "bench export --to FILE.onnx: pip install 'okdbench[onnx]'",
    "datasets": "bench run --dataset hf:PATH: pip install 'okdbench[hf]'",
    "tensorboard": "bench run --log tensorboard: pip install 'okdbench[tensorboard]'",
    "wandb": "bench run --log wandb: pip install 'okdbench[wandb]'",
    "mlflow": "bench run --log mlflow: pip install 'okdbench[mlflow]'",
}
"""What is needed for a part of the commands, and how to get it."""

LOW_DISK_GIB = 5.0
LOW_SHARED_GIB = 1.0


class Finding(NamedTuple):
    """What was found of one subject, and what to do about it; nothing has to be done where all is well."""

    subject: str
    found: str
    remedy: str = ""
    problem: bool = False  # whether something does not work without the remedy

    def lines(self) -> list[str]:
        """Return what a person reads."""
        grade = "problem" if self.problem else "note" if self.remedy else "ok"
        return [f"{grade:<8} {self.subject:<13} {self.found}", *([f"{'':<22} -> {self.remedy}"] if self.remedy else [])]


def findings(results: Path, data_root: Path) -> Iterator[Finding]:
    """Yield what the machine has, the quickest to find out first."""
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    own = environment.versions()
    yield Finding("okdbench", own["okdbench"] + (f" (commit {own['commit']})" if own["commit"] else ""))
    for package in (*NEEDED, *PACKAGES):
        try:
            yield Finding(package, version(package))
        except PackageNotFoundError:
            remedy = f"for {PACKAGES[package]}" if package in PACKAGES else "pip install okdbench installs it"
            yield Finding(package, "not installed", remedy, package in NEEDED)
    yield Finding("processor", f"{environment.device_name('cpu')}, {usable_cpus()} cores for this process")
    if environment.multiplies_bfloat16():
        found = "the processor multiplies bfloat16: ResNets were measured to train 1.3 to 1.8 times as fast"
        yield Finding("bfloat16", found, "--set train.precision=bf16, for all runs that are compared")
    for name, folder in (("results folder", results), ("data folder", data_root)):
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(existing).free / 2**30
        if os.access(existing, os.W_OK):
            remedy = "make room before a long run" if free < LOW_DISK_GIB else ""
            yield Finding(name, f"{folder}: {free:.1f} GiB free", remedy)
        else:
            yield Finding(name, f"{existing} cannot be written to", "name another folder", problem=True)
    shared = Path("/dev/shm")  # noqa: S108 - nothing is written to it
    if shared.is_dir() and (free := shutil.disk_usage(shared).free / 2**30) < LOW_SHARED_GIB:
        found = f"{shared}: {free:.1f} GiB free, which Ray keeps datasets in"
        yield Finding("shared memory", found, "docker run --shm-size=4g, or bench run --engine serial")
    for name in (name for name in datasets.available() if PLACE not in name):
        remedy = f"bench run --dataset {name} --data-root {data_root} downloads it, where there is a network"
        if name == "digits":
            remedy = "it comes with scikit-learn: pip install scikit-learn"
        there = datasets.present(name, data_root)
        yield Finding(name, "there") if there else Finding(name, f"not in {data_root}", remedy)
    if address := os.environ.get("RAY_ADDRESS"):
        remedy = f"to join it: bench run --address {address}"
        yield Finding("ray", f"RAY_ADDRESS is {address}: it is not read", remedy)
    yield from _devices()


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        found = f"cannot be imported: {message_of(error)}"
        yield Finding("torch", found, "reinstall torch (see pytorch.org)", problem=True)
        return
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info(index))
        name = f"{torch.cuda.get_device_name(index)}: {free:.1f} of {total:.1f} GiB free, CUDA {torch.version.cuda}"
        remedy = "another process uses it: bench run --device cuda:N takes another one" if free < total / 2 else ""
        yield Finding(f"cuda:{index}", name, remedy)
    if torch.cuda.is_available():
        return
    if Path("/proc/driver/nvidia").exists():
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
        remedy = "install the torch that fits the driver (nvidia-smi names its CUDA version)"
        yield Finding("gpu", f"there is a driver, but torch finds no device; {built}", remedy, problem=True)
    else:
        yield Finding("gpu", "none", "runs take the CPU: digits is quick there, CIFAR takes days")
