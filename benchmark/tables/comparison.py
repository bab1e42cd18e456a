"""Paired differences between two methods: intervals, verdicts, planned seeds, and levels of sequential looks."""

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import stdev
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from benchmark.metrics import HEADLINE, Better
from methods.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

POWER = 0.8
MAX_SEEDS = 100_000  # more seeds than anyone runs: a search for a number of seeds ends here
MIN_PAIRS = 3  # fewer seeds say too little of their spread: a difference is shown without an interval

CELLS = 200
"""Of the grid that carries the distribution of t from look to look; the levels are right to four digits with it."""

NODES = 32  # of the quadrature over how much of the sum of squares the new seeds bring

TABLE = 4001

NOTHING = 1e-12  # a smaller error than floating point can tell from none: such a look decides nothing

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
    """Return ours minus the baseline's for each seed that both have, in the order of the seeds."""
    return [ours[seed] - baseline[seed] for seed in sorted(ours.keys() & baseline.keys())]


def paired_gain(ours: Mapping[int, float], baseline: Mapping[int, float], alpha: float = ALPHA) -> Gain | None:
    """Return the gain over the seeds that both have, by the paired t-test; None if they share no seed.

    ``t = mean / (sd / sqrt(n))`` with n - 1 degrees of freedom. Differences that are all the same have no spread to
    judge by: there is no interval then, as with fewer than three.

    Args:
        ours: Values by seed.
        baseline: Values by seed.
        alpha: One minus the level of the interval.
    """
    found = differences(ours, baseline)
    if not found:
        return None
    n = len(found)
    mean, sd = math.fsum(found) / n, stdev(found) if n > 1 else None
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
    """A comparison that was stated before its runs were looked at."""

    name: str  # of the suite, or of the command
    baseline: str  # the method that the others are compared with
    methods: Sequence[str]  # the roster, baseline included
    seeds: int  # how many each method has: 0, 1, ..
    comparisons: int  # K, the number of comparisons that the level is for; more than are made leaves room for methods
    # half-width of what counts as equivalent, by metric; what has none is not judged
    bounds: Mapping[str, float] = field(default_factory=lambda: {HEADLINE: 0.5})
    looks: Sequence[int] = ()  # seeds at each look, growing, the last being all of them; one look for none

    @property
    def alpha(self) -> float:
        """The level of each comparison: 0.05 / K, so that it depends on no other comparison that is shown."""
        return ALPHA / self.comparisons

    def levels(self) -> list[float]:
        """Return the level of each look."""
        looks = [*self.looks] or [self.seeds]
        if len(looks) == 1:
            return [self.alpha]
        counts = range(1, len(looks) + 1)
        return [level(looks[:count], self.seeds, self.alpha, final=count == len(looks)) for count in counts]

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


def statement(declared: Declaration, verdicts: bool = True) -> list[str]:
    """Return what was declared and, if they are shown, how its verdicts come about, a line each."""
    bounds = ", ".join(f"±{bound:g} {metric}" for metric, bound in declared.bounds.items())
    lines = [
        f"declared ({declared.name}): {len(declared.methods) - 1} methods against {declared.baseline}, "
        f"{declared.seeds} seeds, equivalent within {bounds}; level 0.05 / {declared.comparisons} = "
        f"{declared.alpha:.3g} for each comparison, so that a verdict depends on its own runs alone"
    ]
    if verdicts:
        lines.append(
            f"verdict: the interval of {1 - declared.alpha:.5g} compared with 0 and with the bound: it is beyond the "
            "bound (better, worse by at least), excludes 0 (better, worse), is within the bound (equivalent), or none "
            "of these (undecided)"
        )
    if len(declared.looks) > 1:
        looks = ", ".join(map(str, declared.looks))
        levels = ", ".join(f"{level:.2g}" for level in declared.levels())
        lines.append(
            f"sequential: looks at {looks} seeds at levels {levels} (error spending of Lan and DeMets after O'Brien "
            "and Fleming, exact for t); what a look decides is kept, with the interval of its level and seeds"
        )
    return lines


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


# planned seeds: n pairs, at least 2, whose differences have a standard deviation sd, at least 0, in the unit of the
# effect; a two-sided level alpha, or 5 % shared by m comparisons


