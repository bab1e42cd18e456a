"""Numbers that change over a run as tensors on the device, so that a recorded step can be replayed with new ones."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from methods import Progress

_FIELDS = frozenset(field.name for field in fields(Progress))


class UnrecordableError(RuntimeError):
    """A method does something in its step that a replay would not do again."""


class DeviceScalars:
    """The scheduled numbers of one step, in the order in which they are asked for.

    Each is a float64 tensor of no axes: beside tensors of other precisions it counts as a Python number does, so that a
    step computes the same with it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._known: list[tuple[Tensor, Callable[[Progress], float]]] = []
        self._asked = 0
        self._now: Progress | None = None

    def begin(self, now: Progress) -> "ScheduledProgress":
        """Begin a step: renew the numbers that are known, and return what the method is given as its progress."""
        for tensor, value in self._known:
            # a launch with the number in it: nothing is copied from the host
            tensor.fill_(value(now))
        self._asked = 0
        self._now = now
        return ScheduledProgress(self)

    def tensor(self, value: Callable[[Progress], float]) -> Tensor:
        """Return the tensor of the next number that the step asks for."""
        if self._now is None:
            raise UnrecordableError("a scheduled number was asked for before the first step")
        if self._asked == len(self._known):
            first = torch.full((), value(self._now), dtype=torch.float64, device=self._device)
            self._known.append((first, value))
        else:
            # the closure of this step: it may hold more than the one before
            self._known[self._asked] = (self._known[self._asked][0], value)
        self._asked += 1
        return self._known[self._asked - 1][0]


class ScheduledProgress(Progress):
    """A progress that is asked for scheduled numbers alone: a replay would repeat every other one."""

    def __init__(self, scalars: DeviceScalars) -> None:
        # the fields of its base are refused below, and are never set
        object.__setattr__(self, "_scalars", scalars)

    def scheduled(self, value: Callable[[Progress], float]) -> Tensor:
        """Return a tensor of the number, which later steps renew."""
        scalars: DeviceScalars = object.__getattribute__(self, "_scalars")
        return scalars.tensor(value)

    def __getattribute__(self, name: str) -> Any:
        if name in _FIELDS:
            raise UnrecordableError(f"it reads progress.{name} in its step")
        return object.__getattribute__(self, name)
