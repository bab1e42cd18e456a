"""A configuration of a method has one name across the whole table, and in figures and report alike."""

from pathlib import Path

import pandas as pd
import pytest

from benchmark.reports import Content, figures
from benchmark.tables import layout, summaries
from methods.errors import InputError
from tests.tables.frames import COLUMNS, Story


class TestSecondSetting:
    def test_each_configuration_has_one_row_with_all_its_columns(self, story: Story) -> None:
        table = story.built()
        assert table.rows == ["independent", "dml", "dkel", "dkel, decay=none"]
        filled = {row: sorted(h.column for r, h in table.replicates if r == row) for row in table.rows}
        assert filled == {
            "independent": [*COLUMNS],
            "dml": [*COLUMNS],
            "dkel": [*COLUMNS],
            "dkel, decay=none": ["cifar10/resnet8"],
        }
        assert "dkel alone stands for decay=exp" in table.notes()

        ranks, used, judged = table.ranks()
        assert ranks == {"independent": 4.0, "dml": 3.0, "dkel": 2.0, "dkel, decay=none": 1.0}
        assert (used, judged) == (1, 4)

    @pytest.mark.parametrize(
        ("word", "row"),
        [
            ("dkel", "dkel"),
            ("dkel, decay=none", "dkel, decay=none"),
            ("dkel[ decay = none , temperature=3.0]", "dkel, decay=none"),
        ],
    )
    def test_either_setting_can_be_the_baseline(self, story: Story, word: str, row: str) -> None:
        assert story.built(baseline=word).baseline == row

    def test_where_it_has_no_run_the_table_says_so(self, story: Story) -> None:
        from benchmark.tables.view import typed

        content = typed(story.built(baseline="dkel[decay=none]"))
        first = content.rows[0].id
        assert content.column("digits/resnet8:student:gain").cells[0].note == "no run here of the baseline"
        value = content.column("cifar10/resnet8:student:gain").cells[0].value
        assert (first, value is not None and value < 0) == ("independent", True)

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("dkel, decay=non", "did you mean 'dkel, decay=none'? (valid: 'dkel', 'dkel, decay=none', 'dml', "),
            ("dkel[decay=cosine]", "unknown baseline 'dkel[decay=cosine]'"),
            ("dkel[decoy=none]", "unknown setting in 'dkel[decoy=none]' 'decoy', did you mean 'decay'?"),
            ("dkel[none]", "settings are written as method[key=value]"),
        ],
    )
    def test_unknown_ones_are_answered_with_quoted_names(self, story: Story, word: str, message: str) -> None:
        with pytest.raises(InputError) as refused:
            story.built(baseline=word)
        assert message in str(refused.value)

    def test_curves_and_report_call_it_alike(self, story: Story) -> None:
        rows = story.built().rows
        assert [text.get_text() for text in figures.curves(story.frame).legends[0].get_texts()] == rows
        assert list(dict.fromkeys(group.row for group in Content.read(story.store.root).groups)) == rows

    def test_runs_that_failed_change_no_name_in_a_figure(self, story: Story) -> None:
        frame = story.frame
        second = (frame["hyperparameters.decay"] == "none").to_numpy()
        frame.loc[second, "status"] = "failed"
        names = [text.get_text() for text in figures.curves(frame).legends[0].get_texts()]
        assert names == ["independent", "dml", "dkel"]


