"""Paired differences between two methods: intervals, p values, and the verdicts of declared comparisons."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import stdev
from typing import Literal, NamedTuple

from benchmark.metrics import HEADLINE, Better
from benchmark.tables.sequential import MIN_PAIRS, level
from methods.errors import InputError

ALPHA = 0.05
"""The level of the tests: itself, and not 1 - 0.95, which is a little more, so that a p of 0.05 is not below it."""

CONFIDENCE = 1 - ALPHA

Word = Literal["better by at least", "better", "equivalent", "worse", "worse by at least", "undecided"]
"""What a declared comparison comes to."""


@dataclass(frozen=True)
class Gain:
    """The mean paired difference to a baseline.

    Attributes:
        mean: Ours minus the baseline's.
        n: Seeds that both have.
        low: Lower end of the interval; None without one.
        high: Its upper end.
        p: Two-sided, of the paired t-test; None without an interval.
        confidence: The level of the interval.
        sd: Standard deviation of the paired differences; None with fewer than two seeds.
        verdict: What a declared comparison comes to; None where nothing was declared (exploratory).
        bound: Half-width of what the declaration calls equivalent.
        note: What is to be known of the verdict: at how many seeds, or how many are missing.
    """

    mean: float
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    confidence: float | None = None
    sd: float | None = None
    verdict: Word | None = None
    bound: float | None = None
    note: str = ""

    @property
    def text(self) -> str:
        """The verdict in words, with what is to be known of it; empty without a declaration."""
        if self.verdict is None:
            return ""
        words = f"{self.verdict} {self.bound:g}" if self.verdict.endswith("at least") else str(self.verdict)
        return f"{words} ({self.note})" if self.note else words


def differences(ours: Mapping[int, float], baseline: Mapping[int, float]) -> list[float]:
    """Return ours minus the baseline's for each seed that both have, in the order of the seeds.

    Args:
        ours: Values by seed.
        baseline: Values by seed.
    """
    return [ours[seed] - baseline[seed] for seed in sorted(ours.keys() & baseline.keys())]


def paired_sd(ours: Mapping[int, float], baseline: Mapping[int, float]) -> float | None:
    """Return the sample's standard deviation of the paired differences; None if fewer than two seeds are shared.

    Args:
        ours: Values by seed.
        baseline: Values by seed.
    """
    found = differences(ours, baseline)
    return stdev(found) if len(found) > 1 else None


def paired_gain(ours: Mapping[int, float], baseline: Mapping[int, float], alpha: float = ALPHA) -> Gain | None:
    """Return the gain over the seeds that both have, by the paired t-test; None if they share no seed.

    ``t = mean / (sd / sqrt(n))`` with n - 1 degrees of freedom. Differences that are all the same have no spread to
    judge by: there is no interval then, as with fewer than three.

    Args:
        ours: Values by seed.
        baseline: Values by seed.
        alpha: One minus the level of the interval.
    """
    seeds = sorted(ours.keys() & baseline.keys())
    if not seeds:
        return None
    found = differences(ours, baseline)
    mean, sd, n = math.fsum(found) / len(seeds), paired_sd(ours, baseline), len(seeds)
    spread = max(found) - min(found)
    error = (sd or 0.0) / math.sqrt(n)
    if n < MIN_PAIRS or not error or spread <= 1e-9 * max(map(abs, (*ours.values(), *baseline.values()))):
        return Gain(mean, n, sd=sd)
    # half a second that only who compares pays; of scipy.stats the same takes a hundred times as long
    from scipy.special import stdtr, stdtrit

    half = -float(stdtrit(n - 1, alpha / 2)) * error
    p = 2 * float(stdtr(n - 1, -abs(mean) / error))
    return Gain(mean, n, mean - half, mean + half, p, 1 - alpha, sd)


def verdict(low: float, high: float, bound: float, better: Better) -> Word:
    """Return what one interval of a difference says when it is compared with 0 and with ± bound.

    The first that holds: it is beyond the bound (better or worse by at least the bound), it excludes 0 (better or
    worse), it is within the bound (equivalent); else undecided.

    Args:
        low: Lower end of the interval of ours minus the baseline's.
        high: Its upper end.
        bound: Half-width of what counts as equivalent, above 0.
        better: Which end of the metric is better.
    """
    if better == "low":
        low, high = -high, -low
    if low >= bound:
        return "better by at least"
    if high <= -bound:
        return "worse by at least"
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "equivalent" if -bound < low and high < bound else "undecided"


@dataclass(frozen=True)
class Declaration:
    """A comparison that was stated before its runs were looked at.

    Attributes:
        name: Of the suite, or of the command.
        baseline: The method that the others are compared with.
        methods: The roster, baseline included.
        seeds: How many each method has: 0, 1, ...
        comparisons: K, the number of comparisons that the level is for; more than are made leaves room for methods.
        bounds: Half-width of what counts as equivalent, by metric; what has none is not judged.
        looks: Seeds at each look, growing, the last being all of them; one look for none.
    """

    name: str
    baseline: str
    methods: Sequence[str]
    seeds: int
    comparisons: int
    bounds: Mapping[str, float] = field(default_factory=lambda: {HEADLINE: 0.5})
    looks: Sequence[int] = ()

    @property
    def alpha(self) -> float:
        """The level of each comparison: 0.05 / K, so that it depends on no other comparison that is shown."""
        return ALPHA / self.comparisons

    def levels(self) -> list[float]:
        """Return the level of each look."""
        looks = [*self.looks] or [self.seeds]
        if len(looks) == 1:
            return [self.alpha]
        return [
            level(looks[: place + 1], self.seeds, self.alpha, final=place == len(looks) - 1)
            for place in range(len(looks))
        ]

    def judge(
        self,
        ours: Mapping[int, float],
        baseline: Mapping[int, float],
        metric: str,
        better: Better,
        ended: Collection[int] | None = None,
    ) -> Gain | None:
        """Return the difference with its verdict: a function of these runs and of the declaration alone.

        Of several looks the first that decides counts, with the interval of its level and of its seeds. A look is
        taken when all of its seeds have ended; before the last one is complete, the verdict says how many are there.

        Args:
            ours: Values by seed.
            baseline: Values by seed.
            metric: One of ``bounds``; another is exploratory and gets an interval of 95 % and no verdict.
            better: Which end of the metric is better.
            ended: The seeds that both have ended for good, with a value or without; None for those with values.
        """
        if metric not in self.bounds or better is None:
            return paired_gain(ours, baseline)
        bound = self.bounds[metric]
        there = set(ours.keys() & baseline.keys()) if ended is None else set(ended)
        looks = [*self.looks] or [self.seeds]
        complete = [look for look in looks if there >= set(range(look))]
        found: Gain | None = None
        counts: list[int] = []
        for place, look in enumerate(complete):
            own, reference = ({seed: x for seed, x in one.items() if seed < look} for one in (ours, baseline))
            n = len(own.keys() & reference.keys())
            if n < MIN_PAIRS or (counts and n == counts[-1]):
                continue
            counts.append(n)
            final = place == len(looks) - 1
            alpha = self.alpha if len(looks) == 1 else level(counts, self.seeds, self.alpha, final=final)
            found = paired_gain(own, reference, alpha)
            if found is None or found.low is None or found.high is None:
                continue
            word = verdict(found.low, found.high, bound, better)
            note = f"at {look} seeds" if len(looks) > 1 and not final else ""
            found = replace(found, verdict=word, bound=bound, note=note)
            if word != "undecided":
                return found
        found = found or paired_gain(ours, baseline, self.alpha)
        if found is None:
            return None
        missing = f"{len(there & set(range(self.seeds)))} of {self.seeds} seeds"
        why = missing if len(complete) < len(looks) else "" if found.p is not None else "no spread to judge by"
        return replace(found, verdict="undecided", bound=bound, note=why)


def check_bound(option: str, bound: float) -> float:
    """Return the half-width of what counts as equivalent, or raise an InputError if it is none."""
    if not 0 < bound < float("inf"):
        raise InputError(f"{option} takes a difference above 0, such as 0.5 (given: {bound:g})")
    return bound


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
