"""Paired differences and their intervals."""

import math

import pytest

from benchmark.tables.comparison import Gain, paired_gain


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
    assert paired_gain({0: 1.0, 1: 5.0, 7: 100.0}, {0: 0.0, 1: 3.0, 8: -100.0}) == Gain(1.5, 2, sd=0.5**0.5)
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


def test_the_level_is_that_of_the_table_of_t() -> None:
    """Differences 1, 2, 3 among three comparisons: t(1 - 0.05 / 6, 2) = 7.6488."""
    gain = paired_gain({0: 1.0, 1: 2.0, 2: 3.0}, dict.fromkeys(range(3), 0.0), 0.05 / 3)
    assert gain is not None
    assert gain.confidence == pytest.approx(1 - 0.05 / 3)
    assert gain.high == pytest.approx(2 + 7.648844 / math.sqrt(3), rel=1e-5)
