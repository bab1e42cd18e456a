"""What training costs: multiply-adds (MACs) and seconds of a step, an epoch, a run and a plan.

MACs are counted by ``torch.utils.flop_counter``, which counts two operations for each. Seconds are measured on a few
steps of random images, and kept in a results folder's ``pace.json``.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from heapq import heapreplace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark.configuration import FieldRole, LogitsType, RunConfig
from benchmark.datasets import Shape
from benchmark.speed.timing import BUSY, preparation, timed_alone, trainer_for, training_step, warm_up
from benchmark.store import atomic, environment
from benchmark.training import (
    PrecisionConfig,
    StepBatch,
    Trainer,
    choose_device,
    initialise_method,
    outputs_and_losses,
    peak_memory,
    records_steps,
    without_effect,
    without_values,
)
from methods import Method, Progress
from methods.errors import InputError
from methods.plugins import reason_of

BUDGET_S = 20.0
"""For timing a plan's kinds of runs; the others are scaled from those that were timed."""

QUICK_BUDGET_S = 3.0
"""Likewise for a quick estimate."""

TIMED_STEPS = 3
COUNTED_IMAGES = 4
FILE = "pace.json"
BYTES_PER_EPOCH = 1500

QUICK_PIXELS = 16 * 32 * 32
"""Of a batch in a quick estimate: an image of a smaller batch takes nearly as long as one of the run's own."""

SLOW_STEP_S = 4.0
"""A first step, which prepares much that later ones find ready, is the only one if it takes longer."""


class ImageCost(NamedTuple):
    """What an image costs in training and in evaluation: seconds, or MACs."""

    train: float
    evaluation: float

    def total(self, run: RunConfig, shape: Shape, epochs: int | None = None) -> float:
        """Return what so many epochs of a run cost, with their evaluations; all of them for None."""
        epochs = run.train.epochs if epochs is None else epochs
        evaluations = -(-epochs // run.train.eval_every)
        return self.train * epochs * shape.train + self.evaluation * evaluations * shape.test


# ---- multiply-adds ----


def count_macs(action: Callable[[], object]) -> float:
    """Return the MACs of an action, backward passes in it included."""
    with FlopCounterMode(display=False) as counter:
        action()
    return float(counter.get_total_flops()) / 2


def macs_per_image(run: RunConfig, shape: Shape, plugins: Sequence[str] = ()) -> ImageCost:
    """Return the MACs of an image, counted without computing anything where the method lets one.

    Raises:
        InputError: If the method takes no training step, with its reason.
    """

    def counted() -> ImageCost:
        method = initialise_method(run, shape, plugins)
        images = torch.zeros(method.views, COUNTED_IMAGES, shape.in_channels, shape.image_size, shape.image_size)
        train = _step_macs(method, StepBatch(images, torch.zeros(COUNTED_IMAGES, dtype=torch.int64)), run.train.epochs)
        method.eval()
        with torch.no_grad():
            return ImageCost(train, count_macs(lambda: method.predict(images[0])) / COUNTED_IMAGES)

    try:
        return without_values(counted)
    except Exception as error:
        # a plug-in may raise anything; a plan is answered in one line
        raise InputError(f"{run.method} takes no training step: {reason_of(error)}") from None


def _step_macs(method: Method, batch: StepBatch, epochs: int) -> float:
    """Return the MACs per image of a training step, whose gradients are not kept."""
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]

    def step() -> None:
        _, terms = outputs_and_losses(method, batch, Progress(0, 0, epochs))
        torch.autograd.grad(torch.stack(list(terms.values())).sum(), trained, allow_unused=True)

    return count_macs(step) / len(batch.labels)


def run_cost(trainer: Trainer) -> dict[str, float]:
    """Return what a run took.

    Returns:
        ``parameters`` that are trained and ``student_parameters`` of the deployed (first) student; ``state_mib`` of
        all parameters and buffers, mean teachers and memory banks included;
        ``step_multiply_adds`` and ``student_multiply_adds``, of a training step (forward and backward) and of the
        deployed student, per image; ``step_seconds``, the median over the epochs of the time of a training step
        without evaluation; ``peak_memory_mib`` since the run began: on CUDA of the device's tensors, else of
        this process. A run that ended in an error may lack the counts.
    """
    method, student = trainer.method, trainer.method.student()
    state = (*method.parameters(), *method.buffers())
    try:
        with without_effect(method, trainer.labels.device):
            counts = _counted(trainer, student)
    except Exception:
        # what broke the run may break this too; how the run ended must be told all the same
        counts = {}
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.parameters),
        "student_parameters": sum(parameter.numel() for parameter in student.parameters()),
        "state_mib": sum(value.nbytes for value in state) / 2**20,
        **counts,
        **({"step_seconds": median(trainer.step_seconds)} if trainer.step_seconds else {}),
        "peak_memory_mib": peak_memory(trainer.labels.device),
    }


