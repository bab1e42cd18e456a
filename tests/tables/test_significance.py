"""Paired differences, their intervals, and Holm's correction."""

import itertools
import math

import pytest
from hypothesis import given, strategies as st

from benchmark.tables.significance import Gain, holm, paired_gain


def test_interval_is_that_of_the_textbook() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.30265."""
    gain = paired_gain({0: 11.0, 1: 12.0, 2: 13.0}, {0: 10.0, 1: 10.0, 2: 10.0})
    assert gain is not None
    half = 4.302652729911275 / math.sqrt(3)
    assert (gain.mean, gain.n) == (2.0, 3)
    assert gain.low == pytest.approx(2 - half)
    assert gain.high == pytest.approx(2 + half)
    # t = 2 sqrt(3) with 2 degrees of freedom: p = 1 - t / sqrt(2 + t^2)
    t = 2 * math.sqrt(3)
    assert gain.p == pytest.approx(1 - t / math.sqrt(2 + t * t))


def test_only_shared_seeds_count() -> None:
    assert paired_gain({0: 1.0, 1: 5.0, 7: 100.0}, {0: 0.0, 1: 3.0, 8: -100.0}) == Gain(1.5, 2)
    assert paired_gain({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_pairs_have_no_interval(count: int) -> None:
    gain = paired_gain({seed: 2.0 * seed for seed in range(count)}, dict.fromkeys(range(count), 1.0))
    assert gain is not None
    assert (gain.low, gain.high, gain.p) == (None, None, None)


def test_differences_without_spread_have_no_interval() -> None:
    gain = paired_gain({seed: 70.1 + seed for seed in range(5)}, {seed: 70.0 + seed for seed in range(5)})
    assert gain is not None
    assert gain.mean == pytest.approx(0.1)
    assert (gain.n, gain.p) == (5, None)


def test_holm_on_the_worked_example() -> None:
    """Four p values as in many textbooks: 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= corrected <= 1 for p, corrected in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert all(adjusted[a] <= adjusted[b] for a, b in itertools.pairwise(order))
    assert adjusted[order[0]] == pytest.approx(min(1.0, len(p_values) * min(p_values)))
