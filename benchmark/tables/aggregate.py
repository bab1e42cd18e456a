"""What several tasks say together: gains and probabilities of improvement with intervals, and how far ranks differ."""

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmark.tables.comparison import ALPHA, MIN_PAIRS

Column = TypeVar("Column", bound=Hashable)

RESAMPLES = 2000
SEED = 0  # of the bootstrap: the same runs give the same interval

NAMED = 6


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


def aggregates(
    values: Mapping[tuple[str, Column], Mapping[int, float]],
    baseline: str,
    columns: Sequence[Column],
    low: bool,
    alpha: float = ALPHA,
) -> dict[str, Aggregate]:
    """Return what the tasks say together of each row against the baseline.

    Args:
        values: By row and column, then by seed.
        columns: Those of one budget in which every row has a value: a task counts once.
        low: Whether a lower value is better.
        alpha: One minus the level of the intervals.

    Returns:
        By row, where there are two columns or more and in each at least three seeds that row and baseline share.
    """
    found = {}
    for row in dict.fromkeys(row for row, _ in values if row != baseline):
        pairs = []
        for column in columns:
            ours, theirs = values.get((row, column), {}), values.get((baseline, column), {})
            seeds = sorted(ours.keys() & theirs.keys())
            pairs.append(([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]))
        if len(pairs) > 1 and all(len(ours) >= MIN_PAIRS for ours, _ in pairs):
            found[row] = aggregate(pairs, low, alpha)
    return found


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
    import numpy as np
    from scipy.special import stdtrit
    from scipy.stats import trim_mean

    random = np.random.default_rng(SEED)
    sign = -1 if low else 1
    whole: list[Any] = []
    sampled: list[Any] = []
    shares, sampled_shares = [], []
    for pair in pairs:
        x, y = (np.asarray(side, dtype=float) for side in pair)
        wins = (1 + np.sign(sign * (x[:, None] - y[None, :]))) / 2
        picked = random.integers(len(x), size=(RESAMPLES, len(x)))
        whole.append(x - y)
        sampled.append((x - y)[picked])
        shares.append(wins.mean())
        sampled_shares.append(wins[picked[:, :, None], picked[:, None, :]].mean(axis=(1, 2)))
    counts = [len(gains) for gains in whole]
    factor = -float(stdtrit(min(counts) - 1, alpha / 2)) * math.sqrt(min(counts) / (min(counts) - 1))
    mean = float(trim_mean(np.concatenate(whole), 0.25))
    half = factor * float(np.std(trim_mean(np.concatenate(sampled, axis=1), 0.25, axis=1), ddof=1))
    gain = Estimate(mean, mean - half, mean + half)
    share = float(np.mean(shares))
    half = factor * float(np.std(np.mean(sampled_shares, axis=0), ddof=1))
    improvement = Estimate(share, max(0.0, share - half), min(1.0, share + half))
    return Aggregate(gain, improvement, len(pairs), 1 - alpha)


def critical_difference(methods: int, columns: int) -> float:
    """Return how far two average ranks must be apart to differ at 5 %, by Nemenyi's test for all pairs of methods.

    ``CD = q sqrt(k (k + 1) / (6 N))``, with q the upper quantile of the studentised range of k means with infinitely
    many degrees of freedom, divided by ``sqrt(2)``.

    Source: Demsar (2006), "Statistical Comparisons of Classifiers over Multiple Data Sets".

    Args:
        methods: k, at least 2.
        columns: N, over which ranks are averaged, at least 1.
    """
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - ALPHA, methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * columns))


def notes(found: Mapping[tuple[str, str], Aggregate], baseline: str) -> list[str]:
    """Return what the columns of aggregates are; nothing without any."""
    if not found:
        return []
    one = next(iter(found.values()))
    return [
        f"gain over tasks: interquartile mean of the gains over {baseline} in {one.columns} tasks; probability of "
        f"improvement: that a run is better than one of {baseline}, mean over the tasks; both with "
        f"{100 * one.confidence:.5g}% interval from the bootstrap's standard error, seeds sampled within each task "
        f"({RESAMPLES} times)"
    ]


def rank_note(ranks: Mapping[str, float], columns: int) -> str:
    """Return which average ranks differ by Nemenyi's test."""
    distance = critical_difference(len(ranks), columns)
    ordered = sorted(ranks, key=ranks.__getitem__)
    apart = [f"{a} and {b}" for a, b in itertools.combinations(ordered, 2) if ranks[b] - ranks[a] >= distance]
    more = f" and {len(apart) - NAMED} more" if len(apart) > NAMED else ""
    which = ", ".join(apart[:NAMED]) + more if apart else "none do"
    possible = "" if distance <= len(ranks) - 1 else ", which so few columns can never show"
    return (
        f"average ranks differ where they are {distance:.2f} apart or more{possible} (Nemenyi's test at "
        f"{ALPHA:.0%}, {len(ranks)} rows, {columns} column{'' if columns == 1 else 's'}): {which}"
    )
