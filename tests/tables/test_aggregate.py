"""What several columns say together, by hand and against published critical values."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmark.tables.rendering import rendered
from benchmark.tables.statistics import aggregate, critical_difference
from benchmark.tables.table import build, differing_ranks
from benchmark.tables.view import typed
from tests.tables.frames import frame

DEMSAR = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
"""Demsar (2006), table 5 (a): q at 5 % for 2 to 10 classifiers."""


@pytest.mark.parametrize(("methods", "q"), list(enumerate(DEMSAR, start=2)))
def test_critical_values_are_the_published_ones(methods: int, q: float) -> None:
    scale = math.sqrt(methods * (methods + 1) / (6 * 14))
    assert critical_difference(methods, 14) / scale == pytest.approx(q, abs=1e-3)


def test_interquartile_mean_and_improvement_by_hand() -> None:
    """Gains 1, 2, 3, 4 and 0, 0, 1, 9: sorted 0 0 1 1 2 3 4 9, of which the middle four have the mean 7 / 4."""
    pairs = [([11.0, 12, 13, 14], [10.0, 10, 10, 10]), ([5.0, 5, 6, 14], [5.0, 5, 5, 5])]
    found = aggregate(pairs)
    assert found.gain.value == pytest.approx(7 / 4)
    # always better in the first column; in the second half of the pairs are ties and half are won
    assert found.improvement.value == pytest.approx((1 + 0.75) / 2)
    assert found.columns == 2
    lower = aggregate(pairs, low=True)
    assert lower.gain == found.gain
    assert lower.improvement.value == pytest.approx(1 - found.improvement.value)


def test_improvement_is_that_of_mann_and_whitney() -> None:
    draws = np.random.default_rng(3).normal(size=(2, 2, 9)).round(1)
    found = aggregate([(ours.tolist(), base.tolist()) for ours, base in draws])
    shares = [stats.mannwhitneyu(ours, base).statistic / 81 for ours, base in draws]
    assert found.improvement.value == pytest.approx(np.mean(shares))


def test_interval_is_the_same_each_time_and_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    covered = 0
    for _ in range(100):
        base = random.normal(70, 2, (4, 10))
        found = aggregate([(row + 1 + random.normal(0, 1, 10), row) for row in base])
        assert found.gain.low <= found.gain.value <= found.gain.high
        covered += found.gain.low <= 1 <= found.gain.high
    # 95 in the long run, and a little less with ten seeds; five standard deviations below
    assert 84 <= covered <= 100
    pairs = [(base.tolist(), (base + 1).tolist()) for base in random.normal(70, 2, (3, 8))]
    assert aggregate(pairs) == aggregate(pairs)


def test_the_draws_of_a_column_keep_its_pairs() -> None:
    """A gain that is the same for every seed has no spread, however far the seeds are apart."""
    base = [10.0, 50.0, 90.0, 30.0]
    found = aggregate([([value + 1 for value in base], base)] * 2)
    assert (found.gain.low, found.gain.high) == pytest.approx((1, 1))


def test_few_seeds_have_none() -> None:
    values = {"independent": [1.0, 2.0, 3.0], "dml": [2.0, 3.0, 5.0], "kd": [1.0, 2.0]}
    table = build(
        frame({row: dict.fromkeys(("digits", "cifar10"), own) for row, own in values.items()}), baseline="independent"
    )
    assert {row for row, _ in table.aggregates} == {"dml"}


def test_table_of_several_columns_shows_them() -> None:
    base = [70.0, 71.0, 69.0, 72.0]
    runs = {
        "independent": {"digits": base, "cifar10": base},
        "dml": {"digits": [value + 1 for value in base], "cifar10": [value + 2 for value in base]},
        "kd": {"digits": [value - 9 for value in base], "cifar10": [value - 9 for value in base]},
    }
    table = build(frame(runs), baseline="independent")
    shown = typed(table)
    places = {row.id: place for place, row in enumerate(shown.rows)}
    gain = shown.column("gain over tasks")
    assert gain.cells[places["independent"]].text == "baseline"
    assert gain.cells[places["dml"]].text == "+1.50 [+1.50, +1.50]"
    assert shown.column("probability of improvement").cells[places["kd"]].text == "0.00 [0.00, 0.00]"
    assert "Nemenyi" in rendered(table)
    assert "gain over tasks" in rendered(table, "latex")
    alone = build(frame({method: {"digits": values["digits"]} for method, values in runs.items()}), baseline="dml")
    assert "gain over tasks" not in {column.kind for column in typed(alone).columns}
    assert "Nemenyi" not in rendered(alone)


def test_ranks_that_differ_are_named() -> None:
    ranks = {"a": 1.0, "b": 2.0, "c": 3.0}
    # CD = 2.3437 sqrt(12 / (6 N)): 2.34 for 2 columns, 1.05 for 10
    assert [differing_ranks(ranks, columns)[1] for columns in (2, 10)] == [[], ["a and c"]]
    assert differing_ranks(ranks, 10)[0] == pytest.approx(1.05, abs=0.01)


def test_critical_difference_of_the_published_example() -> None:
    """Demsar (2006), section 3.2.2: four classifiers on 14 datasets have CD = 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
