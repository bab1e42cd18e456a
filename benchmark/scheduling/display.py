"""How the runs get on, for a person who watches: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmark.configuration import RunConfig
from benchmark.store import Result, Status
from benchmark.words import duration

PLAIN_INTERVAL_S = 60.0


@dataclass
class _Running:
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
    running: dict[str, _Running] = field(default_factory=dict)
    ended: int = 0
    failed: int = 0

    def started(self, run: RunConfig) -> None:
        """A run has begun."""
        self.running[run.identity] = _Running(run, self.clock())

    def epoch(self, run: RunConfig, row: Mapping[str, float]) -> None:
        """A run has finished an epoch."""
        state = self.running.setdefault(run.identity, _Running(run, self.clock()))
        state.epochs = int(row["epoch"]) + 1
        state.student = row.get("student", state.student)

    def end(self, run: RunConfig, result: Result) -> float | None:
        """A run has ended; return its last accuracy."""
        state = self.running.pop(run.identity, None)
        self.ended += 1
        self.failed += result.status not in (Status.FINISHED, Status.UNFINISHED)
        return state.student if state else None


class LiveDisplay:
    """A table of the running trials that renews itself in place."""

    def __init__(self, total: int, console: Console) -> None:
        self.tally = Tally(total)
        self.console = console
        self.live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "LiveDisplay":
        self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()

    def started(self, run: RunConfig) -> None:
        """A run has begun."""
        self.tally.started(run)

    def note(self, run: RunConfig, line: str) -> None:
        """There is something to say of a run."""
        self.console.print(f"note      {run.label}: {line}", highlight=False, markup=False, soft_wrap=True)

    def epoch(self, run: RunConfig, row: Mapping[str, float]) -> None:
        """A run has finished an epoch."""
        self.tally.epoch(run, row)

    def ended(self, run: RunConfig, result: Result) -> None:
        """A run has ended."""
        self.console.print(_ending(run, result, self.tally.end(run, result), self.tally), highlight=False, markup=False)

    def _draw(self) -> Group:
        now = self.tally.clock()
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("run", "epoch", "", "student", "left"):
            table.add_column(heading, justify="left" if heading in ("run", "") else "right", no_wrap=True)
        for state in tuple(self.tally.running.values()):
            epochs = state.run.train.epochs
            table.add_row(
                state.run.label,
                f"{state.epochs}/{epochs}",
                ProgressBar(total=epochs, completed=state.epochs, width=20),
                "" if state.student is None else f"{state.student:.2f} %",
                duration(state.seconds_left(now)),
            )
        failed = f", {self.tally.failed} failed" if self.tally.failed else ""
        return Group(table, Text(f"{self.tally.ended} of {self.tally.total} runs ended{failed}"))


class PlainDisplay:
    """A line when a run begins and ends, and one a minute in between."""

    def __init__(self, total: int, console: Console) -> None:
        self.tally = Tally(total)
        self.console = console
        self.spoken: dict[str, float] = {}

    def __enter__(self) -> "PlainDisplay":
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is left to clear."""

    def started(self, run: RunConfig) -> None:
        """A run has begun."""
        self.tally.started(run)
        self.spoken[run.identity] = self.tally.clock()
        self._say(f"started   {run.label}")

    def note(self, run: RunConfig, line: str) -> None:
        """There is something to say of a run."""
        self._say(f"note      {run.label}: {line}")

    def epoch(self, run: RunConfig, row: Mapping[str, float]) -> None:
        """A run has finished an epoch."""
        self.tally.epoch(run, row)
        now = self.tally.clock()
        state = self.tally.running[run.identity]
        if now - self.spoken.get(run.identity, now) >= PLAIN_INTERVAL_S:
            self.spoken[run.identity] = now
            left = duration(state.seconds_left(now))
            accuracy = "" if state.student is None else f", {state.student:.2f} %"
            self._say(f"running   {run.label}: epoch {state.epochs}/{run.train.epochs}{accuracy}, {left} left")

    def ended(self, run: RunConfig, result: Result) -> None:
        """A run has ended."""
        self._say(_ending(run, result, self.tally.end(run, result), self.tally))

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


Display = LiveDisplay | PlainDisplay


def display(total: int, console: Console) -> Display:
    """Return the display that fits the console."""
    return LiveDisplay(total, console) if console.is_terminal else PlainDisplay(total, console)


def _ending(run: RunConfig, result: Result, student: float | None, tally: Tally) -> str:
    accuracy = f": {student:.2f} %" if student is not None else ""
    reason = f": {result.reason}" if result.reason else ""
    took = duration(result.seconds)
    return f"{result.status:<9} {run.label}{accuracy}{reason} ({took}, {tally.ended} of {tally.total})"
