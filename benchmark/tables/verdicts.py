"""What a comparison comes to, in plain words: better, worse, the same within a bound, or undecided."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from benchmark.metrics import Better
from benchmark.tables.power import POWER, Equivalence, paired_sd, seeds_needed, seeds_that_decide, tost
from benchmark.tables.significance import ALPHA, MIN_PAIRS, Gain
from methods.errors import InputError

Column = TypeVar("Column", bound=Hashable)
Word = Literal["better", "worse", "higher", "lower", "same", "undecided"]
"""``higher`` and ``lower`` are of scores of which neither end is the better one."""


@dataclass(frozen=True)
class Verdict:
    """What the comparison of a row with the baseline comes to.

    Attributes:
        word: What is the case.
        text: The same as a table says it.
        n: Seeds that both have.
        sd: Standard deviation of the paired differences; None with fewer than two.
        seeds: How many show a difference of the bound with 80 % power; None without a spread to judge by.
        equivalence: Whether the difference lies within the bound; None without a spread to judge by.
        decides: How many leave no room for doubt whatever the difference; None without a spread to judge by.
    """

    word: Word
    text: str
    n: int
    sd: float | None = None
    seeds: int | None = None
    equivalence: Equivalence | None = None
    decides: int | None = None

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Judgement:
    """The verdicts of a table.

    Attributes:
        bound: Half-width of what counts as the same, in the unit of the scores.
        verdicts: By row and heading.
        notes: How they come about, a line each.
    """

    bound: float
    verdicts: Mapping[tuple[str, Any], Verdict]
    notes: Sequence[str]

    @property
    def titles(self) -> tuple[str, str, str]:
        """What stands above the three columns of :meth:`cells`."""
        return "paired sd", f"seeds for {self.bound:g}", "verdict"

    def cells(self, row: str, heading: Hashable, digits: int = 2) -> tuple[str, str, str]:
        """Return a comparison's standard deviation, the seeds that it takes, and the verdict; empty without one."""
        found = self.verdicts.get((row, heading))
        if found is None:
            return "", "", ""
        sd = "" if found.sd is None else f"{found.sd:.{digits}f}"
        return sd, "" if found.seeds is None else str(found.seeds), found.text


def check_bound(option: str, bound: float) -> float:
    """Return the half-width of what counts as the same, or raise an InputError if it is none."""
    if not 0 < bound < float("inf"):
        raise InputError(f"{option} takes a difference above 0, such as 0.5 (given: {bound:g})")
    return bound


def direction(difference: float, better: Better) -> Word:
    """Return what a statistically significant difference means.

    Args:
        difference: Ours minus the baseline's.
        better: Which end of the metric is better.
    """
    if better is None:
        return "higher" if difference > 0 else "lower"
    return "better" if (difference > 0) == (better == "high") else "worse"


def verdict(
    ours: Mapping[int, float], baseline: Mapping[int, float], gain: Gain, bound: float, comparisons: int, better: Better
) -> Verdict:
    """Return the verdict of one comparison.

    A difference is one by the paired t-test of the gain, with its correction for all comparisons of the table; what is
    none is the same if both one-sided tests say that it lies within the bound, each at 5 %.

    Args:
        ours: Scores by seed.
        baseline: Scores by seed.
        gain: Of ours over the baseline.
        bound: Half-width of what counts as the same, above 0.
        comparisons: How many the gain's p value is corrected for.
        better: Which end of the metric is better.
    """
    sd = paired_sd(ours, baseline)
    if gain.n < MIN_PAIRS:
        return Verdict("undecided", f"undecided (fewer than {MIN_PAIRS} seeds)", gain.n, sd)
    if sd is None or gain.p is None:
        return Verdict("undecided", "undecided (the differences have no spread to judge by)", gain.n, sd)
    equal, decides = tost(gain.mean, sd, gain.n, bound), seeds_that_decide(bound, sd, comparisons)
    needed = seeds_needed(bound, sd)
    if gain.significant:
        word = direction(gain.mean, better)
        return Verdict(word, word, gain.n, sd, needed, equal, decides)
    if equal.p < ALPHA:
        return Verdict("same", same_text(bound), gain.n, sd, needed, equal, decides)
    enough = "no feasible number of seeds would decide" if decides is None else f"n={decides} would decide"
    return Verdict("undecided", f"undecided ({enough})", gain.n, sd, needed, equal, decides)


def same_text(bound: float) -> str:
    """Return how a table says that two are the same."""
    return f"same within {bound:g}"


def judged(
    scores: Mapping[tuple[str, Column], Mapping[int, float]],
    gains: Mapping[tuple[str, Column], Gain],
    baseline: str,
    bound: float,
    better: Mapping[Column, Better],
) -> Judgement:
    """Return the verdicts of a table.

    Args:
        scores: By row and column, then by seed.
        gains: Of :func:`benchmark.tables.significance.gains`, of the same scores.
        baseline: The row that the others are compared with.
        bound: Half-width of what counts as the same, above 0.
        better: Which end of each column's metric is better.
    """
    tested = sum(gain.p is not None for gain in gains.values())
    verdicts = {
        (row, column): verdict(scores[row, column], scores[baseline, column], gain, bound, tested, better[column])
        for (row, column), gain in gains.items()
    }
    return Judgement(bound, verdicts, notes(bound, baseline))


def notes(bound: float, baseline: str) -> list[str]:
    """Return how the verdicts of runs that were not looked at before come about, a line each."""
    return [
        spread_note(bound, baseline),
        f"verdict: better or worse where the Holm-corrected p is below {ALPHA:.2g}, by however little; else same "
        f"within {bound:g} where the {1 - 2 * ALPHA:.0%} interval of the mean difference lies inside ±{bound:g} (two "
        f"one-sided t-tests at {ALPHA:.0%} each, not corrected); else undecided, with the number of seeds in all at "
        "which one of the two must hold whatever the difference, if the standard deviation stays as it is",
        "the verdicts are those of one look at the runs: adding seeds until a verdict appears makes false ones more "
        "frequent, which bench run --until-decided allows for",
    ]


def spread_note(bound: float, baseline: str) -> str:
    """Return what the two columns beside the verdict are."""
    return (
        f"paired sd: standard deviation of the differences to {baseline} at the same seed; seeds for {bound:g}: how "
        f"many show a true difference of {bound:g} with {POWER:.0%} power (paired t-test, two-sided, {ALPHA:.0%}, "
        "uncorrected)"
    )
