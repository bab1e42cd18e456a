"""The temporal mean of a network's weights."""

import math

import torch
from torch import Tensor, nn

from methods.schedules import ema_decay_at

__all__ = ["ema_decay_at", "ema_remarks", "longest_decay", "update_mean"]


@torch.no_grad()
def update_mean(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Move every parameter of the teacher: ``theta_t <- decay theta_t + (1 - decay) theta_s``, in place.

    Buffers stay as they are: the teacher keeps batch statistics of its own.

    Args:
        teacher: What is moved.
        student: A network of the same architecture.
        decay: In 0..1.
    """
    means: list[Tensor] = list(teacher.parameters())
    ends: list[Tensor] = list(student.parameters())
    torch._foreach_lerp_(means, ends, 1.0 - decay)


def longest_decay(steps: int) -> float:
    """Return the decay whose horizon of ``1 / (1 - decay)`` steps is a tenth of a run's steps, at least 0.

    It is rounded down to four decimals: a decay that is written as it is advised fits.
    """
    return max(0.0, math.floor(1e4 * (1.0 - 10.0 / steps)) / 1e4)


def ema_remarks(decay: float, steps: int) -> list[str]:
    """Return a line if the mean's horizon of ``1 / (1 - decay)`` steps is more than a tenth of the run's steps."""
    horizon = 1.0 / (1.0 - decay)
    if decay == 0 or horizon <= steps / 10:
        return []
    return [
        f"ema_decay {decay:g} has a horizon of {horizon:.0f} steps, more than a tenth of the run's {steps}: "
        f"the mean teacher lags behind (use: at most {longest_decay(steps):g})"
    ]
