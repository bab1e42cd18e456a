"""Statistics that need scipy as a whole: planned seeds, several tasks together, and levels of sequential looks."""

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from benchmark.tables.gains import ALPHA, MAX_SEEDS, MIN_PAIRS, POWER, RESAMPLES, Aggregate, Estimate

Array = NDArray[np.float64]


class MeanSquares(NamedTuple):
    """Of a two-way analysis of variance; ``p`` is that of the F test that the rows do not differ."""

    rows: float
    columns: float
    rest: float
    p: float


def two_way(scores: Sequence[Sequence[float]]) -> MeanSquares:
    """Return the analysis of variance of scores by row and column, two of each or more, in which columns are blocks.

    With k rows, n columns and residuals ``r = x - row mean - column mean + mean`` the mean squares are
    ``n var(row means)``, ``k var(column means)`` and ``sum r^2 / ((k - 1) (n - 1))``; the ratio of the first and the
    last has k - 1 and (k - 1) (n - 1) degrees of freedom. For two rows it is the paired t-test.

    Source: Montgomery (2017), "Design and Analysis of Experiments", chapter 4 (randomized complete block design).
    """
    table = np.asarray(scores, dtype=float)
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    residuals = table - rows[:, None] - columns[None, :] + table.mean()
    degrees = len(rows) - 1, (len(rows) - 1) * (len(columns) - 1)
    of_rows, of_columns = len(columns) * float(rows.var(ddof=1)), len(rows) * float(columns.var(ddof=1))
    rest = float((residuals**2).sum()) / degrees[1]
    if rest <= 1e-18 * float((table**2).mean()):
        # nothing but rounding is left: without noise every difference exceeds it
        return MeanSquares(of_rows, of_columns, rest, 0.0 if of_rows > rest else 1.0)
    return MeanSquares(of_rows, of_columns, rest, float(stats.f.sf(of_rows / rest, *degrees)))


# planned seeds: n pairs, at least 2, whose differences have a standard deviation sd, at least 0, in the unit of the
# effect; a two-sided level alpha, or 5 % shared by m comparisons


def power_of_paired_t(n: int, effect: float, sd: float, alpha: float = ALPHA) -> float:
    """Return the probability that the two-sided paired t-test sees a true difference; the deviation is above 0.

    With ``d = effect / sd``, T has the noncentral t distribution with n - 1 degrees of freedom and noncentrality
    ``d sqrt(n)``; the power is ``P(|T| > t(1 - alpha/2, n - 1))``.

    Source: Cohen (1988), "Statistical Power Analysis for the Behavioral Sciences", chapter 2.
    """
    critical, shift = stats.t.isf(alpha / 2, n - 1), abs(effect) / sd * math.sqrt(n)
    # the lower tail by symmetry: scipy's cdf of a small tail is nan
    return float(sum(stats.nct.sf(critical, n - 1, side) for side in (shift, -shift)))


def seeds_needed(effect: float, sd: float, alpha: float = ALPHA) -> int | None:
    """Return the seeds, at least 3, that see a difference other than 0 with 80 %; None beyond :data:`MAX_SEEDS`."""
    return MIN_PAIRS if sd == 0 else _smallest(lambda n: power_of_paired_t(n, effect, sd, alpha) >= POWER)


def detectable_difference(n: int, sd: float, comparisons: int = 1) -> float:
    """Return the true difference that the paired t-test of n seeds sees with a probability of 80 %.

    It solves ``power_of_paired_t(n, difference, sd, 0.05 / m) = 0.8``; the deviation is above 0.
    """

    def missing(effect: float) -> float:
        return power_of_paired_t(n, effect, sd, ALPHA / comparisons) - POWER

    high = sd
    while missing(high) < 0:
        high *= 2
    return float(optimize.brentq(missing, 0.0, high))


def half_width(n: int, sd: float, comparisons: int = 1) -> float:
    """Return the half-width of the interval of a mean difference, ``t(1 - 0.05 / (2 m), n - 1) sd / sqrt(n)``."""
    return float(stats.t.isf(ALPHA / (2 * comparisons), n - 1) * sd / math.sqrt(n))


def seeds_for_half_width(bound: float, sd: float, comparisons: int = 1) -> int | None:
    """Return the seeds, at least 3, whose :func:`half_width` is at most a bound; None beyond :data:`MAX_SEEDS`."""
    return _smallest(lambda n: half_width(n, sd, comparisons) <= bound)


