"""Declared comparisons: ``bench run --suite``, and ``--until-decided``, which adds seeds until all is decided."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console

from benchmark import tables
from benchmark.configuration import EQUAL_EPOCHS, MAX_SEEDS, SEED_STEP, Layer, RunConfig, suites
from benchmark.console import say
from benchmark.formatting import duration
from benchmark.metrics import HEADLINE
from benchmark.running import batch, forecast
from benchmark.running.command import Command
from benchmark.store import Store, load
from benchmark.tables import Declaration, Heading, Table
from methods.errors import InputError, unknown

DECLARED = ("methods", "variants", "dataset", "backbone", "seeds", "epochs", "equal_cost", "cost", "budget")
"""Options that a suite declares itself."""

Prepare = Callable[[Sequence[Layer]], Command]
"""Resolves a request: :func:`benchmark.running.prepare` with its other arguments."""


def _undecided(
    table: Table, methods: Sequence[str], baseline: str, counts: Callable[[Heading], bool] = lambda heading: True
) -> list[str]:
    """Return the methods that get further seeds: those that are undecided, and the baseline beside them."""
    rows = {row for (row, heading), gain in table.gains.items() if gain.verdict == "undecided" and counts(heading)}
    return [name for name in methods if name in rows or name == baseline] if rows else []


def _keep_plan(declaration: Declaration, commands: Sequence[Command], console: Console) -> None:
    """Store a plan with the results, so that whatever shows its runs applies it; say what it does not go with."""
    store = commands[0].store
    names = {store.folder(run).name for command in commands for run in command.runs}
    say(console, *(f"note: {line}" for line in tables.keep_plan(store.root, declaration, names)))


def _print_table(table: Table, notes: Sequence[str], store: Store, console: Console) -> None:
    say(console, "", *tables.rendered(table).split("\n"), "", *notes, f"runs: {store.runs}")


class SuiteRun:
    """A suite, with the commands of its ``parts`` by task and budget.

    What cannot be planned here, such as where the dataset is not there, is ``left_out``, with why.
    """

    def __init__(self, name: str, flags: Mapping[str, Any], prepare: Prepare) -> None:
        """Resolve the runs of a suite.

        Raises:
            InputError: If there is no such suite, or an option says what the suite declares.
        """
        if given := next((key for key in flags if key in DECLARED or isinstance(flags[key], dict)), None):
            raise InputError(f"--suite {name} declares {given.replace('_', '-')} itself: leave it out")
        self.name = name
        self.suite = suites.read(name)
        self.parts: dict[str, Command] = {}
        self.left_out: dict[str, InputError] = {}
        for title, layers in self.suite.requests():
            try:
                self.parts[title] = prepare([*layers, dict(flags)])
            except InputError as error:
                self.left_out[title] = error
        if not self.parts:
            raise next(iter(self.left_out.values()))
        self._store = next(iter(self.parts.values())).store
        self._filter = tables.TableFilter(suite=name)

    def carry_out(self, console: Console) -> bool:
        """Carry out what is missing and print the table; return whether all runs that this took are finished.

        A task whose dataset cannot be had is left out and named. Where the suite has looks, a method that is decided
        gets no more seeds.

        Raises:
            TryAgainError: If the command's time was up before that.
        """
        complete, suite, store = True, self.suite, self._store
        if suite.looks:
            # of a suite in a file the file's name alone: a plan goes elsewhere too
            declared = tables.declaration(self.name.rpartition("/")[2], suite)
            _keep_plan(declared, list(self.parts.values()), console)
        undecided: dict[str, Sequence[str]] = dict.fromkeys(self.parts, suite.methods)
        # every part has a look before any has the next: the table is whole as soon as it can be
        for begin, look in pairwise([0, *(suite.looks or [suite.seeds])]):
            for title, command in self.parts.items():
                runs = [run for run in command.runs if begin <= run.seed < look and run.method in undecided[title]]
                if not runs:
                    continue
                say(console, f"{title}, {look} seeds:")
                try:
                    batch.train_missing(command.of(runs), console)
                except InputError as error:
                    self.left_out[title], undecided[title] = error, []
                else:
                    complete &= batch.all_finished(command.of(runs), console)
                    undecided[title] = self._undecided(title) if look < suite.seeds else []
        if store.runs.is_dir():
            frame, _ = self._filter.runs(load(store.root, "last", split="all"))
            style, plans = tables.TableStyle(planning=False), tables.stored_plans([store.root])
            table = tables.build(frame, choice=self._filter, showing=style, plans=plans)
            _print_table(table, tables.footnotes(frame), store, console)
        self._say_left_out(console)
        return complete and not self.left_out

    def print_plan(self, console: Console) -> None:
        """Print how many runs each task and budget has, how many are finished, and the hours that the rest takes."""
        total = 0.0
        for title, command in self.parts.items():
            missing = command.missing()
            seconds = forecast.estimated(command, missing)[0] if missing else 0.0
            total += seconds
            done = len(command.runs) - len(missing)
            say(console, f"{title}: {len(command.runs)} runs, {done} finished already, about {duration(seconds)}")
        self._say_left_out(console)
        looks = ", ".join(map(str, self.suite.looks or [self.suite.seeds]))
        say(
            console,
            f"{self.name}, version {self.suite.version}: {self.suite.declared} comparisons of {self.suite.comparisons} "
            f"that the level is for, looks at {looks} seeds; about {duration(total)} in all on this machine",
        )

    def _say_left_out(self, console: Console) -> None:
        say(console, *(f"note: {title} is left out: {error}" for title, error in self.left_out.items()))

    def _undecided(self, title: str) -> list[str]:
        task, _, budget = title.partition(", ")
        budgets = ("" if budget == EQUAL_EPOCHS else budget, budget)
        frame, _ = self._filter.runs(load(self._store.root, "last", split="all"))

        def of_part(heading: Heading) -> bool:
            return heading.column.partition(", ")[0] == task and heading.budget in budgets

        return _undecided(tables.build(frame, choice=self._filter), self.suite.methods, self.suite.baseline, of_part)


class SequentialTest:
    """A request whose number of seeds the differences decide: its ``command`` has the runs of all that there can be."""

    def __init__(
        self,
        layers: Sequence[Layer],
        prepare: Prepare,
        bound: float,
        baseline: str | None,
        max_seeds: int = MAX_SEEDS,
        step: int = SEED_STEP,
    ) -> None:
        """Resolve a request, whose last layer names no seeds.

        ``bound`` is the half-width of what counts as equivalent, in points, above 0; ``baseline`` one of the methods.
        There is a look after each ``step`` of at least :data:`benchmark.tables.MIN_PAIRS` seeds.

        Raises:
            InputError: For anything unknown or out of range.
        """
        tables.check_bound("until-decided", bound)
        if baseline is None:
            raise InputError("--until-decided compares with a method: name it, as in --baseline independent")
        if "seeds" in layers[-1]:
            raise InputError("--until-decided chooses the seeds itself: leave out --seeds (--max-seeds limits them)")
        if not tables.MIN_PAIRS <= step <= max_seeds:
            valid = f"a whole number from {tables.MIN_PAIRS} to --max-seeds"
            raise InputError(f"--seed-step takes {valid} (given: {step} of at most {max_seeds})")
        self.command = prepare([*layers[:-1], {**layers[-1], "seeds": max_seeds}])
        runs = self.command.runs
        methods = tuple(dict.fromkeys(run.method for run in runs))
        if baseline not in methods:
            raise unknown("baseline among the methods of this run", baseline, methods)
        if len(methods) < 2:
            raise InputError(f"there is nothing to compare {baseline} with: name further methods with --methods")
        compared = {run.model_copy(update={"seed": 0}).identity for run in runs if run.method != baseline}
        looks, bounds = (*range(step, max_seeds, step), max_seeds), {HEADLINE: bound}
        self.declaration = Declaration("until decided", baseline, methods, max_seeds, len(compared), bounds, looks)

    def carry_out(self, console: Console) -> bool:
        """Add seeds until all is decided and print the table; return whether all runs that this took are finished.

        The plan is stored with the results. The verdicts are computed anew from the runs: a repeated command resumes
        where the last one ended and comes to the same. A decided method gets no more seeds.

        Raises:
            TryAgainError: If the command's time was up before a look was complete: there is no verdict on a part of
                one.
        """
        store = self.command.store
        _keep_plan(self.declaration, [self.command], console)

        def train(runs: list[RunConfig]) -> bool:
            batch.train_missing(self.command.of(runs), console)
            return True

        *_, (taken, table) = self._looks(train, console)
        frame = load(store.root, "last", where={"run": list(taken)}, split="all")
        _print_table(table, tables.footnotes(frame), store, console)
        return batch.all_finished(self.command.of(list(taken.values())), console)

    def print_plan(self, console: Console) -> None:
        """Print the runs that it may take, when it looks, and what the looks that are complete have decided."""
        forecast.print_plan(self.command, console)
        looks = ", ".join(map(str, self.declaration.looks))
        say(console, f"at most: a look at {looks} seeds, and no further runs of a method that is decided")
        for _ in self._looks(lambda runs: all(map(self.command.store.ended, runs)), console):
            pass
        say(console, *tables.statement(self.declaration))

    def _looks(
        self, complete: Callable[[list[RunConfig]], bool], console: Console
    ) -> Iterator[tuple[Mapping[str, RunConfig], Table]]:
        """Say what each look has decided, until all is or a look's runs are not complete.

        Each yields the runs so far by name, and their table.
        """
        declared, store = self.declaration, self.command.store
        taken: dict[str, RunConfig] = {}
        undecided: Collection[str] = declared.methods
        for look in declared.looks:
            runs = [run for run in self.command.runs if run.seed < look and run.method in undecided]
            if not runs or not complete(runs):
                return
            taken |= {store.folder(run).name: run for run in runs}
            seen = load(store.root, "last", where={"run": list(taken)}, split="all")
            table = tables.build(seen, [HEADLINE], baseline=declared.baseline, declaration=declared)
            several = len({heading.column for _, heading in table.gains}) > 1
            decided = [
                f"{row} on {heading.column} {gain.text}" if several else f"{row} {gain.text}"
                for (row, heading), gain in table.gains.items()
                if gain.verdict != "undecided"
            ]
            told = f": {', '.join(decided)}" if decided else ""
            say(console, f"look at {look} seeds: {len(decided)} of {len(table.gains)} decided{told}")
            yield taken, table
            undecided = _undecided(table, declared.methods, declared.baseline)
