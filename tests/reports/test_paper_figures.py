"""Figures for a paper: their width, their fonts, their names, and critical-difference diagrams."""

import itertools
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, strategies as st

from benchmark.reports import figures, style
from benchmark.reports.style import View, inches
from benchmark.tables import TableFilter, TableStyle
from methods.errors import InputError
from tests.command_line import Bench
from tests.tables.frames import Story


@pytest.fixture(scope="module")
def frame(story: Story) -> pd.DataFrame:
    return story.frame


NARROW = View(style="paper", width=3.25, showing=TableStyle(labels={"dkel": "DKEL (ours)", "digits": "Digits"}))


class TestPaper:
    @pytest.mark.parametrize("kind", ["curves", "ranks", "critical-difference"])
    def test_a_figure_is_as_wide_as_it_is_to_be_and_keeps_its_fonts(
        self, bench: Bench, story: Story, kind: str, tmp_path: Path
    ) -> None:
        words = ["plot", kind, "--results", str(story.store.root), "--style", "paper", "--width", "84mm"]
        for ending in ("pdf", "svg"):
            answer = bench(*words, "--hide", "dkel[decay=none]", "--out", f"x.{ending}")
            assert answer.code == 0, answer.err
        pdf, svg = ((tmp_path / f"x.{ending}").read_bytes() for ending in ("pdf", "svg"))
        (width,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+)", pdf)
        assert float(width) == pytest.approx(84 / 25.4 * 72, abs=0.1)
        assert b"/FontFile2" in pdf
        assert b"<text" not in svg

    def test_panels_stand_as_many_side_by_side_as_fit(self, frame: pd.DataFrame) -> None:
        figure = figures.curves(frame, view=NARROW)
        assert figure.get_size_inches()[0] == 3.25
        assert [axis.get_title() for axis in figure.axes] == [
            "cifar10/resnet8",
            "cifar10/resnet14",
            "Digits/resnet8",
            "Digits/resnet14",
        ]
        assert figure.axes[0].get_subplotspec().get_gridspec().ncols == 2  # type: ignore[union-attr]
        assert figure.get_supylabel() == "student accuracy in %"

    def test_names_and_order_are_those_of_the_table(self, frame: pd.DataFrame) -> None:
        choice = TableFilter(rows=("dkel", "independent"), columns=("digits",))
        figure = figures.curves(frame, view=View(choice, NARROW.showing))
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["DKEL (ours)", "independent"]
        assert [axis.get_title() for axis in figure.axes] == ["Digits/resnet8", "Digits/resnet14"]

    @pytest.mark.parametrize(
        ("text", "width"), [("3.25in", 3.25), ("3.25", 3.25), ("84mm", 84 / 25.4), ("8.4 cm", 84 / 25.4)]
    )
    def test_widths(self, text: str, width: float) -> None:
        assert inches(text) == pytest.approx(width)

    @pytest.mark.parametrize("text", ["wide", "3.25ft", "-1in", "", "1e3"])
    def test_other_widths_are_refused(self, text: str) -> None:
        with pytest.raises(InputError, match="--width"):
            inches(text)

    def test_other_styles_are_refused(self) -> None:
        with pytest.raises(InputError, match="unknown style 'papr', did you mean 'paper'"):
            View(style="papr")
        with pytest.raises(InputError, match="1 to 100 inches"):
            View(width=0.2)


class TestCriticalDifference:
    def test_cliques_of_a_worked_example(self) -> None:
        ranks = {"a": 1.0, "b": 1.5, "c": 2.4, "d": 4.0, "e": 4.1}
        assert figures.cliques(ranks, 1.0) == [["a", "b"], ["b", "c"], ["d", "e"]]
        assert figures.cliques(ranks, 9.0) == [["a", "b", "c", "d", "e"]]
        assert figures.cliques(ranks, 0.05) == []

    @given(st.lists(st.floats(1, 9), min_size=2, max_size=9), st.floats(0.01, 9))
    def test_two_rows_share_a_bar_exactly_if_they_do_not_differ(self, values: list[float], distance: float) -> None:
        ranks = {f"row{n}": value for n, value in enumerate(values)}
        groups = figures.cliques(ranks, distance)
        for a, b in itertools.combinations(ranks, 2):
            assert any({a, b} <= set(group) for group in groups) == (abs(ranks[a] - ranks[b]) < distance)
        for one, other in itertools.permutations(groups, 2):
            assert not set(one) <= set(other)

    def test_the_diagram_shows_ranks_and_distance(self, frame: pd.DataFrame) -> None:
        """Three rows over four columns: q = 2.343 (Demsar's table 5), CD = 2.343 sqrt(3 4 / 24)."""
        view = View(TableFilter(hide=("dkel[decay=none]",)), NARROW.showing)
        (axis,) = figures.critical_difference(frame, view=view).axes
        texts = [text.get_text().strip() for text in axis.texts]
        assert {"DKEL (ours) (1.00)", "dml (2.00)", "independent (3.00)", "CD = 1.66 (5 %)"} <= set(texts)
        assert axis.get_title() == "average rank by student over 4 columns"

    def test_what_has_no_ranks_is_refused(self, frame: pd.DataFrame) -> None:
        with pytest.raises(InputError, match="two rows"):
            figures.critical_difference(frame)
        with pytest.raises(InputError, match="seconds has no ranks"):
            figures.critical_difference(frame, "seconds")
        with pytest.raises(InputError, match="unknown value 'studnet'"):
            figures.critical_difference(frame, "studnet")


def test_the_same_figure_is_the_same_file(frame: pd.DataFrame, tmp_path: Path) -> None:
    paths = [style.save(figures.curves(frame, view=NARROW), tmp_path / f"{n}.pdf", NARROW) for n in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
