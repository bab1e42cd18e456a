"""Figures of what runs' predictors said of each image: which classes are confused, and who agrees with whom."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from benchmark.escaping import figure as figure_text
from benchmark.reports.agreement import MEASURES, Classes, Measure, Numbers, pairwise, shares
from benchmark.reports.appearance import View, panels, style
from benchmark.reports.figures import MAX_PANELS, named, placed
from benchmark.reports.lettering import FIGURE, shortened
from benchmark.store import PREDICTIONS, Predictions, Status, read_predictions
from methods.errors import InputError, unknown

COLOURS = "Blues"
"""From white to dark in one hue: in order for colour-blind eyes and in black and white."""

MAX_NAMES, MAX_NUMBERS, MAX_DECIMALS = 24, 14, 6
"""Rows of a matrix up to which they are named, every number is written, and with a decimal place."""

LONGEST_NAME = 18


class Panel(NamedTuple):
    """A matrix in percent, and what its rows, which are its columns too, are called, in the form of figures."""

    title: str
    matrix: Numbers
    names: Sequence[str]


def kept(frame: pd.DataFrame, roots: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    """Return the folders of the finished runs that kept predictions, by run, and a line on those that did not.

    Args:
        frame: From :func:`benchmark.store.load`.
        roots: The results folders that it was loaded from.

    Raises:
        InputError: If none did.
    """
    runs = [str(run) for run in frame.loc[frame["status"] == str(Status.FINISHED), "run"].unique()]
    places = ((run, root / "runs" / run) for root in reversed(roots) for run in runs)
    found = {run: folder for run, folder in places if (folder / PREDICTIONS).is_file()}
    if not found:
        raise InputError("no finished run of these kept predictions: bench run --save-predictions keeps them")
    missing = len(runs) - len(found)
    count = "1 finished run" if missing == 1 else f"{missing} finished runs"
    return found, [f"{count} left out: no predictions (bench run --save-predictions)"] if missing else []


def confusion(
    frame: pd.DataFrame, folders: Mapping[str, Path], predictor: str | None = None, view: View | None = None
) -> Figure:
    """Draw which class is taken for which, in percent of the images of the class, mean over seeds.

    Args:
        frame: From :func:`benchmark.store.load`.
        folders: From :func:`kept`.
        predictor: Whose predictions; None for the mean over the students.
        view: What is shown, and how.

    Raises:
        InputError: If there is nothing to draw or too much, or a run has no such predictor.
    """
    view = named(frame, view or View())
    found = []
    for title, runs in _groups(frame, folders, view):
        matrices = [
            shares(run.confusion(name))
            for run in runs
            for name in (run.students if predictor is None else (predictor,))
        ]
        found.append(Panel(title, np.mean(matrices, axis=0), list(map(figure_text, runs[0].classes))))
    whose = "mean of the students" if predictor is None else figure_text(predictor)
    # the root spreads what is small: of a good network the confusions are
    return _drawn(
        found, PowerNorm(0.5, 0, 100), f"images of the class in %\n({whose})", view, ("predicted class", "class")
    )


def agreement(
    frame: pd.DataFrame, folders: Mapping[str, Path], value: str = "agreement", view: View | None = None
) -> Figure:
    """Draw how alike the predictors of a run are, a panel a row and column of the table, mean over seeds.

    Args:
        frame: From :func:`benchmark.store.load`.
        folders: From :func:`kept`.
        value: A name in :data:`benchmark.reports.agreement.MEASURES`.
        view: What is shown, and how.

    Raises:
        InputError: If there is nothing to draw or too much.
    """
    measure, label = _measure(value)
    view = named(frame, view or View())
    found = []
    for title, runs in _groups(frame, folders, view):
        # predictions that were made from saved students have no others
        names = [name for name in runs[0].logits if all(name in run.logits for run in runs)]
        matrices = [pairwise(measure, {name: run.predicted(name) for name in names}, run.labels) for run in runs]
        found.append(Panel(title, np.mean(matrices, axis=0), list(map(figure_text, names))))
    return _drawn(found, _upwards(found), label, view)


def agreement_of_runs(
    frame: pd.DataFrame,
    folders: Mapping[str, Path],
    value: str = "agreement",
    predictor: str | None = None,
    view: View | None = None,
) -> Figure:
    """Draw how alike a predictor of each of several runs is, which must be scored on the same images.

    Args:
        frame: From :func:`benchmark.store.load`, of these runs.
        folders: From :func:`kept`.
        value: A name in :data:`benchmark.reports.agreement.MEASURES`.
        predictor: Whose predictions; None for each run's first student.
        view: What is shown, and how.

    Raises:
        InputError: If a run has no such predictor, or there are fewer than two runs on the same images.
    """
    measure, label = _measure(value)
    view = named(frame, view or View())
    there = placed(frame, view)
    runs = there.runs[there.runs["run"].isin(folders)]
    if len(runs) < 2:
        raise InputError("runs are compared with each other: name two at least that kept predictions")
    columns = there.columns if len(there.columns) > 1 else []
    predicted: dict[str, Classes] = {}
    first = read_predictions(folders[str(runs["run"].iloc[0])])
    for run in runs.to_dict("records"):
        own = read_predictions(folders[str(run["run"])])
        if not (np.array_equal(own.images, first.images) and np.array_equal(own.labels, first.labels)):
            raise InputError(f"{run['run']} is scored on other images than {runs['run'].iloc[0]}: not to be compared")
        words = [view.showing.word(str(run[key]), FIGURE) for key in (("row", "column") if columns else ("row",))]
        predicted[f"{' '.join(words)}, seed {run['seed']}"] = own.predicted(predictor or own.students[0])
    found = [
        Panel(figure_text(predictor or "first student"), pairwise(measure, predicted, first.labels), list(predicted))
    ]
    return _drawn(found, _upwards(found), label, view)


def _measure(value: str) -> tuple[Measure, str]:
    if value not in MEASURES:
        raise unknown("value", value, MEASURES)
    return MEASURES[value]


def _groups(frame: pd.DataFrame, folders: Mapping[str, Path], view: View) -> Iterator[tuple[str, list[Predictions]]]:
    """Yield a title and the predictions of the seeds for each row and column of the table that has any."""
    found = placed(frame, view)
    runs = found.runs[found.runs["run"].isin(folders)]
    parts = dict(list(runs.groupby(["row", "column"], sort=False)))
    if len(parts) > MAX_PANELS:
        raise InputError(
            f"{len(parts)} panels are too many for one figure ({MAX_PANELS}): --where, --hide and --run choose some"
        )
    for column in found.columns:
        for row in found.rows:
            if (row, column) not in parts:
                continue
            group = parts[row, column]
            words = [
                view.showing.word(row, FIGURE),
                *([view.showing.word(column, FIGURE)] if len(found.columns) > 1 else []),
            ]
            title = "\n".join([*words[:-1], f"{words[-1]} ({len(group)})"])
            yield title, [read_predictions(folders[str(run)]) for run in group["run"]]


def _upwards(found: Sequence[Panel]) -> Normalize:
    """Return colours from a ten below the smallest value to 100: peers that agree on 95 and 99 % differ in colour."""
    values = np.concatenate([panel.matrix.ravel() for panel in found])
    values = values[np.isfinite(values)]
    return Normalize(min(90.0, 10 * np.floor(values.min() / 10)) if len(values) else 0.0, 100)


def _drawn(
    found: Sequence[Panel], norm: Normalize, label: str, view: View, names: tuple[str, str] = ("", "")
) -> Figure:
    """Draw the panels with one scale of colours.

    Args:
        found: What to draw.
        norm: From percent to colours.
        label: What the numbers are.
        view: How.
        names: Of the horizontal and the vertical axis.
    """
    figure, axes, _ = panels(len(found), view)
    # panels are squares: without it they would keep the gaps of wide ones
    figure.set_layout_engine("compressed")
    with style(view):
        for axis, panel in zip(axes, found, strict=True):
            image = axis.imshow(panel.matrix, cmap=COLOURS, norm=norm, interpolation="nearest")
            axis.set(title=panel.title, xlabel=names[0], ylabel=names[1])
            _name(axis, panel.names)
            if len(panel.names) <= MAX_NUMBERS:
                _write(axis, panel.matrix, norm, view)
        bar = figure.colorbar(image, ax=axes, shrink=0.9)
        bar.set_label(label)
        bar.outline.set_visible(False)
    return figure


def _name(axis: Axes, names: Sequence[str]) -> None:
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    if len(names) > MAX_NAMES:
        return
    short = [shortened(name, LONGEST_NAME) for name in names]
    upright = all(len(name) <= 2 for name in short)
    axis.set_xticks(
        range(len(names)),
        short,
        rotation=0 if upright else 45,
        ha="center" if upright else "right",
        rotation_mode="anchor",
    )
    axis.set_yticks(range(len(names)), short)


def _write(axis: Axes, matrix: Numbers, norm: Normalize, view: View) -> None:
    size = (4.5 if view.on_paper else 6.5) * min(1.0, 10 / len(matrix))
    digits = int(len(matrix) <= MAX_DECIMALS)
    for (down, across), value in np.ndenumerate(matrix):
        dark = np.isfinite(value) and norm(value) > 0.55
        text = f"{value:.{digits}f}" if np.isfinite(value) else "–"  # noqa: RUF001 - a dash for what there is not
        axis.text(across, down, text, ha="center", va="center", fontsize=size, color="white" if dark else "black")