def seeds_for_equivalence(bound: float, sd: float, alpha: float = ALPHA) -> int | None:
    """Return the seeds, at least 3, at which a true difference of 0 is called equivalent with a probability of 80 %.

    It is called so where the interval at 1 - alpha is within ± bound, which is above 0: the smallest n with
    ``(t(1 - alpha / 2, n - 1) + t(1 - (1 - 0.8) / 2, n - 1)) sd / sqrt(n) <= bound``, the mean difference taken within
    its own interval of 80 %; None beyond :data:`MAX_SEEDS`.
    """

    def enough(n: int) -> bool:
        quantiles = stats.t.isf(alpha / 2, n - 1) + stats.t.isf((1 - POWER) / 2, n - 1)
        return bool(quantiles * sd / math.sqrt(n) <= bound)

    return _smallest(enough)


def _smallest(enough: Callable[[int], bool]) -> int | None:
    """Return the smallest number of seeds that is enough, where all larger ones are as well."""
    high = MIN_PAIRS
    while not enough(high):
        if high == MAX_SEEDS:
            return None
        high = min(2 * high, MAX_SEEDS)
    return bisect_left(range(high), True, max(MIN_PAIRS, high // 2), key=enough)


# several tasks together


def aggregate(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]], low: bool = False, alpha: float = ALPHA
) -> Aggregate:
    """Return interquartile mean of the gains and probability of improvement with bootstrap intervals.

    The interquartile mean leaves out the lowest and the highest quarter of the gains of all tasks and seeds together.
    The probability of improvement is the mean over the tasks of ``P(X > Y) + P(X = Y) / 2`` for a run X of ours and a
    run Y of the baseline, whatever their seeds. The interval is ``value ± t(1 - alpha / 2, n - 1) s``, with s the
    bootstrap's standard error times ``sqrt(n / (n - 1))`` and n the seeds of the task with the fewest, whose degrees of
    freedom hold however the tasks differ in their variance; a percentile interval of so few seeds is too narrow. In
    each task for itself the seeds are sampled with replacement, the same ones for both, as they are paired.

    Source: Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice", for the
    measures; Hesterberg (2015), "What Teachers Should Know About the Bootstrap", section 4, for the correction.

    Args:
        pairs: For each task our values and the baseline's, seed by seed, at least two seeds.
        low: Whether a lower value is better.
        alpha: One minus the level of the intervals.
    """
    random = np.random.default_rng(0)  # the same runs give the same interval
    gains, shares, sampled_gains, sampled_shares = [], [], [], []
    for x, y in (np.asarray(pair, dtype=float) for pair in pairs):
        wins = (1 + np.sign((-1 if low else 1) * (x[:, None] - y[None, :]))) / 2
        picked = random.integers(len(x), size=(RESAMPLES, len(x)))
        gains.append(x - y)
        sampled_gains.append((x - y)[picked])
        shares.append(wins.mean())
        sampled_shares.append(wins[picked[:, :, None], picked[:, None, :]].mean(axis=(1, 2)))
    n = min(map(len, gains))
    factor = -float(special.stdtrit(n - 1, alpha / 2)) * math.sqrt(n / (n - 1))
    mean, share = float(stats.trim_mean(np.concatenate(gains), 0.25)), float(np.mean(shares))
    half = factor * float(np.std(stats.trim_mean(np.concatenate(sampled_gains, axis=1), 0.25, axis=1), ddof=1))
    gain = Estimate(mean, mean - half, mean + half)
    half = factor * float(np.std(np.mean(sampled_shares, axis=0), ddof=1))
    return Aggregate(gain, Estimate(share, max(0.0, share - half), min(1.0, share + half)), len(pairs), 1 - alpha)


def critical_difference(methods: int, columns: int) -> float:
    """Return how far two average ranks must be apart to differ at 5 %, by Nemenyi's test for all pairs of methods.

    ``CD = q sqrt(k (k + 1) / (6 N))``, with q the upper quantile of the studentised range of k means with infinitely
    many degrees of freedom, divided by ``sqrt(2)``, for k methods, at least 2, ranked in N columns, at least 1.

    Source: Demsar (2006), "Statistical Comparisons of Classifiers over Multiple Data Sets".
    """
    quantile = float(stats.studentized_range.ppf(1 - ALPHA, methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * columns))


