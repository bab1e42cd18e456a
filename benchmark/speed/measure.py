"""``bench speed``: how fast methods train on this machine, and its rate of matrix products."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

import torch

from benchmark.configuration import DataConfig, Request, RunConfig, TrainConfig, complete_methods
from benchmark.datasets import Shape
from benchmark.formatting import duration
from benchmark.metrics import cost_note
from benchmark.speed.cost import ImageCost, macs_per_image, preparation, timed, trainer_for, training_step, warm_up
from benchmark.training import PrecisionConfig, peak_memory, reset_peak_memory
from methods import backbones, registry
from methods.errors import InputError
from methods.hyperparameters import validated

TRAIN_IMAGES, TEST_IMAGES = 50_000, 10_000
MEASURED_S = 1.0
MATRIX_SIDE = 2048


def random_runs(
    methods: str | None,
    backbone: str,
    train: Mapping[str, Any],
    sections: Mapping[str, Mapping[str, Any]],
    plugins: Sequence[str] = (),
) -> list[RunConfig]:
    """Return runs on random images, one per method; None means all methods that need nothing else.

    Raises:
        InputError: For anything unknown or out of range.
    """
    names = [name.strip() for name in methods.split(",")] if methods else complete_methods(Request([sections], plugins))
    architectures = backbone.split("+")
    for architecture in architectures:
        backbones.describe(architecture, plugins)
    if unused := set(sections) - set(names):
        raise InputError(f"--set {min(unused)}: not among the methods that are measured ({', '.join(names)})")
    config = validated(TrainConfig, train, "train")
    common: dict[str, Any] = {"dataset": "random", "dataset_checksum": "", "backbone": backbone, "seed": 0}
    found = []
    for name in names:
        method = registry.load(name, plugins)
        chosen = registry.resolve(method, sections.get(name, {}), architectures, config.epochs).model_dump(mode="json")
        own = common | {"method": name, "method_version": method.version, "hyperparameters": chosen}
        found.append(RunConfig(train=config, data=DataConfig(), **own))
    return found


def random_shape(num_classes: int, image_size: int) -> Shape:
    """Return the shape of colour images, as many as CIFAR has."""
    return Shape(TRAIN_IMAGES, TEST_IMAGES, num_classes, 3, image_size)


@dataclass(frozen=True)
class Rate:
    """Measurements of one rate: the median, and the lowest and highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Rate":
        """Summarise measurements."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        """The rate with its range."""
        return f"{self.median:,.0f} ({self.low:,.0f} to {self.high:,.0f})"


@dataclass(frozen=True)
class Speed:
    """What was measured of one method."""

    method: str
    backbone: str
    device: str
    precision: str
    threads: int
    batch_size: int
    views: int
    train_images_per_s: Rate  # optimiser steps on ready views, in images (each counts once, whatever its views)
    augmentation_images_per_s: Rate  # images whose views and labels are made
    evaluation_images_per_s: Rate  # images that all predictors are evaluated on
    gflop_per_image: float  # floating-point operations of a training step, two for each multiply-add
    matmul_gflop_per_s: Rate  # the device's rate on square float32 (or the run's precision) matrix products
    fraction_of_matmul_rate: float  # training's share of that rate; both sides are measured in turn
    peak_memory_mib: float  # of the device, or of this process on the CPU
    epochs: int
    recipe_seconds: float  # what one run of epochs epochs takes at these rates
    repetitions: int
    notes: Sequence[str] = ()  # what a person should know, such as that steps could not be recorded

    def __str__(self) -> str:
        """The measurements as lines for a person."""
        lines = [
            f"{self.method} {self.backbone}: {self.device}, {self.precision}, {self.threads} threads, "
            f"batch {self.batch_size}, {self.views} view(s), {self.repetitions} repetitions",
            f"training      {self.train_images_per_s} images/s, {self.gflop_per_image:.3f} GFLOP each",
            f"augmentation  {self.augmentation_images_per_s} images/s",
            f"evaluation    {self.evaluation_images_per_s} images/s",
            f"matrix rate   {self.matmul_gflop_per_s} GFLOP/s; "
            f"training reaches {self.fraction_of_matmul_rate:.2f} of it",
            f"peak memory   {self.peak_memory_mib:,.0f} MiB",
            f"one run of {self.epochs} epochs of {TRAIN_IMAGES:,} images: {duration(self.recipe_seconds)}",
            *(f"note: {note}" for note in self.notes),
        ]
        return "\n  ".join(lines)


def measure(
    run: RunConfig,
    shape: Shape,
    device_name: str = "auto",
    repetitions: int = 5,
    plugins: Sequence[str] = (),
    seconds: float | None = None,
) -> Speed:
    """Measure one run after warm-up, waiting for the device at both ends of each measurement.

    The run's dataset is not read: random images of ``shape`` stand for it. Each rate is measured ``repetitions`` times,
    5 or more for a range worth the name, with steps for so many ``seconds``, :data:`MEASURED_S` for None.
    """
    batch_size = run.train.batch_size
    trainer = trainer_for(run, shape, device_name, plugins)
    device = trainer.arithmetic.device
    step, prepare = training_step(trainer), preparation(trainer)
    operations = 2 * macs_per_image(run, shape, plugins).train
    warm_up(trainer, step)
    matmul_rate = matrix_rate(trainer.arithmetic)
    reset_peak_memory(device)
    steps = max(1, round((MEASURED_S if seconds is None else seconds) / timed(step, 1, device)))
    rows = []
    for _ in range(repetitions):
        before = matmul_rate()
        per_image = timed(step, steps, device) / batch_size
        # neighbours in time: what else the machine does slows both down
        matmul = (before + matmul_rate()) / 2
        augmentation = batch_size / timed(prepare, 10, device)
        evaluation = len(trainer.test_labels) / timed(trainer.evaluate, 1, device)
        rows.append((1 / per_image, augmentation, evaluation, matmul / 1e9, operations / per_image / matmul))
    train, augmentation_rate, evaluation_rate, matmul_rates, fraction = map(Rate.of, zip(*rows, strict=True))
    image = ImageCost(1 / train.median + 1 / augmentation_rate.median, 1 / evaluation_rate.median)
    return Speed(
        method=run.method,
        backbone=run.backbone,
        device=device.type,
        precision=trainer.arithmetic.precision,
        threads=run.train.threads,
        batch_size=batch_size,
        views=trainer.method.views,
        train_images_per_s=train,
        augmentation_images_per_s=augmentation_rate,
        evaluation_images_per_s=evaluation_rate,
        gflop_per_image=operations / 1e9,
        matmul_gflop_per_s=matmul_rates,
        fraction_of_matmul_rate=fraction.median,
        peak_memory_mib=peak_memory(device),
        epochs=run.train.epochs,
        recipe_seconds=image.total(run, shape),
        repetitions=repetitions,
        notes=trainer.take_notes(),
    )


def matrix_rate(arithmetic: PrecisionConfig) -> Callable[[], float]:
    """Return what measures a device's rate of square matrix products in a precision, in FLOP/s, after a warm-up."""
    device = arithmetic.device
    dtype = torch.bfloat16 if arithmetic.precision == "bf16" else torch.float32
    side = MATRIX_SIDE if device.type == "cpu" else 4 * MATRIX_SIDE
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    multiply = partial(torch.mm, left, right, out=torch.empty_like(left))
    multiply()
    return lambda: 2 * side**3 / timed(multiply, 4, device)


def speed_lines(
    chosen: Sequence[RunConfig],
    images: Shape,
    device: str,
    repetitions: int,
    as_json: bool,
    plugins: Sequence[str] = (),
) -> Iterator[str]:
    """Measure the runs one by one; yield the text of each as it is known, or all of them as one JSON text."""
    measured = []
    for run in chosen:
        measured.append(measure(run, images, device, repetitions, plugins))
        if not as_json:
            yield str(measured[-1])
    if as_json:
        content = [asdict(found) for found in measured]
        yield json.dumps(content[0] if len(content) == 1 else content, indent=2)
        return
    macs = {found.method: found.gflop_per_image for found in measured}
    if note := cost_note(macs, {found.method: 1 / found.train_images_per_s.median for found in measured}):
        yield f"note: {note}"
