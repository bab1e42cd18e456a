"""Figures of saved predictions: which classes are confused, and how far predictors agree."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmark.escaping import figure as figure_text
from benchmark.formatting import counted
from benchmark.reports.figures import MAX_PANELS, Placed, placed
from benchmark.reports.style import View, panels, shortened
from benchmark.store import PREDICTIONS, Predictions, Status, read_predictions
from methods.errors import InputError

Classes = NDArray[np.int64]
Numbers = NDArray[np.float64]

MAX_NAMED, MAX_NUMBERED, MAX_DECIMALS = 24, 14, 6
"""The most rows of a matrix that are named, whose numbers are written, and with a decimal."""
LONGEST_NAME = 18


def same_class(one: Classes, other: Classes) -> float:
    """Return the images in percent for which two predictors' classes, ``[N]`` each, are equal."""
    return float(100 * (one == other).mean())


def row_percentages(confusion: Classes) -> Numbers:
    """Return a confusion matrix ``[C, C]`` in percent of each row; nan in the row of a class without images."""
    counts = confusion.sum(axis=1, keepdims=True)
    return np.asarray(100 * confusion / np.where(counts, counts, np.nan), dtype=np.float64)


class Panel(NamedTuple):
    """A matrix in percent and the escaped names of its rows, which are also its columns."""

    title: str
    matrix: Numbers
    names: Sequence[str]


def folders_with_predictions(frame: pd.DataFrame, roots: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    """Return the folders with saved predictions by finished run, and a line on others, or raise an InputError."""
    runs = [str(run) for run in frame.loc[frame["status"] == str(Status.FINISHED), "run"].unique()]
    places = ((run, root / "runs" / run) for root in reversed(roots) for run in runs)
    found = {run: folder for run, folder in places if (folder / PREDICTIONS).is_file()}
    if not found:
        raise InputError("no finished run of these has saved predictions: bench run --save-predictions saves them")
    missing = len(runs) - len(found)
    note = f"{counted(missing, 'finished run')} left out: no predictions (bench run --save-predictions)"
    return found, [note] if missing else []


def confusion(
    frame: pd.DataFrame, folders: Mapping[str, Path], predictor: str | None = None, view: View | None = None
) -> Figure:
    """Plot which class is predicted for which, in percent of the images of the class, mean over seeds.

    Args:
        predictor: Whose predictions; by default the mean over the students.

    Raises:
        InputError: If there is nothing to plot or too much, or a run has no such predictor.
    """
    shown = placed(frame, view)
    found = []
    for title, runs in _groups(shown, folders):
        wanted = [(run, name) for run in runs for name in (run.students if predictor is None else (predictor,))]
        matrices = [row_percentages(run.confusion(name)) for run, name in wanted]
        found.append(Panel(title, np.mean(matrices, axis=0), [figure_text(name) for name in runs[0].classes]))
    whose = "mean of the students" if predictor is None else figure_text(predictor)
    # the square root spreads small values: the confusions of a good network are small
    norm = PowerNorm(0.5, 0, 100)
    return draw(found, f"images of the class in %\n({whose})", shown.view, norm, ("predicted class", "class"))


def agreement(frame: pd.DataFrame, folders: Mapping[str, Path], view: View | None = None) -> Figure:
    """Plot on how many images predictors agree, a panel per row and column of the table, mean over seeds."""
    shown = placed(frame, view)
    found = []
    for title, runs in _groups(shown, folders):
        names = [name for name in runs[0].logits if all(name in run.logits for run in runs)]
        matrices = []
        for run in runs:
            every = [run.predicted(name) for name in names]
            matrices.append([[same_class(one, other) for other in every] for one in every])
        found.append(Panel(title, np.mean(matrices, axis=0), [figure_text(name) for name in names]))
    return draw(found, "images with the same\npredicted class in %", shown.view)


def _groups(shown: Placed, folders: Mapping[str, Path]) -> Iterator[tuple[str, list[Predictions]]]:
    """Yield a title and the predictions of the seeds for each row and column of the table that has any."""
    runs = shown.runs[shown.runs["run"].isin(folders)]
    parts = {place: list(map(str, part["run"])) for place, part in runs.groupby(["column", "row"], sort=False)}
    if len(parts) > MAX_PANELS:
        raise InputError(
            f"{len(parts)} panels are too many for one figure ({MAX_PANELS}): select with --where, --hide or --run"
        )
    for column, row in product(shown.columns, shown.lines):
        if names := parts.get((column, row)):
            title = "\n".join(map(shown.view.word, (row, column) if len(shown.columns) > 1 else (row,)))
            yield f"{title} ({len(names)})", [read_predictions(folders[name]) for name in names]


def draw(
    found: Sequence[Panel], label: str, view: View, norm: Normalize | None = None, axes_names: Sequence[str] = ("", "")
) -> Figure:
    """Plot the panels with one colour scale.

    Args:
        label: Of the colour scale.
        norm: Of the colour scale; by default up to 100 from at most 90, so that 95 and 99 % differ in colour.
        axes_names: Of the horizontal and the vertical axis.
    """
    if norm is None:
        values = np.concatenate([panel.matrix[np.isfinite(panel.matrix)] for panel in found])
        norm = Normalize(min(90.0, 10 * np.floor(values.min() / 10)) if len(values) else 0.0, 100)
    with panels(len(found), view) as (figure, axes):
        # closes the gaps that square panels would leave
        figure.set_layout_engine("compressed")
        for axis, (title, matrix, names) in zip(axes, found, strict=True):
            image = axis.imshow(matrix, cmap="Blues", norm=norm, interpolation="nearest")
            axis.set(title=title, xlabel=axes_names[0], ylabel=axes_names[1])
            axis.grid(visible=False)
            axis.spines[:].set_visible(False)
            axis.tick_params(length=0)
            if len(names) <= MAX_NAMED:
                short = [shortened(name, LONGEST_NAME) for name in names]
                angle, align = (0, "center") if all(len(name) <= 2 for name in short) else (45, "right")
                axis.set_xticks(range(len(names)), short, rotation=angle, ha=align, rotation_mode="anchor")
                axis.set_yticks(range(len(names)), short)
            size = (4.5 if view.on_paper else 6.5) * min(1.0, 10 / len(matrix))
            for (down, across), value in np.ndenumerate(matrix) if len(names) <= MAX_NUMBERED else ():
                there = np.isfinite(value)
                text = f"{value:.{int(len(matrix) <= MAX_DECIMALS)}f}" if there else "–"  # noqa: RUF001 - no value
                tint = "white" if there and norm(value) > 0.55 else "black"
                axis.text(across, down, text, ha="center", va="center", fontsize=size, color=tint)
        bar = figure.colorbar(image, ax=axes, shrink=0.9)
        bar.set_label(label)
        bar.outline.set_visible(False)
    return figure
