"""From stored runs to a table: what a cell says, and which runs it may bring together."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark import running, store
from benchmark.store import Result, Status
from benchmark.tables.rendering import rendered
from benchmark.tables.table import build
from methods.errors import InputError
from tests.command_line import Bench
from tests.tables.frames import FINISHED, Runs, compiled


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


class TestCell:
    def test_mean_deviation_and_number_of_seeds(self, runs: Runs) -> None:
        runs.add(70.0)
        assert runs.table() == {"dml": {"digits/resnet8": "70.00 (1)"}}
        for seed, accuracy in ((1, 72.0), (2, 77.0)):
            runs.add(accuracy, seed=seed)
        assert runs.table() == {"dml": {"digits/resnet8": "73.00 ± 3.61 (3)"}}

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

    def test_score_that_a_method_does_not_have_is_empty(self, runs: Runs) -> None:
        (run,) = running.prepare([{"methods": "independent", "seeds": 1, "epochs": 1}]).runs
        runs.store.begin(run)
        runs.store.write_metrics(run, [{"epoch": 0, "student": 50.0, "top1/peer0": 50.0}])
        runs.store.write_result(run, replace(FINISHED, students=("peer0",)))
        assert list(runs.table("ensemble")["independent"].values()) == [""]


class TestWhatIsBroughtTogether:
    def test_hyperparameters_and_versions_of_a_method_make_rows(self, runs: Runs) -> None:
        run = runs.add(70.0)
        runs.add(80.0, dml={"temperature": 2.5})
        column = {row: cells["digits/resnet8"] for row, cells in runs.table().items()}
        assert column == {"dml, temperature=1": "70.00 (1)", "dml, temperature=2.5": "80.00 (1)"}
        runs.put(run.model_copy(update={"method_version": 2}), 90.0)
        assert len(runs.table()) == 3

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

    def test_data_that_changed_makes_columns_and_subsets_need_no_checksum(self, runs: Runs) -> None:
        run = runs.add(70.0, data={"train_per_class": 5})
        changed = run.model_copy(update={"dataset_checksum": 64 * "0"})
        runs.put(changed, 80.0)
        assert any(column.endswith(", checksum=00000000") for column in runs.table()["dml"])
        runs.put(changed.model_copy(update={"data": run.data.model_copy(update={"train_per_class": 6})}), 90.0)
        (column,) = [column for column in runs.table()["dml"] if "train_per_class=6" in column]
        assert "checksum" not in column

    def test_files_count_by_their_content(self, runs: Runs, tmp_path: Path) -> None:
        for seed, (name, content) in enumerate([("here", "a"), ("there", "a"), ("other", "b")]):
            (tmp_path / name).write_text(content)
            runs.add(70.0, seed=seed, methods="kd", kd={"teacher": str(tmp_path / name)})
        rows = {row: cells["digits/resnet8"] for row, cells in runs.table().items()}
        assert list(rows) == ["kd, teacher=3e23e816", "kd, teacher=ca978112"]
        assert list(rows.values()) == ["70.00 (1)", "70.00 ± 0.00 (2)"]

    def test_method_is_compared_in_every_column_of_its_own(self, runs: Runs) -> None:
        runs.add(70.0)
        runs.add(80.0, methods="one", backbone="resnet14")
        columns = {"digits/resnet8": "70.00 (1)", "digits/resnet14": ""}
        assert runs.table() == {"dml": columns, "one": {"digits/resnet8": "", "digits/resnet14": "80.00 (1)"}}


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


class TestLayout:
    def test_columns_are_metrics_and_a_row_may_be_a_seed(self, bench: Bench, finished_runs: Path) -> None:
        words = ["table", "--results", str(finished_runs), "--format", "json"]
        found = json.loads(bench(*words, "--columns", "student,best", "--rows", "method,seed").out)
        assert [column["metric"] for column in found["columns"]] == ["student", "best"]
        assert found["rows"] == [f"{method}/seed {seed}" for method in ("dml", "pcl") for seed in (0, 1)]
        bench(*words, "--columns", "studnet").assert_refused("unknown column 'studnet', did you mean 'student'")
        bench(*words, "--rows", "metod").assert_refused("unknown row 'metod', did you mean 'method'")

    def test_validation_scores_always_say_so(self, runs: Runs) -> None:
        runs.add(70.0, data={"holdout": 0.25})
        assert next(iter(runs.table()["dml"])).startswith("digits/resnet8, split=validation")

    @pytest.mark.parametrize("train", [{"diagnostics_every": 1}, {"graph": False}])
    def test_what_changes_no_number_makes_no_other_column(self, train: dict[str, Any], runs: Runs) -> None:
        runs.add(70.0)
        runs.add(72.0, seed=1, train=train)
        assert runs.table() == {"dml": {"digits/resnet8": "71.00 ± 1.41 (2)"}}
        # recording that is forced is no longer the same run
        runs.add(72.0, train={"graph": True})
        assert len(runs.table()["dml"]) == 2

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


class TestComparison:
    @pytest.fixture
    def frame(self, runs: Runs) -> Any:
        for seed in range(4):
            runs.add(70.0 + seed, seed=seed, methods="independent")
            runs.add(75.0 + seed + 0.1 * (seed % 2), seed=seed)
            runs.add(60.0 + seed, seed=seed, methods="one", backbone="resnet14")
        runs.add(72.0, seed=0, methods="okddip")
        runs.add(10.0, seed=1, methods="okddip", ending=Result(Status.COLLAPSED, "at chance"))
        return store.load(runs.store.root)

    def test_best_is_bold_and_second_underlined(self, frame: Any) -> None:
        text = rendered(build(frame))
        assert "**76.55 ± 1.32 (4)**" in text
        assert "<u>72.00 (1)</u>, 1 collapsed: at chance" in text
        assert r"\textbf{76.55 $\pm$ 1.32} {\scriptsize (4)}" in rendered(build(frame), "latex")
        assert "<b>76.55 ± 1.32 (4)</b>" in rendered(build(frame), "html")
        for form in ("csv", "json"):
            assert "**" not in rendered(build(frame), form)

    def test_lower_is_better_for_nll(self, runs: Runs) -> None:
        runs.add(70.0)
        run = runs.add(60.0, methods="one")
        row = {"student": 60.0, "top1/peer0": 60.0, "nll/peer0": 0.1}
        runs.store.write_metrics(run, [{"epoch": epoch, **row} for epoch in range(run.train.epochs)])
        table = build(store.load(runs.store.root), ["nll"])
        assert table.leaders(table.headings[0]) == ({"one"}, {"dml"})

    def test_ranks_count_only_complete_columns(self, runs: Runs) -> None:
        for method, accuracies in {"independent": (70, 71), "dml": (72, 71), "one": (74, 73)}.items():
            for backbone, accuracy in zip(("resnet8", "resnet14"), accuracies, strict=True):
                runs.add(float(accuracy), methods=method, backbone=backbone)
        runs.add(95.0, backbone="resnet20")
        table = build(store.load(runs.store.root))
        assert table.ranks() == ({"independent": 2.75, "dml": 2.25, "one": 1.0}, 2, 3)
        assert "over the 2 of 3 columns" in rendered(table)

    def test_gain_over_a_baseline(self, frame: Any) -> None:
        text = rendered(build(frame, baseline="independent"))
        assert "+5.05 [+4.96, +5.14], n=4, p=" in text
        assert "+2.00, n=1 " in text
        assert "t interval" in text
        assert "baseline" in text

    def test_a_baseline_of_several_rows_is_refused(self, runs: Runs) -> None:
        for temperature in (1, 2):
            runs.add(70.0, dml={"temperature": temperature})
        frame = store.load(runs.store.root)
        with pytest.raises(InputError, match="several rows: 'dml, temperature=1', 'dml, temperature=2'"):
            build(frame, baseline="dml")
        with pytest.raises(InputError, match="unknown baseline 'dmk'"):
            build(frame, baseline="dmk")
        assert build(frame, baseline="dml, temperature=2").baseline == "dml, temperature=2"

    def test_json_has_every_seed(self, frame: Any) -> None:
        content = json.loads(rendered(build(frame, baseline="independent"), "json"))
        (cell,) = [cell for cell in content["cells"] if cell["row"] == "dml"]
        assert cell["seeds"] == {"0": 75.0, "1": 76.1, "2": 77.0, "3": 78.1}
        assert cell["gain"]["n"] == 4
        assert {"mean", "low", "high", "p", "confidence"} < set(cell["gain"])
        (unlucky,) = [cell for cell in content["cells"] if cell["row"] == "okddip"]
        assert unlucky["not_finished"] == {"collapsed": {"count": 1, "reason": "at chance"}}


class TestLatex:
    def test_it_compiles_as_it_is(self, runs: Runs, tmp_path: Path) -> None:
        for seed in range(3):
            runs.add(70.0 + seed, seed=seed, data={"train_per_class": 5})
            runs.add(71.0 + seed * seed, seed=seed, methods="one", data={"train_per_class": 5})
        runs.add(1.0, seed=7, ending=Result(Status.FAILED, "100 % _of_ ~^\\ {it} $1 ü € [x]"))
        made = rendered(build(store.load(runs.store.root), ["student", "best"], baseline="dml"), "latex")
        compiled(tmp_path, r"\documentclass{article}", made)
        assert (tmp_path / "main.pdf").stat().st_size > 1000
