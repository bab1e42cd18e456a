"""The measurements of ``bench doctor --deep``: each is a function that a process of its own can carry out."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_leaves_with_path

from benchmark.configuration import Request, RunConfig, complete_methods, recipes
from benchmark.datasets import Shape, random_dataset
from benchmark.hardware.report import (
    EpochOverheads,
    Mode,
    ParallelSpeed,
    PublishedTime,
    Range,
    Repeat,
    SettingTime,
    StepSpeed,
)
from benchmark.speed.cost import ImageCost, macs_per_image
from benchmark.speed.measure import random_runs, random_shape
from benchmark.speed.timing import matrix_rate, preparation, timed, trainer_for, training_step, warm_up
from benchmark.training import Arithmetic, Trainer, check_settings, checkpoints, peak_memory, reset_peak_memory
from benchmark.training.devices import Precision
from methods.errors import InputError

TABLE = "pcl_table"
"""The recipe of the published table: its last method, on its first network, is measured most thoroughly."""

SMALL_BACKBONES = ("resnet8", "resnet20")
REPETITIONS = 3

LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemsetAsync", "cudaMemcpyAsync")
WAITS = ("aten::_local_scalar_dense", "aten::nonzero", "cudaStreamSynchronize", "cudaEventSynchronize")


@dataclass(frozen=True)
class Workload:
    """What is measured on a device: the published table's methods and networks, smaller where it is no accelerator.

    Attributes:
        methods: All that need nothing else, the table's own method first.
        backbones: The table's, or smaller ones.
        published_backbone: The table's first.
        precisions: In which runs are trained on the device, the default first.
        sections: Hyperparameters by method.
        seeds: Of the table.
        small: Whether networks and batches are smaller than the table's.
    """

    device: torch.device
    methods: tuple[str, ...]
    backbones: tuple[str, ...]
    published_backbone: str
    batch_size: int
    precisions: tuple[Precision, ...]
    sections: dict[str, dict[str, Any]]
    seeds: int
    small: bool

    @classmethod
    def of(cls, device: torch.device) -> "Workload":
        """Return what is measured on that device."""
        table = recipes.read(recipes.find(TABLE))
        own = table["methods"][-1]
        cuda = device.type == "cuda"
        return cls(
            device=device,
            methods=(own, *(name for name in complete_methods(Request([{}])) if name != own)),
            backbones=tuple(table["backbone"]) if cuda else SMALL_BACKBONES,
            published_backbone=table["backbone"][0],
            batch_size=128 if cuda else 16,
            precisions=("tf32", "bf16") if cuda else ("fp32", "bf16"),
            sections={name: dict(table[name]) for name in table["methods"] if name in table},
            seeds=table["seeds"],
            small=not cuda,
        )

    @property
    def shape(self) -> Shape:
        """Of CIFAR-100."""
        return random_shape(100, 32)

    def run(self, method: str, backbone: str, precision: Precision, mode: Mode = "eager", **train: Any) -> RunConfig:
        """Return one run."""
        settings: dict[str, Any] = {"batch_size": self.batch_size, "threads": 1, "precision": precision}
        settings |= {"graph": mode == "graph", "compile": mode == "compiled"}
        own = {method: self.sections[method]} if method in self.sections else {}
        (run,) = random_runs(method, backbone, settings | train, own)
        return run

    def main_run(self) -> RunConfig:
        """Return the run of the table's own method on the first network, in the default precision."""
        return self.run(self.methods[0], self.backbones[0], self.precisions[0])


# ---- the same bits ----

EPOCHS, BATCH, BATCHES = 2, 8, 7
"""Seven steps an epoch: where a step is recorded, the fourth is the first that is replayed."""


def repeats(workload: Workload, method: str, precision: Precision) -> list[Repeat]:
    """Train the same small run twice, and once from a checkpoint half-way."""
    whole = _result(_small_trainer(workload, method, precision))
    again = _result(_small_trainer(workload, method, precision))
    interrupted = _small_trainer(workload, method, precision)
    first = interrupted.epoch()
    with TemporaryDirectory(prefix="bench-doctor-") as folder:
        checkpoints.save(Path(folder), {"trainer": interrupted.state()})
        stored = checkpoints.load(Path(folder)) or {}
    resumed = _small_trainer(workload, method, precision)
    resumed.load_state(stored["trainer"])
    return [
        Repeat(what="again", method=method, precision=precision, differs=_difference(whole, again)),
        Repeat(what="resumed", method=method, precision=precision, differs=_difference(whole, _result(resumed, first))),
    ]


