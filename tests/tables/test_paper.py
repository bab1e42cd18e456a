"""Custom table layouts: what is shown, in which order, under which names, in which form."""

import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest

from benchmark.tables.rendering import rendered
from benchmark.tables.selection import TableFilter, TableStyle, assigned, read_layout
from benchmark.tables.table import Table, build
from benchmark.tables.view import TypedTable, typed
from methods.errors import InputError
from tests.command_line import Bench
from tests.tables.frames import Story, compiled

EXAMPLE = Path(__file__).parents[2] / "docs" / "example_layout.yaml"


@pytest.fixture(scope="module")
def frame(story: Story) -> pd.DataFrame:
    return story.frame


def titles(table: TypedTable) -> list[str]:
    return [column.title for column in table.columns]


def made(frame: pd.DataFrame, baseline: str | None = "independent", **layout: Any) -> Table:
    wanted = read_layout(None, layout)
    return build(frame, baseline=baseline, choice=wanted, showing=wanted)


class TestChoice:
    def test_validation_runs_stand_beside_test_runs_only_if_asked_for(self, frame: pd.DataFrame) -> None:
        mixed = pd.concat([frame, frame[frame["method"] == "dml"].assign(split="validation", run="v")])
        kept, notes = TableFilter().runs(mixed)
        assert (set(kept["split"]), notes) == ({"test"}, ["1 run on validation images not shown (--split all)"])
        assert set(TableFilter(split="all").runs(mixed)[0]["split"]) == {"test", "validation"}
        assert set(TableFilter(split="validation").runs(mixed)[0]["run"]) == {"v"}
        assert TableFilter().runs(frame.assign(split="validation"))[1] == []

    def test_where_and_what_is_left(self, frame: pd.DataFrame) -> None:
        kept, _ = TableFilter(where="backbone=resnet8 and decay!=none").runs(frame)
        assert set(kept["backbone"]) == {"resnet8"}
        with pytest.raises(InputError, match="no run fits --where 'seed=7'"):
            TableFilter(where="seed=7").runs(frame)
        with pytest.raises(InputError, match="unknown split 'tests', did you mean 'test'"):
            TableFilter(split="tests").runs(frame)

    def test_hidden_rows_count_for_nothing(self, frame: pd.DataFrame) -> None:
        table = made(frame, hide=["dkel"])
        assert table.rows == ["independent", "dml"]
        assert len(table.gains) == 4
        assert not any("dkel" in note for note in table.notes())
        assert made(frame, hide=["dkel[decay=none]"]).rows == ["independent", "dml", "dkel"]
        with pytest.raises(InputError, match="unknown method to hide 'dkle', did you mean 'dkel'"):
            made(frame, hide=["dkle"])
        with pytest.raises(InputError, match="leaves nothing"):
            made(frame, None, hide=["dkel", "dml", "independent"])

    def test_rows_and_columns_stand_as_they_are_named(self, frame: pd.DataFrame) -> None:
        table = made(frame, rows=["dkel", {"Others": ["pcl", "dml"]}, "independent"], columns=["digits", "resnet8"])
        assert table.rows == ["dkel", "dml", "independent"]
        assert [heading.column for heading in table.headings] == [
            "digits/resnet8",
            "digits/resnet14",
            "cifar10/resnet8",
        ]
        assert table.groups == {"dml": "Others"}

    @pytest.mark.parametrize(
        ("layout", "message"),
        [
            ({"rows": ["dkle"]}, "unknown row 'dkle', did you mean 'dkel'"),
            ({"rows": ["pcl"]}, "there are no runs of these rows: 'pcl'"),
            ({"columns": ["digits/resnet9"]}, "unknown column 'digits/resnet9', did you mean 'digits/resnet8'"),
            ({"labels": {"dkle": "x"}}, "unknown label 'dkle', did you mean 'dkel'"),
            ({"gains": "below"}, "gains: Input should be 'columns', 'cell' or 'rows'"),
            ({"digit": 1}, "unknown key 'digit', did you mean 'digits'"),
            ({"digits": -1}, "digits: Input should be greater than or equal to 0"),
        ],
    )
    def test_other_words_are_answered(self, frame: pd.DataFrame, layout: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError) as refused:
            made(frame, **layout)
        assert message in str(refused.value)


class TestNames:
    LABELS: ClassVar = {
        "dkel": "DKEL (ours)",
        "cifar10": "CIFAR-10 (5k)",
        "decay=none": "no decay",
        "resnet8": "ResNet-8",
    }

    def test_every_form_has_them(self, frame: pd.DataFrame) -> None:
        table = made(frame, labels=self.LABELS)
        for form in ("md", "latex", "html", "csv", "json"):
            assert "DKEL (ours), no decay" in rendered(table, form), form
        assert "CIFAR-10 (5k)/ResNet-8" in titles(typed(table))
        assert "- DKEL (ours) alone stands for decay=exp" in rendered(table)

    def test_a_whole_label_comes_before_its_parts(self) -> None:
        showing = TableStyle(labels={"dkel": "A", "dkel, decay=none": "B", "digits/resnet8": "C"})
        assert [showing.word(word) for word in ("dkel", "dkel, decay=none", "digits/resnet8, lr=1")] == [
            "A",
            "B",
            "C, lr=1",
        ]

    def test_assignments_know_their_words(self) -> None:
        known = ["dkel", "dkel, decay=none", "folder:cifar5k", "decay=none"]
        assert assigned(["dkel=a=b", "dkel, decay=none=B", "folder:cifar5k=CIFAR-10 (5k)"], known) == {
            "dkel": "a=b",
            "dkel, decay=none": "B",
            "folder:cifar5k": "CIFAR-10 (5k)",
        }
        with pytest.raises(InputError, match="unknown label 'dkl', did you mean 'dkel'"):
            assigned(["dkl=A"], known)
        with pytest.raises(InputError, match="--label takes OLD=NEW"):
            assigned(["dkel"], known)


