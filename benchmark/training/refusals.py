"""Whether the networks that runs ask for can be made, before any of them begins."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from benchmark.configuration import RunConfig
from benchmark.datasets import Shape
from benchmark.training.drawing import draw_method
from methods import backbones
from methods.errors import InputError


def check_networks(runs: Iterable[RunConfig], shapes: Mapping[str, Shape], plugins: Sequence[str | Path] = ()) -> None:
    """Raise an InputError if a network does not take a run's images, or has no stages where its method needs them.

    Args:
        runs: What is to be carried out.
        shapes: Of the data sets by name.
        plugins: Python files that define further methods or backbones.
    """
    made: dict[tuple[str, Shape], bool] = {}
    tried: set[tuple[str, str, Shape]] = set()
    for run in runs:
        shape = shapes[run.dataset]
        for part in run.backbone.split("+"):
            if (part, shape) not in made:
                made[part, shape] = _is_cut(part, shape, plugins)
        whole = any(not made[part, shape] for part in run.backbone.split("+"))
        if whole and (run.method, run.backbone, shape) not in tried:
            tried.add((run.method, run.backbone, shape))
            with torch.device("meta"):
                draw_method(run, shape, plugins)


def _is_cut(name: str, shape: Shape, plugins: Sequence[str | Path]) -> bool:
    backbone = backbones.make(name, shape.num_classes, shape.in_channels, shape.image_size, plugins)
    try:
        backbone.split()
    except InputError:
        return False
    return True
