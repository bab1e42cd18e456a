"""How the runs of a command get on, in numbers: what every display shows."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmark.configuration import RunConfig
from benchmark.store import Result, Status
from benchmark.words import duration


@dataclass
class Running:
    """A run under way."""

    run: RunConfig
    begun: float
    epochs: int = 0
    student: float | None = None

    def seconds_left(self, now: float) -> float | None:
        """Return the time left at the pace so far."""
        if not self.epochs:
            return None
        return (now - self.begun) / self.epochs * (self.run.train.epochs - self.epochs)


@dataclass
class Tally:
    """The state of all runs of a command; both displays draw from it."""

    total: int
    clock: Callable[[], float] = time.monotonic
    running: dict[str, Running] = field(default_factory=dict)
    ended: int = 0
    failed: int = 0

    def started(self, run: RunConfig) -> None:
        """A run has begun."""
        self.running[run.identity] = Running(run, self.clock())

    def epoch(self, run: RunConfig, row: Mapping[str, float]) -> None:
        """A run has finished an epoch."""
        state = self.running.setdefault(run.identity, Running(run, self.clock()))
        state.epochs = int(row["epoch"]) + 1
        state.student = row.get("student", state.student)

    def end(self, run: RunConfig, result: Result) -> float | None:
        """A run has ended; return its last accuracy."""
        state = self.running.pop(run.identity, None)
        self.ended += 1
        self.failed += result.status not in (Status.FINISHED, Status.UNFINISHED)
        return state.student if state else None


def ending(name: str, result: Result, student: float | None, tally: Tally) -> str:
    """Return the line that says how a run ended."""
    accuracy = f": {student:.2f} %" if student is not None else ""
    reason = f": {result.reason}" if result.reason else ""
    took = duration(result.seconds)
    return f"{result.status:<9} {name}{accuracy}{reason} ({took}, {tally.ended} of {tally.total})"
