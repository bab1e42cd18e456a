"""Clauses that train with the trainer itself: what keeps them trains, resumes and computes in other precisions."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmark.checking.cases import BATCH_SIZE, Case
from benchmark.checking.comparing import ContractError, difference
from benchmark.configuration import DataConfig, RunConfig, TrainConfig
from benchmark.datasets import Shape, random_dataset
from benchmark.training import Trainer, checkpoints
from methods.plugins import plugin_file_of

STEPS = 2
"""Of an epoch; the images are few, so that every epoch sees all of them."""


def computes_in_bfloat16(case: Case) -> None:
    """An epoch under autocast, where a step's outputs are of less precision, leaves finite numbers under every name."""
    _epochs(_trainer(case, epochs=1, precision="bf16"))


def goes_on_from_a_checkpoint(case: Case) -> None:
    """A run that is interrupted between its epochs and gone on with from the file gives the same numbers."""
    whole = _trainer(case, epochs=2)
    rows = _epochs(whole)
    interrupted = _trainer(case, epochs=2)
    again = [interrupted.epoch()]
    with TemporaryDirectory(prefix="bench-check-") as folder:
        checkpoints.save(Path(folder), {"trainer": interrupted.state()})
        try:
            stored = checkpoints.load(Path(folder))
        except Exception as error:
            raise ContractError(f"its state is not plain data and tensors: {str(error).splitlines()[0]}") from None
    resumed = _trainer(case, epochs=2)
    resumed.load_state(stored["trainer"] if stored else {})
    again.append(resumed.epoch())
    for ours, theirs in zip(rows, again, strict=True):
        if name := difference(*({**row, "seconds": 0.0} for row in (ours, theirs))):
            when = "a second time" if ours["epoch"] == 0 else "from a checkpoint"
            raise ContractError(f"epoch {ours['epoch']:g} gives another {name} {when}")
    if name := difference(whole.state(), resumed.state()):
        raise ContractError(f"the {name} of the run is another one after going on from a checkpoint")


def _epochs(trainer: Trainer) -> list[dict[str, float]]:
    rows = []
    while not trainer.done:
        rows.append(trainer.epoch())
        for name, value in rows[-1].items():
            if not math.isfinite(value):
                raise ContractError(f"{name} is {value} in epoch {len(rows) - 1} of a run")
    return rows


def _trainer(case: Case, epochs: int, **train: Any) -> Trainer:
    config = RunConfig(
        method=case.method.name,
        dataset="random",
        backbone=case.backbone,
        seed=0,
        train=TrainConfig(epochs=epochs, batch_size=BATCH_SIZE, lr=0.02, **train),
        data=DataConfig(pad=1),
        hyperparameters=case.resolve().model_dump(mode="json"),
        method_version=case.method.version,
        dataset_checksum="",
    )
    shape = Shape(STEPS * BATCH_SIZE, 2 * BATCH_SIZE, case.num_classes, case.in_channels, case.image_size)
    return Trainer(config, random_dataset(shape), torch.device("cpu"), plugin_file_of(case.method.__module__))
