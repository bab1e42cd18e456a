"""What several columns say together: gains and chances of improvement with intervals, and how far ranks must differ."""

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmark.tables.significance import ALPHA, CONFIDENCE, MIN_PAIRS

Column = TypeVar("Column", bound=Hashable)

RESAMPLES = 2000
SEED = 0
"""Of the bootstrap: the same runs give the same interval."""

NAMED = 6


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, form: str) -> str:
        """Return ``value [low, high]``, each in a format such as ``+.2f``."""
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


@dataclass(frozen=True)
class Aggregate:
    """A row against the baseline over all columns.

    Attributes:
        gain: Interquartile mean of the paired gains, in the unit of the scores.
        improvement: Probability that a run of the row is better than one of the baseline, from 0 to 1.
        columns: Over how many.
    """

    gain: Estimate
    improvement: Estimate
    columns: int


def aggregates(
    scores: Mapping[tuple[str, Column], Mapping[int, float]], baseline: str, columns: Sequence[Column], low: bool
) -> dict[str, Aggregate]:
    """Return what the columns say together of each row against the baseline.

    Args:
        scores: By row and column, then by seed.
        baseline: The row that the others are compared with.
        columns: Those in which every row has a value.
        low: Whether a lower score is better.

    Returns:
        By row, where there are two columns or more and in each at least three seeds that row and baseline share.
    """
    found = {}
    for row in dict.fromkeys(row for row, _ in scores if row != baseline):
        pairs = [_paired(scores[row, column], scores[baseline, column]) for column in columns]
        if len(pairs) > 1 and all(len(ours) >= MIN_PAIRS for ours, _ in pairs):
            found[row] = aggregate(pairs, low)
    return found


def _paired(ours: Mapping[int, float], baseline: Mapping[int, float]) -> tuple[list[float], list[float]]:
    seeds = sorted(ours.keys() & baseline.keys())
    return [ours[seed] for seed in seeds], [baseline[seed] for seed in seeds]


def aggregate(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], low: bool = False) -> Aggregate:
    """Return interquartile mean of the gains and probability of improvement with stratified bootstrap intervals.

    The interquartile mean leaves out the lowest and the highest quarter of the gains of all columns and seeds together.
    The probability of improvement is the mean over the columns of ``P(X > Y) + P(X = Y) / 2`` for a run X of ours and a
    run Y of the baseline, whatever their seeds. The interval is the percentile bootstrap's: in each column for itself
    the seeds are drawn with replacement, the same ones for both, as they are paired.

    Source: Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice", whose library
    rliable draws the runs of the two apart from each other, as it knows no pairs.

    Args:
        pairs: For each column our scores and the baseline's, seed by seed, at least two seeds.
        low: Whether a lower score is better.
    """
    import numpy as np
    from scipy.stats import bootstrap, trim_mean

    ours, base = ([np.asarray(pair[side], dtype=float) for pair in pairs] for side in (0, 1))
    gains = [x - y for x, y in zip(ours, base, strict=True)]
    sign = -1 if low else 1
    wins = [(1 + np.sign(sign * (x[:, None] - y[None, :]))) / 2 for x, y in zip(ours, base, strict=True)]

    def statistics(*drawn: Any, axis: int = -1) -> Any:
        # the samples are the numbers of the seeds; the last axis is theirs
        picked = np.concatenate([gain[index] for gain, index in zip(gains, drawn, strict=True)], axis=-1)
        shares = [
            win[index[..., :, None], index[..., None, :]].mean(axis=(-2, -1))
            for win, index in zip(wins, drawn, strict=True)
        ]
        return np.stack([trim_mean(picked, 0.25, axis=-1), np.mean(shares, axis=0)])

    seeds = [np.arange(len(x)) for x in ours]
    values = statistics(*seeds)
    interval = bootstrap(
        seeds,
        statistics,
        n_resamples=RESAMPLES,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(SEED),
    ).confidence_interval
    gain, improvement = (
        Estimate(float(value), float(low_end), float(high_end))
        for value, low_end, high_end in zip(values, interval.low, interval.high, strict=True)
    )
    return Aggregate(gain, improvement, len(pairs))


def critical_difference(methods: int, columns: int, alpha: float = ALPHA) -> float:
    """Return how far two average ranks must be apart to differ, by Nemenyi's test for all pairs of methods.

    ``CD = q sqrt(k (k + 1) / (6 N))``, with q the upper quantile of the studentised range of k means with infinitely
    many degrees of freedom, divided by ``sqrt(2)``.

    Source: Demsar (2006), "Statistical Comparisons of Classifiers over Multiple Data Sets".

    Args:
        methods: k, at least 2.
        columns: N, over which ranks are averaged, at least 1.
        alpha: Level of the whole family of pairs.
    """
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - alpha, methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * columns))


def notes(found: Mapping[str, Aggregate], baseline: str) -> list[str]:
    """Return what the two columns of aggregates are; nothing without any."""
    if not found:
        return []
    columns = next(iter(found.values())).columns
    return [
        f"gain over columns: interquartile mean of the gains over {baseline} in {columns} columns; probability of "
        f"improvement: that a run is better than one of {baseline}, mean over the columns; both with {CONFIDENCE:.0%} "
        f"bootstrap interval, seeds drawn within each column ({RESAMPLES} times), which is too narrow for few seeds"
    ]


def rank_note(ranks: Mapping[str, float], columns: int) -> str:
    """Return which average ranks differ by Nemenyi's test.

    Args:
        ranks: By row, at least two.
        columns: Over how many they are averages.
    """
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
