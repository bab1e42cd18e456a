"""Declared comparisons: verdicts by one interval, sequential looks, and what changes no verdict."""

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from benchmark.metrics import METRICS
from benchmark.tables import Declaration, keep_plan, plan_notes, plan_of, stored_plans
from benchmark.tables.gains import Word, verdict
from benchmark.tables.rendering import rendered
from benchmark.tables.selection import TableFilter, TableStyle
from benchmark.tables.statistics import aggregate, seeds_for_equivalence, seeds_for_half_width
from benchmark.tables.table import Table, build
from benchmark.tables.view import typed
from methods.errors import InputError
from tests.command_line import Bench
from tests.profiles import examples
from tests.tables.frames import frame

BASE = [70.0, 71.0, 69.5, 70.5, 70.2, 69.9]
NOISE = [0.1, -0.2, 0.15, -0.1, 0.2, -0.15]
"""Mean 0, sample's standard deviation sqrt(0.029) = 0.170."""
WIDE = [1.0, -2.0, 1.5, -1.0, 2.0, -1.5]
METHODS = ("independent", "dml", "one", "pcl", "kd", "cl", "dkel", "ffl")
DECLARED = Declaration("test", "independent", METHODS, 6, 7)


def shifted(by: float, noise: list[float]) -> list[float]:
    return [base + by + deviation for base, deviation in zip(BASE, noise, strict=True)]


RUNS = {
    "independent": BASE,
    "dml": shifted(2, NOISE),
    "one": shifted(-2, NOISE),
    "pcl": shifted(0.01, NOISE),
    "kd": shifted(0.3, WIDE),
    "cl": [value + 1 for value in BASE],
    "dkel": BASE[:2],
    "ffl": shifted(0.45, NOISE),
}


@cache
def story(methods: tuple[str, ...] = METHODS) -> pd.DataFrame:
    return frame({method: {"digits": RUNS[method]} for method in methods})


@pytest.fixture(scope="module")
def table() -> Table:
    return build(story(), None, baseline="independent", declaration=DECLARED)


def words(table: Table) -> dict[str, str | None]:
    return {row: gain.verdict for (row, heading), gain in table.gains.items() if heading.metric.name == "student"}


def test_every_verdict(table: Table) -> None:
    assert words(table) == {
        "dml": "better by at least",
        "one": "worse by at least",
        "pcl": "equivalent",
        "kd": "undecided",
        "cl": "undecided",
        "dkel": "undecided",
        "ffl": "better",
    }
    notes = {row: gain.note for (row, _), gain in table.gains.items()}
    assert "spread" in notes["cl"]
    assert "2 of 6" in notes["dkel"]


def test_one_interval_at_the_declared_level(table: Table) -> None:
    (gain,) = [gain for (row, _), gain in table.gains.items() if row == "kd"]
    alpha = 0.05 / 7
    half = stats.t.isf(alpha / 2, 5) * math.sqrt(2.9 / 6)
    assert [gain.low, gain.high] == pytest.approx([gain.mean - half, gain.mean + half])
    assert gain.confidence == pytest.approx(1 - alpha)


@pytest.mark.parametrize(
    ("low", "high", "word", "mirrored"),
    [
        (0.5, 2, "better by at least", "worse by at least"),
        (0.1, 2, "better", "worse"),
        (0.1, 0.4, "better", "worse"),
        (-0.4, 0.4, "equivalent", "equivalent"),
        (-0.5, 0.4, "undecided", "undecided"),
        (-0.1, 2, "undecided", "undecided"),
    ],
)
def test_an_interval_against_0_and_the_bound(low: float, high: float, word: Word, mirrored: Word) -> None:
    assert verdict(low, high, 0.5, "high") == verdict(-high, -low, 0.5, "low") == word
    assert verdict(low, high, 0.5, "low") == verdict(-high, -low, 0.5, "high") == mirrored


def test_every_form_has_declaration_and_verdict(table: Table) -> None:
    for form in ("md", "html", "latex", "csv"):
        assert all(word in rendered(table, form) for word in ("better by at least 0.5", "equivalent", "undecided"))
    content = json.loads(rendered(table, "json"))
    assert (content["declaration"]["comparisons"], content["exploratory"]) == (7, False)
    assert content["declaration"]["alpha"] == pytest.approx(0.05 / 7)
    (cell,) = [cell for cell in content["cells"] if cell["row"] == "pcl"]
    assert cell["verdict"]["word"] == "equivalent"
    assert cell["gain"]["low"] < cell["gain"]["mean"] < cell["gain"]["high"]
    assert cell["planned"]["seeds_for_equivalence"] >= 3


