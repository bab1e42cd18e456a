"""How the runs get on: what an engine tells of them, and the display: a live table on a terminal, else plain lines."""

import time
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from benchmark.configuration import RunConfig
from benchmark.console import say
from benchmark.escaping import visible
from benchmark.formatting import duration
from benchmark.store import Result, Status

if TYPE_CHECKING:
    from rich.console import Console

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


class Display:
    """A line when a run begins and ends, and one per minute in between; on a terminal a live table of the runs.

    There are ``total`` runs, and ``name`` says what one is called.
    """

    def __init__(self, total: int, console: "Console", name: Callable[[RunConfig], str] = attrgetter("label")) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

        self.total, self.console, self.name = total, console, name
        # a string would be markup of Rich's, and an epoch may take longer than what its speed is estimated from
        names, students = (TextColumn(form, markup=False) for form in ("{task.description}", "{task.fields[student]}"))
        self.progress = Progress(
            *(names, MofNCompleteColumn(), BarColumn(20), students, TimeRemainingColumn()),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            speed_estimate_period=float("inf"),
        )
        self.all_runs = self.progress.add_task("runs ended", total=total, student="")
        self._tasks: dict[str, TaskID] = {}
        self._spoken: dict[str, float] = {}
        self._students: dict[str, str] = {}
        self._ended = self._failed = 0

    def __enter__(self) -> "Display":
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def started(self, run: RunConfig) -> None:
        """Show a run that has begun."""
        self._tasks[run.identity] = self.progress.add_task(visible(self.name(run)), total=run.train.epochs, student="")
        self._spoken[run.identity] = time.monotonic()
        if self.progress.disable:
            say(self.console, f"started   {self.name(run)}")

    def note(self, run: RunConfig, line: str) -> None:
        """Show what there is to say of a run."""
        say(self.console, f"note      {self.name(run)}: {line}")

    def epoch(self, run: RunConfig, row: Mapping[str, float]) -> None:
        """Show the end of an epoch."""
        if run.identity not in self._tasks:
            self.started(run)
        number, epochs = self._tasks[run.identity], int(row["epoch"]) + 1
        if (accuracy := row.get("student")) is not None:
            self._students[run.identity] = f"{accuracy:.2f} %"
        student = self._students.get(run.identity, "")
        self.progress.update(number, completed=epochs, student=student)
        if self.progress.disable and time.monotonic() - self._spoken[run.identity] >= PLAIN_INTERVAL_S:
            self._spoken[run.identity] = time.monotonic()
            left = next(task.time_remaining for task in self.progress.tasks if task.id == number)
            parts = [f"epoch {epochs}/{run.train.epochs}", student, f"{duration(left)} left"]
            say(self.console, f"running   {self.name(run)}: {', '.join(filter(None, parts))}")

    def ended(self, run: RunConfig, result: Result) -> None:
        """Show how a run ended."""
        parts = [self.name(run), self._students.pop(run.identity, ""), result.reason]
        if (number := self._tasks.pop(run.identity, None)) is not None:
            self.progress.remove_task(number)
        self._ended += 1
        self._failed += result.status not in (Status.FINISHED, Status.UNFINISHED)
        failed = f"{self._failed} failed" if self._failed else ""
        self.progress.update(self.all_runs, completed=self._ended, student=failed)
        took = f"({duration(result.seconds)}, {self._ended} of {self.total})"
        say(self.console, f"{result.status:<9} {': '.join(filter(None, parts))} {took}")
