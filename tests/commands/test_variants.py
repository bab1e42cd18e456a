"""Several settings of a method in one command: one table, paired by seed, and what the store remembers of it."""

import json
from pathlib import Path

import pytest
import yaml

from benchmark import store
from benchmark.tables.table import build
from tests.command_line import SMALL, Bench

pytestmark = pytest.mark.usefixtures("small")

FILE = SMALL | {
    "description": "three of one, one of another",
    "seeds": 3,
    "methods": ["independent", "dml"],
    "variants": [
        "dml as dml-small-lr: train.lr=0.05",
        "dml: temperature=2",
        "dml as dml-both: temperature=3, train.lr=0.01, train.weight_decay=0.0",
    ],
}
ROWS = ["independent", "dml, temperature=1", "dml, temperature=2", "dml-both", "dml-small-lr"]


@pytest.fixture
def made(bench: Bench, tmp_path: Path) -> Bench:
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(FILE), encoding="utf-8")
    answer = bench("run", "--config", "paper.yaml")
    assert answer.code == 0, answer.err
    assert "\ndml-small-lr: dml with train.lr=0.05 (the others: 0.1)\n" in answer.out
    return bench


@pytest.mark.thorough
def test_one_table_paired_by_seed_and_what_is_remembered(made: Bench, tmp_path: Path) -> None:
    table = json.loads(made("table", "--baseline", "independent", "--format", "json").out)
    assert table["rows"] == ROWS
    assert [cell["gain"]["n"] for cell in table["cells"] if cell["row"] != "independent"] == [3, 3, 3, 3]
    assert {cell["column"] for cell in table["cells"]} == {"digits/resnet8"}
    for word in ("dml-small-lr", "dml[temperature=2]", "dml[lr=0.01]"):
        assert made("table", "--baseline", word).code == 0

    # the table's notes say which rows have a recipe of their own
    notes = [line for line in made("table").out.splitlines() if line.startswith("- ")]
    assert "- dml-small-lr: dml with lr=0.05 (the others: 0.1)" in [line.replace("train.", "") for line in notes]
    assert any(line.startswith("- dml-both: dml with temperature=3, ") for line in notes)

    # the same numbers asked for under their own name are in both places, and nothing is trained again
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}
    answer = made("run", "--config", "small", "--methods", "dml", "--set", "train.lr=0.05", "--seeds", "3")
    assert (answer.code, "3 of 3 runs are finished already" in answer.out) == (0, True)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}
    places = {(row, heading.column) for row, heading in build(store.load(tmp_path / "results")).replicates}
    assert {row for row, column in places if column == "digits/resnet8, lr=0.05"} == {"dml"}
    assert {column for row, column in places if row == "dml-small-lr"} == {"digits/resnet8, lr=0.1"}


def test_on_the_command_line(bench: Bench) -> None:
    words = ["run", "--config", "small", "--seeds", "1", "--variant", "dml: temperature=2", "--dry-run"]
    lines = bench(*words, "--variant", "dml as slow: train.lr=0.01").out.splitlines()
    assert [line.partition("(")[0].strip() for line in lines[:3]] == [
        "to do     dml digits resnet8 seed 0 [temperature=1.0]",
        "to do     dml digits resnet8 seed 0 [temperature=2.0]",
        "to do     slow digits resnet8 seed 0 [temperature=1.0]",
    ]
    bench(*words, "--variant", "dmk: x=1").assert_refused("unknown method 'dmk', did you mean 'dml'?")
