"""How fast a method trains on this machine, beside how fast the machine multiplies matrices."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark.configuration import RunConfig
from benchmark.datasets import Shape, random_dataset
from benchmark.training import Arithmetic, StepBatch, Trainer, choose_device, peak_memory, reset_peak_memory
from methods import Progress

WARM_UP_STEPS = 2
MATRIX_SIDE = 2048
MEASURED_S = 1.0
"""For how long steps are taken at each measurement."""


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


@dataclass(frozen=True)
class Speed:
    """What was measured of one method.

    Attributes:
        train_images_per_s: Optimiser steps on ready views, in images (each counts once, whatever its views).
        augmentation_images_per_s: Images whose views and labels are made.
        evaluation_images_per_s: Images that all predictors are evaluated on.
        gflop_per_image: Floating-point operations of a training step, by ``torch.utils.flop_counter``.
        matmul_gflop_per_s: The device's rate on square float32 (or the run's precision) matrix products.
        fraction_of_matmul_rate: Training's share of that rate; both sides are measured in turn.
        peak_memory_mib: Of the device, or of this process on the CPU.
        recipe_seconds: What one run of ``epochs`` epochs takes at these rates.
    """

    method: str
    backbone: str
    device: str
    precision: str
    threads: int
    batch_size: int
    views: int
    train_images_per_s: Rate
    augmentation_images_per_s: Rate
    evaluation_images_per_s: Rate
    gflop_per_image: float
    matmul_gflop_per_s: Rate
    fraction_of_matmul_rate: float
    peak_memory_mib: float
    epochs: int
    recipe_seconds: float
    repetitions: int

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def measure(
    run: RunConfig, shape: Shape, device_name: str = "auto", repetitions: int = 5, plugins: Sequence[str] = ()
) -> Speed:
    """Measure one run after warm-up, waiting for the device at both ends of each measurement.

    Args:
        run: What is trained; its data set is not read.
        shape: Of the random images that stand for it, and how many of them an epoch has.
        device_name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        repetitions: How often each rate is measured, 5 or more for a range worth the name.
        plugins: Python files that define further methods.
    """
    train, batch_size = run.train, run.train.batch_size
    trainer = trainer_for(run, shape, device_name, plugins)
    device = trainer.arithmetic.device
    step, prepare = training_step(trainer), preparation(trainer)
    flops = count_flops(step)
    for _ in range(WARM_UP_STEPS):
        step()
    product = _matrix_product(trainer.arithmetic)
    reset_peak_memory(device)
    steps = _steps_within(MEASURED_S, step, device)
    rates: dict[str, list[float]] = {key: [] for key in ("train", "matmul", "fraction", "augmentation", "evaluation")}
    for _ in range(repetitions):
        before = _matmul_rate(product, device)
        seconds = timed(step, steps, device)
        # neighbours in time: what else the machine does slows both down
        matmul = (before + _matmul_rate(product, device)) / 2
        rates["matmul"].append(matmul)
        rates["train"].append(batch_size / seconds)
        rates["fraction"].append(flops / seconds / matmul)
        augmented = timed(prepare, 10, device)
        rates["augmentation"].append(batch_size / augmented)
        rates["evaluation"].append(len(trainer.test_labels) / timed(trainer.evaluate, 1, device))
    summary = {key: Rate.of(values) for key, values in rates.items()}
    epoch = shape.train * (1 / summary["train"].median + 1 / summary["augmentation"].median)
    evaluations = -(-train.epochs // train.eval_every)
    return Speed(
        method=run.method,
        backbone=run.backbone,
        device=device.type,
        precision=trainer.arithmetic.precision,
        threads=train.threads,
        batch_size=batch_size,
        views=trainer.method.views,
        train_images_per_s=summary["train"],
        augmentation_images_per_s=summary["augmentation"],
        evaluation_images_per_s=summary["evaluation"],
        gflop_per_image=flops / batch_size / 1e9,
        matmul_gflop_per_s=Rate.of([rate / 1e9 for rate in rates["matmul"]]),
        fraction_of_matmul_rate=summary["fraction"].median,
        peak_memory_mib=peak_memory(device),
        epochs=train.epochs,
        recipe_seconds=train.epochs * epoch + evaluations * shape.test / summary["evaluation"].median,
        repetitions=repetitions,
    )


def trainer_for(run: RunConfig, shape: Shape, device_name: str = "auto", plugins: Sequence[str] = ()) -> Trainer:
    """Return a trainer of a run on a few batches of random images."""
    few = replace(shape, train=4 * run.train.batch_size, test=2 * run.train.batch_size)
    return Trainer(run, random_dataset(few), choose_device(device_name), plugins)


def training_step(trainer: Trainer) -> Callable[[], None]:
    """Return the action of one optimiser step on views that are ready, in the middle of the run."""
    epochs, batch = trainer.config.train.epochs, preparation(trainer)()
    progress = Progress(epoch=epochs // 2, step=10_000, epochs=epochs)

    def step() -> None:
        trainer.train_step(batch.views, batch.labels, progress, batch.indices, batch.targets)

    return step


def preparation(trainer: Trainer) -> Callable[[], StepBatch]:
    """Return the action of making the views and labels of one optimiser step."""
    draw = trainer.batches.augmentation.draw(0, "augmentation", 0, trainer.method.views)
    indices = torch.arange(trainer.config.train.batch_size, device=trainer.arithmetic.device)
    return lambda: trainer.batches.prepared(indices, draw, 0)


def count_flops(step: Callable[[], object]) -> int:
    """Return the floating-point operations of a step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class Baseline:
    """Augmentation here beside torchvision's, image by image, both on one CPU thread.

    Attributes:
        ours_images_per_s: Images whose three views are made.
        torchvision_images_per_s: The same with torchvision's crop, flip, tensor and normalisation of each image.
        ratio: The median of the ratios, each of neighbouring measurements.
    """

    ours_images_per_s: Rate
    torchvision_images_per_s: Rate
    ratio: float
    views: int = 3


