"""What ``bench doctor --deep`` has measured of a machine, which runs on it are trained by.

A record is of a device, its driver and the version of torch, and is stored in the user's cache folder. Recorded steps
are chosen by it because it shows that they change no number; whatever changes numbers is advised alone.
"""

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.configuration import RunConfig, TrainConfig
from benchmark.store import environment, put
from benchmark.training.devices import Precision, PrecisionConfig

WORTH_ADVISING = 1.1
"""A gain below this is no advice."""

DOCTOR_MINUTES = 9
"""That ``bench doctor --deep`` takes unless another time is given."""

MODELLED_GAIN = "1.3 to 3 times as fast"
"""Recorded steps of the published networks against standard ones: modelled from counted launches, not measured."""


class Machine(BaseModel):
    """What a record holds for: another driver or another torch may choose other kernels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    driver: str
    torch_version: str

    @classmethod
    def of(cls, device: torch.device) -> "Machine":
        """Return what a device of this machine runs with; a CPU has no driver."""
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
    # by arithmetic and optimiser, such as tf32 sgd: for each method whether recorded steps gave the bits of
    # standard ones
    recorded: dict[str, dict[str, bool]] = {}
    # how many runs on one device at the same time train most images a second in all
    runs_per_device: int = Field(1, ge=1)
    # images a second with graph, bf16 or compile relative to those without; parallel: those of
    # runs_per_device runs relative to those of one
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
    """Return one line for each thing that a plan leaves unused on a GPU, or that is not known of it.

    Args:
        runs_per_device: How many of the runs share it.
    """
    runs = list(runs)
    if device.type != "cuda":
        return []
    record = read_machine_record(device)
    if record is None:
        if all(run.train.graph != "auto" for run in runs):
            return []
        return [
            f"bench doctor --deep ({DOCTOR_MINUTES} minutes, once for this GPU) measures whether recorded training "
            f"steps change no number here; they are then chosen, and likely to be {MODELLED_GAIN} (modelled)"
        ]
    lines = []
    for name, wanted in _unused(runs).items():
        if wanted and (gain := record.gains.get(name, 0.0)) >= WORTH_ADVISING:
            setting = "train.precision=bf16" if name == "bf16" else "train.compile=true"
            lines.append(
                f"--set {setting} is {gain:.1f} times as fast here ({record.workload}); it changes numbers: for all "
                "runs that are compared, or for none"
            )
    best = min(record.runs_per_device, len(runs))
    if best > runs_per_device and record.gains.get("parallel", 0.0) >= WORTH_ADVISING:
        gain = record.gains["parallel"]
        lines.append(
            f"--trials-per-gpu {best}: {record.runs_per_device} runs on one GPU train {gain:.1f} times as many images "
            f"as one ({record.workload})"
        )
    return lines


def _unused(runs: Iterable[RunConfig]) -> Mapping[str, bool]:
    """Return what changes numbers, and whether some run is without it."""
    trains = [run.train for run in runs]
    return {
        "bf16": any(train.precision != "bf16" for train in trains),
        "compile": any(not train.compile for train in trains),
    }


def _driver_version() -> str:
    """Return the version of NVIDIA's driver; empty where the system does not say it."""
    with suppress(OSError):
        first = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").partition("\n")[0]
        if found := re.search(r"\s(\d+\.\d[\d.]*)\s", first):
            return found[1]
    return ""