def power_of_paired_t(n: int, effect: float, sd: float, alpha: float = ALPHA) -> float:
    """Return the probability that the two-sided paired t-test sees a true difference; the deviation is above 0.

    With ``d = effect / sd``, T has the noncentral t distribution with n - 1 degrees of freedom and noncentrality
    ``d sqrt(n)``; the power is ``P(|T| > t(1 - alpha/2, n - 1))``.

    Source: Cohen (1988), "Statistical Power Analysis for the Behavioral Sciences", chapter 2.
    """
    from scipy.stats import nct, t

    critical, shift = t.isf(alpha / 2, n - 1), abs(effect) / sd * math.sqrt(n)
    # the lower tail by symmetry: scipy's cdf of a small tail is nan
    return float(nct.sf(critical, n - 1, shift) + nct.sf(critical, n - 1, -shift))


def seeds_needed(effect: float, sd: float, alpha: float = ALPHA) -> int | None:
    """Return the seeds, at least 3, that see a difference other than 0 with 80 %; None beyond :data:`MAX_SEEDS`."""
    return MIN_PAIRS if sd == 0 else _smallest(lambda n: power_of_paired_t(n, effect, sd, alpha) >= POWER)


def detectable_difference(n: int, sd: float, comparisons: int = 1) -> float:
    """Return the true difference that the paired t-test of n seeds sees with a probability of 80 %.

    It solves ``power_of_paired_t(n, difference, sd, 0.05 / m) = 0.8``; the deviation is above 0.
    """
    from scipy.optimize import brentq

    def missing(effect: float) -> float:
        return power_of_paired_t(n, effect, sd, ALPHA / comparisons) - POWER

    high = sd
    while missing(high) < 0:
        high *= 2
    return float(brentq(missing, 0.0, high))


def half_width(n: int, sd: float, comparisons: int = 1) -> float:
    """Return the half-width of the interval of a mean difference, ``t(1 - 0.05 / (2 m), n - 1) sd / sqrt(n)``."""
    from scipy.stats import t

    return float(t.isf(ALPHA / (2 * comparisons), n - 1) * sd / math.sqrt(n))


def seeds_for_half_width(bound: float, sd: float, comparisons: int = 1) -> int | None:
    """Return the seeds, at least 3, whose :func:`half_width` is at most a bound; None beyond :data:`MAX_SEEDS`."""
    return _smallest(lambda n: half_width(n, sd, comparisons) <= bound)


def seeds_for_equivalence(bound: float, sd: float, alpha: float = ALPHA) -> int | None:
    """Return the seeds, at least 3, at which a true difference of 0 is called equivalent with a probability of 80 %.

    It is called so where the interval at 1 - alpha is within ± bound, which is above 0: the smallest n with
    ``(t(1 - alpha / 2, n - 1) + t(1 - (1 - 0.8) / 2, n - 1)) sd / sqrt(n) <= bound``, the mean difference taken within
    its own interval of 80 %; None beyond :data:`MAX_SEEDS`.
    """
    from scipy.stats import t

    return _smallest(
        lambda n: bool((t.isf(alpha / 2, n - 1) + t.isf((1 - POWER) / 2, n - 1)) * sd / math.sqrt(n) <= bound)
    )


