"""How many seeds a comparison takes, against published values and against scipy's own tests."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from benchmark.tables.comparison import verdict
from benchmark.tables.power import (
    MAX_SEEDS,
    detectable_difference,
    half_width,
    power_of_paired_t,
    seeds_for_half_width,
    seeds_needed,
)


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
