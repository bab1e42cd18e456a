"""What a method declares of its predictors and of the numbers that it records; without torch."""

import re
from dataclasses import dataclass
from typing import Literal

from methods.errors import InputError

Role = Literal["peer", "teacher", "ensemble", "other"]
"""What a predictor is in its method. Whether it may be deployed is another question: that makes it a student."""


@dataclass(frozen=True)
class MethodMetric:
    """A number that a method records after each epoch (``Method.scores``).

    Attributes:
        name: As tables and the command line have it: lower case words joined by ``-``.
        description: What it is, for notes and help.
        unit: ``%``, ``nats``, ...; empty for a pure number.
        key: Its name in ``Method.scores``; empty for ``name`` itself.
        low: Its lowest possible value; None for none.
        high: Its highest possible value; None for none.
        better: Which end is better; None where neither is.
        decimals: Places that it is shown with.
    """

    name: str
    description: str
    unit: str = ""
    key: str = ""
    low: float | None = None
    high: float | None = None
    better: Literal["high", "low"] | None = None
    decimals: int = 3

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise InputError(f"a metric's name is lower case words joined by '-' (given: {self.name!r})")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise InputError(f"the range of the metric {self.name!r} is empty ({self.low:g} to {self.high:g})")
