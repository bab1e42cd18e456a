"""What looks at a growing number of seeds have decided: a pure function of the paired differences."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Literal, TypeVar

from benchmark.tables import ALPHA, MIN_PAIRS, level, tost

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Decision:
    """How a comparison was decided.

    Attributes:
        what: ``different``, or ``same`` within the bound.
        look: How many seeds were there.
        difference: The mean paired difference then.
    """

    what: Literal["different", "same"]
    look: int
    difference: float


@dataclass(frozen=True)
class _Seen:
    """A comparison at a look: the pairs at this look and those before it, and the tests."""

    counts: tuple[int, ...]
    difference: float
    p_different: float
    p_same: float


def decided(
    differences: Mapping[Key, Mapping[int, float]],
    looks: Sequence[int],
    planned: int,
    bound: float,
    comparisons: int,
    alpha: float = ALPHA,
) -> dict[Key, Decision]:
    """Return what the looks so far have decided; what a look has decided stays.

    A comparison is ``different`` where the p value of its paired t-test is below the level that error spending leaves
    to the look, after Holm's correction: alpha is shared by the comparisons that are not yet found different. It is
    ``same`` where both one-sided tests against the bound are below the level of the same spending with one side; this
    error is alpha for each comparison. Where seeds did not finish, the pairs that there are count, and a look that
    brings a comparison no new pair passes it over.

    Source: Maurer & Bretz (2013), "Multiple Testing in Group Sequential Trials Using Graphical Approaches", for Holm's
    correction with error spending; :func:`benchmark.tables.sequential.level` has the levels.

    Args:
        differences: By comparison, ours minus the baseline's by seed; seeds count from 0.
        looks: Seeds at each look so far, growing.
        planned: Seeds at the last look that there can be.
        bound: Half-width of what counts as the same, above 0.
        comparisons: How many there are in all, at least those given.
        alpha: The error of all looks together.
    """
    found: dict[Key, Decision] = {}
    for index, look in enumerate(looks):
        seen = {
            key: now
            for key, by_seed in differences.items()
            if key not in found and (now := _seen(by_seed, looks[: index + 1], bound))
        }
        final = look == planned
        found |= _different(seen, found, look, planned, comparisons, alpha, final)
        for key, now in seen.items():
            if key not in found and now.p_same < level(now.counts, planned, alpha, 1, final):
                found[key] = Decision("same", look, now.difference)
    return found


def _different(
    seen: Mapping[Key, _Seen],
    before: Mapping[Key, Decision],
    look: int,
    planned: int,
    comparisons: int,
    alpha: float,
    final: bool,
) -> dict[Key, Decision]:
    earlier = sum(decision.what == "different" for decision in before.values())
    found: dict[Key, Decision] = {}
    for key, now in sorted(seen.items(), key=lambda item: item[1].p_different):
        share = alpha / (comparisons - earlier - len(found))
        if now.p_different < level(now.counts, planned, share, 2, final):
            found[key] = Decision("different", look, now.difference)
    return found


def _seen(by_seed: Mapping[int, float], looks: Sequence[int], bound: float) -> _Seen | None:
    """Return what a look shows of a comparison; None if it shows nothing new, or there is no spread to judge by."""
    from scipy.special import stdtr

    pairs = [sum(seed < look for seed in by_seed) for look in looks]
    counts = tuple(sorted({count for count in pairs if count >= MIN_PAIRS}))
    if not counts or (len(pairs) > 1 and pairs[-1] == pairs[-2]):
        return None
    values = [value for seed, value in by_seed.items() if seed < looks[-1]]
    n = len(values)
    difference, sd = math.fsum(values) / n, stdev(values)
    if sd <= 1e-9 * max(map(abs, values)):
        return None
    p_different = 2 * float(stdtr(n - 1, -abs(difference) * math.sqrt(n) / sd))
    return _Seen(counts, difference, p_different, tost(difference, sd, n, bound).p)
