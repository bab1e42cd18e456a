"""How the runs get on, in a table on a terminal that renews itself."""

from collections.abc import Callable, Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmark.configuration import RunConfig
from benchmark.escaping import visible
from benchmark.scheduling.tally import Tally, ending
from benchmark.store import Result
from benchmark.words import duration, say


class LiveDisplay:
    """A table of the running trials that renews itself in place."""

    def __init__(self, total: int, console: Console, name: Callable[[RunConfig], str]) -> None:
        self.tally = Tally(total)
        self.console = console
        self.name = name
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
        say(self.console, f"note      {self.name(run)}: {line}")

    def epoch(self, run: RunConfig, row: Mapping[str, float]) -> None:
        """A run has finished an epoch."""
        self.tally.epoch(run, row)

    def ended(self, run: RunConfig, result: Result) -> None:
        """A run has ended."""
        say(self.console, ending(self.name(run), result, self.tally.end(run, result), self.tally))

    def _draw(self) -> Group:
        now = self.tally.clock()
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("run", "epoch", "", "student", "left"):
            table.add_column(heading, justify="left" if heading in ("run", "") else "right", no_wrap=True)
        for state in tuple(self.tally.running.values()):
            epochs = state.run.train.epochs
            table.add_row(
                # a string would be markup of Rich's
                Text(visible(self.name(state.run))),
                f"{state.epochs}/{epochs}",
                ProgressBar(total=epochs, completed=state.epochs, width=20),
                "" if state.student is None else f"{state.student:.2f} %",
                duration(state.seconds_left(now)),
            )
        failed = f", {self.tally.failed} failed" if self.tally.failed else ""
        return Group(table, Text(f"{self.tally.ended} of {self.tally.total} runs ended{failed}"))
