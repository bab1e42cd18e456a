"""Roughly how fast a plan's runs are on the CPU, found out within seconds: what a command can say before it starts."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from benchmark.configuration import RunConfig
from benchmark.datasets import Shape
from benchmark.speed.estimate import Pace, kind_of, read_paces
from benchmark.speed.measure import BUSY, count_flops, timed_alone, trainer_for, training_step

BUDGET_S = 3.0
"""For timing a plan's kinds of runs, those with most to do first; the others are taken to be like them."""

PIXELS = 16 * 32 * 32
"""Of a timed batch: an image of a smaller batch takes nearly as long as one of the run's own."""

SLOW_STEP_S = 4.0
"""A first step, which prepares much that later ones find ready, is the only one if it takes longer."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Rough:
    """What was found out about a plan's runs.

    Attributes:
        paces: Of every run, in the plan's order.
        kinds: How many distinct kinds of runs there are.
        guessed: How many of them were not timed.
        busy: Whether the machine did other work while they were timed.
    """

    paces: Sequence[Pace]
    kinds: int
    guessed: int
    busy: bool


def rough(
    runs: Sequence[RunConfig], shapes: Mapping[str, Shape], folder: Path, plugins: Sequence[str] = ()
) -> Rough | None:
    """Time a step or three of small batches, for :data:`BUDGET_S` and the kind that is under way then.

    Args:
        runs: The plan.
        shapes: Of the data sets by name.
        folder: The results folder, whose ``pace.json`` may know better.
        plugins: Python files that define further methods.

    Returns:
        None if no kind of run takes a step.
    """
    kinds = {kind_of(run, shapes[run.dataset], CPU): run for run in runs}
    work = dict.fromkeys(kinds, 0)
    for run in runs:
        work[kind_of(run, shapes[run.dataset], CPU)] += pixels(run, shapes[run.dataset])
    stored = read_paces(folder)
    known = {kind: stored[kind] for kind in kinds if kind in stored}
    loads = []
    begin = time.perf_counter()
    for kind in sorted(set(kinds) - set(known), key=lambda kind: (-work[kind], kind)):
        if known and time.perf_counter() - begin > BUDGET_S:
            break
        try:
            known[kind], load = time_small_batches(kinds[kind], shapes[kinds[kind].dataset], plugins)
            loads.append(load)
        except Exception:  # noqa: S112 - whatever is wrong with a method is told by its run
            continue
    if not known:
        return None
    per_pixel = {kind: pace.times(1 / shapes[kinds[kind].dataset].image_size ** 2) for kind, pace in known.items()}
    like = Pace(*(median(parts) for parts in zip(*per_pixel.values(), strict=True)))
    paces = [
        known.get(kind_of(run, shape, CPU)) or like.times(shape.image_size**2)
        for run, shape in ((run, shapes[run.dataset]) for run in runs)
    ]
    return Rough(paces, len(kinds), len(set(kinds) - set(known)), bool(loads) and median(loads) > BUSY)


def pixels(run: RunConfig, shape: Shape) -> int:
    """Return the pixels of all images that a run is trained on, each counted in every epoch."""
    return run.train.epochs * shape.train * shape.image_size**2


def time_small_batches(run: RunConfig, shape: Shape, plugins: Sequence[str] = ()) -> tuple[Pace, float]:
    """Return a run's pace on a CPU that does nothing else, from small batches of random images, and the load here."""
    trainer = trainer_for(_with_small_batches(run, shape), shape, "cpu", plugins)
    step, threads = training_step(trainer), run.train.threads
    train = timed_alone(step, 1, CPU, threads)
    if train.seconds < SLOW_STEP_S:
        train = timed_alone(step, 2, CPU, threads)
    evaluation = timed_alone(trainer.evaluate, 1, CPU, threads)
    per_image = train.seconds / trainer.config.train.batch_size, evaluation.seconds / len(trainer.test_labels)
    return Pace(*per_image), train.load


def operations_of_a_step(run: RunConfig, shape: Shape, plugins: Sequence[str] = ()) -> float:
    """Return the floating-point operations an image that training takes, counted in a small step."""
    trainer = trainer_for(_with_small_batches(run, shape), shape, "cpu", plugins)
    return count_flops(training_step(trainer)) / trainer.config.train.batch_size


def _with_small_batches(run: RunConfig, shape: Shape) -> RunConfig:
    size = min(run.train.batch_size, max(4, PIXELS // shape.image_size**2))
    return run.model_copy(update={"train": run.train.model_copy(update={"batch_size": size, "compile": False})})