def _smallest(enough: Callable[[int], bool]) -> int | None:
    """Return the smallest number of seeds that is enough, where all larger ones are as well."""
    high = MIN_PAIRS
    while not enough(high):
        if high == MAX_SEEDS:
            return None
        high = min(2 * high, MAX_SEEDS)
    return bisect_left(range(high), True, max(MIN_PAIRS, high // 2), key=enough)


# sequential testing: each look may spend a part of the permitted error, little at first and all of it by the last one


def spent(fraction: float, alpha: float) -> float:
    """Return the error that may have been spent by the time that a share of the planned seeds is there.

    On each side, with ``a = alpha / 2``: ``2 - 2 Phi(z(1 - a / 2) / sqrt(fraction))``, which follows the boundaries
    of O'Brien and Fleming.

    Source: Lan & DeMets (1983), "Discrete Sequential Boundaries for Clinical Trials", Biometrika 70; O'Brien & Fleming
    (1979), "A Multiple Testing Procedure for Clinical Trials", Biometrics 35.

    Args:
        fraction: Above 0, at most 1.
        alpha: The two-sided error of all looks together.
    """
    from scipy.special import ndtr, ndtri

    return float(4 * ndtr(ndtri(alpha / 4) / math.sqrt(fraction)))


def level(counts: Sequence[int], planned: int, alpha: float, final: bool = False) -> float:
    """Return what the p value of the t-test must fall below at a look, so that all looks together err by alpha.

    It is exact for t, not for its normal limit (which would let 5.2 % through at 5, 10, 15 and 20 seeds). With
    ``r = sum(x) / sqrt(sum(x^2))`` of n differences whose true mean is 0, t is a growing function of r, and the sum of
    squares says nothing of r. A look with m further seeds, whose own ratio is s and whose share of the sum of squares
    is b, has ``r' = r sqrt(1 - b) + s sqrt(b)``, where b has the Beta(m / 2, n / 2) distribution and s that of r with m
    for n; both are independent of all that was seen before. So the distribution of r among what has not been decided
    is carried from look to look on a grid, as Armitage, McPherson & Rowe (1969), "Repeated Significance Tests on
    Accumulating Data", do for the normal distribution.

    Args:
        counts: Seeds at each look so far, growing, at least :data:`MIN_PAIRS`.
        planned: Seeds at the last look that there can be: all of the error may be spent by then.
        alpha: The two-sided error of all looks together.
        final: Whether there can be no further look, so that all of the error may be spent though fewer seeds than
            planned have come.

    Raises:
        ValueError: If the counts do not grow, begin too low, or end above what is planned.
    """
    if not counts or counts[0] < MIN_PAIRS or counts[-1] > planned:
        raise ValueError(f"looks must be between {MIN_PAIRS} and {planned} seeds (given: {counts})")
    if any(later <= earlier for earlier, later in itertools.pairwise(counts)):
        raise ValueError(f"looks must grow (given: {counts})")
    return _level(tuple(counts), planned, alpha, final)


@cache
def _level(counts: tuple[int, ...], planned: int, alpha: float, final: bool) -> float:
    from scipy.special import stdtr

    errors = [spent(count / planned, alpha) for count in counts]
    errors[-1] = alpha if final else errors[-1]
    r, n = _boundary(counts, tuple(errors)), counts[-1]
    return float(2 * stdtr(n - 1, -r * math.sqrt((n - 1) / (n - r**2))))


@cache
def _boundary(counts: tuple[int, ...], errors: tuple[float, ...]) -> float:
    """Return the ratio from which on the last of the looks decides, given the error spent by each look."""
    import numpy as np
    from scipy.optimize import brentq

    below = _below(counts, errors)
    undecided, end = 1 - (errors[-2] if len(errors) > 1 else 0.0), math.sqrt(counts[-1])
    aim = (errors[-1] - (1 - undecided)) / 2
    if aim < NOTHING:
        return end * (1 - 1e-9)
    return float(brentq(lambda r: undecided - float(below(np.array([r]))[0]) - aim, -end, end, xtol=1e-12))


def _below(counts: tuple[int, ...], errors: tuple[float, ...]) -> "Callable[[Array], Array]":
    """Return the probability that nothing was decided before the last of the looks and its ratio is below a value."""
    return _ratio(counts[0]) if len(counts) == 1 else _moved(counts, *_undecided(counts[:-1], errors[:-1]))


@cache
def _undecided(counts: tuple[int, ...], errors: tuple[float, ...]) -> "tuple[Array, Array]":
    """Return the probabilities of the ratio's cells where no look has decided, and the cells' middles."""
    import numpy as np

    boundary = _boundary(counts, errors)
    edges = np.linspace(-boundary, boundary, CELLS + 1)
    mass = np.diff(_below(counts, errors)(edges))
    # what the grid loses would otherwise be spent by the next look
    return mass * ((1 - errors[-1]) / mass.sum()), (edges[1:] + edges[:-1]) / 2


def _ratio(count: int) -> "Callable[[Array], Array]":
    """Return the distribution function of ``sum(x) / sqrt(sum(x^2))`` of that many standard normal numbers."""
    import numpy as np
    from scipy.stats import t

    def below(r: "Array") -> "Array":
        if count == 1:
            return np.where(r < -1, 0.0, np.where(r < 1, 0.5, 1.0))
        with np.errstate(divide="ignore"):
            values = r * np.sqrt((count - 1) / np.maximum(count - r**2, 0))
        return np.asarray(t.cdf(values, count - 1))

    return below


def _moved(counts: tuple[int, ...], mass: "Array", middles: "Array") -> "Callable[[Array], Array]":
    """Return the distribution function of the ratio at the last look, of what was undecided at the one before."""
    import numpy as np
    from scipy.stats import beta

    before, new = counts[-2], counts[-1] - counts[-2]
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    share = beta.ppf((1 + nodes) / 2, new / 2, before / 2)
    weights = weights / 2
    # a table, as the function is asked for a million values
    places = np.linspace(-math.sqrt(new), math.sqrt(new), TABLE)
    table: Any = _ratio(new)(places)

    def below(r: "Array") -> "Array":
        ratios = (r[:, None, None] - middles[None, :, None] * np.sqrt(1 - share)) / np.sqrt(share)
        chances = np.interp(ratios, places, table, left=0, right=1) @ weights
        return np.asarray(chances @ mass)

    return below
