"""Figures of stored runs: every kind in every format, told apart without colour, on a screen and on paper."""

import itertools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from benchmark import store
from benchmark.metrics import METRICS
from benchmark.reports import LINES, figures, style
from benchmark.reports.style import View, inches
from benchmark.tables import TableFilter, TableStyle
from methods.errors import InputError
from tests.command_line import Bench
from tests.tables.frames import Runs, Story


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """Three methods, two backbones, three seeds, three epochs."""
    runs = Runs(tmp_path)
    for number, method in enumerate(("independent", "dml", "one")):
        for seed in range(3):
            for backbone in ("resnet8", "resnet14"):
                run = runs.add(methods=method, seed=seed, backbone=backbone, epochs=3)
                accuracies = [50.0 + number + seed + 10 * epoch for epoch in range(3)]
                rows = [
                    {"epoch": epoch, "student": value, "loss": 1.0, "distance/peers": 0.1, **Runs.scores(value)}
                    for epoch, value in enumerate(accuracies)
                ]
                runs.store.write_metrics(run, rows)
    return store.load(tmp_path)


@pytest.fixture(scope="module")
def told(story: Story) -> pd.DataFrame:
    return story.frame


@pytest.mark.parametrize("ending", style.FORMATS)
def test_curves_in_every_format(frame: pd.DataFrame, ending: str, tmp_path: Path) -> None:
    path = style.save(figures.curves(frame), tmp_path / "new folder" / f"curves.{ending}")
    assert path.read_bytes()[:5] == {"svg": b"<?xml", "pdf": b"%PDF-", "png": b"\x89PNG\r"}[ending]


def test_curves_are_means_over_seeds_with_a_band(frame: pd.DataFrame) -> None:
    figure = figures.curves(frame)
    assert [axis.get_title() for axis in figure.axes] == ["digits/resnet8", "digits/resnet14"]
    (line, *others) = figure.axes[0].lines
    assert pd.Series(line.get_ydata()).tolist() == [51.0, 61.0, 71.0]
    assert len(others) == 2
    assert len(figure.axes[0].collections) == 3
    styles = {(str(line.get_linestyle()), str(line.get_marker())) for line in figure.axes[0].lines}
    assert len(styles) == 3


def test_homogeneity_shows_what_was_measured(frame: pd.DataFrame) -> None:
    figure = figures.homogeneity(frame)
    assert len(figure.axes) == 2
    with pytest.raises(InputError, match="diagnostics_every"):
        figures.homogeneity(frame.drop(columns="distance/peers"))


def test_points_are_where_their_numbers_are_also_at_one_cost(frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="student and training-multiply-adds"):
        figures.cost(frame)
    costs = frame.assign(**{"cost.step_multiply_adds": 2e6, "cost.seconds": 3.0})
    assert figures.cost(costs, "seconds").axes[0].get_xlabel() == METRICS["seconds"].short
    figure = figures.cost(costs)
    figure.draw_without_rendering()
    axis = figure.axes[0]
    markers = [line for line in axis.lines if line.get_marker() in {line.marker for line in LINES}]
    assert len(markers) > 1
    for line in markers:
        numbers = np.asarray(line.get_xydata(), dtype=float)
        assert numbers[0, 0] == 2.0
        assert np.allclose(line.get_transform().transform(numbers), axis.transData.transform(numbers))


def test_ranks_are_those_of_the_table(frame: pd.DataFrame) -> None:
    (axis,) = figures.ranks(frame).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["independent", "dml", "one"]
    assert [text.get_text() for text in axis.texts] == ["3.00", "2.00", "1.00"]
    assert "2 tasks" in axis.get_xlabel()


