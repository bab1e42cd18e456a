"""Whether a difference between two methods is more than luck: paired over the seeds that both have."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

Column = TypeVar("Column", bound=Hashable)
"""What tells the columns of a table apart."""

ALPHA = 0.05
"""The level of the tests: itself, and not 1 - 0.95, which is a little more, so that a p of 0.05 is not below it."""

CONFIDENCE = 1 - ALPHA
MIN_PAIRS = 3
"""Fewer say too little of their spread: the difference is shown without an interval."""


@dataclass(frozen=True)
class Gain:
    """The mean paired difference to a baseline.

    Attributes:
        mean: Ours minus the baseline's.
        n: Seeds that both have.
        low: Lower end of the interval; None without one.
        high: Its upper end.
        p: Two-sided, of the paired t-test; None without an interval.
        adjusted: The same after Holm's correction for all comparisons of the table.
        confidence: The level of the interval: 95 %, or that of the comparison's step of the same correction.
    """

    mean: float
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    adjusted: float | None = None
    confidence: float | None = None

    @property
    def significant(self) -> bool:
        """Whether it is more than luck at the level of the interval, among all comparisons of the table."""
        return self.adjusted is not None and self.adjusted < ALPHA


def differences(ours: Mapping[int, float], baseline: Mapping[int, float]) -> list[float]:
    """Return ours minus the baseline's for each seed that both have, in the order of the seeds.

    Args:
        ours: Scores by seed.
        baseline: Scores by seed.
    """
    return [ours[seed] - baseline[seed] for seed in sorted(ours.keys() & baseline.keys())]


def paired_gain(ours: Mapping[int, float], baseline: Mapping[int, float]) -> Gain | None:
    """Return the gain over the seeds that both have, by ``scipy.stats.ttest_rel``; None if they share no seed.

    Differences that are all the same have no spread to judge by: there is no interval then, as with fewer than three.

    Args:
        ours: Scores by seed.
        baseline: Scores by seed.
    """
    seeds = sorted(ours.keys() & baseline.keys())
    if not seeds:
        return None
    found = differences(ours, baseline)
    mean = math.fsum(found) / len(seeds)
    spread = max(found) - min(found)
    if len(seeds) < MIN_PAIRS or spread <= 1e-9 * max(map(abs, (*ours.values(), *baseline.values()))):
        return Gain(mean, len(seeds))
    # half a second that only who compares pays
    from scipy.stats import ttest_rel

    test = ttest_rel([ours[seed] for seed in seeds], [baseline[seed] for seed in seeds])
    interval = test.confidence_interval(CONFIDENCE)
    return Gain(mean, len(seeds), float(interval.low), float(interval.high), float(test.pvalue), None, CONFIDENCE)


def gains(scores: Mapping[tuple[str, Column], Mapping[int, float]], baseline: str) -> dict[tuple[str, Column], Gain]:
    """Return the gains of all rows over one of them, their p values and intervals corrected together.

    So an interval leaves 0 out exactly if its corrected p is below 0.05.

    Args:
        scores: By row and column, then by seed.
        baseline: The row that the others are compared with.

    Returns:
        By row and column, where row and baseline share a seed.
    """
    found: dict[tuple[str, Column], Gain] = {}
    for (row, column), own in scores.items():
        reference = scores.get((baseline, column))
        if row != baseline and reference and (gain := paired_gain(own, reference)):
            found[row, column] = gain
    tested = {key: gain.p for key, gain in found.items() if gain.p is not None}
    p_values = [*tested.values()]
    steps = zip(tested, holm(p_values), holm_levels(p_values), strict=True)
    return found | {key: _at_level(replace(found[key], adjusted=p), 1 - level) for key, p, level in steps}


def _at_level(gain: Gain, confidence: float) -> Gain:
    """Return a gain with its interval at another level."""
    from scipy.stats import t

    if gain.low is None or gain.high is None or gain.confidence is None or confidence == gain.confidence:
        return gain
    before, after = (float(t.ppf((1 + level) / 2, gain.n - 1)) for level in (gain.confidence, confidence))
    half = (gain.high - gain.low) / 2 * after / before
    return replace(gain, low=gain.mean - half, high=gain.mean + half, confidence=confidence)


class MeanSquares(NamedTuple):
    """Of a two-way analysis of variance; ``p`` is that of the F test that the rows do not differ."""

    rows: float
    columns: float
    rest: float
    p: float


def two_way(scores: Sequence[Sequence[float]]) -> MeanSquares:
    """Return the analysis of variance of rows and columns without replication, in which the columns are blocks.

    With k rows, n columns and residuals ``r = x - row mean - column mean + mean`` the mean squares are
    ``n var(row means)``, ``k var(column means)`` and ``sum r^2 / ((k - 1) (n - 1))``; the ratio of the first and the
    last has k - 1 and (k - 1) (n - 1) degrees of freedom. For two rows it is the paired t-test.

    Source: Montgomery (2017), "Design and Analysis of Experiments", chapter 4 (randomized complete block design).

    Args:
        scores: By row, then by column; at least two of each, without gaps.
    """
    import numpy as np
    from scipy.stats import f

    table = np.asarray(scores, dtype=float)
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    residuals = table - rows[:, None] - columns[None, :] + table.mean()
    degrees = len(rows) - 1, (len(rows) - 1) * (len(columns) - 1)
    of_rows, of_columns = len(columns) * float(rows.var(ddof=1)), len(rows) * float(columns.var(ddof=1))
    rest = float((residuals**2).sum()) / degrees[1]
    if rest <= 1e-18 * float((table**2).mean()):
        # nothing but rounding is left: without noise every difference exceeds it
        return MeanSquares(of_rows, of_columns, rest, 0.0 if of_rows > rest else 1.0)
    return MeanSquares(of_rows, of_columns, rest, float(f.sf(of_rows / rest, *degrees)))


def holm_levels(p_values: Sequence[float], alpha: float = ALPHA) -> list[float]:
    """Return the level at which Holm's procedure tests each of several p values, in the order given.

    The i-th smallest of m (0-based) is tested at ``alpha / (m - i)`` as long as all before it were found significant;
    where the procedure stops, what is left is tested at the level of that step. So p is below its level exactly where
    the adjusted p of :func:`holm` is below ``alpha``, and an interval at confidence 1 - level leaves 0 out exactly
    there. Each interval has the level of its own step: they do not all hold together with 95 %, as Bonferroni's would,
    but those that leave 0 out do so wrongly in at most 5 % of tables.
    """
    levels = [alpha] * len(p_values)
    level, stopped = alpha, False
    # by the adjusted p: p and alpha / (m - i) can round to the other side where they are all but equal
    adjusted = holm(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if not stopped:
            level = alpha / (len(p_values) - rank)
            stopped = adjusted[index] >= alpha
        levels[index] = level
    return levels


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p values, in the order given: comparing them with 0.05 keeps the family's level.

    The i-th smallest of m (0-based) becomes ``min(1, (m - i) p)``, and none is smaller than the one before it.

    Source: Holm (1979), "A Simple Sequentially Rejective Multiple Test Procedure"; scipy has no such function.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
