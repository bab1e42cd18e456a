"""Ramp-ups, decays and the mean teacher's factors: pure functions of the epoch or step (0-based)."""

import math
from typing import Literal

Ramp = Literal["intended", "released", "none"]
Decay = Literal["exp", "linear", "cosine", "step", "constant", "none"]


def sigmoid_rampup(epoch: int, length: int) -> float:
    """The ramp-up ``exp(-5 (1 - min(e, L)/L)^2)``: 0.0067 at epoch 0, 1 from epoch L on; 1 throughout if L is 0.

    Source: Laine and Aila (2017), "Temporal Ensembling for Semi-Supervised Learning", section 3.
    """
    if length == 0:
        return 1.0
    return math.exp(-5.0 * (1.0 - min(epoch, length) / length) ** 2)


def released_rampup(epoch: int, length: int, weight: float) -> float:
    """The weighted ramp-up as PCL's reproduction and DKEL released it: divided by the weight, not by the length.

    ``w exp(-5 (1 - e/w)^2)`` up to and including epoch L, ``w`` afterwards. With the weight 0.1 that is practically
    zero from epoch 1 to L, and then a step (``src/losses/loss_wrapper.py:19-23``; docs/fidelity.md, D1 and P1).
    """
    if epoch > length or weight == 0:
        return weight
    return weight * math.exp(-5.0 * (1.0 - epoch / weight) ** 2)


def ramped_weight(ramp: Ramp, epoch: int, length: int, weight: float) -> float:
    """The weight of the distillation terms at an epoch under one of the three readings of the ramp-up."""
    if ramp == "released":
        return released_rampup(epoch, length, weight)
    return weight * (sigmoid_rampup(epoch, length) if ramp == "intended" else 1.0)


def decay_weight(decay: Decay, epoch: int, rate: float, floor: float, horizon: int) -> float:
    """The share of DKEL's decaying ensemble at an epoch, in [0, 1]; a share not above the floor counts as 0.

    ``exp``: ``exp(-rate e)``; ``linear``: ``1 - e/H``; ``cosine``: ``(1 + cos(pi e/H))/2``; ``step``: 1 before H and
    0 from there on; ``constant``: always 1 (the ensemble alone); ``none``: always 0 (the peers' teachers alone).

    Args:
        decay: The shape.
        epoch: 0-based.
        rate: Per epoch, for ``exp``.
        floor: What the share must exceed, in [0, 1).
        horizon: H in epochs, for ``linear``, ``cosine`` and ``step``.

    Source: DKEL's released code for ``exp`` (``src/losses/loss_wrapper.py``); the other shapes are this project's.
    """
    done = min(epoch / horizon, 1.0) if horizon else 1.0
    share = {
        "exp": math.exp(-rate * epoch),
        "linear": 1.0 - done,
        "cosine": (1.0 + math.cos(math.pi * done)) / 2.0,
        "step": float(epoch < horizon),
        "constant": 1.0,
        "none": 0.0,
    }[decay]
    return share if share > floor else 0.0


def ema_decay_at(step: int, decay: float, warmup: bool) -> float:
    """The factor ``a`` of ``teacher <- a teacher + (1 - a) student`` after optimiser step ``step`` (0-based).

    With the warm-up ``min(1 - 1/(step + 1), decay)``: 0 at the first step, which copies the student, and the uniform
    mean of all students until the decay is reached; without it, always ``decay``.

    Source: Tarvainen and Valpola (2017), "Mean teachers are better role models", and its released code.
    """
    return min(1.0 - 1.0 / (step + 1), decay) if warmup else decay
