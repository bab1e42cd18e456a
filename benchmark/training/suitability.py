"""Whether settings suit the device that runs are to be trained on, before any of them begins."""

from collections.abc import Iterable

import torch

from benchmark.configuration import RunConfig, TrainConfig
from benchmark.training.devices import Arithmetic
from methods.errors import InputError


def check_settings(runs: Iterable[RunConfig], device: torch.device) -> None:
    """Refuse what the device has not.

    Raises:
        InputError: For tf32 or a recorded step on a device that is not CUDA's.
    """
    for run in runs:
        check_train_settings(run.train, device)


def check_train_settings(train: TrainConfig, device: torch.device) -> None:
    """Refuse one run's settings as :func:`check_settings` does."""
    Arithmetic.of(device, train.precision, train.deterministic)
    if train.graph is True and device.type != "cuda":
        raise InputError(f"train.graph needs a CUDA device (here: {device.type})")


def setting_remarks(runs: Iterable[RunConfig], device: torch.device) -> list[str]:
    """Return one line for each setting that costs more than it brings on the device."""
    compiled = {run.train.precision == "bf16" for run in runs if run.train.compile}
    if device.type != "cpu" or not compiled:
        return []
    plain = "train.compile brings nothing on a CPU: 0.86 of the matrix rate was measured with it, 0.90 without"
    slow = "train.compile with train.precision=bf16 was measured 12 times slower on a CPU than without: leave it out"
    return [slow if reduced else plain for reduced in sorted(compiled)]
