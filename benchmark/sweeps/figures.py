"""A sweep's figures: schedules beside their accuracy, heat map, importance."""

import json
from collections.abc import Sequence
from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.escaping import figure as text
from benchmark.formatting import shown
from benchmark.reports import LINES, new_figure, styled
from benchmark.sweeps.outcomes import SEED, Importance, Outcome, ranked
from benchmark.sweeps.plan import Sweep
from benchmark.sweeps.space import Parameter

MAX_CURVES = 24
COLOURS = "cividis"  # its lightness grows with the value: readable without colour, and for colour-blind readers

ACCURACY = "validation accuracy in %"
NOT_USED = "not used"  # the value of a key in configurations in which it does not count


def figures(sweep: Sweep, outcomes: Sequence[Outcome], found: Importance) -> dict[str, Figure]:
    """Return the figures that the outcomes allow, by name."""
    made: dict[str, Figure] = {}
    finished = [outcome for outcome in ranked(outcomes) if outcome.n]
    # the most important first; without shares the order of the space stays
    share = {key: -estimate.value for key, estimate in found.shares.items()}
    listed = [parameter for parameter in sweep.space.parameters if parameter.form == "list"]
    listed.sort(key=lambda parameter: share.get(parameter.key, 0))
    with styled():
        if finished:
            made["configurations"] = _configurations(finished, len(outcomes))
        if len(finished) > 1 and len(listed) > 1:
            made["heatmap"] = _heatmap(listed[0], listed[1], finished, sweep.space.keys)
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


def _heatmap(one: Parameter, other: Parameter, finished: Sequence[Outcome], keys: Sequence[str]) -> Figure:
    """The mean accuracy over two keys with lists of values, the mean over the other keys."""
    points = pd.DataFrame({ACCURACY: [x.mean for x in finished]})
    for key, values in ((one.key, one.values), (other.key, other.values)):
        labels = [shown(x.configuration.assignment.get(key, NOT_USED)) for x in finished]
        points[key] = pd.Categorical(labels, [*dict.fromkeys([*map(shown, values), NOT_USED])])
    means = points.pivot_table(ACCURACY, other.key, one.key, observed=True)
    figure = new_figure(6.2, 4.6)
    axes = figure.add_subplot()
    squares = axes.pcolormesh(means, cmap=COLOURS, edgecolors="black", linewidth=0.6)
    figure.colorbar(squares, label=ACCURACY)
    axes.set_xticks(np.arange(means.shape[1]) + 0.5, [*map(text, means.columns)])
    axes.set_yticks(np.arange(means.shape[0]) + 0.5, [*map(text, means.index)])
    axes.set(xlabel=text(one.key), ylabel=text(other.key))
    axes.grid(visible=False)
    others = ", ".join(key for key in keys if key not in (one.key, other.key))
    over = f" (mean over {others})" if others else ""
    axes.set_title(_wrapped(f"Accuracy by {one.key} and {other.key}{over}", 64))
    return figure


def _importance(found: Importance) -> Figure:
    shares = 100 * pd.DataFrame.from_dict({key: vars(share) for key, share in found.shares.items()}, orient="index")
    figure = new_figure(6, 1.7 + 0.32 * len(shares))
    axes = figure.add_subplot()
    ends = [shares["value"] - shares["low"], shares["high"] - shares["value"]]
    colours = ["white" if key == SEED else LINES[2].color for key in shares.index]
    labels = [f"{text(key)} {share.value:.0%}" for key, share in found.shares.items()]
    axes.barh(labels, shares["value"], xerr=ends, color=colours, edgecolor="black", linewidth=0.6, capsize=2)
    axes.invert_yaxis()
    axes.set(xlim=(0, 102), xlabel="share of the accuracy's variance in %")
    axes.grid(visible=False)
    white = "; white: seed noise" if SEED in shares.index else ""
    axes.set_title(_wrapped(f"Importance: {found.how}{white}", 64))
    return figure


def _wrapped(label: str, width: int = 44) -> str:
    return "\n".join(map(text, wrap(label, width)))
