"""A run's method with its initial weights."""

from collections.abc import Sequence
from pathlib import Path

import torch

import methods
from benchmark.configuration import RunConfig
from benchmark.datasets import Shape
from benchmark.training.randomness import axis_seed


def draw_method(config: RunConfig, shape: Shape, plugins: Sequence[str | Path] = ()) -> methods.Method:
    """Return a run's method with its initial weights, drawn from an axis of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(axis_seed(config.seed, "weights"))
        return methods.build(
            config.method,
            backbone=config.backbone,
            num_classes=shape.num_classes,
            in_channels=shape.in_channels,
            image_size=shape.image_size,
            plugins=plugins,
            **config.hyperparameters,
        )
