"""Timers, and the actions of a run that are timed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from benchmark.configuration import RunConfig
from benchmark.datasets import Shape, random_dataset
from benchmark.training import PrecisionConfig, StepBatch, Trainer, choose_device
from methods import Progress

MATRIX_SIDE = 2048
RECORDED_WARM_UP_STEPS = 6
"""A recorded step is tried out, has its warm-up and is recorded before the first replay."""

BUSY = 1.3
"""A machine on which an action takes so many times its processor time does other work too."""


class Timing(NamedTuple):
    """What an action takes on a machine of its own."""

    seconds: float  # of a device, or of as many processors as a run has threads
    load: float  # the time that it took here as a multiple of that; from BUSY on something else was running


def timed(action: Callable[[], object], times: int, device: torch.device) -> float:
    """Return the mean seconds of an action, with nothing of it left running on the device."""
    _wait(device)
    begin = time.perf_counter()
    for _ in range(times):
        action()
    _wait(device)
    return (time.perf_counter() - begin) / times


def timed_alone(action: Callable[[], object], times: int, device: torch.device, threads: int = 1) -> Timing:
    """Return what an action takes where nothing else runs: on the CPU its processor time, shared among its threads."""
    begin = time.process_time()
    passed = timed(action, times, device)
    if device.type == "cuda":
        return Timing(passed, 1.0)
    alone = min(passed, (time.process_time() - begin) / times / threads)
    return Timing(alone, passed / alone if alone > 0 else 1.0)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def trainer_for(run: RunConfig, shape: Shape, device_name: str = "auto", plugins: Sequence[str] = ()) -> Trainer:
    """Return a trainer of a run on a few batches of random images."""
    few = replace(shape, train=4 * run.train.batch_size, test=2 * run.train.batch_size)
    return Trainer(run, random_dataset(few), choose_device(device_name), plugins)


def training_step(trainer: Trainer) -> Callable[[], None]:
    """Return the action of one optimiser step on views that are ready, in the middle of the run."""
    epochs, batch = trainer.config.train.epochs, preparation(trainer)()
    progress = Progress(epoch=epochs // 2, step=10_000, epochs=epochs)

    def step() -> None:
        trainer.train_step(batch, progress)

    return step


def warm_up(trainer: Trainer, step: Callable[[], None], least: int = 2) -> None:
    """Take the steps that are not to be timed: the first ones, and those until a recorded step is replayed."""
    for _ in range(RECORDED_WARM_UP_STEPS if trainer.recorded is not None else least):
        step()


def preparation(trainer: Trainer) -> Callable[[], StepBatch]:
    """Return the action of making the views and labels of one optimiser step."""
    sampled = trainer.batches.augmentation.sample(0, "augmentation", 0, trainer.method.views)
    indices = torch.arange(trainer.config.train.batch_size)
    return lambda: trainer.batches.prepared(indices, sampled, 0)


def matrix_rate(arithmetic: PrecisionConfig) -> Callable[[], float]:
    """Return what measures a device's rate of square matrix products in a precision, in FLOP/s, after a warm-up."""
    device = arithmetic.device
    dtype = torch.bfloat16 if arithmetic.precision == "bf16" else torch.float32
    side = MATRIX_SIDE if device.type == "cpu" else 4 * MATRIX_SIDE
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(left)

    def multiply() -> None:
        torch.mm(left, right, out=product)

    multiply()
    return lambda: 2 * side**3 / timed(multiply, 4, device)
