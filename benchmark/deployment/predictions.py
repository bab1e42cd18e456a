"""Predictions of a stored run on the images that it was scored on, as a file for other programs."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark import datasets
from benchmark.store import PREDICTIONS, Predictions, StoredRun, put, read_predictions, students_files
from methods.errors import InputError

ENDING = ".npz"


def of_run(run: StoredRun, data_root: Path, plugins: Sequence[str] = ()) -> Predictions:
    """Return the predictions that a run kept, or what its saved students say of its images now.

    Args:
        run: Finished, with predictions or students.
        data_root: Where datasets are stored; only students need the run's own.

    Raises:
        InputError: If it kept neither, a file is damaged, or the run's images are not there.
    """
    if (run.folder / PREDICTIONS).is_file() or not students_files(run.folder):
        return read_predictions(run.folder)
    import torch

    from benchmark.training import predictions_of_students

    config = run.config
    if not datasets.present(config.dataset, data_root, plugins):
        raise InputError(f"{run.name} kept its students but no predictions, and {config.dataset} is not in {data_root}")
    if datasets.checksum(config.dataset, config.data, data_root, plugins) != config.dataset_checksum:
        raise InputError(f"the images of {config.dataset} are not here those that {run.name} was made with")
    dataset = datasets.load(config.dataset, config.data, data_root, plugins)
    return predictions_of_students(run.folder, config, dataset, torch.device("cpu"), plugins)


def write(found: Predictions, path: Path) -> list[str]:
    """Write predictions as arrays of numpy, and return what was written in words.

    The arrays are ``predictors`` and ``classes``, the names; ``logits`` ``[P, N, C]``, float32; ``predicted``
    ``[P, N]``, the likeliest classes; ``labels`` and ``images`` ``[N]``, as in
    :class:`benchmark.store.Predictions`.

    Raises:
        InputError: If it cannot be written.
    """
    names = list(found.logits)
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        predictors=np.array(names),
        classes=np.array(found.classes),
        logits=np.stack([found.logits[name] for name in names]),
        predicted=np.stack([found.predicted(name) for name in names]),
        labels=found.labels,
        images=found.images,
    )
    put(path, stream.getbuffer())
    shape = f"{len(names)} predictors, {len(found.labels)} {found.split} images, {len(found.classes)} classes"
    lines = [f"{path}: {shape} ({', '.join(names)})"]
    return lines if found.complete else [*lines, "from the saved students: no ensembles, no teachers"]