def recorded_repeat(workload: Workload, method: str, precision: Precision, optimizer: str) -> Repeat:
    """Train a small run with plain steps and with recorded ones."""
    recorded = _small_trainer(workload, method, precision, graph=True, optimizer=optimizer)
    other = _result(recorded)
    refusal = next(iter(recorded.take_notes()), None)
    plain = _result(_small_trainer(workload, method, precision, graph=False, optimizer=optimizer))
    return Repeat(
        what="recorded",
        method=method,
        precision=precision,
        optimizer=optimizer,
        differs=_difference(plain, other),
        refusal=refusal,
    )


def _small_trainer(workload: Workload, method: str, precision: Precision, **train: Any) -> Trainer:
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "deterministic": True, "graph": False, **train}
    run = workload.run(method, "resnet8", precision, **settings)
    return Trainer(run, random_dataset(Shape(BATCH * BATCHES, BATCH, 4, 3, 8)), workload.device)


def _result(trainer: Trainer, *rows: dict[str, float]) -> dict[str, Any]:
    found = list(rows)
    while not trainer.done:
        found.append(trainer.epoch())
    return {"metrics": [{**row, "seconds": 0.0} for row in found], "state": trainer.method.state_dict()}


def _difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """Return where two results differ first, or None."""
    for (path, mine), (_, other) in zip(tree_leaves_with_path(ours), tree_leaves_with_path(theirs), strict=True):
        same = torch.equal(mine, other) if isinstance(mine, Tensor) else mine == other
        if not same:
            return ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)
    return None


# ---- training steps ----


def refused_mode(workload: Workload, mode: Mode) -> StepSpeed | None:
    """Return why the device takes no step in a mode, or None."""
    run = workload.run(workload.methods[0], workload.backbones[0], workload.precisions[0], mode)
    try:
        check_settings([run], workload.device)
    except InputError as error:
        return no_speed(run, mode, str(error))
    return None


def step_speed(workload: Workload, method: str, backbone: str, precision: Precision, mode: Mode) -> StepSpeed:
    """Measure the step of one combination; one that cannot be taken is reported with its reason."""
    device = workload.device
    run = workload.run(method, backbone, precision, mode)
    trainer = trainer_for(run, workload.shape, str(device))
    step = training_step(trainer)
    warm_up(trainer, step)
    if refused := trainer.take_notes():
        return no_speed(run, mode, refused[0])
    reset_peak_memory(device)
    seconds = _repeated(step, device)
    rates = [workload.batch_size / each for each in seconds]
    operations = 2 * macs_per_image(run, workload.shape).train * workload.batch_size
    launches, waits = _profiled(step, device)
    return no_speed(run, mode).model_copy(
        update={
            "images_per_s": Range(median=median(rates), low=min(rates), high=max(rates)),
            "matrix_share": operations / median(seconds) / matrix_flop_per_s(device, precision),
            "launches": launches,
            "waits": waits,
            "peak_mib": peak_memory(device),
        }
    )


def no_speed(run: RunConfig, mode: Mode, refusal: str | None = None) -> StepSpeed:
    """Return that a step was not measured, and why."""
    return StepSpeed(
        method=run.method,
        backbone=run.backbone,
        batch_size=run.train.batch_size,
        precision=run.train.precision or "fp32",
        mode=mode,
        refusal=refusal,
    )


@cache
def matrix_flop_per_s(device: torch.device, precision: Precision) -> float:
    """Return the device's rate of matrix products in FLOP/s."""
    arithmetic = Arithmetic.of(device, precision, None)
    arithmetic.apply(1)
    return matrix_rate(arithmetic)()


def _repeated(step: Callable[[], None], device: torch.device) -> list[float]:
    once = timed(step, 1, device)
    # on an accelerator many steps are under way at once
    times = max(1, min(50, round(0.2 / once))) if device.type == "cuda" else max(1, min(3, round(0.1 / once)))
    return [timed(step, times, device) for _ in range(REPETITIONS)]


