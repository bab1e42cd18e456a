"""A run's method with its initial weights, and what can be told of it before it trains."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

import methods
from benchmark.configuration import RunConfig
from benchmark.datasets import Shape
from benchmark.training.meta import on_meta
from benchmark.training.randomness import axis_seed

Answer = TypeVar("Answer")


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
            **methods.restored(config.method, config.hyperparameters, plugins),
        )


def without_numbers(action: Callable[[], Answer]) -> Answer:
    """Return what an action gives on the meta device, where nothing is computed, or where that fails on the CPU.

    A method may ask for values to branch on, which the meta device has not. Torch's generator is left as it was.

    Args:
        action: Makes its tensors on the default device.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with on_meta():
                return action()
        except Exception:
            with torch.device("cpu"):
                return action()
