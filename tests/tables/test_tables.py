"""From stored runs to a table: what a cell says, and which runs it may bring together."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark import running, store
from benchmark.configuration.run_config import RunConfig
from benchmark.formatting import short_name
from benchmark.metrics import METRICS
from benchmark.store import Result, Status, Store
from benchmark.tables.layout import KEYS, check_names
from benchmark.tables.rendering import check_format, rendered
from benchmark.tables.replicates import Replicates
from benchmark.tables.table import Table, build
from methods.errors import InputError
from tests.command_line import Bench

FINISHED = Result(Status.FINISHED, students=("peer0", "peer1"))


class Runs:
    """A store that is filled with runs of chosen accuracies."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)

    def add(self, *accuracies: float, seed: int = 0, ending: Result = FINISHED, **layer: Any) -> RunConfig:
        """Store a run whose students have these mean accuracies, an epoch each, 4 apart from each other."""
        asked = {"methods": "dml", "dataset": "digits", "seeds": f"{seed},"} | layer
        (run,) = running.prepare([asked | {"results": str(self.store.root)}]).runs
        self.put(run, *accuracies, ending=ending)
        return run

    def put(self, run: RunConfig, *accuracies: float, ending: Result = FINISHED) -> None:
        # a finished run has all of its epochs
        missing = run.train.epochs - len(accuracies) if ending.status is Status.FINISHED else 0
        before = accuracies[:1] * missing
        scores = [{"student": value, **self.scores(value)} for value in (*before, *accuracies)]
        self.store.begin(run)
        self.store.write_metrics(run, [{"epoch": epoch, **row} for epoch, row in enumerate(scores)])
        self.store.write_result(run, ending)

    @staticmethod
    def scores(student: float) -> dict[str, float]:
        top1 = {"peer0": student - 2, "peer1": student + 2, "ensemble": student + 5}
        top5 = {f"top5/{name}": 99.0 for name in top1}
        return {f"top1/{name}": value for name, value in top1.items()} | top5 | {"nll/peer0": 0.5, "nll/peer1": 0.7}

    def table(self, *scores: str) -> Mapping[str, Mapping[str, str]]:
        """The cells by row and column."""
        return texts(build(store.load(self.store.root, split="all"), scores or ("student",)))


def texts(table: Table) -> dict[str, dict[str, str]]:
    """The cells of values by row and heading."""
    return {
        row: {
            heading.text: own.text() if (own := table.replicates.get((row, heading))) else ""
            for heading in table.headings
        }
        for row in table.rows
    }


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


