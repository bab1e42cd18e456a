"""``bench run --suite``: the runs of a declared comparison, task by task, and its table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from benchmark.configuration import EQUAL_EPOCHS, RunConfig, Suite, suites
from benchmark.console import say
from benchmark.formatting import duration
from benchmark.running import batch, command as commands, forecast
from benchmark.store import load
from benchmark.tables import (
    TableFilter,
    TableStyle,
    build,
    declaration,
    footnotes,
    keep_plan,
    rendered,
    stored_plans,
)
from methods.errors import InputError

DECLARED = ("methods", "variants", "dataset", "backbone", "seeds", "epochs", "equal_cost", "cost", "budget")
"""Options that a suite declares itself."""


class SuiteRun:
    """A suite with the commands that its parts are.

    Attributes:
        name: Of the suite.
        suite: The declaration.
        parts: For each task and budget what it is called and its command.
        left_out: The tasks that cannot be planned here, such as those whose dataset is not there, and why.
    """

    def __init__(
        self,
        name: str,
        flags: Mapping[str, Any],
        plugins: tuple[str, ...],
        force: bool,
        begun: float | None,
        fetch: bool,
    ) -> None:
        """Resolve the runs of a suite.

        Raises:
            InputError: If there is no such suite, or an option says what the suite declares.
        """
        if given := next((key for key in flags if key in DECLARED or isinstance(flags[key], dict)), None):
            raise InputError(f"--suite {name} declares {given.replace('_', '-')} itself: leave it out")
        self.name = name
        self.suite: Suite = suites.read(name)
        self.parts: list[tuple[str, commands.Command]] = []
        self.left_out: dict[str, InputError] = {}
        for title, layers in self.suite.requests():
            try:
                part = commands.prepare([*layers, dict(flags)], plugins, force, begun, fetch)
            except InputError as error:
                self.left_out[title] = error
            else:
                self.parts.append((title, part))
        if not self.parts:
            raise next(iter(self.left_out.values()))

    def carry_out(self, console: Console) -> bool:
        """Carry out what is missing and print the table; return whether all runs that this took are finished.

        A task whose dataset cannot be had is left out and named. Where the suite has looks, a method that is decided
        gets no more seeds.

        Raises:
            TryAgainError: If the command's time was up before that.
        """
        complete = True
        if self.suite.looks:
            folders = [command.store.folder(run) for _, command in self.parts for run in command.runs]
            root = self.parts[0][1].store.root
            # of a suite in a file the file's name alone: a plan goes elsewhere too
            declared = declaration(self.name.rpartition("/")[2], self.suite)
            for line in keep_plan(root, declared, {path.name for path in folders}):
                say(console, f"note: {line}")
        for title, command in self.parts:
            say(console, f"{title}:")
            try:
                complete &= self._train(title, command, console)
            except InputError as error:
                self.left_out[title] = error
        self._print_table(console)
        self._say_left_out(console)
        return complete and not self.left_out

    def _say_left_out(self, console: Console) -> None:
        for title, error in self.left_out.items():
            say(console, f"note: {title} is left out: {error}")

    def _train(self, title: str, command: commands.Command, console: Console) -> bool:
        taken: list[RunConfig] = []
        undecided: Sequence[str] = self.suite.methods
        for look in self.suite.looks or [self.suite.seeds]:
            runs = [run for run in command.runs if run.seed < look and run.method in undecided and run not in taken]
            taken += runs
            batch.train_missing(command.of(runs), console)
            if look < self.suite.seeds and not (undecided := self._undecided(title, command)):
                break
        return batch.all_finished(command.of(taken), console)

    def _undecided(self, title: str, command: commands.Command) -> list[str]:
        """Return the methods of a part that get further seeds: the undecided ones and the baseline beside them."""
        task, _, budget = title.partition(", ")
        frame, _ = self._filter().runs(load(command.store.root, "last", split="all"))
        table = build(frame, choice=self._filter())
        rows = {
            row
            for (row, heading), gain in table.gains.items()
            if gain.verdict == "undecided"
            and heading.column.partition(", ")[0] == task
            and heading.budget in ("" if budget == EQUAL_EPOCHS else budget, budget)
        }
        return [name for name in self.suite.methods if name in rows or name == self.suite.baseline] if rows else []

    def _filter(self) -> TableFilter:
        return TableFilter(suite=self.suite, name=self.name)

    def _print_table(self, console: Console) -> None:
        store = self.parts[0][1].store
        if not store.runs.is_dir():
            return
        frame, _ = self._filter().runs(load(store.root, "last", split="all"))
        table = build(
            frame, choice=self._filter(), showing=TableStyle(planning=False), plans=stored_plans([store.root])
        )
        say(console, "", *rendered(table).split("\n"), "")
        for line in footnotes(frame):
            say(console, line)
        say(console, f"runs: {store.runs}")

    def print_plan(self, console: Console) -> None:
        """Print how many runs each task and budget has, how many are finished, and the hours that the rest takes."""
        total = 0.0
        for title, command in self.parts:
            missing = command.missing()
            seconds = forecast.seconds(command, missing) if missing else 0.0
            total += seconds
            done = len(command.runs) - len(missing)
            say(console, f"{title}: {len(command.runs)} runs, {done} finished already, about {duration(seconds)}")
        self._say_left_out(console)
        looks = ", ".join(map(str, self.suite.looks)) if self.suite.looks else str(self.suite.seeds)
        say(
            console,
            f"{self.name}, version {self.suite.version}: {self.suite.declared} comparisons of {self.suite.comparisons} "
            f"that the level is for, looks at {looks} seeds; about {duration(total)} in all on this machine",
        )
