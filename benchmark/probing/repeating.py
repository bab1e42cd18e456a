"""Whether runs give the same bits again, and when they were interrupted."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves_with_path

from benchmark.datasets import Dataset, random_dataset
from benchmark.probing.records import Mode, Precision, Repeat
from benchmark.probing.subject import Subject
from benchmark.training import Trainer, checkpoints

EPOCHS, BATCH, BATCHES = 2, 8, 5
"""Five steps an epoch: where a step is recorded, the fourth is the first that is replayed."""


def repeats(subject: Subject, method: str, precision: Precision, mode: Mode) -> Iterator[Repeat]:
    """Train the same small run twice, and once from a checkpoint half-way."""

    def made() -> Trainer:
        run = subject.run(method, "resnet8", precision, mode, epochs=EPOCHS, batch_size=BATCH, deterministic=True)
        return Trainer(run, data, subject.device)

    data = _data(subject)
    whole = _ended(made())
    yield Repeat(
        what="again", method=method, precision=precision, mode=mode, differs=_difference(whole, _ended(made()))
    )
    interrupted = made()
    first = interrupted.epoch()
    with TemporaryDirectory(prefix="bench-doctor-") as folder:
        checkpoints.save(Path(folder), {"trainer": interrupted.state()})
        stored = checkpoints.load(Path(folder)) or {}
    resumed = made()
    resumed.load_state(stored["trainer"])
    differs = _difference(whole, _ended(resumed, [first]))
    yield Repeat(what="resumed", method=method, precision=precision, mode=mode, differs=differs)


def _data(subject: Subject) -> Dataset:
    shape = subject.at(8, 4)
    return random_dataset(type(shape)(BATCH * BATCHES, BATCH, 4, 3, 8))


def _ended(trainer: Trainer, rows: list[dict[str, float]] | None = None) -> dict[str, Any]:
    found = list(rows or [])
    while not trainer.done:
        found.append(trainer.epoch())
    return {"metrics": [{**row, "seconds": 0.0} for row in found], "state": trainer.method.state_dict()}


def _difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """Return where two ends differ first, or None."""
    for (path, mine), (_, other) in zip(tree_leaves_with_path(ours), tree_leaves_with_path(theirs), strict=True):
        same = torch.equal(mine, other) if isinstance(mine, Tensor) else mine == other
        if not same:
            return ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)
    return None
