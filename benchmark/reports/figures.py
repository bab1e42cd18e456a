"""Figures of stored runs: curves, cost, ranks and critical differences, means over seeds with their spread."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.formatting import counted
from benchmark.metrics import COSTS, DECLARED, HEADLINE, Metric, checked, figure_labels, of_frame
from benchmark.reports.palette import Line
from benchmark.reports.style import FIGURE, View, legend, lines_by_row, new_figure, panels, styled
from benchmark.store import Status
from benchmark.tables import Table, build, critical_difference as nemenyi, layout, summaries
from methods.errors import InputError, unknown

MAX_PANELS = 12
HOMOGENEITY = figure_labels("homogeneity")


class Placed(NamedTuple):
    """The finished runs with their ``row`` and ``column``, the rows' lines and the columns in order, and the view."""

    runs: pd.DataFrame
    lines: dict[str, Line]
    columns: list[str]
    view: View


def placed(frame: pd.DataFrame, view: View | None) -> Placed:
    """Return the finished runs in the table's rows and columns, or raise an InputError for none or too many."""
    finished = frame[frame["status"] == str(Status.FINISHED)]
    if finished.empty:
        raise InputError("no finished run to plot")
    view = view or View()
    # runs that did not finish count for the names: a row has the same name in table and figure
    table = build(frame, [HEADLINE], choice=view.choice, showing=view.showing)
    places = layout.arranged(summaries(frame)).runs.set_index("run")[["row", "column"]]
    runs = finished.join(places, on="run", how="inner")
    columns = list(dict.fromkeys(heading.column for heading in table.headings))
    runs = runs[runs["row"].isin(table.rows) & runs["column"].isin(columns)]
    if runs.empty:
        raise InputError("no finished run of these rows and columns to plot")
    columns = [column for column in columns if column in set(runs["column"])]
    if len(columns) > MAX_PANELS:
        raise InputError(f"{len(columns)} datasets, backbones and settings are too many for one figure ({MAX_PANELS})")
    return Placed(runs, lines_by_row(runs, table.rows), columns, replace(view, showing=table.style))


def curves(frame: pd.DataFrame, metric: str = "student", view: View | None = None) -> Figure:
    """Plot a metric over the epochs: mean and one standard deviation, one panel per dataset and backbone."""
    labels = figure_labels("curves", frame.attrs.get(DECLARED, ()))
    if metric not in labels:
        raise unknown("curve", metric, labels)
    found = placed(frame, view)
    return _over_epochs(found, [(column, metric, found.view.word(column)) for column in found.columns], labels[metric])


def homogeneity(frame: pd.DataFrame, view: View | None = None) -> Figure:
    """Plot how similar the predictors are over the epochs: one panel per measure, one row per dataset and backbone."""
    found = placed(frame, view)
    measured = [metric for metric in HOMOGENEITY if metric in found.runs and found.runs[metric].notna().any()]
    if not measured:
        raise InputError("no run has diagnostics of its peers: bench run --set train.diagnostics_every=1")
    several = len(found.columns) > 1
    over = {column: f"{found.view.word(column)}\n" if several else "" for column in found.columns}
    shown = [(column, metric, over[column] + HOMOGENEITY[metric]) for column in found.columns for metric in measured]
    return _over_epochs(found, shown, "", most=len(measured) if several else 2)


