"""The difference of two methods over their common seeds: what it is made of, its interval, and the verdict on it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import stdev
from typing import Literal

from benchmark.metrics import Better

Word = Literal["better by at least", "better", "equivalent", "worse", "worse by at least", "undecided"]
"""What a declared comparison comes to."""

ALPHA = 0.05  # the level of the tests: 1 - 0.95 is a little more, and a p of 0.05 would be below it
POWER = 0.8
RESAMPLES = 2000  # of the bootstrap
MAX_SEEDS = 100_000  # more seeds than anyone runs: a search for a number of seeds ends here
MIN_PAIRS = 3  # fewer seeds say too little of their spread: a difference is shown without an interval


@dataclass(frozen=True)
class Gain:
    """The mean paired difference to a baseline."""

    mean: float  # ours minus the baseline's
    n: int  # seeds that both have
    low: float | None = None  # lower end of the interval; None without one
    high: float | None = None  # its upper end
    p: float | None = None  # two-sided, of the paired t-test; None without an interval
    confidence: float | None = None  # the level of the interval
    sd: float | None = None  # standard deviation of the paired differences; None with fewer than two seeds
    verdict: Word | None = None  # what a declared comparison comes to; None where nothing was declared (exploratory)
    bound: float | None = None  # half-width of what the declaration calls equivalent
    note: str = ""  # what is to be known of the verdict: at how many seeds, or how many are missing

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
    judge by: there is no interval then, as with fewer than three. Its level is 1 - alpha.
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
    worse), it is within the bound (equivalent); else undecided. The interval is that of ours minus the baseline's, and
    the bound is above 0.
    """
    if better == "low":
        low, high = -high, -low
    words: dict[Word, bool] = {
        "better by at least": low >= bound,
        "worse by at least": high <= -bound,
        "better": low > 0,
        "worse": high < 0,
        "equivalent": -bound < low and high < bound,
    }
    return next((word for word, holds in words.items() if holds), "undecided")


@dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float
    high: float

    def text(self, form: str) -> str:
        """Return ``value [low, high]``, each in a format such as ``+.2f``."""
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


@dataclass(frozen=True)
class Aggregate:
    """A row against the baseline over the tasks of one budget."""

    gain: Estimate  # interquartile mean of the paired gains, in the unit of the metric
    improvement: Estimate  # probability that a run of the row is better than one of the baseline, from 0 to 1
    columns: int  # over how many tasks
    confidence: float = 1 - ALPHA  # the level of the intervals