def measure_baseline(image_size: int = 32, repetitions: int = 5) -> Baseline:
    """Time the augmentation of three views beside the per-image pipeline of the released loaders."""
    from PIL import Image
    from torchvision import transforms

    from benchmark.training import Augmentation, Normalisation

    views, count = 3, 256
    mean, std = (0.5071, 0.4866, 0.4409), (0.2675, 0.2565, 0.2761)
    torch.set_num_threads(1)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, image_size, image_size), dtype=np.uint8)
    normalisation = Normalisation.of(mean, std, torch.device("cpu"))
    augmentation = Augmentation(torch.from_numpy(pixels), normalisation, 4, True)
    draw = augmentation.draw(0, "augmentation", 0, views)
    batches = torch.arange(count).split(128)
    pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in pixels]
    pipeline = transforms.Compose(
        [
            transforms.RandomCrop(image_size, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )

    def ours() -> None:
        for indices in batches:
            augmentation.views(indices, draw)

    def theirs() -> None:
        for start in range(0, count, 128):
            for _ in range(views):
                torch.stack([pipeline(picture) for picture in pictures[start : start + 128]])

    cpu = torch.device("cpu")
    ours()
    theirs()
    fast, slow = [], []
    for _ in range(repetitions):
        fast.append(count / timed(ours, 10, cpu))
        slow.append(count / timed(theirs, 1, cpu))
    ratio = median(a / b for a, b in zip(fast, slow, strict=True))
    return Baseline(Rate.of(fast), Rate.of(slow), ratio, views)


def _matrix_product(arithmetic: Arithmetic) -> Callable[[], torch.Tensor]:
    dtype = torch.bfloat16 if arithmetic.precision == "bf16" else torch.float32
    side = MATRIX_SIDE if arithmetic.device.type == "cpu" else 4 * MATRIX_SIDE
    left, right = (torch.randn(side, side, device=arithmetic.device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=product)


def _matmul_rate(product: Callable[[], torch.Tensor], device: torch.device) -> float:
    side = len(product())
    return 2 * side**3 / timed(product, 4, device)


def matrix_rate(arithmetic: Arithmetic) -> float:
    """Return the device's rate of matrix products in a precision, in FLOP/s."""
    product = _matrix_product(arithmetic)
    product()
    return _matmul_rate(product, arithmetic.device)


def _steps_within(seconds: float, step: Callable[[], None], device: torch.device) -> int:
    return max(1, round(seconds / timed(step, 1, device)))


def timed(action: Callable[[], object], times: int, device: torch.device) -> float:
    """Return the mean seconds of an action, with nothing of it left running on the device."""
    _wait(device)
    begin = time.perf_counter()
    for _ in range(times):
        action()
    _wait(device)
    return (time.perf_counter() - begin) / times


BUSY = 1.3
"""A machine on which an action takes so many times what it takes of the processor does other work too."""


class Timing(NamedTuple):
    """What an action takes on a machine of its own, and how much longer it took here.

    Attributes:
        seconds: Of a device, or of as many processors as a run has threads.
        load: The time that it took here as a multiple of that; from :data:`BUSY` on something else was running.
    """

    seconds: float
    load: float


def timed_alone(action: Callable[[], object], times: int, device: torch.device, threads: int = 1) -> Timing:
    """Return what an action takes where nothing else runs: on the CPU its processor time, shared among its threads.

    Args:
        action: What is timed.
        times: How often, for the mean.
        device: Where it runs; on CUDA the time that passes is all that is known.
        threads: That the action computes with.
    """
    begin = time.process_time()
    passed = timed(action, times, device)
    if device.type == "cuda":
        return Timing(passed, 1.0)
    alone = min(passed, (time.process_time() - begin) / times / threads)
    return Timing(alone, passed / alone if alone > 0 else 1.0)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