def _over_epochs(found: Placed, shown: Sequence[tuple[str, str, str]], y: str, most: int = 3) -> Figure:
    """Plot column, metric and title, one panel each."""
    view, paper = found.view, found.view.on_paper
    plotted: dict[str, Line] = {}
    with panels(len(shown), view, most, y) as (figure, axes):
        for axis, (column, metric, title) in zip(axes, shown, strict=True):
            here = found.runs[found.runs["column"] == column]
            here = here.dropna(subset=metric) if metric in here else here.iloc[:0]
            for row, line in found.lines.items():
                own = here[here["row"] == row]
                if own.empty:
                    continue
                plotted[row] = line
                # people count epochs from 1
                by_epoch = own.groupby(own["epoch"].astype(float) + 1)[metric]
                mean, spread = by_epoch.mean(), by_epoch.std()
                axis.plot(
                    mean.index, mean, color=line.color, linestyle=line.dash, marker=line.marker,
                    markevery=max(1, len(mean) // 8), markeredgecolor="white", markeredgewidth=0.3 if paper else 0.5,
                    linewidth=0.9 if paper else 1.4,
                )  # fmt: skip
                if spread.notna().any():
                    # a metric that is never negative has no band below 0
                    low = (mean - spread).clip(lower=0 if (own[metric] >= 0).all() else None)
                    axis.fill_between(mean.index, low, mean + spread, color=line.color, alpha=0.12, linewidth=0)
            if here.empty:
                axis.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axis.transAxes, color="#666666")
            axis.set(title=title, xlabel="epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not plotted:
            raise InputError("no finished run has these numbers")
        legend(figure, {row: line for row, line in found.lines.items() if row in plotted}, view)
    return figure


def cost(
    frame: pd.DataFrame, against: str = "training-multiply-adds", score: str = "student", view: View | None = None
) -> Figure:
    """Plot a score against a cost of training: one point per row, its mean and one standard deviation over seeds."""
    price = checked(against, COSTS, "cost")
    metric = checked(score, of_frame(frame))
    found = placed(frame, view)
    view = found.view
    runs = summaries(found.runs)
    values = [(price.of(run).get(""), metric.of(run).get("")) for run in runs.to_dict("records")]
    runs[["x", "y"]] = pd.DataFrame(values, index=runs.index, dtype=float)
    runs = runs.dropna(subset=["x", "y"])
    if runs.empty:
        raise InputError(f"no finished run has both {score} and {against}: runs of older versions stored no cost")
    columns = [column for column in found.columns if column in set(runs["column"])]
    with panels(len(columns), view, y=metric.short) as (figure, axes):
        for axis, column in zip(axes, columns, strict=True):
            means = runs[runs["column"] == column].groupby("row", sort=False).agg({"x": "mean", "y": ["mean", "std"]})
            for row, x, y, spread in means.itertuples(name=None):
                line = found.lines[row]
                # points that overlap are translucent: none is moved
                axis.errorbar(
                    x, y, yerr=None if pd.isna(spread) else spread, fmt=line.marker, color=line.color,
                    capsize=3, markersize=4.2 if view.on_paper else 7.0, markeredgecolor="white",
                    markeredgewidth=0.5, elinewidth=1.0, alpha=0.8,
                )  # fmt: skip
            axis.set(title=view.word(column), xlabel=price.short)
            axis.margins(x=0.12, y=0.15)
        own = {row: line for row, line in found.lines.items() if row in set(runs["row"])}
        legend(figure, own, view, dashes=False)
    return figure


# ranks and critical differences


def _ranked(frame: pd.DataFrame, score: str, view: View) -> tuple[Table, Metric]:
    """Return the table of a score, or raise an InputError if it has no direction."""
    metric = checked(score, of_frame(frame))
    if metric.better is None:
        raise InputError(f"{score} has no ranks: neither higher nor lower is better")
    return build(frame, [score], choice=view.choice, showing=view.showing), metric


def ranks(frame: pd.DataFrame, score: str = "student", view: View | None = None) -> Figure:
    """Plot each row's average rank over the tasks of the first budget, as tables have it, and its rank in each."""
    found = placed(frame, view)
    view = found.view
    table, metric = _ranked(frame, score, view)
    budget = table.budgets[0]
    averages, used, _ = table.ranks(budget)
    if not used:
        raise InputError("ranks need two methods at least, and a dataset in which all of them have a value")
    columns = {heading.column: table.values(heading) for heading in table.complete(budget)[0]}
    ranked = pd.DataFrame(columns).T.rank(axis=1, ascending=metric.better == "low")
    order = sorted(averages, key=averages.__getitem__, reverse=True)
    with styled(view):
        figure = new_figure(view.total or 5.6, 0.9 + (0.28 if view.on_paper else 0.42) * len(order))
        axis = figure.subplots()
        for height, row in enumerate(order):
            average, counts, line = averages[row], ranked[row].value_counts(), found.lines[row]
            sizes = 18 * counts
            axis.scatter(counts.index, [height] * len(counts), sizes, color=line.color, alpha=0.35, linewidths=0)
            axis.plot(average, height, line.marker, color=line.color, ms=9, mec="white", mew=0.5)
            axis.annotate(f"{average:.2f}", (average, height), (0, 8), textcoords="offset points", ha="center")
        axis.set_yticks(range(len(order)), map(view.word, order))
        axis.set(ylim=(-0.6, len(order) - 0.2), xlim=(0.5, len(order) + 0.5), xticks=range(1, len(order) + 1))
        axis.grid(axis="y", visible=False)
        tasks = f"{counted(used, 'task')}{f' of {budget}' if budget else ''}"
        over = "\nover " if view.on_paper else " over "
        axis.set_xlabel(
            f"average rank by {score}{over}{tasks};\npale points: the rank in each task, larger where more frequent"
        )
    return figure


def cliques(ranks: Mapping[str, float], distance: float) -> list[list[str]]:
    """Return the largest groups of rows in which any two average ranks are less than ``distance`` apart."""
    order = sorted(ranks, key=ranks.__getitem__)
    groups = [
        [row for row in order[place:] if ranks[row] - ranks[first] < distance] for place, first in enumerate(order)
    ]
    found = [group for group in groups if len(group) > 1]
    # a group with the same end as the one before is part of it
    return [group for place, group in enumerate(found) if not place or group[-1] != found[place - 1][-1]]


def critical_difference(frame: pd.DataFrame, score: str = "student", view: View | None = None) -> Figure:
    """Plot the rows' average ranks over the columns in which all have a value; bars join rows that do not differ.

    Rows differ where their average ranks are at least the critical difference of Nemenyi's test apart (5 %, all pairs).
    A column counts once, by its mean over seeds.

    Source: Demsar (2006), "Statistical Comparisons of Classifiers over Multiple Data Sets".

    Raises:
        InputError: If the score has no direction, or there are fewer than two rows or columns.
    """
    view = view or View()
    table, _ = _ranked(frame, score, view)
    averages, used, _ = table.ranks(table.budgets[0])
    if used < 2:
        raise InputError("a critical difference needs two rows, and two columns in which each of them has a value")
    distance = nemenyi(len(averages), used)
    order = sorted(averages, key=averages.__getitem__)
    groups = cliques(averages, distance)
    count = len(order)
    left, right = order[: (count + 1) // 2], order[(count + 1) // 2 :][::-1]
    bars = 0.35 * len(groups) + 0.5
    depth = bars + max(len(left), len(right))
    with styled(view):
        figure = new_figure(view.total or 6.2, (0.17 if view.on_paper else 0.24) * (depth + 3.2))
        axis = figure.subplots()
        axis.set_axis_off()
        axis.set(xlim=(1 - 0.55 * (count - 1), count + 0.55 * (count - 1)), ylim=(-depth - 0.5, 2.7))
        thin: Mapping[str, Any] = {"color": "black", "linewidth": 0.7}
        ticks = range(1, count + 1)
        axis.hlines(0, 1, count, **thin)
        axis.vlines(ticks, 0, 0.25, **thin)
        for tick in ticks:
            axis.text(tick, 0.4, str(tick), ha="center", va="bottom")
        for side, rows, end in (("right", left, 1 - 0.1), ("left", right, count + 0.1)):
            for place, row in enumerate(rows):
                height = -bars - place - 0.5
                axis.plot([averages[row], averages[row], end], [0, height, height], **thin)
                name = f" {table.style.word(row, FIGURE)} ({averages[row]:.2f}) "
                axis.text(end, height, name, ha=side, va="center")
        for place, group in enumerate(groups, 1):
            axis.hlines(-0.35 * place, averages[group[0]] - 0.04, averages[group[-1]] + 0.04, "black", linewidth=2.4)
        # the critical difference above the axis, as far as the axis is long enough
        shown = min(distance, count - 1)
        axis.hlines(1.75, 1, 1 + shown, **thin)
        axis.vlines([1, 1 + shown], 1.6, 1.9, **thin)
        more = "" if shown == distance else ", longer than the axis: these columns cannot show a difference"
        axis.text(1 + shown / 2, 2, f"CD = {distance:.2f} (5 %){more}", ha="center", va="bottom")
        axis.set_title(f"average rank by {score} over {used} columns")
    return figure