# sequential testing: each look may spend a part of the permitted error, little at first and all of it by the last one


def spent(fraction: float, alpha: float) -> float:
    """Return the error, of all looks together alpha, that may be spent by a share (0 to 1) of the planned seeds.

    On each side, with ``a = alpha / 2``: ``2 - 2 Phi(z(1 - a / 2) / sqrt(fraction))``, which follows the boundaries
    of O'Brien and Fleming.

    Source: Lan & DeMets (1983), "Discrete Sequential Boundaries for Clinical Trials", Biometrika 70; O'Brien & Fleming
    (1979), "A Multiple Testing Procedure for Clinical Trials", Biometrics 35.
    """
    return float(4 * special.ndtr(special.ndtri(alpha / 4) / math.sqrt(fraction)))


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
        counts: Seeds at each look so far, growing, at least :data:`MIN_PAIRS` and at most what is planned.
        planned: Seeds at the last look that there can be: all of the error may be spent by then.
        alpha: The two-sided error of all looks together.
        final: Whether there can be no further look, so that fewer seeds than planned may spend all of the error.

    Raises:
        ValueError: If the counts are others.
    """
    growing = all(earlier < later for earlier, later in itertools.pairwise(counts))
    if not counts or counts[0] < MIN_PAIRS or counts[-1] > planned or not growing:
        raise ValueError(f"looks must grow from {MIN_PAIRS} seeds or more to at most {planned} (given: {counts})")
    errors = [spent(count / planned, alpha) for count in counts]
    r, n = _boundary(tuple(counts), (*errors[:-1], alpha if final else errors[-1]))[0], counts[-1]
    return float(2 * special.stdtr(n - 1, -r * math.sqrt((n - 1) / (n - r**2))))


@cache
def _boundary(counts: tuple[int, ...], errors: tuple[float, ...]) -> tuple[float, Callable[[Array], Array]]:
    """Return the ratio from which on the last look decides, given the error that each look has spent.

    Beside it the probability that no look before it decided and its ratio is below a value.
    """
    undecided, below = 1.0, _ratio(counts[0])
    if len(counts) > 1:
        last, earlier = _boundary(counts[:-1], errors[:-1])
        # with 200 cells the levels are right to four digits
        edges = np.linspace(-last, last, 201)
        mass = np.diff(earlier(edges))
        undecided = 1 - errors[-2]
        # what the grid loses would otherwise be spent by the next look
        below = _moved(counts, mass * (undecided / mass.sum()), (edges[1:] + edges[:-1]) / 2)
    aim, end = (errors[-1] - (1 - undecided)) / 2, math.sqrt(counts[-1])
    if aim < 1e-12:
        # floating point cannot tell so small an error from none: such a look decides nothing
        return end * (1 - 1e-9), below
    root = optimize.brentq(lambda r: undecided - float(below(np.array([r]))[0]) - aim, -end, end, xtol=1e-12)
    return float(root), below


def _ratio(count: int) -> Callable[[Array], Array]:
    """Return the distribution function of ``sum(x) / sqrt(sum(x^2))`` of that many standard normal numbers."""

    def below(r: Array) -> Array:
        if count == 1:
            return np.where(r < -1, 0.0, np.where(r < 1, 0.5, 1.0))
        with np.errstate(divide="ignore"):
            values = r * np.sqrt((count - 1) / np.maximum(count - r**2, 0))
        return np.asarray(stats.t.cdf(values, count - 1))

    return below


def _moved(counts: Sequence[int], mass: Array, middles: Array) -> Callable[[Array], Array]:
    """Return the distribution function of the ratio at the last look, of what was undecided at the one before."""
    new = counts[-1] - counts[-2]
    # a quadrature over how much of the sum of squares the new seeds bring
    nodes, weights = np.polynomial.legendre.leggauss(32)
    share = stats.beta.ppf((1 + nodes) / 2, new / 2, counts[-2] / 2)
    # a table, as the function is asked for a million values
    places = np.linspace(-math.sqrt(new), math.sqrt(new), 4001)
    table: Any = _ratio(new)(places)

    def below(r: Array) -> Array:
        ratios = (r[:, None, None] - middles[None, :, None] * np.sqrt(1 - share)) / np.sqrt(share)
        return np.asarray(np.interp(ratios, places, table, left=0, right=1) @ (weights / 2) @ mass)

    return below
