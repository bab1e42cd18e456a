"""How many seeds a comparison takes: power of the paired t-test, and widths of intervals."""

import math
from bisect import bisect_left
from collections.abc import Callable

from benchmark.tables.comparison import ALPHA, MIN_PAIRS

POWER = 0.8
MAX_SEEDS = 100_000
"""More seeds than anyone runs: a search for a number of seeds ends here."""


def power_of_paired_t(n: int, effect: float, sd: float, alpha: float = ALPHA) -> float:
    """Return the probability that the two-sided paired t-test sees a true difference.

    With ``d = effect / sd``, T has the noncentral t distribution with n - 1 degrees of freedom and noncentrality
    ``d sqrt(n)``; the power is ``P(|T| > t(1 - alpha/2, n - 1))``.

    Source: Cohen (1988), "Statistical Power Analysis for the Behavioral Sciences", chapter 2.

    Args:
        n: Pairs, at least 2.
        effect: The true mean difference.
        sd: Standard deviation of the differences, above 0, in the same unit.
        alpha: Two-sided level.
    """
    from scipy.stats import nct, t

    critical, shift = t.isf(alpha / 2, n - 1), abs(effect) / sd * math.sqrt(n)
    # the lower tail by symmetry: scipy's cdf of a small tail is nan
    return float(nct.sf(critical, n - 1, shift) + nct.sf(critical, n - 1, -shift))


def seeds_needed(effect: float, sd: float, power: float = POWER, alpha: float = ALPHA) -> int | None:
    """Return the smallest number of seeds at which the paired t-test sees a difference with a probability.

    Args:
        effect: The true mean difference, not 0.
        sd: Standard deviation of the paired differences, at least 0, in the same unit.
        power: The probability.
        alpha: Two-sided level.

    Returns:
        At least :data:`MIN_PAIRS`; None if it is more than :data:`MAX_SEEDS`.
    """
    return MIN_PAIRS if sd == 0 else _smallest(lambda n: power_of_paired_t(n, effect, sd, alpha) >= power)


def detectable_difference(n: int, sd: float, comparisons: int = 1, power: float = POWER, alpha: float = ALPHA) -> float:
    """Return the true difference that the paired t-test of n seeds sees with a probability.

    It solves ``power_of_paired_t(n, difference, sd, alpha / m) = power`` for m comparisons.

    Args:
        n: Pairs, at least 2.
        sd: Standard deviation of the differences, above 0.
        comparisons: How many the level is for, m.
        power: The probability.
        alpha: Two-sided level of all comparisons together.
    """
    from scipy.optimize import brentq

    def missing(effect: float) -> float:
        return power_of_paired_t(n, effect, sd, alpha / comparisons) - power

    high = sd
    while missing(high) < 0:
        high *= 2
    return float(brentq(missing, 0.0, high))


def half_width(n: int, sd: float, comparisons: int = 1, alpha: float = ALPHA) -> float:
    """Return the half-width of the confidence interval of a mean paired difference.

    ``t(1 - alpha / (2 m), n - 1) sd / sqrt(n)`` for m comparisons.

    Args:
        n: Pairs, at least 2.
        sd: Standard deviation of the differences, at least 0.
        comparisons: How many the level is for, m.
        alpha: Two-sided level of all comparisons together.
    """
    from scipy.stats import t

    return float(t.isf(alpha / (2 * comparisons), n - 1) * sd / math.sqrt(n))


def seeds_for_half_width(bound: float, sd: float, comparisons: int = 1, alpha: float = ALPHA) -> int | None:
    """Return the smallest number of seeds whose :func:`half_width` is at most a bound.

    Returns:
        At least :data:`MIN_PAIRS`; None if it is more than :data:`MAX_SEEDS`.
    """
    return _smallest(lambda n: half_width(n, sd, comparisons, alpha) <= bound)


def seeds_for_equivalence(bound: float, sd: float, power: float = POWER, alpha: float = ALPHA) -> int | None:
    """Return the smallest number of seeds at which a true difference of 0 is called equivalent with a probability.

    It is called so where the interval at 1 - alpha is within ± bound: the smallest n with ``(t(1 - alpha / 2, n - 1)
    + t(1 - (1 - power) / 2, n - 1)) sd / sqrt(n) <= bound``, the mean difference taken within its own power interval.

    Args:
        bound: Half-width of what counts as equivalent, above 0.
        sd: Standard deviation of the paired differences, at least 0.
        power: The probability.
        alpha: One minus the level of the interval.

    Returns:
        At least :data:`MIN_PAIRS`; None if it is more than :data:`MAX_SEEDS`.
    """
    from scipy.stats import t

    return _smallest(
        lambda n: bool((t.isf(alpha / 2, n - 1) + t.isf((1 - power) / 2, n - 1)) * sd / math.sqrt(n) <= bound)
    )


def _smallest(enough: Callable[[int], bool]) -> int | None:
    """Return the smallest number of seeds that is enough, where all larger ones are as well."""
    high = MIN_PAIRS
    while not enough(high):
        if high == MAX_SEEDS:
            return None
        high = min(2 * high, MAX_SEEDS)
    return bisect_left(range(high), True, max(MIN_PAIRS, high // 2), key=enough)