def test_ten_rows_still_look_different() -> None:
    rows = [f"dml, temperature={n}" for n in range(10)]
    lines = style.lines_by_row(pd.DataFrame({"row": rows}), rows)
    assert len(set(lines.values())) == 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("plot", "curvs"),
            "unknown figure 'curvs', did you mean 'curves'? (valid: agreement, confusion, cost, critical-difference, "
            "curves, homogeneity, ranks)",
        ),
        (("plot", "cost", "--against", "tme"), "unknown cost 'tme'"),
        (("plot", "cost", "--against", "student"), "unknown cost 'student'"),
        (("plot", "curves", "--value", "studnet"), "unknown curve 'studnet', did you mean 'student'?"),
        (("plot", "ranks", "--value", "seconds"), "seconds has no ranks"),
        (("plot", "curves", "--out", "x.gif"), "unknown figure format 'gif'"),
        (("plot", "homogeneity", "--value", "student"), "homogeneity has no --value"),
    ],
)
def test_bad_words(words: tuple[str, ...], message: str, finished_runs: Path, bench: Bench) -> None:
    bench(*words, "--results", str(finished_runs)).assert_refused(message)


@pytest.mark.thorough
def test_the_command_writes_every_kind_without_torch(finished_runs: Path, tmp_path: Path) -> None:
    kinds = ["cost", "curves", "homogeneity", "ranks"]
    program = (
        f"import sys\nfrom benchmark import cli\nfor kind in {kinds}:\n"
        f"    sys.argv = ['bench', 'plot', kind, '--results', {str(finished_runs)!r}, '--out', kind + '.svg']\n"
        "    cli.main()\n"
        "assert not {'torch', 'ray', 'matplotlib.pyplot'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert sorted(path.stem for path in tmp_path.glob("*.svg")) == kinds


# on paper

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

    def test_panels_stand_as_many_side_by_side_as_fit(self, told: pd.DataFrame) -> None:
        figure = figures.curves(told, view=NARROW)
        assert figure.get_size_inches()[0] == 3.25
        titles = [axis.get_title() for axis in figure.axes]
        assert titles == [f"{data}/{network}" for data in ("cifar10", "Digits") for network in ("resnet8", "resnet14")]
        assert figure.axes[0].get_subplotspec().get_gridspec().ncols == 2  # type: ignore[union-attr]
        assert figure.get_supylabel() == "student accuracy in %"

    def test_names_and_order_are_those_of_the_table(self, told: pd.DataFrame) -> None:
        choice = TableFilter(rows=("dkel", "independent"), columns=("digits",))
        figure = figures.curves(told, view=View(choice, NARROW.showing))
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["DKEL (ours)", "independent"]
        assert [axis.get_title() for axis in figure.axes] == ["Digits/resnet8", "Digits/resnet14"]

    def test_widths_and_styles(self) -> None:
        for text, width in (("3.25in", 3.25), ("3.25", 3.25), ("84mm", 84 / 25.4), ("8.4 cm", 84 / 25.4)):
            assert inches(text) == pytest.approx(width)
        for text in ("wide", "3.25ft", "-1in", "", "1e3"):
            with pytest.raises(InputError, match="--width"):
                inches(text)
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

    def test_the_diagram_shows_ranks_and_distance(self, told: pd.DataFrame) -> None:
        """Three rows over four columns: q = 2.343 (Demsar's table 5), CD = 2.343 sqrt(3 4 / 24)."""
        view = View(TableFilter(hide=("dkel[decay=none]",)), NARROW.showing)
        (axis,) = figures.critical_difference(told, view=view).axes
        texts = [text.get_text().strip() for text in axis.texts]
        assert {"DKEL (ours) (1.00)", "dml (2.00)", "independent (3.00)", "CD = 1.66 (5 %)"} <= set(texts)
        assert axis.get_title() == "average rank by student over 4 columns"

    def test_what_has_no_ranks_is_refused(self, told: pd.DataFrame) -> None:
        with pytest.raises(InputError, match="two rows"):
            figures.critical_difference(told)
        with pytest.raises(InputError, match="seconds has no ranks"):
            figures.critical_difference(told, "seconds")
        with pytest.raises(InputError, match="unknown value 'studnet'"):
            figures.critical_difference(told, "studnet")


@pytest.mark.parametrize(("view", "ending"), [(View(), "svg"), (NARROW, "pdf")])
def test_a_figure_is_the_same_file_every_time(view: View, ending: str, told: pd.DataFrame, tmp_path: Path) -> None:
    paths = [style.save(figures.curves(told, view=view), tmp_path / f"{n}.{ending}", view) for n in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
