"""How many seeds a comparison takes: power of the paired t-test, and widths of intervals.

Everywhere ``n`` is a number of pairs, at least 2, ``sd`` the standard deviation of their differences in the unit of the
effect, at least 0, ``alpha`` a two-sided level, and ``comparisons`` the number m of those that share a level of 5 %.
"""

import math
from bisect import bisect_left
from collections.abc import Callable

from benchmark.tables.comparison import ALPHA, MIN_PAIRS

POWER = 0.8
MAX_SEEDS = 100_000  # more seeds than anyone runs: a search for a number of seeds ends here


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