def _counted(trainer: Trainer, student: torch.nn.Module) -> dict[str, float]:
    # on the device, where the method is: for the meta device it would have to be made once more
    method = trainer.method.train()
    labels = trainer.labels[:COUNTED_IMAGES]
    indices = torch.arange(len(labels), device=labels.device)
    views = torch.rand((method.views, len(labels), *trainer.test_images.shape[1:]), device=labels.device)
    step = _step_macs(method, StepBatch(views, labels, indices), trainer.config.train.epochs)
    with torch.no_grad():
        return {
            "step_multiply_adds": step,
            "student_multiply_adds": count_macs(lambda: student(views[0])) / len(labels),
        }


# ---- seconds ----


@dataclass(frozen=True)
class PlanCost:
    """What a plan takes."""

    images: Sequence[ImageCost]  # seconds per image of every run, in the plan's order
    seconds: Sequence[float]  # of every run
    kinds: int  # how many distinct kinds of runs there are
    scaled: int  # how many of them were scaled from others instead of timed
    busy: bool  # whether the machine did other work while they were timed


def plan_cost(
    runs: Sequence[RunConfig],
    shapes: Mapping[str, Shape],
    folder: Path,
    device_name: str = "auto",
    plugins: Sequence[str] = (),
    quick: bool = False,
) -> PlanCost:
    """Return what a plan takes, from a few timed steps of each distinct kind of run, the quickest first.

    Seconds that were measured are kept in ``<folder>/pace.json`` and not measured again.

    Args:
        quick: Whether it has to be known within seconds: small batches are timed, of those kinds first that have most
            to do, others are scaled by pixels instead of MACs, a kind that takes no step is left out, and nothing is
            kept.

    Raises:
        InputError: If a kind of run takes no step; in a quick estimate, if none does.
    """
    device = choose_device(device_name)
    names = [kind_of(run, shapes[run.dataset], device) for run in runs]
    kinds = dict(zip(names, runs, strict=True))
    sizes: dict[str, ImageCost] = {}
    work: Counter[str] = Counter()
    for name, run in zip(names, runs, strict=True):
        shape = shapes[run.dataset]
        work[name] += pixels(run, shape)
        if name not in sizes:
            sizes[name] = ImageCost(*[shape.image_size**2] * 2) if quick else macs_per_image(run, shape, plugins)
    stored = read_seconds(folder)
    known = {kind: stored[kind] for kind in kinds if kind in stored}
    measured: dict[str, ImageCost] = {}
    loads = []
    begin, budget = time.perf_counter(), QUICK_BUDGET_S if quick else BUDGET_S
    for kind in sorted(kinds.keys() - known, key=lambda kind: (-work[kind] if quick else sizes[kind].train, kind)):
        if (measured or (quick and known)) and time.perf_counter() - begin > budget:
            break
        try:
            measured[kind], load = time_images(kinds[kind], shapes[kinds[kind].dataset], device_name, plugins, quick)
            loads.append(load)
        except Exception:
            # whatever is wrong with a method is told by its run
            if not quick:
                raise
    known |= measured
    scaled = len(kinds) - len(known)
    if not known:
        raise InputError("no training step of the plan can be taken")
    if measured and not quick:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {kind: seconds._asdict() for kind, seconds in (stored | measured).items()}
        atomic.write_text(folder / FILE, json.dumps(kept, indent=2) + "\n")
    timed_kinds = known if quick or not measured else measured
    # a plug-in's predictor may have no MACs at all
    train, evaluation = (
        median(known[kind][part] / (sizes[kind][part] or 1.0) for kind in timed_kinds) for part in range(2)
    )
    for kind in kinds.keys() - known:
        known[kind] = ImageCost(train * sizes[kind].train, evaluation * sizes[kind].evaluation)
    images = [known[name] for name in names]
    seconds = [each.total(run, shapes[run.dataset]) for each, run in zip(images, runs, strict=True)]
    return PlanCost(images, seconds, len(kinds), scaled, bool(loads) and median(loads) > BUSY)


