"""A sweep's figures: schedules beside their accuracy, heat map, progress, importance."""

import json
from collections.abc import Sequence
from statistics import fmean
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmark.escaping import figure as text
from benchmark.formatting import shown
from benchmark.reports import LINES, new_figure, styled
from benchmark.sweeps.outcomes import SEED, Importance, Outcome, ranked
from benchmark.sweeps.plan import Sweep
from benchmark.sweeps.space import Parameter

MAX_CURVES = 24
COLOURS = "cividis"  # its lightness grows with the value: readable without colour, and for colour-blind readers

ACCURACY = "validation accuracy in %"
NOT_USED = -0.12  # the position on a key's axis of configurations in which it does not count


def figures(sweep: Sweep, outcomes: Sequence[Outcome], found: Importance) -> dict[str, Figure]:
    """Return the figures that the outcomes allow, by name."""
    made: dict[str, Figure] = {}
    finished = [outcome for outcome in ranked(outcomes) if outcome.n]
    with styled():
        if finished:
            made["configurations"] = _configurations(finished, len(outcomes))
            made["progress"] = _progress(outcomes)
        if len(finished) > 1 and len(sweep.space.keys) > 1:
            # without shares the order of the space stays
            share = {key: -estimate.value for key, estimate in found.shares.items()}
            parameters = sorted(sweep.space.parameters, key=lambda parameter: share.get(parameter.key, 0))
            made["heatmap"] = _heatmap(parameters[0], parameters[1], finished, sweep.space.keys)
        if found.shares:
            made["importance"] = _importance(found)
    return made


def _configurations(finished: Sequence[Outcome], total: int) -> Figure:
    """The best configurations, one per row: the terms' curves where they differ, and the accuracy of every seed."""
    rows = finished[:MAX_CURVES]
    curves: dict[str, set[str]] = {}
    for term, schedule in (pair for outcome in rows for pair in outcome.schedules.items()):
        curves.setdefault(term, set()).add(json.dumps(schedule.product))
    lines = dict(zip((term for term, shapes in curves.items() if len(shapes) > 1), LINES, strict=False))
    figure = new_figure(8.2, 1.5 + 0.42 * len(rows))
    grid = figure.add_gridspec(len(rows), 2 if lines else 1, width_ratios=[1, 2.2] if lines else [1], hspace=0.08)
    accuracy = figure.add_subplot(grid[:, -1])
    for place, outcome in enumerate(rows):
        accuracy.plot([*outcome.scores.values()], [place] * outcome.n, "o", color="#777777", markersize=3, alpha=0.8)
        spread = outcome.std if outcome.n > 1 else 0.0
        accuracy.errorbar(outcome.mean, place, xerr=spread, fmt="D", color="black", markersize=4.5, capsize=2)
        if not lines:
            continue
        axes = figure.add_subplot(grid[place, 0])
        for term, line in lines.items():
            if term in outcome.schedules:
                axes.plot(outcome.schedules[term].product, color=line.color, linestyle=line.dash, linewidth=1.3)
        # epochs are counted from 1
        last = outcome.configuration.runs[0].train.epochs - 1
        ticks = {"xticks": [0, last], "xticklabels": ["1", f"{last + 1}"], "xlabel": "epoch"}
        axes.set(ylim=(-0.08, 1.08), yticks=[], **(ticks if place == len(rows) - 1 else {"xticks": []}))
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
    accuracy.set(ylim=(len(rows) - 0.5, -0.5), xlabel=f"{ACCURACY}: seeds (dots), mean and standard deviation")
    accuracy.yaxis.set_ticks_position("right" if lines else "left")
    accuracy.set_yticks(range(len(rows)), [_wrapped(outcome.configuration.label) for outcome in rows], fontsize=8)
    accuracy.spines["left"].set_visible(False)
    accuracy.tick_params(axis="y", length=0)
    title = "Configurations, the best first" + (f" ({len(rows)} of {total})" if len(rows) < total else "")
    figure.suptitle(title, fontsize=10)
    handles = [Line2D([], [], color=x.color, linestyle=x.dash, label=text(term)) for term, x in lines.items()]
    if lines:
        look = {"title": "factor of a loss term's weight, 0 to 1 (left)", "title_fontsize": 8}
        figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(lines)), **look)
    return figure


