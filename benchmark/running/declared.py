"""Declared comparisons: ``bench run --suite``, and ``--until-decided``, which adds seeds until all is decided."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console

from benchmark import tables
from benchmark.configuration import EQUAL_EPOCHS, MAX_SEEDS, SEED_STEP, Layer, RunConfig, suites
from benchmark.console import say
from benchmark.formatting import duration
from benchmark.metrics import HEADLINE
from benchmark.running import batch
from benchmark.running.command import Command, estimated, print_plan
from benchmark.store import load
from benchmark.tables import Declaration, Table
from methods.errors import InputError, unknown

DECLARED = ("methods", "variants", "dataset", "backbone", "seeds", "epochs", "equal_cost", "cost")
"""Options that a suite declares itself."""

Prepare = Callable[[Sequence[Layer]], Command]
"""Resolves a request: :func:`benchmark.running.prepare` with its other arguments."""


class DeclaredRuns:
    """The runs of a declared comparison: at each look, methods that are decided get no further seeds.

    They are in ``parts`` with a command each, by title. What cannot be planned here, such as where the dataset is not
    there, is ``left_out``, with why.
    """

    def __init__(self, declaration: Declaration, parts: Mapping[str, Command], left_out: dict[str, InputError]) -> None:
        self.declaration, self.parts, self.left_out = declaration, parts, left_out
        self.looks = declaration.looks or (declaration.seeds,)
        self.store = next(iter(parts.values())).store
        self.undecided: dict[str, Sequence[str]] = dict.fromkeys(parts, declaration.methods)
        self.taken: dict[str, RunConfig] = {}  # by name

    def carry_out(self, console: Console) -> bool:
        """Carry out what is missing and print the table; return whether all runs that this took are finished.

        A sequential plan is stored with the results, so that whatever shows its runs applies it. The verdicts are
        computed anew from the runs: a repeated command resumes where the last one ended and comes to the same. A part
        whose dataset cannot be had is left out and named.

        Raises:
            TryAgainError: If the command's time was up before a look was complete: there is no verdict on a part of
                one.
        """
        if self.declaration.looks:
            names = {self.store.folder(run).name for command in self.parts.values() for run in command.runs}
            say(console, *(f"note: {line}" for line in tables.keep_plan(self.store.root, self.declaration, names)))
        complete = True
        for title, look, runs in self.turns():
            command = self.parts[title].of(runs)
            if title:
                say(console, f"{title}, {look} seeds:")
            try:
                batch.train_missing(command, console)
            except InputError as error:
                if not title:
                    raise
                self.left_out[title], self.undecided[title] = error, []
            else:
                complete &= batch.all_finished(command, console)
                self.judge(title, look, runs, console)
        if self.store.runs.is_dir():
            table, notes = self.table()
            say(console, "", *tables.rendered(table).split("\n"), "", *notes, f"runs: {self.store.runs}")
        say(console, *(f"note: {title} is left out: {error}" for title, error in self.left_out.items()))
        return complete and not self.left_out

    def turns(self) -> Iterator[tuple[str, int, list[RunConfig]]]:
        """Yield a part's title, its next look and the runs that this takes, while any of its methods is undecided."""
        # every part has a look before any has the next: the table is whole as soon as it can be
        for begin, look in pairwise([0, *self.looks]):
            for title, command in self.parts.items():
                chosen = self.undecided[title]
                if runs := [run for run in command.runs if begin <= run.seed < look and run.method in chosen]:
                    yield title, look, runs

    def judge(self, title: str, look: int, runs: Sequence[RunConfig], console: Console) -> None:
        """See what a look has decided, and which methods of its part get further seeds; say it of an only part."""
        self.taken |= {self.store.folder(run).name: run for run in runs}
        table, _ = self.table()
        task, _, budget = title.partition(", ")
        budgets = ("" if budget == EQUAL_EPOCHS else budget, budget)
        gains = {
            (row, heading): gain
            for (row, heading), gain in table.gains.items()
            if not title or (heading.column.partition(", ")[0] == task and heading.budget in budgets)
        }
        open_rows = {row for (row, _), gain in gains.items() if gain.verdict == "undecided"}
        beside = {self.declaration.baseline} if open_rows else set()
        self.undecided[title] = [name for name in self.declaration.methods if name in open_rows | beside]
        if not title:
            several = len({heading.column for _, heading in gains}) > 1
            decided = [
                f"{row} on {heading.column} {gain.text}" if several else f"{row} {gain.text}"
                for (row, heading), gain in gains.items()
                if gain.verdict != "undecided"
            ]
            told = f": {', '.join(decided)}" if decided else ""
            say(console, f"look at {look} seeds: {len(decided)} of {len(gains)} decided{told}")

    def table(self) -> tuple[Table, Sequence[str]]:
        """Return the table of the runs so far, and its footnotes."""
        frame = load(self.store.root, "last", where={"run": list(self.taken)}, split="all")
        table = tables.build(frame, [HEADLINE], baseline=self.declaration.baseline, declaration=self.declaration)
        return table, tables.footnotes(frame)


