"""Whether runs can be carried out, as far as that can be told before any of them begins."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmark.configuration import RunConfig
from benchmark.datasets import Shape
from benchmark.training.drawing import draw_method
from methods import Method, Progress, backbones
from methods.errors import InputError
from methods.objectives import soft_labels


def check_networks(runs: Iterable[RunConfig], shapes: Mapping[str, Shape], plugins: Sequence[str | Path] = ()) -> None:
    """Refuse networks that do not take a run's images, or have no stages or deeper form where the method needs them.

    Args:
        runs: What is to be carried out.
        shapes: Of the data sets by name.
        plugins: Python files that define further methods or backbones.

    Raises:
        InputError: For the first that is refused.
    """
    tried: set[tuple[str, str, Shape]] = set()
    for run in runs:
        shape = shapes[run.dataset]
        # the catalogue's networks go with every method, and only the images may be too small for them
        brought = any(":" in part or backbones.describe(part, plugins).plugin for part in run.backbone.split("+"))
        key = (run.method if brought else "", run.backbone, shape)
        if key in tried:
            continue
        tried.add(key)
        if brought:
            with torch.device("meta"):
                draw_method(run, shape, plugins)
        for part in run.backbone.split("+"):
            backbones.make(part, shape.num_classes, shape.in_channels, shape.image_size, plugins)


def check_labels(runs: Iterable[RunConfig], shapes: Mapping[str, Shape], plugins: Sequence[str | Path] = ()) -> None:
    """Refuse smoothed or mixed labels where a plug-in's losses take class indices alone.

    Its losses are computed once for class indices and once for probabilities, without numbers where that is possible.

    Args:
        runs: What is to be carried out.
        shapes: Of the data sets by name.
        plugins: Python files that define further methods or backbones.

    Raises:
        InputError: For the first that is refused.
    """
    tried: set[tuple[object, ...]] = set()
    for run in runs:
        key = (run.method, run.backbone, run.dataset, repr(run.hyperparameters))
        # the methods of the house are tested with both
        if not run.soft_labels or "method" not in run.sources or key in tried:
            continue
        tried.add(key)
        if fault := _refused_probabilities(run, shapes[run.dataset], plugins):
            setting = "data.mix" if run.data.mix != "none" else "train.label_smoothing"
            raise InputError(
                f"{setting}: the losses of {run.method} take no probabilities as labels ({fault}); "
                "methods.objectives has cross_entropy and hard_labels, which do"
            )


def _refused_probabilities(run: RunConfig, shape: Shape, plugins: Sequence[str | Path]) -> str | None:
    """Return how a method fails with labels that are probabilities; None if it does not, or not for that reason."""
    # the meta device has no autocast, for example, and no values to branch on
    for device in ("meta", "cpu"):
        with torch.random.fork_rng(devices=[]), torch.device(device):
            method = draw_method(run, shape, plugins)
            views = torch.zeros(method.views, 2, shape.in_channels, shape.image_size, shape.image_size)
            indices = torch.zeros(2, dtype=torch.int64)
            if not _fault(method, views, indices):
                return _fault(method, views, soft_labels(indices, shape.num_classes))
    return None


def _fault(method: Method, views: Tensor, labels: Tensor) -> str | None:
    """Return how a method fails to give losses for some labels, on one line; None if it does give them."""
    try:
        method.losses(method(views), labels, Progress(0, 0, 1))
    except Exception as error:
        # a plug-in may raise anything
        return f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
    return None