class TestCell:
    def test_mean_deviation_and_number_of_seeds(self, runs: Runs) -> None:
        for seed, accuracy in enumerate((70.0, 72.0, 77.0)):
            runs.add(accuracy, seed=seed)
        assert runs.table() == {"dml": {"digits/resnet8": "73.00 ± 3.61 (3)"}}

    def test_one_seed_has_no_deviation(self, runs: Runs) -> None:
        runs.add(70.0)
        assert runs.table() == {"dml": {"digits/resnet8": "70.00 (1)"}}

    def test_deviation_is_that_of_a_sample(self) -> None:
        assert Replicates({0: 1.0, 1: 3.0}).text() == "2.00 ± 1.41 (2)"

    def test_runs_that_did_not_finish_are_counted_and_left_out(self, runs: Runs) -> None:
        runs.add(70.0, seed=0)
        runs.add(72.0, seed=1)
        failed = replace(FINISHED, status=Status.FAILED, reason="RuntimeError: no chance")
        diverged = replace(FINISHED, status=Status.DIVERGED, reason="epoch 3: loss is not finite")
        runs.add(10.0, seed=2, ending=failed)
        runs.add(10.0, seed=3, ending=diverged)
        runs.store.begin(runs.add(seed=4))
        assert runs.table()["dml"]["digits/resnet8"] == (
            "71.00 ± 1.41 (2), 1 diverged: epoch 3: loss is not finite, 1 failed: RuntimeError: no chance, 1 unfinished"
        )

    def test_reasons_are_short_and_break_no_table(self, runs: Runs) -> None:
        for seed, reason in enumerate(("a | b" + 200 * "!", "other")):
            runs.add(seed=seed, ending=Result(Status.FAILED, reason))
        cell = runs.table()["dml"]["digits/resnet8"]
        # a renderer escapes what would end a cell
        assert cell.startswith("2 failed: a | b!!!")
        assert len(cell) < 100

    def test_last_epoch_is_the_headline_and_the_best_one_stands_apart(self, runs: Runs) -> None:
        runs.add(60.0, 80.0, 70.0)
        cells = runs.table("student", "best-epoch")["dml"]
        assert cells == {"digits/resnet8 student": "70.00 (1)", "digits/resnet8 best-epoch": "80.00 (1)"}

    @pytest.mark.parametrize(
        ("score", "cell"),
        [
            ("student", "70.00 (1)"),
            ("first", "68.00 (1)"),
            ("best", "72.00 (1)"),
            ("ensemble", "75.00 (1)"),
            ("peers", "70.00 (1)"),
            ("top5", "99.00 (1)"),
            ("nll", "0.600 (1)"),
        ],
    )
    def test_every_score(self, runs: Runs, score: str, cell: str) -> None:
        runs.add(60.0, 70.0)
        assert list(runs.table(score)["dml"].values()) == [cell]

    def test_students_are_those_of_the_method(self, runs: Runs) -> None:
        runs.add(70.0, ending=replace(FINISHED, students=("peer1",)))
        assert runs.table()["dml"]["digits/resnet8"] == "72.00 (1)"

    def test_score_that_a_method_does_not_have_is_empty(self, runs: Runs) -> None:
        (run,) = running.prepare([{"methods": "independent", "seeds": 1, "epochs": 1}]).runs
        runs.store.begin(run)
        runs.store.write_metrics(run, [{"epoch": 0, "student": 50.0, "top1/peer0": 50.0}])
        runs.store.write_result(run, replace(FINISHED, students=("peer0",)))
        assert list(runs.table("ensemble")["independent"].values()) == [""]


class TestWhatIsBroughtTogether:
    def test_hyperparameters_make_rows(self, runs: Runs) -> None:
        runs.add(70.0)
        runs.add(80.0, dml={"temperature": 2.5})
        column = {row: cells["digits/resnet8"] for row, cells in runs.table().items()}
        assert column == {"dml, temperature=1": "70.00 (1)", "dml, temperature=2.5": "80.00 (1)"}

    @pytest.mark.parametrize(
        ("change", "label"),
        [
            ({"epochs": 7}, "epochs=7"),
            ({"train": {"lr": 0.25}}, "lr=0.25"),
            ({"train": {"milestones": [0.5]}}, "milestones=[0.5]"),
            ({"data": {"train_per_class": 5}}, "train_per_class=5"),
            ({"data": {"holdout": 0.25}}, "split=validation"),
        ],
    )
    def test_other_settings_make_columns(self, runs: Runs, change: Mapping[str, Any], label: str) -> None:
        runs.add(70.0)
        runs.add(80.0, **change)
        cells = runs.table()["dml"]
        assert sorted(cells.values()) == ["70.00 (1)", "80.00 (1)"]
        (changed,) = [column for column, cell in cells.items() if cell == "80.00 (1)"]
        assert label in changed.split(", ")

    def test_versions_of_a_method_make_rows(self, runs: Runs) -> None:
        run = runs.add(70.0)
        runs.put(run.model_copy(update={"method_version": 2}), 80.0)
        assert [cells["digits/resnet8"] for cells in runs.table().values()] == ["70.00 (1)", "80.00 (1)"]
        assert list(runs.table()) == ["dml, version=1", "dml, version=2"]

    def test_data_that_changed_makes_columns(self, runs: Runs) -> None:
        run = runs.add(70.0)
        runs.put(run.model_copy(update={"dataset_checksum": 64 * "0"}), 80.0)
        cells = runs.table()["dml"]
        assert sorted(cells.values()) == ["70.00 (1)", "80.00 (1)"]
        assert any(column.endswith(", checksum=00000000") for column in cells)

    def test_subsets_need_no_checksum_in_their_heading(self, runs: Runs) -> None:
        run = runs.add(70.0, data={"train_per_class": 5})
        runs.put(run.model_copy(update={"dataset_checksum": 64 * "0"}), 80.0, ending=FINISHED)
        runs.put(run.model_copy(update={"data": run.data.model_copy(update={"train_per_class": 6})}), 90.0)
        assert [
            column for column in runs.table()["dml"] if "train_per_class=6" in column and "checksum" in column
        ] == []

    def test_files_count_by_their_content(self, runs: Runs, tmp_path: Path) -> None:
        for seed, (name, content) in enumerate([("here", "a"), ("there", "a"), ("other", "b")]):
            (tmp_path / name).write_text(content)
            runs.add(70.0, seed=seed, methods="kd", kd={"teacher": str(tmp_path / name)})
        rows = {row: cells["digits/resnet8"] for row, cells in runs.table().items()}
        assert list(rows) == ["kd, teacher=3e23e816", "kd, teacher=ca978112"]
        assert list(rows.values()) == ["70.00 (1)", "70.00 ± 0.00 (2)"]

    def test_backbones_and_data_sets_make_columns(self, runs: Runs) -> None:
        runs.add(70.0)
        runs.add(80.0, backbone="resnet14")
        assert runs.table() == {"dml": {"digits/resnet8": "70.00 (1)", "digits/resnet14": "80.00 (1)"}}

    def test_method_is_compared_in_every_column_of_its_own(self, runs: Runs) -> None:
        runs.add(70.0)
        runs.add(80.0, methods="one", backbone="resnet14")
        table = runs.table()
        assert (table["dml"]["digits/resnet14"], table["one"]["digits/resnet8"]) == ("", "")


