"""What ``bench run --until-decided`` does: a step of seeds, a look at the differences, until all is decided."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark import running
from benchmark.configuration import Layer, RunConfig
from benchmark.consoles import Console
from benchmark.deciding.looking import Decision, decided
from benchmark.deciding.telling import judgement, statement, summary
from benchmark.metrics import HEADLINE
from benchmark.running import Command
from benchmark.store import load
from benchmark.tables import MIN_PAIRS, Heading, Table, build, check_bound, rendered
from benchmark.tables.footnotes import footnotes
from benchmark.words import say
from methods.errors import InputError, unknown

MAX_SEEDS = 20
STEP = 5

Comparison = tuple[str, Heading]


@dataclass(frozen=True)
class Deciding:
    """A request whose number of seeds the differences decide.

    Attributes:
        command: With the runs of all seeds that there can be.
        baseline: The method that the others are compared with.
        bound: The difference that matters, in points.
        looks: Seeds at each look, growing.
    """

    command: Command
    baseline: str
    bound: float
    looks: Sequence[int]

    @property
    def planned(self) -> int:
        """Seeds at the last look."""
        return self.looks[-1]

    @property
    def comparisons(self) -> int:
        """How many differences there are to decide: of everything but the baseline, whatever its seed."""
        others = [run for run in self.command.runs if run.method != self.baseline]
        return len({run.model_copy(update={"seed": 0}).identity for run in others})

    def runs(self, look: int, since: int = 0) -> list[RunConfig]:
        """Return the runs of a look, or those that it adds to an earlier one."""
        return [run for run in self.command.runs if since <= run.seed < look]


def prepare(
    layers: Sequence[Layer],
    plugins: tuple[str, ...],
    force: bool,
    bound: float,
    baseline: str | None,
    max_seeds: int = MAX_SEEDS,
    step: int = STEP,
    begun: float | None = None,
    fetch: bool = False,
) -> Deciding:
    """Resolve a request.

    Args:
        layers: As in :func:`benchmark.running.prepare`; the last one, the command line's, names no seeds.
        plugins: Python files that define further methods.
        force: Whether finished runs are repeated.
        bound: The difference that matters, in points, above 0.
        baseline: One of the methods.
        max_seeds: Where to stop at the latest; at least a step.
        step: Seeds that are added at a time, at least :data:`benchmark.tables.significance.MIN_PAIRS`.
        begun: When the command began, as in :func:`benchmark.running.prepare`.
        fetch: Whether datasets are downloaded, likewise.

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
    command = running.prepare([*layers[:-1], {**layers[-1], "seeds": max_seeds}], plugins, force, begun, fetch)
    methods = list(dict.fromkeys(run.method for run in command.runs))
    if baseline not in methods:
        raise unknown("baseline among the methods of this run", baseline, methods)
    if len(methods) < 2:
        raise InputError(f"there is nothing to compare {baseline} with: name further methods with --methods")
    looks = [*range(step, max_seeds, step), max_seeds]
    return Deciding(command, baseline, bound, looks)


def carry_out(deciding: Deciding, console: Console) -> bool:
    """Add seeds until all is decided and print the table; return whether all runs that this took are finished.

    Nothing is remembered but the runs: the looks are taken anew from the store, so a repeated command goes on where the
    last one ended and comes to the same verdicts.

    Raises:
        TimeIsUpError: If the command's time was up before a look was complete: there is no verdict on a part of one.
    """
    for index, look in enumerate(deciding.looks):
        before = deciding.looks[index - 1] if index else 0
        running.train_missing(deciding.command.of(deciding.runs(look, since=before)), console)
        table = _table(deciding, look)
        found = _decided(deciding, table, deciding.looks[: index + 1])
        say(console, _told(deciding, found, look))
        if len(found) == deciding.comparisons or look == deciding.planned:
            break
    so_far = deciding.command.of(deciding.runs(look))
    _print_table(deciding, table, found, look, console)
    return running.all_finished(so_far, console)


def print_plan(deciding: Deciding, console: Console) -> None:
    """Print the runs that it may take, when it looks, and what the looks that are complete have decided."""
    running.print_plan(deciding.command, console)
    looks = ", ".join(map(str, deciding.looks))
    say(console, f"at most: a look at {looks} seeds, and no further runs once every method is decided")
    complete = [look for look in deciding.looks if all(map(deciding.command.store.ended, deciding.runs(look)))]
    for index, look in enumerate(complete):
        found = _decided(deciding, _table(deciding, look), complete[: index + 1])
        say(console, _told(deciding, found, look))
        if len(found) == deciding.comparisons:
            break
    say(console, statement(deciding.bound, deciding.looks, deciding.comparisons))


def _table(deciding: Deciding, look: int) -> Table:
    return build(_runs(deciding, look), [HEADLINE], baseline=deciding.baseline)


def _runs(deciding: Deciding, look: int) -> pd.DataFrame:
    names = {deciding.command.store.folder(run).name for run in deciding.runs(look)}
    return load(deciding.command.store.root, "last", where={"run": names}, split="all")


def _decided(deciding: Deciding, table: Table, looks: Sequence[int]) -> dict[Comparison, Decision]:
    differences = {
        (row, heading): {
            seed: value - table.cells[deciding.baseline, heading].values[seed]
            for seed, value in cell.values.items()
            if seed in table.cells[deciding.baseline, heading].values
        }
        for (row, heading), cell in table.cells.items()
        if row != deciding.baseline and (deciding.baseline, heading) in table.cells
    }
    return decided(differences, looks, deciding.planned, deciding.bound, deciding.comparisons)


def _told(deciding: Deciding, found: dict[Comparison, Decision], look: int) -> str:
    several = len({(run.dataset, run.backbone) for run in deciding.command.runs}) > 1
    names = {f"{row} on {heading.column}" if several else row: decision for (row, heading), decision in found.items()}
    return summary(names, look, deciding.comparisons, deciding.bound)


def _print_table(
    deciding: Deciding, table: Table, found: dict[Comparison, Decision], look: int, console: Console
) -> None:
    judged = judgement(table, deciding.baseline, found, look, deciding.bound, deciding.looks, deciding.comparisons)
    say(console, "", *rendered(judged).split("\n"), "")
    for line in footnotes(_runs(deciding, look)):
        say(console, line)
    say(console, f"runs: {deciding.command.store.runs}")
