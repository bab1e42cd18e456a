"""Whoever wants to know how the runs get on."""

from typing import TYPE_CHECKING, Protocol

from benchmark.configuration import RunConfig
from benchmark.store import Result

if TYPE_CHECKING:
    from benchmark.training import Row


class Observer(Protocol):
    """Whoever wants to know how the runs get on."""

    def started(self, run: RunConfig) -> None:
        """A run has begun."""

    def note(self, run: RunConfig, line: str) -> None:
        """There is something to say of a run."""

    def epoch(self, run: RunConfig, row: "Row") -> None:
        """A run has finished an epoch."""

    def ended(self, run: RunConfig, result: Result) -> None:
        """A run has ended, well or not."""