def time_images(
    run: RunConfig, shape: Shape, device_name: str = "auto", plugins: Sequence[str] = (), quick: bool = False
) -> tuple[ImageCost, float]:
    """Return a run's seconds per image on a machine that does nothing else, and the load here (see :class:`Timing`).

    If it is to be quick, small batches are timed, and their augmentation is not.
    """
    if quick:
        size = min(run.train.batch_size, max(4, QUICK_PIXELS // shape.image_size**2))
        run = run.model_copy(update={"train": run.train.model_copy(update={"batch_size": size, "compile": False})})
    trainer = trainer_for(run, shape, device_name, plugins)
    device, threads, step = trainer.arithmetic.device, run.train.threads, training_step(trainer)
    if quick:
        train = timed_alone(step, 1, device, threads)
        if train.seconds < SLOW_STEP_S:
            train = timed_alone(step, 2, device, threads)
        took = train.seconds
    else:
        warm_up(trainer, step, 1)
        train = timed_alone(step, TIMED_STEPS, device, threads)
        took = train.seconds + timed_alone(preparation(trainer), TIMED_STEPS, device, threads).seconds
    evaluation = timed_alone(trainer.evaluate, 1, device, threads).seconds
    return ImageCost(took / run.train.batch_size, evaluation / len(trainer.test_labels)), train.load


def kind_of(run: RunConfig, shape: Shape, device: torch.device) -> str:
    """Return what decides the seconds that a run's images take, as one word."""
    arithmetic = {"batch_size", "threads", "precision", "deterministic", "channels_last", "compile"}
    train = run.train.model_dump(include=arithmetic | {"optimizer", "label_smoothing"})
    images = run.data.model_dump(include=run.data.of_role(FieldRole.AUGMENTATION))
    shown = (shape.num_classes, shape.in_channels, shape.image_size, images)
    hardware = environment.device_name(str(device))
    cuda = device.type == "cuda"
    recorded = cuda and records_steps(run.train, run.method, PrecisionConfig.of(device, run.train.precision, None))
    parts = (run.method, run.backbone, run.hyperparameters, train, recorded, shown, hardware, torch.__version__)
    return f"{run.method} {run.backbone} {sha256(repr(parts).encode()).hexdigest()[:16]}"


def read_seconds(folder: Path) -> dict[str, ImageCost]:
    """Return the seconds per image that a results folder knows, by :func:`kind_of`; none if they cannot be read."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {str(kind): ImageCost(float(own["train"]), float(own["evaluation"])) for kind, own in content.items()}
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return {}


class EpochSeconds:
    """What epochs of each kind of run have taken in this process."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}

    def add(self, kind: str, seconds: float) -> None:
        """Add an epoch."""
        self._seconds.setdefault(kind, []).append(seconds)

    def expected(self, kind: str) -> float | None:
        """Return what the next epoch of a kind takes at most, by those before it; None if there was none."""
        # the first one, which also warms the device up, counts until there is another
        seconds = self._seconds.get(kind)
        return max(seconds[1:], default=seconds[0]) if seconds else None


def side_by_side(seconds: Iterable[float], places: int) -> float:
    """Return how long runs take when each of so many places takes the next run as soon as it is free."""
    free = [0.0] * places
    for run in seconds:
        heapreplace(free, free[0] + run)
    return max(free)


def pixels(run: RunConfig, shape: Shape) -> int:
    """Return the pixels of all images that a run is trained on, each counted in every epoch."""
    return run.train.epochs * shape.train * shape.image_size**2


# ---- disk ----


def stored_mebibytes(
    runs: Sequence[RunConfig],
    shapes: Mapping[str, Shape],
    plugins: Sequence[str] = (),
    save_students: bool = False,
    predictions: LogitsType | None = None,
) -> float:
    """Return what a plan leaves on the disk in MiB: metrics, and weights and logits where they are kept."""
    stored = BYTES_PER_EPOCH * sum(run.train.epochs for run in runs)
    for run in runs if save_students or predictions is not None else ():
        weights, logits = without_values(partial(_sizes, run, shapes[run.dataset], plugins))
        stored += 4 * weights if save_students else 0
        stored += logits * np.dtype(predictions).itemsize if predictions is not None else 0
    return stored / 2**20


def _sizes(run: RunConfig, shape: Shape, plugins: Sequence[str]) -> tuple[int, int]:
    """Return how many weights a run's students have, and how many logits its predictors give on the scored images."""
    method = initialise_method(run, shape, plugins).eval()
    with torch.no_grad():
        predictors = len(method.predict(torch.zeros(2, shape.in_channels, shape.image_size, shape.image_size)))
    weights = sum(weight.numel() for name in method.students for weight in method.student(name).parameters())
    return weights, predictors * shape.test * shape.num_classes
