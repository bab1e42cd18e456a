"""Predictions of a run: from its trainer, or later from the students that it saved."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.configuration import RunConfig
from benchmark.datasets import Dataset, image_digests, on_device
from benchmark.store import Predictions, students_files
from benchmark.training.augmentation import Normalisation
from benchmark.training.devices import Arithmetic
from benchmark.training.evaluation import Floats, predicted
from benchmark.training.students import read_student
from methods.errors import InputError


def predictions_of(
    config: RunConfig, dataset: Dataset, logits: Mapping[str, Floats], students: Sequence[str], complete: bool = True
) -> Predictions:
    """Return logits on the scored images with all that is needed to read them.

    Args:
        config: The run.
        dataset: Its data.
        logits: ``[N, C]`` by predictor.
        students: Which of the predictors may be deployed.
        complete: Whether these are all predictors.

    Raises:
        InputError: If some logits are not finite.
    """
    if broken := [name for name, values in logits.items() if not np.isfinite(values).all()]:
        raise InputError(f"{config.label}: the outputs of {', '.join(broken)} are not finite")
    return Predictions(
        run=config.identity,
        logits=logits,
        labels=dataset.test.labels,
        images=image_digests(dataset.test),
        classes=tuple(dataset.classes),
        students=tuple(students),
        split=config.split,
        complete=complete,
    )


def predictions_of_students(
    folder: Path, config: RunConfig, dataset: Dataset, device: torch.device, plugins: Sequence[str | Path] = ()
) -> Predictions:
    """Return what the students that a run saved say of the scored images, computed as in the run.

    Ensembles and teachers are not among them: a run saves its students alone.

    Args:
        folder: The run's.
        config: The run.
        dataset: Its data.
        device: Where to compute; the run's own precision if it was bf16, else that of the device.
        plugins: Python files that define further backbones.

    Raises:
        InputError: If it saved none, or a file is damaged.
    """
    files = students_files(folder)
    if not files:
        raise InputError(f"{folder.name} saved neither predictions nor students: --save-predictions --force repeats it")
    train = config.train
    arithmetic = Arithmetic.of(device, "bf16" if train.precision == "bf16" else None, train.deterministic)
    arithmetic.apply(train.threads)
    layout = torch.channels_last if train.channels_last else torch.contiguous_format
    networks = {path.stem: read_student(path, plugins).network.to(device).to(memory_format=layout) for path in files}

    def predict(images: Tensor) -> dict[str, Tensor]:
        return {name: network(images) for name, network in networks.items()}

    images, _ = on_device(dataset.test, device)
    with arithmetic.autocast():
        logits = predicted(predict, images, Normalisation.of(dataset.mean, dataset.std, device), layout)
    return predictions_of(config, dataset, logits, tuple(logits), complete=False)
