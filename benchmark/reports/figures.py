"""Figures of stored runs: readable in black and white and for colour-blind eyes, means with bands over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.metrics import DECLARED, Metric, checked, figure_labels, of_frame
from benchmark.reports.appearance import Look, View, legend, looks, name_y, panels, style
from benchmark.reports.lettering import FIGURE
from benchmark.store import Status
from benchmark.tables import layout, natural, summaries
from methods.errors import InputError, unknown

MAX_PANELS = 12
MARKER_POINTS = 7.0
COSTS: Mapping[str, tuple[str, str]] = {
    "multiply-adds": ("training-multiply-adds", "training MACs per image, in millions"),
    "seconds": ("seconds", "wall time of a run in seconds"),
    "memory": ("memory", "peak memory in MiB"),
}
HOMOGENEITY = figure_labels("homogeneity")


class Placed(NamedTuple):
    """The finished runs' rows with ``row`` and ``column``, and these in the order in which they are drawn."""

    runs: pd.DataFrame
    rows: list[str]
    columns: list[str]


def placed(frame: pd.DataFrame, view: View) -> Placed:
    """Return the finished runs in their places, as the table of all runs has them.

    Args:
        frame: From :func:`benchmark.store.load`.
        view: Which of them are shown.

    Raises:
        InputError: If there is nothing to draw, or too much for one figure.
    """
    finished = frame[frame["status"] == str(Status.FINISHED)]
    if finished.empty:
        raise InputError("no finished run to draw")
    # runs that did not finish count for the names: a row is called alike in table and figure
    arrangement = layout.arranged(summaries(frame))
    places = arrangement.runs.set_index("run")[["row", "column"]]
    runs = finished.copy().join(places, on="run", how="inner")
    every = {"row": list(looks(arrangement.runs)), "column": sorted(places["column"].unique(), key=natural)}
    for axis, labels in every.items():
        shown = view.choice.labels(arrangement.runs, labels, axis, arrangement.methods == axis)
        runs = runs[runs[axis].isin(shown)]
        there = set(runs[axis])
        every[axis] = [label for label in shown if label in there]
    if runs.empty:
        raise InputError("no finished run of these rows and columns to draw")
    if len(every["column"]) > MAX_PANELS:
        raise InputError(
            f"{len(every['column'])} data sets, backbones and settings are too many for one figure ({MAX_PANELS})"
        )
    return Placed(runs, every["row"], every["column"])


def named(frame: pd.DataFrame, view: View) -> View:
    """Return the view with its labels resolved for the rows and columns of a frame."""
    runs = layout.labelled(summaries(frame))
    labels = [*runs["row"].unique(), *runs["column"].unique()]
    return replace(view, showing=view.showing.resolved(labels, {}))


def curves(frame: pd.DataFrame, metric: str = "student", view: View | None = None) -> Figure:
    """Draw a metric over the epochs, a panel a data set and backbone: mean, and a band of one standard deviation."""
    labels = figure_labels("curves", frame.attrs.get(DECLARED, ()))
    if metric not in labels:
        raise unknown("curve", metric, labels)
    view = named(frame, view or View())
    found = placed(frame, view)
    shown = [(column, metric, view.showing.word(column, FIGURE)) for column in found.columns]
    return _over_epochs(found, shown, labels[metric], view)


def homogeneity(frame: pd.DataFrame, view: View | None = None) -> Figure:
    """Draw how alike the predictors are over the epochs, a panel a measure, a row of panels a data set and backbone."""
    view = named(frame, view or View())
    found = placed(frame, view)
    runs = found.runs
    measures = [metric for metric in HOMOGENEITY if metric in runs.columns and runs[metric].notna().any()]
    if not measures:
        raise InputError("no run has diagnostics of its peers: bench run --set train.diagnostics_every=1")
    columns = found.columns
    word = view.showing.word
    shown = [
        (column, metric, HOMOGENEITY[metric] if len(columns) == 1 else f"{word(column, FIGURE)}\n{HOMOGENEITY[metric]}")
        for column in columns
        for metric in measures
    ]
    return _over_epochs(found, shown, "", view, width=len(measures) if len(columns) > 1 else 2)


def cost(
    frame: pd.DataFrame, against: str = "multiply-adds", score: str = "student", view: View | None = None
) -> Figure:
    """Draw a score against what training takes: a point a row, its mean and one standard deviation over the seeds.

    Points that overlap are seen through each other: none is moved.
    """
    if against not in COSTS:
        raise unknown("cost", against, COSTS)
    metrics = of_frame(frame)
    metric = checked(score, metrics)
    key, name = COSTS[against]
    view = named(frame, view or View())
    found = placed(frame, view)
    runs = _with_metrics(found.runs, {"x": metrics[key], "y": metric})
    if runs.empty:
        raise InputError(f"no finished run has both {score} and {against}: runs of older versions stored no cost")
    appearance = looks(runs, found.rows)
    there = set(runs["column"])
    columns = [column for column in found.columns if column in there]
    figure, axes, side_by_side = panels(len(columns), view)
    points = MARKER_POINTS * (0.6 if view.on_paper else 1.0)
    for axis, column in zip(axes, columns, strict=True):
        means = runs[runs["column"] == column].groupby("row", sort=False).agg({"x": "mean", "y": ["mean", "std"]})
        for row, x, y, spread in means.itertuples(name=None):
            look = appearance[str(row)]
            axis.errorbar(
                x, y, yerr=None if pd.isna(spread) else spread, fmt=look.marker, color=look.colour, capsize=3,
                markersize=points, markeredgecolor="white", markeredgewidth=0.5, elinewidth=1.0, alpha=0.8,
            )  # fmt: skip
        axis.set(title=view.showing.word(column, FIGURE), xlabel=name)
        axis.margins(x=0.12, y=0.15)
    name_y(figure, axes, metric.short, side_by_side, view)
    legend(figure, appearance, lines=False, view=view)
    return figure


