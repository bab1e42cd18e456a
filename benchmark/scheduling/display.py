"""How the runs get on, for a person who watches: a live table on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Union

from benchmark.configuration import RunConfig
from benchmark.consoles import Console
from benchmark.scheduling.tally import Tally, ending
from benchmark.store import Result
from benchmark.words import duration, say

if TYPE_CHECKING:
    from benchmark.scheduling.live_display import LiveDisplay

PLAIN_INTERVAL_S = 60.0


class PlainDisplay:
    """A line when a run begins and ends, and one a minute in between."""

    def __init__(self, total: int, console: Console, name: Callable[[RunConfig], str]) -> None:
        self.tally = Tally(total)
        self.console = console
        self.name = name
        self.spoken: dict[str, float] = {}

    def __enter__(self) -> "PlainDisplay":
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is left to clear."""

    def started(self, run: RunConfig) -> None:
        """A run has begun."""
        self.tally.started(run)
        self.spoken[run.identity] = self.tally.clock()
        self._say(f"started   {self.name(run)}")

    def note(self, run: RunConfig, line: str) -> None:
        """There is something to say of a run."""
        self._say(f"note      {self.name(run)}: {line}")

    def epoch(self, run: RunConfig, row: Mapping[str, float]) -> None:
        """A run has finished an epoch."""
        self.tally.epoch(run, row)
        now = self.tally.clock()
        state = self.tally.running[run.identity]
        if now - self.spoken.get(run.identity, now) >= PLAIN_INTERVAL_S:
            self.spoken[run.identity] = now
            left = duration(state.seconds_left(now))
            accuracy = "" if state.student is None else f", {state.student:.2f} %"
            self._say(f"running   {self.name(run)}: epoch {state.epochs}/{run.train.epochs}{accuracy}, {left} left")

    def ended(self, run: RunConfig, result: Result) -> None:
        """A run has ended."""
        self._say(ending(self.name(run), result, self.tally.end(run, result), self.tally))

    def _say(self, line: str) -> None:
        say(self.console, line)


Display = Union["LiveDisplay", PlainDisplay]


def display(total: int, console: Console, name: Callable[[RunConfig], str] = attrgetter("label")) -> Display:
    """Return the display that fits the console.

    Args:
        total: How many runs there are.
        console: Where it is shown.
        name: What a run is called there.
    """
    if not console.is_terminal:
        return PlainDisplay(total, console, name)
    from rich.console import Console as RichConsole

    from benchmark.scheduling.live_display import LiveDisplay

    return LiveDisplay(total, console, name) if isinstance(console, RichConsole) else PlainDisplay(total, console, name)
