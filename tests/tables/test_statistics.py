"""The statistics of paired differences: intervals, power, and levels for repeated looks, against published values."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from scipy import stats

from benchmark.tables.gains import MAX_SEEDS, Gain, paired_gain, verdict
from benchmark.tables.statistics import (
    detectable_difference,
    half_width,
    level,
    power_of_paired_t,
    seeds_for_half_width,
    seeds_needed,
    spent,
)


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


def test_without_spread_or_three_pairs_there_is_no_interval() -> None:
    for count in (1, 2):
        gain = paired_gain({seed: 2.0 * seed for seed in range(count)}, dict.fromkeys(range(count), 1.0))
        assert gain is not None
        assert (gain.low, gain.high, gain.p) == (None, None, None)
    gain = paired_gain({seed: 70.1 + seed for seed in range(5)}, {seed: 70.0 + seed for seed in range(5)})
    assert gain is not None
    assert (gain.n, gain.p) == (5, None)


def test_the_level_is_that_of_the_table_of_t() -> None:
    """Differences 1, 2, 3 among three comparisons: t(1 - 0.05 / 6, 2) = 7.6488."""
    gain = paired_gain({0: 1.0, 1: 2.0, 2: 3.0}, dict.fromkeys(range(3), 0.0), 0.05 / 3)
    assert gain is not None
    assert (gain.confidence, gain.high) == pytest.approx((1 - 0.05 / 3, 2 + 7.648844 / math.sqrt(3)), rel=1e-5)


# power


@pytest.mark.parametrize(("n", "d", "power"), [(34, 0.5, 0.8078), (15, 0.8, 0.8213), (199, 0.2, 0.8017)])
def test_power_is_that_of_published_tables(n: int, d: float, power: float) -> None:
    """G*Power: t tests, difference between two dependent means, two-sided, 5 %; in units of the deviation, or not."""
    assert power_of_paired_t(n, d, 1.0) == pytest.approx(power, abs=5e-5)
    assert power_of_paired_t(n, 3 * d, 3.0) == pytest.approx(power, abs=5e-5)
    assert power_of_paired_t(n, -d, 1.0) == pytest.approx(power, abs=5e-5)


def test_power_without_a_difference_is_the_level() -> None:
    assert power_of_paired_t(7, 0.0, 1.0, alpha=0.03) == pytest.approx(0.03)


def test_power_is_the_share_of_samples_in_which_the_test_sees_the_difference() -> None:
    samples = np.random.default_rng(5).normal(0.5, 0.7, (20_000, 9))
    seen = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05
    assert power_of_paired_t(9, 0.5, 0.7) == pytest.approx(seen.mean(), abs=0.011)


@pytest.mark.parametrize(("n", "effect", "alpha"), [(3, 14 / math.sqrt(3), 0.0056), (101, 1.0, 0.05)])
def test_power_is_a_number_where_the_other_tail_is_next_to_nothing(n: int, effect: float, alpha: float) -> None:
    assert 0.5 < power_of_paired_t(n, effect, 1.0, alpha) <= 1


@pytest.mark.parametrize("n", [2, 3, 5, 20, 300])
@pytest.mark.parametrize("comparisons", [1, 13, 200])
def test_a_detectable_difference_has_the_power_that_it_says(n: int, comparisons: int) -> None:
    found = detectable_difference(n, 0.7, comparisons)
    assert power_of_paired_t(n, found, 0.7, 0.05 / comparisons) == pytest.approx(0.8)


@pytest.mark.parametrize(("d", "n"), [(0.5, 34), (0.8, 15), (0.2, 199), (1.0, 10)])
def test_seeds_needed_are_those_of_published_tables(d: float, n: int) -> None:
    """G*Power: 80 % power, two-sided, 5 %."""
    assert seeds_needed(d, 1.0) == n
    assert seeds_needed(0.5, 0.5 / d) == n


def test_seeds_needed_have_ends() -> None:
    assert seeds_needed(0.5, 0.0) == seeds_needed(0.5, 1e-9) == 3
    assert seeds_needed(0.5, 1e9) is None
    assert seeds_for_half_width(0.5, 0.0) == 3
    assert seeds_for_half_width(0.5, 1e9) is None


@given(st.floats(0.05, 3), st.integers(1, 20))
def test_no_mean_is_left_undecided_by_a_half_width_of_half_the_bound(sd: float, comparisons: int) -> None:
    bound = 0.5
    n = seeds_for_half_width(bound / 2, sd, comparisons)
    assert n is not None
    assert n < MAX_SEEDS

    def words(count: int) -> set[str]:
        half = half_width(count, sd, comparisons)
        return {verdict(mean - half, mean + half, bound, "high") for mean in (0.0, 0.999 * half, 1.001 * half, 3.0)}

    assert "undecided" not in words(n)
    assert n == 3 or half_width(n - 1, sd, comparisons) > bound / 2
    assert (seeds_for_half_width(bound / 2, sd, comparisons + 20) or MAX_SEEDS) >= n


# looks


LOOKS = (5, 10, 15, 20)


def levels(looks: tuple[int, ...], alpha: float) -> list[float]:
    return [level(looks[: index + 1], looks[-1], alpha) for index in range(len(looks))]


def crossed(samples: NDArray[np.float64], looks: tuple[int, ...], thresholds: list[float]) -> NDArray[np.bool_]:
    """Which samples a look finds different from 0, by scipy's t-test."""
    found = np.zeros(len(samples), dtype=bool)
    for look, threshold in zip(looks, thresholds, strict=True):
        found |= stats.ttest_1samp(samples[:, :look], 0, axis=1).pvalue < threshold
    return found