def _progress(outcomes: Sequence[Outcome]) -> Figure:
    """The accuracy in the order of the search, and the best mean so far."""
    figure = new_figure(7, 3.6)
    axes = figure.add_subplot()
    finished = [outcome for outcome in outcomes if outcome.n]
    numbers, means = [x.configuration.number for x in finished], [x.mean for x in finished]
    spreads = [outcome.std if outcome.n > 1 else 0.0 for outcome in finished]
    look: dict[str, Any] = {"fmt": "o", "color": LINES[2].color, "markersize": 4, "capsize": 2, "label": "mean ± std"}
    axes.errorbar(numbers, means, yerr=spreads, **look)
    best = [*np.maximum.accumulate(means), max(means)]
    look = {"where": "post", "color": "black", "linewidth": 1.2, "label": "best mean so far"}
    axes.step([*numbers, len(outcomes) + 0.5], best, **look)
    if others := {x.configuration.number: fmean(x.last.values()) for x in outcomes if not x.n and x.last}:
        look = {"color": LINES[1].color, "markerfacecolor": "none", "label": "not finished: last mean"}
        axes.plot([*others], [*others.values()], "v", **look)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlim=(0.5, len(outcomes) + 0.5), xlabel="configuration, in the order of the search", ylabel=ACCURACY)
    axes.set_title("Progress of the search")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _axis(parameter: Parameter, outcomes: Sequence[Outcome]) -> tuple[list[float], dict[float, str]]:
    """Return the positions of the outcomes on a key's axis, from 0 to 1 or not used, and the labels of some."""
    low, high = parameter.values[0], parameter.values[-1]

    def position(value: Any) -> float:
        if parameter.form == "list":
            return parameter.values.index(value) / max(1, len(parameter.values) - 1)
        if parameter.form == "loguniform":
            return float(np.log(value / low) / np.log(high / low))
        return float((value - low) / (high - low))

    middle = (low * high) ** 0.5 if parameter.form == "loguniform" else None
    named = parameter.values if parameter.form == "list" else (low, middle or (low + high) / 2, high)
    ticks = {position(value): text(shown(value)) for value in named}
    assignments = [outcome.configuration.assignment for outcome in outcomes]
    found = [position(x[parameter.key]) if parameter.key in x else NOT_USED for x in assignments]
    return found, ticks | ({NOT_USED: "not used"} if NOT_USED in found else {})


def _heatmap(one: Parameter, other: Parameter, finished: Sequence[Outcome], keys: Sequence[str]) -> Figure:
    """The mean accuracy over two keys: a square for each pair of values, the mean over the other keys."""
    figure = new_figure(6.2, 4.6)
    axes = figure.add_subplot()
    (x, x_ticks), (y, y_ticks) = _axis(one, finished), _axis(other, finished)
    points = pd.DataFrame({"x": x, "y": y, "accuracy": [outcome.mean for outcome in finished]})
    means = points.groupby(["x", "y"], as_index=False).mean()
    look: dict[str, Any] = {"cmap": COLOURS, "marker": "s", "s": 420, "edgecolors": "black", "linewidths": 0.6}
    figure.colorbar(axes.scatter(means["x"], means["y"], c=means["accuracy"], **look), label=ACCURACY)
    axes.set_xticks([*x_ticks], [*x_ticks.values()])
    axes.set_yticks([*y_ticks], [*y_ticks.values()])
    axes.set(xlabel=text(one.key), ylabel=text(other.key))
    axes.set(xlim=(min(x_ticks) - 0.1, max(x_ticks) + 0.1), ylim=(min(y_ticks) - 0.1, max(y_ticks) + 0.1))
    axes.grid(visible=False)
    others = ", ".join(key for key in keys if key not in (one.key, other.key))
    over = f" (mean over {others})" if others else ""
    axes.set_title(_wrapped(f"Accuracy by {one.key} and {other.key}{over}", 64))
    return figure


def _importance(found: Importance) -> Figure:
    shares = dict(reversed([*found.shares.items()]))
    figure = new_figure(6, 1.7 + 0.32 * len(shares))
    axes = figure.add_subplot()
    values = [100 * share.value for share in shares.values()]
    ends = [[100 * (x.value - x.low), 100 * (x.high - x.value)] for x in shares.values()]
    bars = axes.barh([*map(text, shares)], values, color=LINES[2].color, edgecolor="black", linewidth=0.6)
    axes.errorbar(values, range(len(shares)), xerr=np.array(ends).T, fmt="none", ecolor="black", capsize=2)
    for name, bar in zip(shares, bars, strict=True):
        if name == SEED:
            bar.set(facecolor="white", hatch="///")
    axes.set_yticks(range(len(shares)), [f"{text(key)} {share.value:.0%}" for key, share in shares.items()])
    axes.set(xlim=(0, 102), xlabel="share of the accuracy's variance in %")
    axes.grid(visible=False)
    hatched = "; hatched: seed noise" if SEED in shares else ""
    axes.set_title(_wrapped(f"Importance: {found.how}{hatched}", 64))
    return figure


def _wrapped(label: str, width: int = 44) -> str:
    return "\n".join(map(text, wrap(label, width)))
