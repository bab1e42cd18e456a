"""Confusion and agreement: numbers that follow from known predictions, in the panels where they belong."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from numpy.typing import NDArray

from benchmark import store
from benchmark.reports import prediction_figures as figures, style
from benchmark.reports.prediction_figures import row_percentages, same_class
from benchmark.store import Predictions, write_predictions
from methods.errors import InputError
from tests.tables.frames import Runs

LABELS = np.array([0, 0, 1, 1])
SAID = {"peer0": [0, 1, 1, 1], "peer1": [0, 0, 0, 1], "ensemble": [0, 0, 1, 1]}


def test_measures_of_known_classes() -> None:
    one, other = np.array([0, 1, 2, 2, 0]), np.array([0, 1, 1, 2, 1])
    assert same_class(one, other) == 60
    found = row_percentages(np.array([[3, 1], [0, 0]]))
    np.testing.assert_array_equal(found, [[75, 25], [np.nan, np.nan]])


def said_of(run: str, classes: dict[str, list[int]], images: int = 0) -> Predictions:
    return Predictions(
        run=run,
        logits={name: np.eye(2, dtype=np.float32)[said] for name, said in classes.items()},
        labels=LABELS,
        images=np.arange(4) + images,
        classes=("cat", "a dog of more letters than there is room for"),
        students=("peer0", "peer1"),
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """DML with two seeds, of which the second agrees in everything, ONE with one seed; and one without predictions."""
    runs = Runs(tmp_path)
    for method, seed, said in (("dml", 0, SAID), ("dml", 1, {name: [0, 0, 1, 1] for name in SAID}), ("one", 0, SAID)):
        run = runs.add(70.0, methods=method, seed=seed)
        write_predictions(runs.store.folder(run), said_of(run.identity, said))
    runs.add(60.0, methods="independent")
    return tmp_path


def kept(results: Path) -> tuple[pd.DataFrame, dict[str, Path], list[str]]:
    frame = store.load(results, "last")
    return (frame, *figures.folders_with_predictions(frame, [results]))


def matrix(axis: Axes) -> NDArray[np.float64]:
    """The numbers that a panel shows."""
    return np.asarray(axis.images[0].get_array(), dtype=np.float64)


class TestFigures:
    def test_runs_without_predictions_are_counted(self, results: Path) -> None:
        frame, folders, notes = kept(results)
        assert len(folders) == 3
        (note,) = notes
        assert note.startswith("1 finished run ")
        with pytest.raises(InputError, match="--save-predictions"):
            figures.folders_with_predictions(frame[frame["method"] == "independent"], [results])

    def test_confusion_is_the_mean_over_students_and_seeds(self, results: Path) -> None:
        frame, folders, _ = kept(results)
        dml, one, *_ = figures.confusion(frame, folders).axes
        assert [dml.get_title(), one.get_title()] == ["dml (2)", "one (1)"]
        # peer0 takes half of class 0 for 1 in one seed, peer1 half of class 1 for 0
        np.testing.assert_allclose(matrix(dml), [[87.5, 12.5], [12.5, 87.5]])
        np.testing.assert_allclose(matrix(one), [[75, 25], [25, 75]])
        assert [label.get_text() for label in dml.get_yticklabels()] == ["cat", "a dog of more let…"]
        assert [text.get_text() for text in one.texts] == ["75.0", "25.0", "25.0", "75.0"]
        (perfect, *_) = figures.confusion(frame, folders, "ensemble").axes
        np.testing.assert_array_equal(matrix(perfect), [[100, 0], [0, 100]])

    def test_agreement_within_runs(self, results: Path) -> None:
        frame, folders, _ = kept(results)
        dml, one, *_ = figures.agreement(frame, folders).axes
        np.testing.assert_allclose(matrix(one), [[100, 50, 75], [50, 100, 75], [75, 75, 100]])
        np.testing.assert_allclose(matrix(dml)[0], [100, 75, 87.5])
        assert [label.get_text() for label in one.get_xticklabels()] == list(SAID)

    def test_many_classes_have_no_names_and_no_numbers(self) -> None:
        many = figures.Panel("many", np.eye(100) * 100, [str(index) for index in range(100)])
        figure = figures.draw([many], "", style.View())
        assert not figure.axes[0].texts
        assert len(figure.axes[0].get_xticks()) < 20

    @pytest.mark.parametrize("name", style.STYLES)
    def test_a_figure_is_the_same_file_every_time(self, name: str, results: Path) -> None:
        frame, folders, _ = kept(results)
        view = style.View(style=name)
        files = [
            style.save(figures.agreement(frame, folders, view=view), results / f"{n}.svg", view).read_bytes()
            for n in range(2)
        ]
        assert files[0] == files[1]
