"""``bench run --until-decided``: seeds are added by a declared sequential plan until every method is decided."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from rich.console import Console

from benchmark.configuration import MAX_SEEDS, SEED_STEP, Layer, RunConfig
from benchmark.console import say
from benchmark.metrics import HEADLINE
from benchmark.running import batch, command as commands, forecast
from benchmark.store import load
from benchmark.tables import (
    MIN_PAIRS,
    Declaration,
    Table,
    build,
    check_bound,
    footnotes,
    keep_plan,
    rendered,
    statement,
)
from methods.errors import InputError, unknown


@dataclass(frozen=True)
class SequentialTest:
    """A request whose number of seeds the differences decide.

    Attributes:
        command: With the runs of all seeds that there can be.
        declaration: Baseline, methods, bound, looks and level.
    """

    command: commands.Command
    declaration: Declaration

    def runs(self, look: int, methods: Sequence[str] | None = None) -> list[RunConfig]:
        """Return the runs of a look, of some methods or of all."""
        wanted = self.declaration.methods if methods is None else methods
        return [run for run in self.command.runs if run.seed < look and run.method in wanted]


def prepare(
    layers: Sequence[Layer],
    plugins: tuple[str, ...],
    force: bool,
    bound: float,
    baseline: str | None,
    max_seeds: int = MAX_SEEDS,
    step: int = SEED_STEP,
    begun: float | None = None,
    fetch: bool = False,
) -> SequentialTest:
    """Resolve a request.

    Args:
        layers, plugins, force, begun, fetch: As in :func:`benchmark.running.prepare`; the last layer names no seeds.
        bound: Half-width of what counts as equivalent, in points, above 0.
        baseline: One of the methods.
        max_seeds: Seeds at the last look; at least a step.
        step: Seeds that are added at a time, at least :data:`benchmark.tables.MIN_PAIRS`.

    Raises:
        InputError: For anything unknown or out of range.
    """
    check_bound("until-decided", bound)
    if baseline is None:
        raise InputError("--until-decided compares with a method: name it, as in --baseline independent")
    if "seeds" in layers[-1]:
        raise InputError("--until-decided chooses the seeds itself: leave out --seeds (--max-seeds limits them)")
    if not MIN_PAIRS <= step <= max_seeds:
        raise InputError(
            f"--seed-step takes a whole number from {MIN_PAIRS} to --max-seeds (given: {step} of at most {max_seeds})"
        )
    command = commands.prepare([*layers[:-1], {**layers[-1], "seeds": max_seeds}], plugins, force, begun, fetch)
    methods = tuple(dict.fromkeys(run.method for run in command.runs))
    if baseline not in methods:
        raise unknown("baseline among the methods of this run", baseline, methods)
    if len(methods) < 2:
        raise InputError(f"there is nothing to compare {baseline} with: name further methods with --methods")
    compared = {run.model_copy(update={"seed": 0}).identity for run in command.runs if run.method != baseline}
    looks = (*range(step, max_seeds, step), max_seeds)
    declared = Declaration(
        "until decided", baseline, methods, max_seeds, len(compared), {HEADLINE: bound}, looks
    )  # fmt: skip
    return SequentialTest(command, declared)


def carry_out(planned: SequentialTest, console: Console) -> bool:
    """Add seeds until all is decided and print the table; return whether all runs that this took are finished.

    The plan is stored with the results, so that whatever shows these runs applies its looks and levels. The verdicts
    are computed anew from the runs: a repeated command resumes where the last one ended and comes to the same. A
    decided method gets no more seeds.

    Raises:
        TryAgainError: If the command's time was up before a look was complete: there is no verdict on a part of one.
    """
    declared = planned.declaration
    store = planned.command.store
    for line in keep_plan(store.root, declared, [store.folder(run).name for run in planned.runs(declared.seeds)]):
        say(console, f"note: {line}")
    taken: dict[str, RunConfig] = {}
    undecided: Sequence[str] = declared.methods
    for look in declared.looks:
        runs = planned.runs(look, undecided)
        taken |= {planned.command.store.folder(run).name: run for run in runs}
        batch.train_missing(planned.command.of(runs), console)
        table = _table(planned, look, taken)
        say(console, _summary(table, look))
        if not (undecided := _undecided(table, declared)):
            break
    say(console, "", *rendered(table).split("\n"), "")
    for line in footnotes(_frame(planned, taken)):
        say(console, line)
    say(console, f"runs: {planned.command.store.runs}")
    return batch.all_finished(planned.command.of(list(taken.values())), console)


def print_plan(planned: SequentialTest, console: Console) -> None:
    """Print the runs that it may take, when it looks, and what the looks that are complete have decided."""
    forecast.print_plan(planned.command, console)
    declared = planned.declaration
    looks = ", ".join(map(str, declared.looks))
    say(console, f"at most: a look at {looks} seeds, and no further runs of a method that is decided")
    taken: dict[str, RunConfig] = {}
    undecided: Sequence[str] = declared.methods
    for look in declared.looks:
        runs = planned.runs(look, undecided)
        if not undecided or not all(map(planned.command.store.ended, runs)):
            break
        taken |= {planned.command.store.folder(run).name: run for run in runs}
        table = _table(planned, look, taken)
        say(console, _summary(table, look))
        undecided = _undecided(table, declared)
    say(console, *statement(declared))


def _undecided(table: Table, declared: Declaration) -> list[str]:
    """Return the methods that get further seeds: those that are undecided, and the baseline beside them."""
    rows = {row for (row, _), gain in table.gains.items() if gain.verdict == "undecided"}
    return [name for name in declared.methods if name in rows or name == declared.baseline] if rows else []


def _frame(planned: SequentialTest, runs: dict[str, RunConfig]) -> pd.DataFrame:
    return load(planned.command.store.root, "last", where={"run": list(runs)}, split="all")


def _table(planned: SequentialTest, look: int, runs: dict[str, RunConfig]) -> Table:
    declared = planned.declaration
    seen = {name: run for name, run in runs.items() if run.seed < look}
    return build(_frame(planned, seen), [HEADLINE], baseline=declared.baseline, declaration=declared)


def _summary(table: Table, look: int) -> str:
    """Return what is decided after a look, on one line."""
    several = len({heading.column for _, heading in table.gains}) > 1
    decided = [
        f"{row} on {heading.column} {gain.text}" if several else f"{row} {gain.text}"
        for (row, heading), gain in table.gains.items()
        if gain.verdict != "undecided"
    ]
    told = f": {', '.join(decided)}" if decided else ""
    return f"look at {look} seeds: {len(decided)} of {len(table.gains)} decided{told}"
