"""Paired differences, their intervals, and Holm's correction."""

import itertools
import math

import pytest
from hypothesis import example, given, strategies as st

from benchmark.tables.comparison import Gain, gains, holm, holm_levels, paired_gain


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


class TestIntervalsOfTheSameCorrection:
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
    @example([1.0, 1.0, 1.0, 0.01171875, 0.01])
    # 0.05 / 38 is not above the first, but 38 times the first rounds to less than 0.05
    @example([0.0013157894736842105, 0.00132, *[1.0] * 36])
    def test_a_p_is_below_its_level_exactly_where_holm_rejects(self, p_values: list[float]) -> None:
        levels = holm_levels(p_values)
        for p, level, adjusted in zip(p_values, levels, holm(p_values), strict=True):
            assert (p < level) == (adjusted < 0.05) or p == pytest.approx(level, rel=1e-9)
        assert all(0.05 / len(p_values) <= level * (1 + 1e-12) for level in levels)

    def test_a_p_of_exactly_5_percent_ends_it(self) -> None:
        """Five times 0.01 is not below 0.05: what comes after is tested at the level of that step too."""
        p_values = [1.0, 1.0, 1.0, 0.01171875, 0.01]
        assert holm_levels(p_values) == pytest.approx([0.01] * 5)
        assert not any(Gain(1.0, 5, adjusted=p).significant for p in holm(p_values))

    def test_levels_of_the_worked_example(self) -> None:
        """0.005 < 0.05 / 4, 0.01 < 0.05 / 3, then 0.03 > 0.05 / 2 ends it."""
        assert holm_levels([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.05 / 3, 0.025, 0.025, 0.0125])
        assert holm_levels([]) == []

    @given(st.lists(st.lists(st.floats(-3, 3), min_size=4, max_size=4), min_size=1, max_size=6))
    def test_an_interval_leaves_0_out_exactly_where_p_is_below_5_percent(self, rows: list[list[float]]) -> None:
        scores = {("base", 0): dict(enumerate([0.0] * 4))}
        scores |= {(f"row{n}", 0): dict(enumerate(row)) for n, row in enumerate(rows)}
        for gain in gains(scores, "base").values():
            if gain.low is not None and gain.high is not None and gain.adjusted is not None:
                apart = not gain.low <= 0 <= gain.high
                assert apart == gain.significant or gain.adjusted == pytest.approx(0.05, rel=1e-6)

    def test_three_comparisons_with_t_of_the_table(self) -> None:
        """Differences 1, 2, 3 among three comparisons: the step 0.05 / 3, t(1 - 0.05 / 6, 2) = 7.6488."""
        scores = {("base", 0): {0: 0.0, 1: 0.0, 2: 0.0}, ("a", 0): {0: 1.0, 1: 2.0, 2: 3.0}}
        scores |= {("b", 0): {0: -1.0, 1: 2.0, 2: 0.0}, ("c", 0): {0: 5.0, 1: -6.0, 2: 1.1}}
        found = gains(scores, "base")["a", 0]
        assert found.confidence == pytest.approx(1 - 0.05 / 3)
        assert found.high == pytest.approx(2 + 7.648844 / math.sqrt(3), rel=1e-5)
