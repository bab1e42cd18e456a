"""Ramp-ups, decays and the mean teacher's factors: pure functions of the epoch or step (0-based)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

INACTIVE_SHARE = 0.01
"""Of its weight that a term must exceed in some epoch; one that never does is inactive: without practical effect."""

Ramp = Literal["intended", "released", "none"]
Decay = Literal["exp", "linear", "cosine", "step", "constant", "none"]


@dataclass(frozen=True)
class Schedule:
    """How the weight of a loss term changes over a run: a constant times factors, epoch by epoch.

    Attributes:
        weight: The constant, which is the weight that the configuration states.
        factors: What each ramp-up or decay multiplies it by, by the factor's name, one number per epoch.
    """

    weight: float
    factors: Mapping[str, Sequence[float]]

    @property
    def product(self) -> list[float]:
        """The factors multiplied, an epoch each: the share of the weight that acts."""
        return [math.prod(values) for values in zip(*self.factors.values(), strict=True)]

    @property
    def values(self) -> list[float]:
        """The weight itself, an epoch each."""
        return [self.weight * share for share in self.product]

    @property
    def switched_off(self) -> bool:
        """Whether the configuration has no such term: its weight, or one factor by itself, is 0 throughout."""
        return self.weight == 0 or any(not any(values) for values in self.factors.values())

    @property
    def active(self) -> list[int]:
        """The epochs in which the term acts with more than :data:`INACTIVE_SHARE` of its weight."""
        return [epoch for epoch, share in enumerate(self.product) if share > INACTIVE_SHARE and self.weight > 0]


def inactive_terms(schedules: Mapping[str, Schedule]) -> list[str]:
    """Return the terms that the configuration has not switched off and that are active in no epoch."""
    return [name for name, schedule in schedules.items() if not schedule.switched_off and not schedule.active]


def schedule_remarks(schedules: Mapping[str, Schedule]) -> list[str]:
    """Return a line for each inactive term, one that never exceeds :data:`INACTIVE_SHARE` of its weight.

    A term that a configuration switches off, by a weight or a share of 0 throughout, is not meant to act.
    """
    lines = []
    active = {name: schedule.active for name, schedule in schedules.items() if schedule.active}
    for name in inactive_terms(schedules):
        shares = schedules[name].product
        peak = max(range(len(shares)), key=shares.__getitem__)
        others = ", ".join(f"{other} is active in {_spans(epochs)}" for other, epochs in active.items())
        beside = f", while {others}" if others else ", and so is all other distillation"
        lines.append(
            f"{name} is inactive: in {_spans(range(len(shares)))} it never exceeds {100 * INACTIVE_SHARE:g} % of its "
            f"weight {schedules[name].weight:g} (largest: {100 * shares[peak]:.2f} % in epoch {peak}){beside}"
        )
    return lines


def _spans(epochs: Sequence[int]) -> str:
    """Return ascending epochs as ``epoch 3`` or ``epochs 0-4, 81-299``."""
    starts = [epoch for index, epoch in enumerate(epochs) if index == 0 or epochs[index - 1] != epoch - 1]
    ends = [epoch for index, epoch in enumerate(epochs) if index == len(epochs) - 1 or epochs[index + 1] != epoch + 1]
    spans = [str(start) if start == end else f"{start}-{end}" for start, end in zip(starts, ends, strict=True)]
    return f"epoch{'s' if len(epochs) > 1 else ''} {', '.join(spans)}"


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
    return weight * _released_factor(epoch, length, weight)


def _released_factor(epoch: int, length: int, weight: float) -> float:
    if epoch > length or weight == 0:
        return 1.0
    return math.exp(-5.0 * (1.0 - epoch / weight) ** 2)


def ramp_factor(ramp: Ramp, epoch: int, length: int, weight: float) -> float:
    """What one of the three readings of the ramp-up multiplies the distillation terms' weight by at an epoch."""
    if ramp == "released":
        return _released_factor(epoch, length, weight)
    return sigmoid_rampup(epoch, length) if ramp == "intended" else 1.0


def ramped_weight(ramp: Ramp, epoch: int, length: int, weight: float) -> float:
    """The weight of a distillation term at an epoch under one of the three readings of the ramp-up."""
    return weight * ramp_factor(ramp, epoch, length, weight)


def rampup_schedules(length: int, epochs: int, *terms: str) -> dict[str, Schedule]:
    """The schedules of terms of weight 1 that follow :func:`sigmoid_rampup` alone."""
    rampup = [sigmoid_rampup(epoch, length) for epoch in range(epochs)]
    return {term: Schedule(1.0, {"ramp-up": rampup}) for term in terms}


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


def rate_to_floor(floor: float, horizon: int) -> float:
    """The rate r per epoch at which ``exp(-r e)`` has fallen to the floor at the horizon: ``-ln(floor) / H``.

    Args:
        floor: In [0, 1); 0 counts as :data:`INACTIVE_SHARE`, since an exponential never reaches 0.
        horizon: H in epochs; 0 counts as 1.
    """
    # a rounding further, so that at the horizon the share is not above the floor
    return -math.log(floor or INACTIVE_SHARE) / max(horizon, 1) * (1 + 1e-12)


def ema_decay_at(step: int, decay: float, warmup: bool) -> float:
    """The factor ``a`` of ``teacher <- a teacher + (1 - a) student`` after optimiser step ``step`` (0-based).

    With the warm-up ``min(1 - 1/(step + 1), decay)``: 0 at the first step, which copies the student, and the uniform
    mean of all students until the decay is reached; without it, always ``decay``.

    Source: Tarvainen and Valpola (2017), "Mean teachers are better role models", and its released code.
    """
    return min(1.0 - 1.0 / (step + 1), decay) if warmup else decay