class TestForm:
    def test_methods_stand_in_the_order_of_their_publication(self, runs: Runs) -> None:
        order = ["independent", "dml", "one", "okddip", "pcl", "dkel"]
        for name in reversed(order):
            runs.add(70.0, methods=name)
        assert list(runs.table()) == order

    def test_settings_stand_in_the_order_of_their_numbers(self, runs: Runs) -> None:
        for temperature in (10, 2.5, 2):
            runs.add(70.0, dml={"temperature": temperature}, backbone="resnet14,")
            runs.add(70.0, dml={"temperature": temperature}, backbone="resnet8,")
        table = runs.table("student", "best")
        assert list(table) == ["dml, temperature=2", "dml, temperature=2.5", "dml, temperature=10"]
        headings = [
            f"digits/{backbone} {score}" for backbone in ("resnet8", "resnet14") for score in ("student", "best")
        ]
        assert list(table["dml, temperature=2"]) == headings

    def test_markdown(self, runs: Runs) -> None:
        runs.add(70.0)
        lines = rendered(build(store.load(runs.store.root))).splitlines()
        assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], lines[2])] == [
            ["method", "digits/resnet8"],
            ["dml", "70.00 (1)"],
        ]

    def test_csv(self, runs: Runs) -> None:
        runs.add(70.0)
        runs.add(80.0, epochs=7)
        rows = list(csv.DictReader(io.StringIO(rendered(build(store.load(runs.store.root)), "csv"))))
        assert [(row["method"], row["column"], float(row["mean"]), row["n"]) for row in rows] == [
            ("dml", "digits/resnet8, epochs=7", 80.0, "1"),
            ("dml", "digits/resnet8, epochs=20", 70.0, "1"),
        ]

    def test_real_runs(self, finished_runs: Path) -> None:
        table = texts(build(store.load(finished_runs), ("student", "ensemble", "peers", "ece", "distance")))
        assert list(table) == ["dml", "pcl"]
        assert all(cell.endswith("(2)") and "±" in cell for cells in table.values() for cell in cells.values())

    @pytest.mark.parametrize("names", [["studnet"], ["student", "accuracy"], []])
    def test_unknown_columns_are_refused(self, names: list[str]) -> None:
        with pytest.raises(
            InputError, match="valid: best, best-epoch, cka, classes, disagreement, distance, each, ece, ensemble"
        ):
            check_names("value", names, METRICS)

    def test_unknown_format_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"unknown format 'htm', did you mean 'html'.* \(valid: csv, html, json"):
            check_format("htm")


