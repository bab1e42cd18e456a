"""A critical-difference diagram: average ranks on a line, and which of them do not differ."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.metrics import checked, of_frame
from benchmark.reports.appearance import View, style
from benchmark.reports.lettering import FIGURE
from benchmark.tables import build, critical_difference
from methods.errors import InputError

LEVEL = "5 %"


def cliques(ranks: Mapping[str, float], distance: float) -> list[list[str]]:
    """Return the largest groups of rows of which no two average ranks are ``distance`` or more apart.

    Args:
        ranks: By row.
        distance: The critical difference, above 0.
    """
    order = sorted(ranks, key=ranks.__getitem__)
    groups = [
        [row for row in order[start:] if ranks[row] - ranks[order[start]] < distance] for start in range(len(order))
    ]
    found = [group for group in groups if len(group) > 1]
    # a group that ends where the one before it ends lies within it
    return [group for place, group in enumerate(found) if not place or group[-1] != found[place - 1][-1]]


def diagram(frame: pd.DataFrame, score: str = "student", view: View | None = None) -> Figure:
    """Draw the rows' average ranks over the columns in which all have a value; bars join those that do not differ.

    Rows differ where their average ranks are a critical difference apart or more, by Nemenyi's test at 5 % over all
    pairs. A column counts once, by the mean over its seeds: seeds of one column are no columns of their own.

    Source: Demsar (2006), "Statistical Comparisons of Classifiers over Multiple Data Sets".

    Args:
        frame: From :func:`benchmark.store.load`.
        score: The name of a metric.
        view: What is shown, and how.

    Raises:
        InputError: If the score has no better end, or there are fewer than two rows or columns.
    """
    if checked(score, of_frame(frame)).better is None:
        raise InputError(f"of {score} neither end is better: there are no ranks")
    view = view or View()
    table = build(frame, [score], choice=view.choice, showing=view.showing)
    ranks, used, _ = table.ranks()
    if used < 2:
        raise InputError("a critical difference needs two rows, and two columns in which each of them has a value")
    distance = critical_difference(len(ranks), used)
    names = {row: table.showing.word(row, FIGURE) for row in ranks}
    return _drawn(ranks, names, distance, f"average rank by {score} over {used} columns", view)


def _drawn(ranks: Mapping[str, float], names: Mapping[str, str], distance: float, title: str, view: View) -> Figure:
    order = sorted(ranks, key=ranks.__getitem__)
    groups = cliques(ranks, distance)
    count = len(order)
    left, right = order[: (count + 1) // 2], order[(count + 1) // 2 :][::-1]
    bars = 0.35 * len(groups) + 0.5
    depth = bars + max(len(left), len(right))
    with style(view):
        scale = 0.17 if view.on_paper else 0.24
        figure = Figure(figsize=(view.total or 6.2, scale * (depth + 3.2)), layout="constrained")
        axis = figure.subplots()
        axis.set_axis_off()
        axis.set(xlim=(1 - 0.55 * (count - 1), count + 0.55 * (count - 1)), ylim=(-depth - 0.5, 2.7))
        ink: dict[str, Any] = {"color": "black", "linewidth": 0.7}
        axis.plot([1, count], [0, 0], **ink)
        for tick in range(1, count + 1):
            axis.plot([tick, tick], [0, 0.25], **ink)
            axis.text(tick, 0.4, str(tick), ha="center", va="bottom")
        for side, rows, end in (("right", left, 1 - 0.1), ("left", right, count + 0.1)):
            for place, row in enumerate(rows):
                height = -bars - place - 0.5
                axis.plot([ranks[row], ranks[row], end], [0, height, height], **ink)
                axis.text(end, height, f" {names[row]} ({ranks[row]:.2f}) ", ha=side, va="center")
        for place, group in enumerate(groups):
            height = -0.35 * (place + 1)
            ends = [ranks[group[0]] - 0.04, ranks[group[-1]] + 0.04]
            axis.plot(ends, [height, height], color="black", linewidth=2.4, solid_capstyle="butt")
        _scale(axis, distance, count)
        axis.set_title(title)
    return figure


def _scale(axis: Axes, distance: float, count: int) -> None:
    """Draw the critical difference above the line, as far as the line is long enough."""
    shown = min(distance, count - 1)
    height = 1.75
    axis.plot([1, 1 + shown], [height, height], color="black", linewidth=0.7)
    for end in (1, 1 + shown):
        axis.plot([end, end], [height - 0.15, height + 0.15], color="black", linewidth=0.7)
    more = "" if shown == distance else ", longer than the line: these columns can show no difference"
    axis.text(1 + shown / 2, height + 0.25, f"CD = {distance:.2f} ({LEVEL}){more}", ha="center", va="bottom")
