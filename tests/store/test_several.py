"""Several results folders as one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import store
from benchmark.configuration import RunAlias, RunConfig
from benchmark.store import Result, Status, Store
from methods.errors import InputError
from tests.command_line import Bench
from tests.store.test_index import config, finish


@pytest.fixture
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Laboratory a has seeds 0 and 1, b has 1 (the same numbers) and 2."""
    for lab, seeds in {"a": (0, 1), "b": (1, 2)}.items():
        for seed in seeds:
            finish(tmp_path / lab / "results", seed, 50.0 + seed)
    monkeypatch.chdir(tmp_path)
    return tmp_path


BOTH = ["a/results", "b/results"]


@pytest.mark.parametrize("epochs", ["all", "last"])
@pytest.mark.parametrize("places", [BOTH, ["*/results"], [*BOTH, "a/results"], "[ab]/results"])
def test_what_agrees_counts_once(labs: Path, places: list[str], epochs: store.Epochs) -> None:
    frame = store.load(places, epochs)
    assert sorted(set(frame["seed"])) == [0, 1, 2]
    assert not frame.duplicated(["run", "epoch"]).any()


def test_names_and_budgets_of_both_folders_stand(labs: Path) -> None:
    Store(labs / "b/results").claim(config(1).also([RunAlias(name="again")], ["equal cost: pcl"]))
    (budgets,) = store.load(BOTH, "last", where="seed=1")["budgets"]
    assert sorted(budgets.split(store.BUDGETS_JOINED_BY)) == ["equal cost: pcl", "equal epochs"]
    (uses,) = store.load(BOTH, "last", where="seed=1")["uses"]
    assert {"name": "again"} in json.loads(uses)


def test_the_time_that_epochs_took_is_no_disagreement(labs: Path) -> None:
    run = config(1)
    rows = Store(labs / "b/results").metrics(run)
    Store(labs / "b/results").write_metrics(run, [{**row, "seconds": 7.0, "ece/peer0": 0.1} for row in rows])
    assert len(store.load(BOTH, "last")) == 3


def test_what_disagrees_is_named_with_folders_numbers_and_environments(labs: Path) -> None:
    folder = finish(labs / "b/results", 1, 60.0)
    left = store.load(BOTH, "last")
    assert sorted(left["seed"]) == [0, 2]
    (line,) = left.attrs[store.DAMAGED].values()
    assert f"a/results/runs/{folder.name} (student 52 % after 4 epochs; torch 2)" in line
    assert f"b/results/runs/{folder.name} (student 61 % after 4 epochs; torch 2)" in line
    assert line.endswith("--prefer names a folder")
    for prefer, accuracy in (("a/results", 52.0), ("b/results", 61.0)):
        frame = store.load(BOTH, "last", where={"seed": 1}, prefer=prefer)
        assert frame["student"].tolist() == [accuracy]
    with pytest.raises(InputError, match="unknown results folder 'c'"):
        store.load(BOTH, prefer="c")


def test_a_loss_in_the_last_bit_is_a_disagreement(labs: Path) -> None:
    run = config(1)
    rows = Store(labs / "b/results").metrics(run)
    rows[0]["loss"] = 1.0 + 2**-52
    Store(labs / "b/results").write_metrics(run, rows)
    assert set(store.load(BOTH)["seed"]) == {0, 2}


def measured_elsewhere(root: Path, seed: int, shift: float = 1e-7) -> None:
    """Replace a run by what another laboratory measures: other hardware, other last digits."""
    run, own = config(seed), Store(root)
    rows = [{**row, "loss": row["loss"] + shift} for row in own.metrics(run)]
    result = own.result(run)
    assert result is not None
    own.write_metrics(run, rows)
    own.write_result(run, replace(result, environment={"torch": "2", "hardware": "another"}))


@pytest.mark.parametrize("epochs", ["all", "last"])
def test_a_run_measured_on_other_hardware_is_a_replicate(labs: Path, epochs: store.Epochs) -> None:
    measured_elsewhere(labs / "b/results", 1)
    frame = store.load(BOTH, epochs)
    assert frame.attrs[store.DAMAGED] == {}
    own = frame[frame["seed"] == 1].drop_duplicates("run")
    assert own["environment"].tolist() == ["torch 2", "another, torch 2"]
    assert own["run"].nunique() == 2
    assert own["run"].str.contains(config(1).identity).all()


def test_curves_of_a_replicate_are_its_own(labs: Path) -> None:
    measured_elsewhere(labs / "b/results", 1, 0.5)
    runs = store.read(BOTH)
    curves = dict(runs.curves([found.name for found in runs.found]))
    assert len(curves) == 4
    assert sorted(curve[0]["loss"] for curve in curves.values()) == [1.0, 1.0, 1.0, 1.5]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_run_that_has_ended_comes_before_one_that_has_not(labs: Path, swapped: bool) -> None:
    lost: RunConfig = config(2)
    Store(labs / "a/results").write_result(lost, Result(Status.FAILED, "it broke"))
    frame = store.load(BOTH[::-1] if swapped else BOTH, "last")
    assert set(frame["status"]) == {"finished"}


class TestCommands:
    def test_tables_lists_and_pages_take_several(self, labs: Path, bench: Bench) -> None:
        both = ["--results", "a/results", "--results", "b/results"]
        for given in (both, ["--results", "*/results"]):
            assert "(3)" in bench("table", *given).out
            assert bench("list", "runs", *given).out.splitlines()[-1].startswith("3 runs in ")
        assert bench("report", *both, "--out", "r.html").out.startswith("r.html: 3 runs")
        assert bench("plot", "curves", *both, "--out", "c.svg").out == "c.svg\n"
        assert "b/results/runs/dml-digits-resnet8-s2" in bench("show", "dml-digits-resnet8-s2", *both).out
        for place in ("nowhere", "no*"):
            bench("table", "--results", "a/results", "--results", place).assert_refused(place)

    def test_disagreement_is_one_line(self, labs: Path, bench: Bench) -> None:
        finish(labs / "b/results", 1, 60.0)
        both = ["--results", "a/results", "--results", "b/results"]
        for words in (["table"], ["list", "runs"], ["show", "dml-digits-resnet8-s1"]):
            answer = bench(*words, *both)
            # one run alone is either there or not; of many the rest is shown
            assert answer.code == (2 if words[0] == "show" else 0)
            (line,) = [line for line in answer.err.splitlines() if "other numbers" in line]
            assert "a/results" in line
            assert "b/results" in line
            assert bench(*words, *both, "--prefer", "b/results").code == 0

    def test_a_damaged_run_is_named_once_where_errors_are_printed(self, labs: Path, bench: Bench) -> None:
        folder = finish(labs / "a/results", 0)
        (folder / "result.json").write_text("{")
        for words in (["table"], ["list", "runs"], ["report"]):
            answer = bench(*words, "--results", "a/results")
            assert answer.code == 0
            (line,) = answer.err.splitlines()
            assert line.startswith(f"note: a/results/runs/{folder.name} is left out: it is damaged: result.json: ")
        assert "1 damaged run" in bench("table", "--results", "a/results").out