class SuiteRun(DeclaredRuns):
    """The runs of a suite, whose parts are its tasks and budgets."""

    def __init__(self, name: str, flags: Mapping[str, Any], prepare: Prepare) -> None:
        """Resolve the runs of a suite.

        Raises:
            InputError: If there is no such suite, or an option says what the suite declares.
        """
        if given := next((key for key in flags if key in DECLARED or isinstance(flags[key], dict)), None):
            raise InputError(f"--suite {name} declares {given.replace('_', '-')} itself: leave it out")
        self.suite = suites.read(name)
        parts: dict[str, Command] = {}
        left_out: dict[str, InputError] = {}
        for title, layers in self.suite.requests():
            try:
                parts[title] = prepare([*layers, dict(flags)])
            except InputError as error:
                left_out[title] = error
        if not parts:
            raise next(iter(left_out.values()))
        # of a suite in a file the file's name alone: a plan goes elsewhere too
        super().__init__(tables.declaration(name.rpartition("/")[2], self.suite), parts, left_out)
        self.filter = tables.TableFilter(suite=name)

    def table(self) -> tuple[Table, Sequence[str]]:
        """Return the table of the suite, and its footnotes."""
        frame, _ = self.filter.runs(load(self.store.root, "last", split="all"))
        style, plans = tables.TableStyle(planning=False), tables.stored_plans([self.store.root])
        return tables.build(frame, choice=self.filter, showing=style, plans=plans), tables.footnotes(frame)

    def print_plan(self, console: Console) -> None:
        """Print how many runs each task and budget has, how many are finished, and the hours that the rest takes."""
        total = 0.0
        for title, command in self.parts.items():
            missing = command.missing()
            seconds, left = estimated(command, missing) if missing else (0.0, "nothing left")
            total += seconds
            done = len(command.runs) - len(missing)
            say(console, f"{title}: {len(command.runs)} runs, {done} finished already, {left}")
        say(console, *(f"note: {title} is left out: {error}" for title, error in self.left_out.items()))
        suite, looks = self.suite, ", ".join(map(str, self.looks))
        level = f"{suite.declared} comparisons of {suite.comparisons} that the level is for, looks at {looks} seeds"
        took = f"about {duration(total)} in all on this machine"
        say(console, f"{self.filter.suite}, version {suite.version}: {level}; {took}")


class SequentialTest(DeclaredRuns):
    """A request whose number of seeds the differences decide: its only part has the runs of all that there can be."""

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
        command = prepare([*layers[:-1], {**layers[-1], "seeds": max_seeds}])
        runs = command.runs
        methods = tuple(dict.fromkeys(run.method for run in runs))
        if baseline not in methods:
            raise unknown("baseline among the methods of this run", baseline, methods)
        if len(methods) < 2:
            raise InputError(f"there is nothing to compare {baseline} with: name further methods with --methods")
        compared = {run.model_copy(update={"seed": 0}).identity for run in runs if run.method != baseline}
        looks, bounds = (*range(step, max_seeds, step), max_seeds), {HEADLINE: bound}
        declared = Declaration("until decided", baseline, methods, max_seeds, len(compared), bounds, looks)
        super().__init__(declared, {"": command}, {})

    def print_plan(self, console: Console) -> None:
        """Print the runs that it may take, when it looks, and what the looks that are complete have decided."""
        print_plan(self.parts[""], console)
        looks = ", ".join(map(str, self.looks))
        say(console, f"at most: a look at {looks} seeds, and no further runs of a method that is decided")
        for title, look, runs in self.turns():
            if not all(map(self.store.ended, runs)):
                break
            self.judge(title, look, runs, console)
        say(console, *tables.statement(self.declaration))
