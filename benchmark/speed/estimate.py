"""How long a plan takes and how much it stores, from a few timed steps of each distinct kind of run."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch

from benchmark.configuration import RunConfig
from benchmark.datasets import Shape
from benchmark.speed.measure import count_flops, preparation, timed_alone, trainer_for, training_step
from benchmark.store import LogitsType, atomic, environment
from benchmark.training import choose_device, draw_method, on_meta, without_numbers
from methods import Progress
from methods.errors import InputError

BUDGET_S = 20.0
"""For timing a plan's kinds of runs, the quickest first; what is left over is scaled by its operations."""

TIMED_STEPS = 3
PACES = "pace.json"
BYTES_PER_EPOCH = 1500


class Pace(NamedTuple):
    """What an image takes in training and in evaluation: seconds, or operations."""

    train: float
    evaluation: float

    def times(self, factor: float) -> "Pace":
        """Return both, multiplied."""
        return Pace(self.train * factor, self.evaluation * factor)

    def seconds(self, run: RunConfig, shape: Shape, epochs: int) -> float:
        """Return what so many epochs of a run take, with their evaluations."""
        evaluations = -(-epochs // run.train.eval_every)
        return self.train * epochs * shape.train + self.evaluation * evaluations * shape.test


@dataclass(frozen=True)
class Estimate:
    """What a plan takes.

    Attributes:
        seconds: Of every run, in the plan's order.
        mebibytes: That the runs leave on the disk.
        kinds: How many distinct kinds of runs there are.
        scaled: How many of them were scaled by their operations instead of timed.
    """

    seconds: Sequence[float]
    mebibytes: float
    kinds: int
    scaled: int


def estimate(
    runs: Sequence[RunConfig],
    shapes: Mapping[str, Shape],
    folder: Path,
    device_name: str = "auto",
    plugins: Sequence[str] = (),
    save_students: bool = False,
    predictions: LogitsType | None = None,
) -> Estimate:
    """Estimate a plan; the measured paces are kept in ``<folder>/pace.json`` and not measured again.

    Args:
        runs: The plan.
        shapes: Of the data sets by name.
        folder: The results folder.
        device_name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        plugins: Python files that define further methods.
        save_students: Whether weights are kept.
        predictions: What logits on the scored images are kept as; None if they are not.
    """
    device = choose_device(device_name)
    kinds = {kind_of(run, shapes[run.dataset], device): run for run in runs}
    known = read_paces(folder)
    missing = {kind: run for kind, run in kinds.items() if kind not in known}
    operations = {kind: operations_per_image(run, shapes[run.dataset], plugins) for kind, run in missing.items()}
    begin = time.perf_counter()
    measured: dict[str, Pace] = {}
    for kind in sorted(missing, key=lambda kind: operations[kind].train):
        if measured and time.perf_counter() - begin > BUDGET_S:
            break
        run = missing[kind]
        measured[kind] = _measure(run, shapes[run.dataset], device_name, plugins)
    if measured:
        known |= measured
        folder.mkdir(parents=True, exist_ok=True)
        kept = {kind: pace._asdict() for kind, pace in known.items()}
        atomic.write_text(folder / PACES, json.dumps(kept, indent=2) + "\n")
    per_operation = median(measured[kind].train / operations[kind].train for kind in measured) if measured else 0.0
    pace = {kind: known.get(kind) or operations[kind].times(per_operation) for kind in kinds}
    seconds = [
        pace[kind_of(run, shapes[run.dataset], device)].seconds(run, shapes[run.dataset], run.train.epochs)
        for run in runs
    ]
    weights = sum(_weights(run, shapes[run.dataset], plugins) for run in runs) if save_students else 0
    stored = sum(run.train.epochs for run in runs) * BYTES_PER_EPOCH + 4 * weights
    if predictions is not None:
        each = np.dtype(predictions).itemsize
        stored += sum(_logits(run, shapes[run.dataset], plugins) for run in runs) * each
    return Estimate(seconds, stored / 2**20, len(kinds), len(set(kinds) - set(known)))


def side_by_side(seconds: Iterable[float], places: int) -> float:
    """Return how long runs take when each of so many places takes the next run as soon as it is free."""
    free = [0.0] * places
    for run in seconds:
        earliest = min(range(places), key=free.__getitem__)
        free[earliest] += run
    return max(free)


def operations_per_image(run: RunConfig, shape: Shape, plugins: Sequence[str] = ()) -> Pace:
    """Return the floating-point operations an image, counted without computing anything where the method lets one.

    Raises:
        InputError: If the method takes no training step, with its reason.
    """
    batch = 4

    def counted() -> Pace:
        method = draw_method(run, shape, plugins)
        views = torch.zeros(method.views, batch, shape.in_channels, shape.image_size, shape.image_size)
        labels = torch.zeros(batch, dtype=torch.int64)

        def step() -> None:
            terms = method.losses(method(views), labels, Progress(0, 0, run.train.epochs))
            torch.autograd.backward(torch.stack(list(terms.values())).sum())

        train = count_flops(step)
        method.eval()
        with torch.no_grad():
            return Pace(train, count_flops(lambda: method.predict(views[0])))

    try:
        return without_numbers(counted).times(1 / batch)
    except Exception as error:
        # a plug-in may raise anything; a plan is answered in one line
        reason = str(error).splitlines()[0] if str(error) else "no message"
        raise InputError(f"{run.method} takes no training step: {type(error).__name__}: {reason}") from None


def _measure(run: RunConfig, shape: Shape, device_name: str, plugins: Sequence[str]) -> Pace:
    trainer = trainer_for(run, shape, device_name, plugins)
    device = trainer.arithmetic.device
    step, prepare = training_step(trainer), preparation(trainer)
    step()
    threads = run.train.threads
    train = sum(timed_alone(action, TIMED_STEPS, device, threads).seconds for action in (step, prepare))
    evaluation = timed_alone(trainer.evaluate, 1, device, threads).seconds
    return Pace(train / run.train.batch_size, evaluation / len(trainer.test_labels))


def _weights(run: RunConfig, shape: Shape, plugins: Sequence[str]) -> int:
    with on_meta():
        method = draw_method(run, shape, plugins)
        return sum(weight.numel() for name in method.students for weight in method.student(name).parameters())


def _logits(run: RunConfig, shape: Shape, plugins: Sequence[str]) -> int:
    """Return how many logits a run's predictors give on the scored images."""

    def predictors() -> int:
        method = draw_method(run, shape, plugins).eval()
        return len(method.predict(torch.zeros(2, shape.in_channels, shape.image_size, shape.image_size)))

    with torch.no_grad():
        return shape.test * shape.num_classes * without_numbers(predictors)


def kind_of(run: RunConfig, shape: Shape, device: torch.device) -> str:
    """Return what decides a run's pace, as one word."""
    train = run.train.model_dump(
        include={"batch_size", "threads", "precision", "deterministic", "channels_last", "optimizer", "label_smoothing"}
    )
    images = run.data.model_dump(include={"pad", "flip", "padding", "augment", "erase", "mix"})
    looks = (shape.num_classes, shape.in_channels, shape.image_size, images)
    hardware = environment.device_name(str(device))
    parts = (run.method, run.backbone, run.hyperparameters, train, looks, hardware, torch.__version__)
    return f"{run.method} {run.backbone} {sha256(repr(parts).encode()).hexdigest()[:16]}"


def read_paces(folder: Path) -> dict[str, Pace]:
    """Return the paces that were measured for a results folder, by :func:`kind_of`; none if they cannot be read."""
    try:
        content = json.loads((folder / PACES).read_text(encoding="utf-8"))
        return {str(kind): Pace(float(pace["train"]), float(pace["evaluation"])) for kind, pace in content.items()}
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return {}