def test_what_was_not_declared_is_exploratory() -> None:
    made = build(story(), ["student", "nll"], baseline="independent", resolve=0.5)
    assert set(words(made).values()) == {None}
    assert "verdict" not in {column.kind for column in typed(made).columns}
    assert any("exploratory" in note for note in made.notes())
    other = build(story(), None, baseline="dml", declaration=DECLARED)
    assert set(words(other).values()) == {None}
    undeclared = build(story(), ["student", "nll"], baseline="independent", declaration=DECLARED)
    assert {gain.verdict for (_, key), gain in undeclared.gains.items() if key.metric.name == "nll"} == {None}


@examples(8)
@given(st.permutations(METHODS[1:]), st.integers(0, 6), st.booleans(), st.booleans())
def test_no_verdict_depends_on_what_else_is_shown(
    table: Table, order: list[str], hidden: int, metrics: bool, base: bool
) -> None:
    every = words(table)
    hide = [*order[:hidden], *(["independent"] if base and hidden < 6 else [])]
    choice = TableFilter(rows=tuple(order) if not base else (), hide=tuple(hide))
    shown = ["student", "nll"] if metrics else None
    made = build(story(), shown, baseline="independent", choice=choice, declaration=DECLARED)
    assert words(made) == {row: word for row, word in every.items() if row in made.rows}
    fewer = ("independent", *order[hidden:])
    assert words(build(story(fewer), shown, baseline="independent", declaration=DECLARED)) == {
        row: word for row, word in every.items() if row in fewer
    }


def test_seeds_are_planned_at_the_level_of_the_comparison(table: Table) -> None:
    content = typed(table)
    place = [row.id for row in content.rows].index("kd")
    planned = content.column("digits/resnet8:student:seeds for power").cells[place].value
    # by the normal limit (2.69 + 0.8416)^2 2.9 / 0.25 = 144.6, to which t adds about 2.69^2 / 2
    assert planned == pytest.approx(148.5, abs=2)
    assert seeds_for_equivalence(0.5, 0.0) == 3
    hidden = build(story(), baseline="independent", declaration=DECLARED, showing=TableStyle(planning=False))
    assert "paired sd" not in {column.kind for column in typed(hidden).columns}


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=15), st.floats(0.1, 2), st.integers(1, 12))
def test_what_is_left_undecided_takes_more_seeds(values: list[float], bound: float, count: int) -> None:
    declared = Declaration("question", "base", ("base", "a"), len(values), count, {"student": bound})
    gain = declared.judge(dict(enumerate(values)), dict.fromkeys(range(len(values)), 0.0), "student", "high")
    assert gain is not None
    if gain.p is not None and gain.sd and gain.verdict == "undecided":
        needed = seeds_for_half_width(bound / 2, gain.sd, count)
        assert needed is None or needed > len(values)


class TestLooks:
    """Seeds are added by a plan; what a look decides stays."""

    def declared(self, looks: tuple[int, ...] = (5, 10, 15, 20), comparisons: int = 1) -> Declaration:
        return Declaration("plan", "base", ("base", "a"), looks[-1], comparisons, {"student": 0.5}, looks)

    def judged(self, values: dict[int, float], looks: tuple[int, ...] = (5, 10, 15, 20)) -> tuple[str | None, str, int]:
        gain = self.declared(looks).judge(values, dict.fromkeys(range(20), 0.0), "student", "high", range(len(values)))
        assert gain is not None
        return gain.verdict, gain.note, gain.n

    def test_what_is_decided_stays_whatever_comes_later(self) -> None:
        first = {seed: 3.0 + 0.1 * (-1) ** seed for seed in range(5)}
        turned = first | {seed: -9.0 + 0.1 * seed for seed in range(5, 20)}
        assert self.judged(first)[0] == "better by at least"
        assert self.judged(turned) == self.judged(first)

    def test_before_the_last_look_is_complete_it_says_how_many_are_there(self) -> None:
        word, note, _ = self.judged({seed: 0.3 * (-1) ** seed for seed in range(7)})
        assert (word, "7 of 20" in note) == ("undecided", True)

    def test_a_look_without_a_new_pair_tests_nothing_again(self) -> None:
        early = dict(enumerate((0.9, 2.0, 1.2, 2.5, 1.7)))
        gain = self.declared().judge(early, dict.fromkeys(range(20), 0.0), "student", "high", range(20))
        assert gain is not None
        assert gain.verdict == "undecided"
        # the same five pairs are enough where they are all that was planned
        assert self.judged(early, (5,))[0] == "better by at least"

    def test_levels_add_up(self) -> None:
        levels = self.declared(comparisons=4).levels()
        assert levels == sorted(levels)
        assert levels[-1] < 0.05 / 4 < sum(levels)

    def test_plans_are_stored_beside_the_runs(self, tmp_path: Path) -> None:
        plan = self.declared()
        for _ in range(2):
            assert keep_plan(tmp_path, plan, ["a", "b", "c"]) == []
        plans = stored_plans([tmp_path])
        ((found, names, _),) = plans
        assert (list(found.looks), set(names)) == ([5, 10, 15, 20], {"a", "b", "c"})
        assert plan_of({"a", "c"}, plans, None) is not None
        assert plan_of({"a", "c"}, plans, "a") is None
        assert plan_of({"a", "d"}, plans, None) is None
        # another plan of the same runs takes the place of none: both are kept and said, and neither is applied
        (line,) = keep_plan(tmp_path, self.declared((5, 40)), ["a", "b"])
        assert "5, 10, 15, 20 of at most 20" in line
        plans = stored_plans([tmp_path])
        assert len(plans) == 2
        assert plan_of({"a"}, plans, None) is None
        assert len(plan_notes({"a"}, plans, None)) == 2
        assert plan_of({"c"}, plans, None) == found
        (tmp_path / "plans" / "other.json").write_text("{}")
        with pytest.raises(InputError, match=r"other\.json"):
            stored_plans([tmp_path])

    @pytest.mark.parametrize("difference", [0.0, 0.5])
    def test_four_looks_err_no_more_often_than_one(self, difference: float) -> None:
        draws = np.random.default_rng(1).normal(difference, 1.0, (1500, 20))
        wrong: tuple[str, ...] = (
            ("equivalent",) if difference else ("better", "worse", "better by at least", "worse by at least")
        )
        found = [self.judged(dict(enumerate(row)))[0] for row in draws.tolist()]
        assert sum(word in wrong for word in found) / len(found) <= 0.05


