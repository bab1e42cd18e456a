"""Whether the networks that runs ask for can be made, before any of them begins."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from benchmark.configuration import RunConfig
from benchmark.datasets import Shape
from benchmark.training.drawing import draw_method
from methods import backbones


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