def test_spending_follows_the_formula() -> None:
    """Lan & DeMets' table 1: 2 - 2 Phi(2.2414 / sqrt(t)) on each side of a two-sided 5 %."""
    each = [2 * 2 * stats.norm.sf(stats.norm.isf(0.0125) / np.sqrt(t)) for t in (0.25, 0.5, 0.75, 1)]
    assert [spent(t, 0.05) for t in (0.25, 0.5, 0.75, 1)] == pytest.approx(each)
    assert spent(1, 0.05) == pytest.approx(0.05)
    shares = [spent(t / 50, 0.05) for t in range(1, 51)]
    assert all(a < b for a, b in itertools.pairwise(shares))


@pytest.mark.parametrize(
    ("parts", "published"),
    [(5, [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]), (4, [4.3326, 2.9631, 2.3590, 2.0141])],
)
def test_many_seeds_have_the_published_boundaries(parts: int, published: list[float]) -> None:
    """Of O'Brien-Fleming-type spending, two-sided 5 %, as ldbounds and gsDesign print them for the normal limit."""
    looks = tuple(10_000 * part for part in range(1, parts + 1))
    boundaries = [stats.norm.isf(threshold / 2) for threshold in levels(looks, 0.05)]
    assert boundaries == pytest.approx(published, abs=1e-3)


def test_one_look_is_an_ordinary_test() -> None:
    assert level((10,), 10, 0.05) == pytest.approx(0.05, abs=1e-9)


@pytest.mark.parametrize("looks", [LOOKS, (3, 6, 9, 12), (3, 4, 5, 6), (4, 6, 20)])
def test_error_of_all_looks_together_is_alpha_with_few_seeds(looks: tuple[int, ...]) -> None:
    samples = np.random.default_rng(11).standard_normal((100_000, looks[-1]))
    # three standard errors of a share of 5 % among 100,000
    assert crossed(samples, looks, levels(looks, 0.05)).mean() == pytest.approx(0.05, abs=0.0021)


def test_a_last_look_may_spend_what_missing_seeds_have_left() -> None:
    assert level((5, 10, 14), 20, 0.05) < level((5, 10, 14), 20, 0.05, final=True)
    assert level((5, 10, 20), 20, 0.05) == pytest.approx(level((5, 10, 20), 20, 0.05, final=True))


def test_a_look_much_too_early_decides_nothing() -> None:
    early, late = level((5,), 1000, 0.05), level((5, 1000), 1000, 0.05)
    assert early < 1e-15
    assert late == pytest.approx(0.05, abs=1e-5)


@pytest.mark.parametrize("looks", [(), (2, 5), (5, 5), (10, 5), (5, 30)])
def test_looks_that_are_none(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="looks must"):
        level(looks, 20, 0.05)