@pytest.mark.thorough
class TestSimulation:
    """13 methods, 10 seeds: how often a table of declared verdicts is wrong anywhere."""

    TABLES, ROWS, SEEDS, BOUND = 2000, 13, 10, 0.5

    def tables(self, gain: float, seed: int) -> "np.ndarray[tuple[int, int, int], np.dtype[np.float64]]":
        """Differences to the baseline, whose own noise all methods of a table share."""
        random = np.random.default_rng(seed)
        own = random.normal(0, 0.5, (self.TABLES, self.ROWS, self.SEEDS))
        return gain + own - random.normal(0, 0.5, (self.TABLES, 1, self.SEEDS))

    def verdicts(self, differences: "np.ndarray[tuple[int, int, int], np.dtype[np.float64]]") -> list[set[str]]:
        alpha = 0.05 / self.ROWS
        mean = differences.mean(-1)
        half = stats.t.isf(alpha / 2, self.SEEDS - 1) * differences.std(-1, ddof=1) / math.sqrt(self.SEEDS)
        return [
            {verdict(low, high, self.BOUND, "high") for low, high in zip(*ends, strict=True)}
            for ends in zip((mean - half).tolist(), (mean + half).tolist(), strict=True)
        ]

    def test_null_tables(self) -> None:
        found = self.verdicts(self.tables(0.0, 0))
        assert sum(bool(words - {"undecided", "equivalent"}) for words in found) / self.TABLES <= 0.05

    @pytest.mark.parametrize("sign", [1, -1])
    def test_at_the_bound_no_table_calls_a_method_equivalent(self, sign: int) -> None:
        found = self.verdicts(self.tables(sign * self.BOUND, 1))
        assert sum("equivalent" in words for words in found) / self.TABLES <= 0.05

    @pytest.mark.parametrize("tasks", [2, 4])
    def test_intervals_of_aggregates_cover(self, tasks: int) -> None:
        random = np.random.default_rng(2)
        covered, count = 0, 600
        for _ in range(count):
            base = random.normal(70, 1, (tasks, self.SEEDS))
            found = aggregate([(row + 0.3 + random.normal(0, 0.7, self.SEEDS), row) for row in base])
            covered += found.gain.low <= 0.3 <= found.gain.high
        assert covered / count >= 0.94


def test_lower_is_better_where_it_is() -> None:
    declared = Declaration("test", "independent", ("independent", "dml"), 6, 1, {"nll": 1e-6})
    runs = frame({"independent": {"digits": BASE}, "dml": {"digits": shifted(2, NOISE)}})
    made = build(runs, ["nll"], baseline="independent", declaration=declared)
    (gain,) = made.gains.values()
    assert gain.mean < 0
    assert str(gain.verdict).startswith("better")
    assert METRICS["nll"].better == "low"


def test_seeds_are_planned_for_a_difference_to_a_baseline(bench: Bench, finished_runs: Path) -> None:
    words = ["table", "--results", str(finished_runs), "--resolve"]
    assert "seeds for equivalence" in bench(*words, "0.5", "--baseline", "dml").out
    bench(*words, "0.5").assert_refused("name it with baseline")
    for bound in ("0", "nan"):
        bench(*words, bound, "--baseline", "dml").assert_refused(
            "resolve takes a difference above 0, such as 0.5 (given: "
        )
