"""Levels for repeated looks: published boundaries, and how often they err with few seeds."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from benchmark.tables.comparison import level, spent

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


def test_the_normal_limit_would_let_more_through() -> None:
    samples = np.random.default_rng(12).standard_normal((100_000, 20))
    limits = 2 * stats.norm.sf([4.3326, 2.9631, 2.3590, 2.0141])
    assert crossed(samples, LOOKS, limits.tolist()).mean() > 0.0513


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