class TestNames:
    def rows(self, story: Story) -> list[str]:
        return list(story.built().rows)

    def test_a_second_setting_alone_in_its_column_keeps_its_name(self, tmp_path: Path) -> None:
        told = Story(tmp_path)
        told.tell("dkel", "digits/resnet8", 0, 60.0)
        told.tell("dkel", "digits/resnet14", 0, 60.0)
        told.tell("dkel", "digits/resnet20", 0, 60.0, decay="none")
        assert self.rows(told) == ["dkel", "dkel, decay=none"]

    def test_where_none_is_usual_all_are_named_in_full(self, tmp_path: Path) -> None:
        told = Story(tmp_path)
        for place in ("digits/resnet8", "digits/resnet14"):
            told.tell("dkel", place, 0, 60.0)
            told.tell("dkel", place, 0, 61.0, decay="none")
        assert self.rows(told) == ["dkel, decay=exp", "dkel, decay=none"]

    def test_a_label_says_every_key_in_which_rows_differ(self, tmp_path: Path) -> None:
        told = Story(tmp_path)
        told.tell("dkel", "digits/resnet8", 0, 60.0, decay="none")
        told.tell("dkel", "digits/resnet8", 0, 61.0, decay="none", temperature=1.0)
        told.tell("dkel", "digits/resnet14", 0, 62.0, decay="none")
        told.tell("dkel", "digits/resnet8", 0, 62.0)
        assert self.rows(told) == [
            "dkel",
            "dkel, temperature=1, decay=none",
            "dkel, temperature=3, decay=exp",
        ]
        assert "dkel alone stands for temperature=3, decay=none" in told.built().notes()

    def test_what_follows_from_data_set_or_length_makes_no_rows_but_a_note(self, tmp_path: Path) -> None:
        told = Story(tmp_path)
        told.tell("dkel", "digits/resnet8", 0, 60.0, ema_decay=0.97)
        told.tell("dkel", "cifar10/resnet8", 0, 60.0, ema_decay=0.999)
        assert self.rows(told) == ["dkel"]
        assert (
            "by dataset, length of the run or number of networks differ, in one row: dkel: ema_decay"
            in told.built().notes()
        )

    def test_a_second_value_of_such_a_setting_is_a_row(self, tmp_path: Path) -> None:
        told = Story(tmp_path)
        for backbone in ("resnet8", "resnet14"):
            told.tell("dkel", f"digits/{backbone}", 0, 60.0, ema_decay=0.97)
        told.tell("dkel", "digits/resnet8", 0, 61.0, ema_decay=0.5)
        told.tell("dkel", "cifar10/resnet8", 0, 60.0, ema_decay=0.999)
        table = told.built()
        assert table.rows == ["dkel", "dkel, ema_decay=0.5"]
        assert "dkel alone stands for ema_decay=usual (0.97 or 0.999)" in table.notes()
        assert {heading.column for row, heading in table.replicates if row == "dkel"} == {
            "digits/resnet8",
            "digits/resnet14",
            "cifar10/resnet8",
        }

    @pytest.mark.parametrize("by_seed", [False, True])
    def test_no_cell_mixes_configurations(self, story: Story, by_seed: bool) -> None:
        frame = summaries(story.frame)
        lonely = frame[(frame["method"] == "dkel") & (frame["dataset"] == "digits")].head(2)
        changed = lonely.copy()
        changed[["hyperparameters.ema_decay", "train.epochs", "seed"]] = [[0.5, 4, 0], [0.6, 4, 0]]
        runs = layout.arranged(pd.concat([frame, changed], ignore_index=True), by_seed).runs
        own = [name for name in runs.columns if name.startswith(("hyperparameters.", "train.")) or name == "dataset"]
        for _, cell in runs.groupby(["row", "column"]):
            assert (cell[["method", "backbone", *own]].astype(str).nunique() <= 1).all()


class TestWhatIsRead:
    @pytest.mark.parametrize("usual", [1, 2])
    def test_runs_of_two_lengths_share_no_row_with_another_setting(self, tmp_path: Path, usual: int) -> None:
        told = Story(tmp_path)
        for seed in range(usual):
            told.tell("dml", "digits/resnet8", seed, 60.0, epochs=2, temperature=3.0)
        told.tell("dml", "digits/resnet8", 0, 50.0, epochs=1, temperature=4.0)
        assert told.built().rows == ["dml, temperature=3", "dml, temperature=4"]
        assert told.built().ranks()[0] == {}

    def test_nor_where_the_setting_happens_to_grow_with_the_length(self, tmp_path: Path) -> None:
        told = Story(tmp_path)
        told.tell("dml", "digits/resnet8", 0, 60.0, epochs=2, temperature=4.0)
        told.tell("dml", "digits/resnet8", 0, 50.0, epochs=1, temperature=2.0)
        assert len(told.built().rows) == 2

    def test_a_number_of_epochs_that_grows_with_the_length_makes_no_row(self, tmp_path: Path) -> None:
        told = Story(tmp_path)
        for epochs, horizon in ((3, 1), (30, 8), (300, 80)):
            told.tell("dkel", "digits/resnet8", 0, 60.0, epochs=epochs, decay_epochs=horizon)
        assert told.built().rows == ["dkel"]
        told.tell("dkel", "digits/resnet8", 0, 60.0, epochs=150, decay_epochs=80)
        assert told.built().rows == ["dkel", "dkel, decay_epochs=1", "dkel, decay_epochs=8"]

    def test_what_nothing_reads_names_no_row(self, tmp_path: Path) -> None:
        told = Story(tmp_path)
        told.tell("dkel", "digits/resnet8", 0, 60.0, decay="exp", decay_rate=0.5)
        told.tell("dkel", "digits/resnet8", 0, 61.0, decay="exp", decay_rate=0.25)
        for decay in ("linear", "cosine", "step"):
            told.tell("dkel", "digits/resnet8", 0, 62.0, decay=decay, decay_rate=0.5)
        told.tell("dkel", "digits/resnet8", 0, 62.0, decay="constant", decay_rate=0.5, decay_epochs=7, decay_floor=0.2)
        assert {row for row in told.built().rows if "decay=exp" not in row} == {
            "dkel, decay=linear",
            "dkel, decay=cosine",
            "dkel, decay=step",
            "dkel, decay=constant",
        }