def _profiled(step: Callable[[], None], device: torch.device) -> tuple[int, bool]:
    """Return what a step launches, and whether it waits for the device."""
    cuda = device.type == "cuda"
    # where there is no accelerator the profiler's library complains of it
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as seen:
        step()
    counts = {event.key: event.count for event in seen.key_averages()}
    names = LAUNCHES if cuda else ("aten::",)
    launches = sum(count for name, count in counts.items() if name.startswith(names))
    return launches, any(counts.get(name) for name in WAITS)


# ---- an epoch, and the published runs ----


def epoch_overheads(workload: Workload, method: str, backbone: str, precision: Precision) -> EpochOverheads:
    """Measure a method's augmentation and evaluation beside its training step."""
    run = workload.run(method, backbone, precision)
    trainer = trainer_for(run, workload.shape, str(workload.device))
    device, shape = workload.device, workload.shape
    step, prepare = training_step(trainer), preparation(trainer)
    warm_up(trainer, step)
    for warmed_up in (prepare, trainer.evaluate):
        warmed_up()
    training, augmentation = (timed(action, 3, device) / workload.batch_size for action in (step, prepare))
    evaluation = timed(trainer.evaluate, 1, device) / len(trainer.test_labels)
    epoch = ImageCost(training + augmentation, evaluation).total(run, shape, 1)
    return EpochOverheads(
        method=method,
        backbone=backbone,
        augmentation_images_per_s=1 / augmentation,
        evaluation_images_per_s=1 / evaluation,
        augmentation_share=shape.train * augmentation / epoch,
        evaluation_share=shape.test * evaluation / epoch,
    )


def published_time(
    workload: Workload,
    steps: Sequence[StepSpeed],
    parallel: Sequence[ParallelSpeed],
    overheads: Sequence[EpochOverheads],
) -> PublishedTime:
    """Return what the published runs of the table's own method take at the measured rates.

    The time of one run is that of :class:`benchmark.speed.cost.ImageCost`; it is multiplied by the seeds, divided by
    the gain of as many runs at the same time as there are seeds, at most, and multiplied by the networks' MACs where
    another network was measured.

    Args:
        workload: What was measured.
        steps: Of any method and network; those of the table's own method count, on its network if it is among them.
        parallel: Runs at the same time; none: one after the other.
        overheads: Of the table's own method; none: neither augmentation nor evaluation is counted.
    """
    method, wanted, shape = workload.methods[0], workload.published_backbone, workload.shape
    own = [step for step in steps if step.method == method and step.images_per_s is not None]
    measured = {step.backbone for step in own}
    # of several smaller ones the first that was measured
    backbone = wanted if wanted in measured else next((name for name in workload.backbones if name in measured), wanted)
    run = workload.run(method, wanted, workload.precisions[0])
    factor = 1.0
    if backbone != wanted:
        other = workload.run(method, backbone, workload.precisions[0])
        factor = macs_per_image(run, shape).train / macs_per_image(other, shape).train
    beside = next((found for found in overheads if found.method == method), None)
    best = max(
        (found for found in parallel if found.runs <= workload.seeds), key=lambda found: found.gain, default=None
    )
    gains = {1: 1.0, **({best.runs: best.gain} if best else {})}
    times = []
    for step in own:
        if step.backbone == backbone and step.images_per_s is not None:
            seconds = ImageCost(1 / step.images_per_s.median, 0.0)
            if beside is not None:
                train = seconds.train + 1 / beside.augmentation_images_per_s
                seconds = ImageCost(train, 1 / beside.evaluation_images_per_s)
            for count, gain in gains.items():
                took = workload.seeds * factor * seconds.total(run, shape) / gain
                setting = {"precision": step.precision, "mode": step.mode, "parallel": count}
                times.append(SettingTime.model_validate({**setting, "seconds": took, "scaled": backbone != wanted}))
    times.sort(key=lambda time: time.seconds)
    return PublishedTime(method=method, backbone=wanted, epochs=run.train.epochs, seeds=workload.seeds, times=times)
