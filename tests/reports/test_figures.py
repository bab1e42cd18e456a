"""Figures of stored runs: every kind in every format, told apart without colour."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark import store
from benchmark.metrics import METRICS
from benchmark.reports import LINES, figures, style
from methods.errors import InputError
from tests.tables.frames import Runs


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


@pytest.mark.parametrize("ending", style.FORMATS)
def test_curves_in_every_format(frame: pd.DataFrame, ending: str, tmp_path: Path) -> None:
    path = style.save(figures.curves(frame), tmp_path / "new folder" / f"curves.{ending}")
    assert path.read_bytes()[:5] == {"svg": b"<?xml", "pdf": b"%PDF-", "png": b"\x89PNG\r"}[ending]


def test_a_figure_is_the_same_file_every_time(frame: pd.DataFrame, tmp_path: Path) -> None:
    first, second = (style.save(figures.curves(frame), tmp_path / f"{n}.svg").read_bytes() for n in "ab")
    assert first == second
    assert b"independent" in first


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


def test_cost_needs_runs_that_stored_it(frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="student and training-multiply-adds"):
        figures.cost(frame)
    costs = frame.assign(**{"cost.step_multiply_adds": 2e6, "cost.seconds": 3.0})
    assert len(figures.cost(costs).axes) == 2
    assert figures.cost(costs, "seconds").axes[0].get_xlabel() == METRICS["seconds"].short


def test_points_are_where_their_numbers_are_also_at_one_cost(frame: pd.DataFrame) -> None:
    figure = figures.cost(frame.assign(**{"cost.step_multiply_adds": 2e6}))
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
    lines = style.lines_by_row(pd.DataFrame({"row": rows, "method": "dml"}))
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
def test_bad_words(
    words: tuple[str, ...],
    message: str,
    finished_runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from benchmark import cli

    monkeypatch.setattr(sys, "argv", ["bench", *words, "--results", str(finished_runs)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.thorough
def test_the_command_writes_every_kind_without_torch(finished_runs: Path, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom benchmark import cli\n"
        "for kind in ('curves', 'homogeneity', 'cost', 'ranks'):\n"
        f"    sys.argv = ['bench', 'plot', kind, '--results', {str(finished_runs)!r}, '--out', kind + '.svg']\n"
        "    cli.main()\n"
        "assert not {'torch', 'ray', 'matplotlib.pyplot'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == [
        "cost.svg",
        "curves.svg",
        "homogeneity.svg",
        "ranks.svg",
    ]