class TestForms:
    def test_csv_has_every_number_in_a_column(self, frame: pd.DataFrame) -> None:
        table = made(frame)
        rows = list(csv.DictReader(io.StringIO(rendered(table, "csv"))))
        assert len(rows) == len(table.replicates) == 13
        (row,) = [row for row in rows if (row["method"], row["column"]) == ("dml", "digits/resnet8")]
        numbers = {key: float(row[key]) for key in ("mean", "std", "n", "gain", "low", "high", "pairs", "p")}
        assert numbers["mean"] == pytest.approx(64.1)
        assert numbers["std"] == pytest.approx(1.1)
        assert (numbers["n"], numbers["pairs"]) == (3, 3)
        assert numbers["low"] < numbers["gain"] < numbers["high"]
        (base,) = [row for row in rows if (row["method"], row["column"]) == ("independent", "digits/resnet8")]
        assert (base["gain"], base["p"], base["pairs"]) == ("", "", "")
        assert "gain" not in rendered(made(frame, None), "csv").splitlines()[0]

    def test_switches_of_a_cell(self, frame: pd.DataFrame) -> None:
        text_of = {
            name: dict(zip(titles(content), (cell.text for cell in content.lines[1]), strict=True))
            for name, content in {
                "bare": typed(made(frame, n=False, p=False, interval=False, digits=1)),
                "cell": typed(made(frame, gains="cell", p=False)),
            }.items()
        }
        assert text_of["bare"]["digits/resnet8"] == "64.1 ± 1.1"
        assert text_of["bare"]["digits/resnet8 gain"] == "+3.1"
        assert re.fullmatch(r"64.10 ± 1.10 \(3\); \+3.10 \[.*\], n=3", text_of["cell"]["digits/resnet8"])
        own = typed(made(frame, gains="rows"))
        first = [row.label for row in own.rows]
        assert first == [name + end for name in made(frame).rows for end in ("", ": gain")[: 2 - (name[0] == "i")]]

    def test_neither_rank_nor_aggregates(self, frame: pd.DataFrame) -> None:
        table = made(frame, rank=False, aggregates=False, hide=["dkel[decay=none]"])
        assert not {"average rank", "gain over tasks"} & set(titles(typed(table)))


class TestLatex:
    def test_headings_of_two_levels_and_the_gain_of_a_cell(self, frame: pd.DataFrame) -> None:
        latex = rendered(made(frame, gains="cell", p=False, n=False), "latex")
        assert r"\multicolumn{2}{c}{cifar10} & \multicolumn{2}{c}{digits}" in latex
        assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-5}" in latex
        assert re.search(r"\$\+3\.10\$ \{\\scriptsize \[\$[+-]\d+\.\d\d, [+-]\d+\.\d\d\$\]\}", latex)

    def test_pages_of_two_columns_have_no_overfull_box(self, bench: Bench, story: Story, tmp_path: Path) -> None:
        words = ["table", "--results", str(story.store.root), "--layout", str(EXAMPLE), "--format", "latex"]
        answer = bench(*words, "--out", "example.tex")
        assert (answer.code, answer.out) == (0, ""), answer.err
        preamble = r"\documentclass[10pt,twocolumn]{article}\usepackage[margin=0.75in]{geometry}"
        assert "Overfull" not in compiled(tmp_path, preamble, "\\input{example}\nTable~\\ref{tab:accuracy}.")


class TestCommand:
    def test_the_command_line_wins_over_the_file(self, bench: Bench, story: Story) -> None:
        words = ["table", "--results", str(story.store.root), "--layout", str(EXAMPLE)]
        assert "DKEL (ours)" in bench(*words).out
        answer = bench(*words, "--label", "dkel=Mine", "--baseline", "dml", "--digits", "1", "--hide", "independent")
        assert (answer.code, answer.err) == (0, "")
        assert "Mine" in answer.out
        assert "gain: mean difference to DML" in answer.out
        assert re.search(r"\*\*\d\d\.\d ± ", answer.out)
        bench(*words, "--label", "dkle=Mine").assert_refused("unknown label 'dkle', did you mean 'dkel'")
        bench("table", "--layout", "no.yaml").assert_refused("cannot read no.yaml")
        bench(*words, "--where", "backbon=resnet8").assert_refused("did you mean 'backbone'")

    def test_a_failed_run_names_its_traceback(self, bench: Bench, finished_runs: Path, tmp_path: Path) -> None:
        shutil.copytree(finished_runs, tmp_path / "mine")
        (folder,) = tmp_path.glob("mine/runs/dml-*-s1-*")
        result = json.loads((folder / "result.json").read_text())
        (folder / "result.json").write_text(json.dumps(result | {"status": "failed", "reason": "at chance"}))
        assert "error.txt" not in bench("table", "--results", "mine").out
        (folder / "error.txt").write_text("Traceback")
        out = bench("table", "--results", "mine").out
        assert f"1 failed: at chance (mine/runs/{folder.name}/error.txt)" in out