class TestLayout:
    def test_keys_and_metrics_may_be_mixed(self, bench: Bench, finished_runs: Path) -> None:
        words = ["table", "--results", str(finished_runs), "--format", "json"]
        found = json.loads(bench(*words, "--columns", "student,dataset,best").out)
        assert [column["id"] for column in found["columns"]] == ["digits:student", "digits:best"]
        with pytest.raises(InputError, match="unknown column 'datset', did you mean 'dataset'"):
            check_names("columns", ["datset"], (*KEYS, *METRICS))
        with pytest.raises(InputError, match="unknown row 'metod', did you mean 'method'"):
            check_names("rows", ["metod"], KEYS)

    def test_rows_and_columns_change_places(self, runs: Runs) -> None:
        runs.add(70.0)
        runs.add(80.0, methods="one", one={"temperature": 2})
        runs.add(81.0, methods="one")
        table = build(store.load(runs.store.root), rows=("dataset", "backbone"), columns=("method",))
        assert table.rows == ["digits/resnet8"]
        assert [heading.text for heading in table.headings] == ["dml", "one, temperature=2", "one, temperature=3"]
        assert (table.ranks()[0], table.leaders(table.headings[0])) == ({}, (set(), set()))

    @pytest.mark.parametrize(
        ("rows", "columns"), [(("method",), ("dataset",)), (("backbone",), ("seed",)), (("split",), ("dataset",))]
    )
    def test_no_cell_mixes_runs_whatever_the_layout(
        self, runs: Runs, rows: tuple[str, ...], columns: tuple[str, ...]
    ) -> None:
        runs.add(70.0)
        runs.add(71.0, methods="one")
        runs.add(72.0, backbone="resnet14")
        runs.add(73.0, dml={"temperature": 2})
        runs.add(74.0, data={"holdout": 0.25})
        runs.add(75.0, train={"lr": 0.25})
        table = build(store.load(runs.store.root, split="all"), rows=rows, columns=columns)
        assert sorted(cell.mean or 0 for cell in table.replicates.values()) == [70, 71, 72, 73, 74, 75]

    def test_validation_scores_always_say_so(self, runs: Runs) -> None:
        runs.add(70.0, data={"holdout": 0.25})
        assert next(iter(runs.table()["dml"])).startswith("digits/resnet8, split=validation")

    @pytest.mark.parametrize("train", [{"diagnostics_every": 1}, {"graph": False}])
    def test_what_changes_no_number_makes_no_other_column(self, train: dict[str, Any], runs: Runs) -> None:
        runs.add(70.0)
        runs.add(72.0, seed=1, train=train)
        assert runs.table() == {"dml": {"digits/resnet8": "71.00 ± 1.41 (2)"}}

    def test_recording_that_is_forced_makes_one(self, runs: Runs) -> None:
        runs.add(70.0)
        runs.add(72.0, train={"graph": True})
        assert len(runs.table()["dml"]) == 2

    def test_long_paths_are_shortened(self) -> None:
        assert short_name("folder:/long/path/cifar10/") == "folder:cifar10"
        assert short_name("digits") == "digits"

    def test_a_run_that_lies_there_twice_counts_once(self, runs: Runs) -> None:
        run = runs.add(70.0)
        first, second = (run.model_copy(update={"dataset": f"folder:/{place}/images"}) for place in "ab")
        for moved in (first, second):
            runs.put(moved, 80.0)
        assert runs.table()["dml"]["folder:images/resnet8"] == "80.00 (1)"

    def test_peers_of_different_backbones_have_columns_of_their_own(self, runs: Runs) -> None:
        runs.add(70.0, backbone="resnet8+vgg16")
        assert runs.table("student", "each") == {
            "dml": {
                "digits/resnet8+vgg16 student": "70.00 (1)",
                "digits/resnet8+vgg16 peer0 resnet8": "68.00 (1)",
                "digits/resnet8+vgg16 peer1 vgg16": "72.00 (1)",
            }
        }
        assert len(build(store.load(runs.store.root)).headings) == 3
