"""``bench run --until-decided``: seeds are added in steps until every difference to a baseline is decided.

A sequential test: after each step the paired differences are tested, with the error spent over all looks.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import stdev
from typing import Literal, TypeVar

import pandas as pd
from rich.console import Console

from benchmark.configuration import Layer, RunConfig
from benchmark.console import say
from benchmark.metrics import HEADLINE, METRICS
from benchmark.running import batch, command as commands, forecast
from benchmark.store import load
from benchmark.tables import (
    ALPHA,
    MIN_PAIRS,
    Heading,
    Judgement,
    Table,
    Verdict,
    Word,
    build,
    check_bound,
    direction,
    level,
    paired_sd,
    rendered,
    same_text,
    seeds_needed,
    spread_note,
    tost,
)
from benchmark.tables.footnotes import footnotes
from methods.errors import InputError, unknown

MAX_SEEDS = 20
STEP = 5

UNDECIDED: Word = "undecided"

ONE_LOOK = "the intervals of the gains are those of one look, and take no account of the others"

Comparison = tuple[str, Heading]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class SequentialTest:
    """A request whose number of seeds the differences decide.

    Attributes:
        command: With the runs of all seeds that there can be.
        baseline: The method that the others are compared with.
        bound: The difference that matters, in points.
        looks: Seeds at each look, growing.
    """

    command: commands.Command
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

    def frame(self, look: int) -> pd.DataFrame:
        """Return the stored runs of a look."""
        names = {self.command.store.folder(run).name for run in self.runs(look)}
        return load(self.command.store.root, "last", where={"run": names}, split="all")

    def at(self, looks: Sequence[int]) -> tuple[Table, "dict[Comparison, Decision]"]:
        """Return the table of the last of some looks, and what all of them have decided."""
        table = build(self.frame(looks[-1]), [HEADLINE], baseline=self.baseline)
        differences = {
            (row, heading): {
                seed: value - table.cells[self.baseline, heading].values[seed]
                for seed, value in cell.values.items()
                if seed in table.cells[self.baseline, heading].values
            }
            for (row, heading), cell in table.cells.items()
            if row != self.baseline and (self.baseline, heading) in table.cells
        }
        return table, decided(differences, looks, self.planned, self.bound, self.comparisons)

    def summary(self, decisions: "Mapping[Comparison, Decision]", look: int) -> str:
        """Return what is decided after a look, on one line."""
        several = len({(run.dataset, run.backbone) for run in self.command.runs}) > 1
        parts = [
            f"{row}{f' on {heading.column}' * several} {_word_of(decision, self.bound)[1]}"
            for (row, heading), decision in decisions.items()
        ]
        listed = f": {', '.join(parts)}" if parts else ""
        return f"look at {look} seeds: {len(decisions)} of {self.comparisons} decided{listed}"

    def statement(self) -> str:
        """Return how the verdicts come about, and what they are corrected for, on one line."""
        times = ", ".join(map(str, self.looks))
        several = f", shared among the {self.comparisons} comparisons by Holm's correction"
        return (
            f"verdict: decided by looks at {times} seeds at most, and then kept; all looks together call a method "
            f"better or worse by chance with a probability of at most {ALPHA:.0%} (O'Brien-Fleming-type error spending "
            f"of Lan and DeMets, levels exact for the paired t-test{several if self.comparisons > 1 else ''}), and one "
            f"equivalent within ±{self.bound:g} that is {self.bound:g} or more away with at most {ALPHA:.0%} for each "
            "(both one-sided tests, the same spending)"
        )


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
) -> SequentialTest:
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
    command = commands.prepare([*layers[:-1], {**layers[-1], "seeds": max_seeds}], plugins, force, begun, fetch)
    methods = list(dict.fromkeys(run.method for run in command.runs))
    if baseline not in methods:
        raise unknown("baseline among the methods of this run", baseline, methods)
    if len(methods) < 2:
        raise InputError(f"there is nothing to compare {baseline} with: name further methods with --methods")
    return SequentialTest(command, baseline, bound, [*range(step, max_seeds, step), max_seeds])


def carry_out(test: SequentialTest, console: Console) -> bool:
    """Add seeds until all is decided and print the table; return whether all runs that this took are finished.

    Nothing is remembered but the runs: the looks are taken anew from the store, so a repeated command resumes where the
    last one ended and comes to the same verdicts.

    Raises:
        TryAgainError: If the command's time was up before a look was complete: there is no verdict on a part of one.
    """
    for index, look in enumerate(test.looks):
        before = test.looks[index - 1] if index else 0
        batch.train_missing(test.command.of(test.runs(look, since=before)), console)
        table, found = test.at(test.looks[: index + 1])
        say(console, test.summary(found, look))
        if len(found) == test.comparisons or look == test.planned:
            break
    say(console, "", *rendered(judgement(table, test, found, look)).split("\n"), "")
    for line in footnotes(test.frame(look)):
        say(console, line)
    say(console, f"runs: {test.command.store.runs}")
    return batch.all_finished(test.command.of(test.runs(look)), console)


def print_plan(test: SequentialTest, console: Console) -> None:
    """Print the runs that it may take, when it looks, and what the looks that are complete have decided."""
    forecast.print_plan(test.command, console)
    looks = ", ".join(map(str, test.looks))
    say(console, f"at most: a look at {looks} seeds, and no further runs once every method is decided")
    complete = [look for look in test.looks if all(map(test.command.store.ended, test.runs(look)))]
    for index, look in enumerate(complete):
        _, found = test.at(complete[: index + 1])
        say(console, test.summary(found, look))
        if len(found) == test.comparisons:
            break
    say(console, test.statement())


def judgement(table: Table, test: SequentialTest, decisions: "Mapping[Comparison, Decision]", look: int) -> Table:
    """Return a table with the verdicts of all looks.

    The gains keep their intervals; their p values are left out, as those of one look mislead after several.
    """
    verdicts = {}
    for (row, heading), gain in table.gains.items():
        ours, base = table.cells[row, heading].values, table.cells[test.baseline, heading].values
        sd, decision = paired_sd(ours, base), decisions.get((row, heading))
        spread = bool(sd) and gain.n >= MIN_PAIRS and gain.p is not None
        word, text = _word_of(decision, test.bound) if decision else (UNDECIDED, f"undecided after {look} seeds")
        verdicts[row, heading] = Verdict(
            word=word,
            text=text if decision is None else f"{text}, at {decision.look} seeds",
            n=gain.n,
            sd=sd,
            seeds=seeds_needed(test.bound, sd) if spread and sd else None,
            equivalence=tost(gain.mean, sd, gain.n, test.bound) if spread and sd else None,
        )
    notes = [spread_note(test.bound, test.baseline), test.statement(), ONE_LOOK]
    gains = {key: replace(gain, p=None, adjusted=None) for key, gain in table.gains.items()}
    return replace(table, gains=gains, judgement=Judgement(test.bound, verdicts, notes))


# ---- what looks have decided: a pure function of the paired differences ----


@dataclass(frozen=True)
class Decision:
    """How a comparison was decided.

    Attributes:
        what: ``different``, or ``same`` within the bound.
        look: How many seeds were there.
        difference: The mean paired difference then.
    """

    what: Literal["different", "same"]
    look: int
    difference: float


@dataclass(frozen=True)
class _Test:
    """A comparison at a look: the pairs at this look and those before it, and the p values."""

    counts: tuple[int, ...]
    difference: float
    p_different: float
    p_same: float


def decided(
    differences: Mapping[Key, Mapping[int, float]],
    looks: Sequence[int],
    planned: int,
    bound: float,
    comparisons: int,
    alpha: float = ALPHA,
) -> dict[Key, Decision]:
    """Return what the looks so far have decided; what a look has decided stays.

    A comparison is ``different`` where the p value of its paired t-test is below the level that error spending leaves
    to the look, after Holm's correction: alpha is shared by the comparisons that are not yet found different. It is
    ``same`` where both one-sided tests against the bound are below the level of the same spending with one side; this
    error is alpha for each comparison. Where seeds did not finish, the pairs that there are count, and a look that
    brings a comparison no new pair passes it over.

    Source: Maurer & Bretz (2013), "Multiple Testing in Group Sequential Trials Using Graphical Approaches", for Holm's
    correction with error spending; :func:`benchmark.tables.sequential.level` has the levels.

    Args:
        differences: By comparison, ours minus the baseline's by seed; seeds count from 0.
        looks: Seeds at each look so far, growing.
        planned: Seeds at the last look that there can be.
        bound: Half-width of what counts as the same, above 0.
        comparisons: How many there are in all, at least those given.
        alpha: The error of all looks together.
    """
    found: dict[Key, Decision] = {}
    for index, look in enumerate(looks):
        final = look == planned
        tests = {
            key: test
            for key, by_seed in differences.items()
            if key not in found and (test := _tested(by_seed, looks[: index + 1], bound))
        }
        different = sum(decision.what == "different" for decision in found.values())
        for key, test in sorted(tests.items(), key=lambda item: item[1].p_different):
            share = alpha / (comparisons - different)
            if test.p_different < level(test.counts, planned, share, 2, final):
                found[key] = Decision("different", look, test.difference)
                different += 1
        for key, test in tests.items():
            if key not in found and test.p_same < level(test.counts, planned, alpha, 1, final):
                found[key] = Decision("same", look, test.difference)
    return found


def _tested(by_seed: Mapping[int, float], looks: Sequence[int], bound: float) -> _Test | None:
    """Return the tests of a comparison at a look; None if it has no new pair, or there is no spread to judge by."""
    from scipy.special import stdtr

    pairs = [sum(seed < look for seed in by_seed) for look in looks]
    counts = tuple(sorted({count for count in pairs if count >= MIN_PAIRS}))
    if not counts or (len(pairs) > 1 and pairs[-1] == pairs[-2]):
        return None
    values = [value for seed, value in by_seed.items() if seed < looks[-1]]
    n = len(values)
    difference, sd = math.fsum(values) / n, stdev(values)
    if sd <= 1e-9 * max(map(abs, values)):
        return None
    p_different = 2 * float(stdtr(n - 1, -abs(difference) * math.sqrt(n) / sd))
    return _Test(counts, difference, p_different, tost(difference, sd, n, bound).p)


def _word_of(decision: Decision, bound: float) -> tuple[Word, str]:
    """Return a decision's word, and how a table says it."""
    if decision.what == "same":
        return "same", same_text(bound)
    word = direction(decision.difference, METRICS[HEADLINE].better)
    return word, word
