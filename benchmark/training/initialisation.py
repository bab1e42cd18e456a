"""Seeds and initial weights, and whether runs can be carried out, as far as that can be told before any begins."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import torch

import methods
from benchmark.configuration import RunConfig
from benchmark.datasets import Shape
from methods import Progress, backbones
from methods.errors import InputError
from methods.objectives import soft_labels
from methods.plugins import reason_of

Answer = TypeVar("Answer")


def axis_seed(seed: int, axis: str, *position: int) -> int:
    """Return the seed of one use of randomness in a run: each has one of its own, so that none disturbs another.

    An axis is a use, such as ``weights`` or ``order``; the position is where within it, such as the epoch.
    """
    text = "/".join(map(str, (seed, axis, *position)))
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, axis: str, *position: int) -> torch.Generator:
    """Return a CPU generator for one use; sampling on the CPU makes the numbers the same on every device."""
    return torch.Generator().manual_seed(axis_seed(seed, axis, *position))


@contextmanager
def seeded_by(seed: int) -> Iterator[None]:
    """Seed torch's own generator of the CPU, for what knows no other; afterwards it is as it was."""
    with torch.random.fork_rng(devices=[]):
        # not torch.manual_seed, which seeds the CUDA devices too
        torch.default_generator.manual_seed(seed)
        yield


def initialise_method(config: RunConfig, shape: Shape, plugins: Sequence[str | Path] = ()) -> methods.Method:
    """Return a run's method with its initial weights, which have a seed of their own."""
    with seeded_by(axis_seed(config.seed, "weights")):
        return methods.build(
            config.method,
            backbone=config.backbone,
            num_classes=shape.num_classes,
            in_channels=shape.in_channels,
            image_size=shape.image_size,
            plugins=plugins,
            **methods.restored(config.method, config.hyperparameters, plugins),
        )


def without_values(action: Callable[[], Answer]) -> Answer:
    """Return what an action, which makes tensors on the default device, gives on the meta device, else on the CPU.

    A method may ask for values to branch on, which the meta device has not. Torch's generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return action()
        except Exception:
            with torch.device("cpu"):
                return action()


# ---- before any run begins ----


def check_networks(runs: Iterable[RunConfig], shapes: Mapping[str, Shape], plugins: Sequence[str | Path] = ()) -> None:
    """Raise an InputError for networks that do not take a run's images, or lack stages that the method needs."""
    tried: set[tuple[str, str, Shape]] = set()
    for run in runs:
        shape, parts = shapes[run.dataset], run.backbone.split("+")
        # the catalogue's networks go with every method, and only the images may be too small for them
        brought = any(":" in part or backbones.describe(part, plugins).plugin for part in parts)
        key = (run.method if brought else "", run.backbone, shape)
        if key in tried:
            continue
        tried.add(key)
        if brought:
            with torch.device("meta"):
                initialise_method(run, shape, plugins)
        for part in parts:
            backbones.make(part, shape.num_classes, shape.in_channels, shape.image_size, plugins)


def check_labels(runs: Iterable[RunConfig], shapes: Mapping[str, Shape], plugins: Sequence[str | Path] = ()) -> None:
    """Refuse smoothed or mixed labels where a plug-in's losses take class indices alone.

    Its losses are computed once for class indices and once for probabilities, without values where that is possible.
    Arguments and errors are those of :func:`check_networks`.
    """
    # the methods of this package are tested with both
    kinds = {
        (run.method, run.backbone, run.dataset, repr(run.hyperparameters)): run
        for run in runs
        if run.soft_labels and "method" in run.sources
    }
    for run in kinds.values():
        if fault := _refused_probabilities(run, shapes[run.dataset], plugins):
            setting = "data.mix" if run.data.mix != "none" else "train.label_smoothing"
            raise InputError(
                f"{setting}: the losses of {run.method} take no probabilities as labels ({fault}); "
                "methods.objectives has cross_entropy and hard_labels, which do"
            )


def _refused_probabilities(run: RunConfig, shape: Shape, plugins: Sequence[str | Path]) -> str | None:
    """Return how a method fails with labels that are probabilities; None if it does not, or not for that reason."""

    def fault() -> str | None:
        method = initialise_method(run, shape, plugins)
        outputs = method(torch.zeros(method.views, 2, shape.in_channels, shape.image_size, shape.image_size))
        indices = torch.zeros(2, dtype=torch.int64)
        method.losses(outputs, indices, Progress(0, 0, 1))
        try:
            method.losses(outputs, soft_labels(indices, shape.num_classes), Progress(0, 0, 1))
        except Exception as error:
            return reason_of(error)
        return None

    # one that fails with class indices too says so in its run
    with suppress(Exception):
        return without_values(fault)
    return None
