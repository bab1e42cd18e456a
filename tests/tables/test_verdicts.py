"""What a comparison comes to, in words, in every form of the table."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from benchmark.tables.rendering import rendered
from benchmark.tables.significance import paired_gain
from benchmark.tables.table import Table, build
from benchmark.tables.verdicts import Verdict, verdict
from methods.errors import InputError
from tests.command_line import Bench
from tests.tables.frames import frame

BASE = [70.0, 71.0, 69.5, 70.5, 70.2, 69.9]
NOISE = [0.1, -0.2, 0.15, -0.1, 0.2, -0.15]
"""Mean 0, sample's standard deviation sqrt(0.029) = 0.170."""
WIDE = [1.0, -2.0, 1.5, -1.0, 2.0, -1.5]


def shifted(by: float, noise: list[float]) -> list[float]:
    return [base + by + deviation for base, deviation in zip(BASE, noise, strict=True)]


@pytest.fixture(scope="module")
def table() -> Table:
    runs = {
        "independent": BASE,
        "dml": shifted(2, NOISE),
        "one": shifted(-2, NOISE),
        "pcl": shifted(0.01, NOISE),
        "kd": shifted(0.3, WIDE),
        "cl": [value + 1 for value in BASE],
        "dkel": BASE[:2],
    }
    return build(frame({method: {"digits": values} for method, values in runs.items()}), None, baseline="independent",
                 resolve=0.5)  # fmt: skip


def verdicts(table: Table) -> dict[str, Verdict]:
    assert table.judgement is not None
    return {row: found for (row, _), found in table.judgement.verdicts.items()}


def test_every_verdict(table: Table) -> None:
    found = {row: item.text for row, item in verdicts(table).items()}
    decides = verdicts(table)["kd"].decides
    assert found == {
        "dml": "better",
        "one": "worse",
        "pcl": "same within 0.5",
        "kd": f"undecided (n={decides} would decide)",
        "cl": "undecided (the differences have no spread to judge by)",
        "dkel": "undecided (fewer than 3 seeds)",
    }
    # four p values are corrected for; by the normal limit (2.4977 + 1.6449)^2 2.9 / 0.25 = 199.1, and t asks for more
    assert decides == 202


def test_spread_and_seeds(table: Table) -> None:
    found = verdicts(table)
    assert found["dml"].sd == pytest.approx(0.029**0.5)
    assert found["kd"].sd == pytest.approx(2.9**0.5)
    # by the normal limit (1.96 + 0.8416)^2 2.9 / 0.25 = 91.04, to which t adds about 1.96^2 / 2
    assert found["kd"].seeds == 93
    assert found["dml"].seeds == 4
    assert found["dkel"].sd == 0
    assert found["dkel"].seeds is None


def test_lower_is_better_where_it_is(table: Table) -> None:
    runs = frame({"independent": {"digits": BASE}, "dml": {"digits": shifted(2, NOISE)}})
    (found,) = verdicts(build(runs, ["nll"], baseline="independent", resolve=1e-6)).values()
    assert (found.word, found.text) == ("better", "better")
    gain = paired_gain({0: 1.0, 1: 2.1, 2: 3.2}, {0: 0.0, 1: 1.0, 2: 2.0})
    assert gain is not None
    kl = verdict({0: 1.0, 1: 2.1, 2: 3.2}, {0: 0.0, 1: 1.0, 2: 2.0}, replace(gain, adjusted=gain.p), 0.1, 1, None)
    assert kl.word == "higher"


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=15), st.floats(0.1, 2), st.integers(1, 12))
def test_what_is_undecided_takes_more_seeds_than_there_are(
    differences: list[float], bound: float, comparisons: int
) -> None:
    ours, base = dict(enumerate(differences)), dict.fromkeys(range(len(differences)), 0.0)
    gain = paired_gain(ours, base)
    assert gain is not None
    adjusted = None if gain.p is None else min(1.0, gain.p * comparisons)
    found = verdict(ours, base, replace(gain, adjusted=adjusted), bound, comparisons, "high")
    if found.decides is not None and found.word == "undecided":
        assert found.decides > len(differences)


def test_every_form_has_the_verdict(table: Table) -> None:
    texts = {row: found.text for row, found in verdicts(table).items()} | {"independent": ""}
    read = list(csv.DictReader(io.StringIO(rendered(table, "csv-wide"))))
    assert {row["method"]: row["digits/resnet8 verdict"] for row in read} == texts
    assert {row["method"]: row["digits/resnet8 paired sd"] for row in read}["dml"] == "0.17"
    assert {row["method"]: row["digits/resnet8 seeds for 0.5"] for row in read}["kd"] == "93"
    for form in ("md", "html", "latex"):
        text = rendered(table, form)
        assert all(word in text for word in ("better", "worse", "same within 0.5", "would decide"))
        assert "Holm-corrected p is below 0.05" in text
    content = json.loads(rendered(table, "json"))
    assert content["resolve"] == 0.5
    (cell,) = [cell for cell in content["cells"] if cell["row"] == "pcl"]
    assert cell["verdict"]["word"] == "same"
    assert cell["verdict"]["equivalence"]["p"] < 0.05


def test_a_verdict_needs_a_baseline() -> None:
    with pytest.raises(InputError, match="name it with baseline"):
        build(frame({"dml": {"digits": BASE}}), resolve=0.5)


@pytest.mark.parametrize("bound", ["0", "-1", "nan", "inf"])
def test_bound_that_is_none(bench: Bench, finished_runs: Path, bound: str) -> None:
    answer = bench("table", "--results", str(finished_runs), "--baseline", "dml", "--resolve", bound)
    answer.assert_refused("resolve takes a difference above 0, such as 0.5 (given: ")


def test_the_command_prints_it(bench: Bench, finished_runs: Path) -> None:
    answer = bench("table", "--results", str(finished_runs), "--baseline", "dml", "--resolve", "0.5")
    assert answer.code == 0
    assert "undecided (fewer than 3 seeds)" in answer.out
    bench("table", "--results", str(finished_runs), "--resolve", "0.5").assert_refused("name it with baseline")