def ranks(frame: pd.DataFrame, score: str = "student", view: View | None = None) -> Figure:
    """Draw each row's average rank, over every data set, backbone and seed in which all rows have a value."""
    metric = checked(score, of_frame(frame))
    if metric.better is None:
        raise InputError(f"of {score} neither end is better: there are no ranks")
    view = named(frame, view or View())
    found = placed(frame, view)
    runs = _with_metrics(found.runs, {"y": metric})
    table = runs.pivot_table(index=["column", "seed"], columns="row", values="y").dropna()
    if table.empty or table.shape[1] < 2:
        raise InputError("ranks need two methods and one seed at least that all of them have")
    ranked = table.rank(axis=1, ascending=metric.better == "low")
    order = ranked.mean().sort_values(ascending=False, kind="stable")
    appearance = looks(runs, found.rows)
    with style(view):
        height_of_row = 0.28 if view.on_paper else 0.42
        figure = Figure(figsize=(view.total or 5.6, 0.9 + height_of_row * len(order)), layout="constrained")
        axis = figure.subplots()
        for height, (row, average) in enumerate(order.items()):
            look = appearance[str(row)]
            counts = ranked[row].value_counts()
            axis.scatter(
                counts.index, [height] * len(counts), s=18 * counts, color=look.colour, alpha=0.35, linewidths=0
            )
            axis.plot(
                [average],
                [height],
                marker=look.marker,
                color=look.colour,
                markersize=9,
                markeredgecolor="white",
                markeredgewidth=0.5,
            )
            axis.annotate(f"{average:.2f}", (average, height), (0, 8), textcoords="offset points", ha="center")
        axis.set_yticks(range(len(order)), [view.showing.word(str(row), FIGURE) for row in order.index])
        axis.set_ylim(-0.6, len(order) - 0.2)
        axis.set_xlim(0.5, len(order) + 0.5)
        axis.set_xticks(range(1, len(order) + 1))
        axis.grid(axis="y", visible=False)
        blocks = f"{len(ranked)} block{'' if len(ranked) == 1 else 's'} (data set, backbone and seed)"
        over = "\nover " if view.on_paper else " over "
        faint = "faint: the ranks in each, larger where more often"
        axis.set_xlabel(f"average rank by {score}{over}{blocks};\n{faint}")
    return figure


def _with_metrics(frame: pd.DataFrame, columns: Mapping[str, Metric]) -> pd.DataFrame:
    """Return one row per run with metrics in the columns named, without runs that lack one."""
    runs = summaries(frame)
    records = runs.to_dict("records")
    for column, metric in columns.items():
        runs[column] = [metric.of(run).get("") for run in records]
    return runs.dropna(subset=[*columns])


def _over_epochs(found: Placed, shown: Sequence[tuple[str, str, str]], y: str, view: View, width: int = 3) -> Figure:
    runs = found.runs
    appearance = looks(runs, found.rows)
    drawn: dict[str, Look] = {}
    figure, axes, across = panels(len(shown), view, width)
    with style(view):
        for axis, (column, metric, title) in zip(axes, shown, strict=True):
            here = runs[(runs["column"] == column)]
            here = here[here[metric].notna()] if metric in here.columns else here.iloc[:0]
            for row, look in appearance.items():
                if len(group := here[here["row"] == row]):
                    drawn[row] = look
                    _line(axis, group, metric, look, view)
            if here.empty:
                axis.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axis.transAxes, color="#666666")
            axis.set(title=title, xlabel="epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if y:
        name_y(figure, axes, y, across, view)
    if not drawn:
        raise InputError("no finished run has these numbers")
    legend(figure, {row: look for row, look in appearance.items() if row in drawn}, lines=True, view=view)
    return figure


def _line(axis: Axes, group: pd.DataFrame, metric: str, look: Look, view: View) -> None:
    by_epoch = group.assign(epoch=group["epoch"].astype(float) + 1).groupby("epoch")[metric]
    mean, spread = by_epoch.mean(), by_epoch.std()
    axis.plot(
        mean.index, mean, color=look.colour, linestyle=look.dashes, marker=look.marker,
        markevery=max(1, len(mean) // 8), markeredgecolor="white", markeredgewidth=0.3 if view.on_paper else 0.5,
        linewidth=0.9 if view.on_paper else 1.4,
    )  # fmt: skip
    if spread.notna().any():
        # what is never negative has no band below 0
        low = (mean - spread).clip(lower=0) if (group[metric] >= 0).all() else mean - spread
        axis.fill_between(mean.index, low, mean + spread, color=look.colour, alpha=0.12, linewidth=0)
