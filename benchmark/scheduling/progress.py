"""How the runs get on: who is told of it, and the displays: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console

from benchmark.configuration import RunConfig
from benchmark.console import say
from benchmark.escaping import visible
from benchmark.formatting import duration
from benchmark.store import Result, Status

if TYPE_CHECKING:
    from rich.console import Group

    from benchmark.training import Row

PLAIN_INTERVAL_S = 60.0


class Observer(Protocol):
    """What an engine tells of its runs."""

    def started(self, run: RunConfig) -> None:
        """A run has begun."""

    def note(self, run: RunConfig, line: str) -> None:
        """There is something to say of a run."""

    def epoch(self, run: RunConfig, row: "Row") -> None:
        """A run has finished an epoch."""

    def ended(self, run: RunConfig, result: Result) -> None:
        """A run has ended, well or not."""


@dataclass
class Running:
    """A run under way."""

    run: RunConfig
    begun: float
    epochs: int = 0
    student: float | None = None

    def accuracy(self) -> str:
        """Return the last accuracy; nothing before there is one."""
        return "" if self.student is None else f"{self.student:.2f} %"

    def time_left(self, now: float) -> str:
        """Return the time left at the speed so far."""
        if not self.epochs:
            return duration(None)
        return duration((now - self.begun) / self.epochs * (self.run.train.epochs - self.epochs))


class PlainDisplay:
    """A line when a run begins and ends, and one a minute in between.

    Attributes:
        running: The runs under way, by identity.
        failed: How many ended without a result.
    """

    begins_with_a_line = True

    def __init__(
        self,
        total: int,
        console: Console,
        name: Callable[[RunConfig], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.console = console
        self.name = name
        self.clock = clock
        self.running: dict[str, Running] = {}
        self.number_ended = 0
        self.failed = 0
        self._spoken: dict[str, float] = {}

    def __enter__(self) -> "PlainDisplay":
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is left to clear."""

    def started(self, run: RunConfig) -> None:
        """A run has begun."""
        now = self._spoken[run.identity] = self.clock()
        self.running[run.identity] = Running(run, now)
        if self.begins_with_a_line:
            say(self.console, f"started   {self.name(run)}")

    def note(self, run: RunConfig, line: str) -> None:
        """There is something to say of a run."""
        say(self.console, f"note      {self.name(run)}: {line}")

    def epoch(self, run: RunConfig, row: Mapping[str, float]) -> None:
        """A run has finished an epoch."""
        now = self.clock()
        state = self.running.setdefault(run.identity, Running(run, now))
        state.epochs = int(row["epoch"]) + 1
        state.student = row.get("student", state.student)
        if self.begins_with_a_line and now - self._spoken.get(run.identity, now) >= PLAIN_INTERVAL_S:
            self._spoken[run.identity] = now
            parts = [f"epoch {state.epochs}/{run.train.epochs}", state.accuracy(), f"{state.time_left(now)} left"]
            say(self.console, f"running   {self.name(run)}: {', '.join(filter(None, parts))}")

    def ended(self, run: RunConfig, result: Result) -> None:
        """A run has ended."""
        state = self.running.pop(run.identity, None)
        self.number_ended += 1
        self.failed += result.status not in (Status.FINISHED, Status.UNFINISHED)
        parts = [self.name(run), state.accuracy() if state else "", result.reason]
        took = f"({duration(result.seconds)}, {self.number_ended} of {self.total})"
        say(self.console, f"{result.status:<9} {': '.join(filter(None, parts))} {took}")


class LiveDisplay(PlainDisplay):
    """A table of the runs under way that renews itself in place; Rich is installed."""

    begins_with_a_line = False

    def __init__(self, total: int, console: Any, name: Callable[[RunConfig], str]) -> None:
        from rich.live import Live

        super().__init__(total, console, name)
        self.live = Live(get_renderable=self.table, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "LiveDisplay":
        self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()

    def table(self) -> "Group":
        """Return what is shown now."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = self.clock()
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("run", "epoch", "", "student", "left"):
            table.add_column(heading, justify="left" if heading in ("run", "") else "right", no_wrap=True)
        for state in tuple(self.running.values()):
            epochs = state.run.train.epochs
            table.add_row(
                # a string would be markup of Rich's
                Text(visible(self.name(state.run))),
                f"{state.epochs}/{epochs}",
                ProgressBar(total=epochs, completed=state.epochs, width=20),
                state.accuracy(),
                state.time_left(now),
            )
        failed = f", {self.failed} failed" if self.failed else ""
        return Group(table, Text(f"{self.number_ended} of {self.total} runs ended{failed}"))


def display(total: int, console: Console, name: Callable[[RunConfig], str] = attrgetter("label")) -> PlainDisplay:
    """Return the display that fits the console.

    Args:
        total: How many runs there are.
        console: Where it is shown.
        name: What a run is called there.
    """
    if console.is_terminal:
        from rich.console import Console as RichConsole

        if isinstance(console, RichConsole):
            return LiveDisplay(total, console, name)
    return PlainDisplay(total, console, name)
