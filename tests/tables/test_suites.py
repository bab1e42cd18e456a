"""Suites: what a file may declare, which stored runs belong to it, and the commands that take it."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from benchmark import store
from benchmark.configuration import suites
from benchmark.tables import stored_plans, suite_runs
from benchmark.tables.selection import TableFilter
from benchmark.tables.table import build
from methods.errors import InputError
from tests.command_line import Bench

TINY: dict[str, Any] = {
    "description": "Two methods on thirty digits",
    "version": 1,
    "tasks": [
        {
            "name": "digits",
            "dataset": "digits",
            "backbone": "resnet8",
            "train": {"epochs": 1, "batch_size": 15},
            "data": {"train_per_class": 3, "test_per_class": 3},
        }
    ],
    "methods": ["independent", "dml"],
    "seeds": 3,
    "baseline": "independent",
    "bounds": {"student": 0.5},
    "comparisons": 4,
}


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY), encoding="utf-8")
    return str(tmp_path / "tiny.yaml")


def test_those_of_the_package_are_valid_and_have_room() -> None:
    found = suites.available()
    assert {"lite", "full"} <= found.keys()
    for name, suite in found.items():
        assert suite.comparisons >= suite.declared, name
        assert f"{suite.hours:g} h)" in suites.described()[name]
    # what a laptop can do without the network comes first
    assert found["lite"].tasks[0].dataset == "digits"


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"baseline": "one"}, "baseline 'one'"),
        ({"comparisons": 0}, "comparisons"),
        ({"bounds": {"nll": 0.1}}, "'student' needs a bound"),
        ({"bounds": {"student": 0}}, "greater than 0"),
        ({"bounds": {"student": 1, "seconds": 1}}, "'seconds'"),
        ({"budgets": ["equal cost: pcl"]}, "equal cost: pcl"),
        ({"looks": [2, 3]}, "looks"),
        ({"looks": [3, 2]}, "looks"),
        ({"methods": ["independent", "dml", "dml"]}, "'dml' is named twice"),
        ({"settings": {"one": {}}}, "'one'"),
        ({"tasks": TINY["tasks"] * 2}, "'digits' is named twice"),
        ({"tasks": [*TINY["tasks"], {**TINY["tasks"][0], "name": "again"}]}, "two tasks are the same"),
        ({"seed": 3}, "did you mean 'seeds'"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: dict[str, Any], fragment: str) -> None:
    (tmp_path / "bad.yaml").write_text(json.dumps(TINY | change), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        suites.read(str(tmp_path / "bad.yaml"))
    assert fragment in str(refused.value)


def test_unknown_names_are_answered_with_the_valid_ones(bench: Bench) -> None:
    for words in (["table"], ["run"], ["report"], ["plot", "curves"], ["site"]):
        bench(*words, "--suite", "lit").assert_refused("did you mean 'lite'")
    bench("run", "--suite", "lite", "--seeds", "3").assert_refused("seeds")
    assert all(name in bench("list", "suites").out for name in suites.names())


def test_runs_are_trained_selected_and_judged(bench: Bench, tiny: str, tmp_path: Path) -> None:
    words = ["--suite", tiny, "--engine", "serial", "--device", "cpu"]
    planned = bench("run", *words, "--dry-run")
    assert (planned.code, "6 runs, 0 finished already" in planned.out) == (0, True)
    answer = bench("run", *words)
    assert answer.code == 0
    assert "0.05 / 4" in answer.out
    assert "0 runs" not in bench("run", *words, "--dry-run").out
    before = json.loads(bench("table", "--suite", tiny, "--format", "json").out)
    (gain,) = [cell["verdict"] for cell in before["cells"] if cell["row"] == "dml"]
    assert before["declaration"]["alpha"] == 0.05 / 4
    # runs that the suite does not declare change nothing: other settings, seeds and methods
    more = "--dataset digits --backbone resnet8 --engine serial --device cpu --set train.batch_size=15 --epochs 1"
    data = "--set data.train_per_class=3 --set data.test_per_class=3"
    assert bench("run", "--methods", "dml", *more.split(), *data.split(), "--set", "dml.temperature=2").code == 0
    assert bench("run", "--methods", "dml,cl", *more.split(), *data.split(), "--seeds", "8,").code == 0
    after = json.loads(bench("table", "--suite", tiny, "--format", "json").out)
    assert after["cells"] == before["cells"]
    assert gain["text"]
    frame = store.load(tmp_path / "results", "last", split="all")
    assert len(frame) > len(suite_runs(frame, suites.read(tiny))) == 6
    # the same runs measured elsewhere as well are no further comparisons
    copies = frame[frame["seed"] < 2].assign(environment="another CPU")
    replicated = pd.concat([frame, copies.assign(run=copies["run"] + "@another")], ignore_index=True)
    chosen, notes = TableFilter(suite=tiny).runs(replicated)
    assert set(chosen["run"]) == set(suite_runs(frame, suites.read(tiny))["run"])
    assert any("another" not in note and "4 runs" in note for note in notes)
    exploratory = json.loads(bench("table", "--suite", tiny, "--where", "seed<2", "--format", "json").out)
    assert exploratory["exploratory"]
    assert not any("verdict" in cell for cell in exploratory["cells"])


def test_looks_are_stored_and_other_looks_at_the_same_runs_are_said(bench: Bench, tiny: str, tmp_path: Path) -> None:
    sequential = TINY | {"seeds": 4, "looks": [3, 4], "budgets": ["equal epochs", "equal cost: dml"]}
    Path(tiny).write_text(yaml.safe_dump(sequential), encoding="utf-8")
    words = ["--suite", tiny]
    assert bench("run", *words, "--engine", "serial", "--device", "cpu").code == 0
    (plan,) = stored_plans([tmp_path / "results"])
    # dml's runs are those of both budgets
    assert (list(plan.declaration.looks), len(plan.runs)) == ([3, 4], 12)
    # both budgets have their first look before either has its second
    ends = store.load(tmp_path / "results", "last", split="all").set_index("run")["seed"]
    written = {name: (tmp_path / "results" / "runs" / name / "result.json").stat().st_mtime_ns for name in ends.index}
    firsts = [written[name] for name, seed in ends.items() if seed < 3]
    assert len(firsts) == 9
    assert all(max(firsts) < written[name] for name, seed in ends.items() if seed >= 3)
    assert str(tmp_path).encode() not in plan.content
    assert "3, 4 of at most" not in bench("table", *words).out
    # a figure says what is declared, of a suite's runs and of all that are stored
    plots = [bench("plot", "curves", *suite, "--value", "loss") for suite in (words, [])]
    assert ["0.05 / 4" in plot.err and "looks at 3, 4 seeds" in plot.err for plot in plots] == [True, True]
    # the maximum is raised after the runs were looked at
    Path(tiny).write_text(yaml.safe_dump(sequential | {"version": 2, "seeds": 6, "looks": [3, 6]}), encoding="utf-8")
    for command in (["report", *words, "--out", "page.html"], ["site", *words, "--out", "site"]):
        assert bench(*command).code == 0
    shown = (tmp_path / "page.html").read_text(), (tmp_path / "site/index.html").read_text()
    for text in (bench("table", *words).out, bench("plot", "cost", *words).err, *shown):
        assert "3, 4 of at most 4 seeds" in text


def test_a_hidden_baseline_still_decides(bench: Bench, tiny: str, tmp_path: Path) -> None:
    assert bench("run", "--suite", tiny, "--engine", "serial", "--device", "cpu").code == 0
    frame = store.load(tmp_path / "results", "last", split="all")
    found = {}
    for hide in ((), ("independent",)):
        choice = TableFilter(suite=tiny, hide=hide)
        runs, _ = choice.runs(frame)
        found[hide] = {row: gain for (row, _), gain in build(runs, choice=choice).gains.items()}
    assert found[()] == found["independent",]
