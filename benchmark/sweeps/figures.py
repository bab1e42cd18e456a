"""A sweep's figures: schedules beside their accuracy, heat map, parallel coordinates, progress, importance."""

import json
from collections.abc import Sequence
from statistics import fmean
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmark.escaping import figure as text
from benchmark.formatting import shown
from benchmark.reports import LINES, new_figure, styled
from benchmark.sweeps.outcomes import SEED, Importance, Outcome, ranked
from benchmark.sweeps.plan import Sweep
from benchmark.sweeps.space import Choice, Domain, Parameter, Range

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
        if len(finished) > 1:
            made["parallel"] = _parallel(sweep, finished)
            numeric = [parameter for parameter in sweep.space.parameters if _is_numeric(parameter.domain)]
            # without shares the order of the space stays
            numeric.sort(key=lambda x: -found.shares[x.key].value if x.key in found.shares else 0)
            if len(numeric) > 1:
                made["heatmap"] = _heatmap(sweep, numeric[0], numeric[1], finished)
        if found.shares:
            made["importance"] = _importance(found)
    return made


def _configurations(finished: Sequence[Outcome], total: int) -> Figure:
    """The best configurations, one per row: the terms' curves where they differ, and the accuracy of every seed."""
    rows = finished[:MAX_CURVES]
    lines = dict(zip(_differing_terms(rows), LINES, strict=False))
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
    accuracy.set_ylim(len(rows) - 0.5, -0.5)
    accuracy.yaxis.set_ticks_position("right" if lines else "left")
    accuracy.set_yticks(range(len(rows)), [_wrapped(outcome.configuration.label) for outcome in rows], fontsize=8)
    accuracy.spines["left"].set_visible(False)
    accuracy.tick_params(axis="y", length=0)
    accuracy.set_xlabel(f"{ACCURACY}: seeds (dots), mean and standard deviation")
    title = "Configurations, the best first" + (f" ({len(rows)} of {total})" if len(rows) < total else "")
    figure.suptitle(title, fontsize=10)
    if lines:
        figure.legend(
            handles=[Line2D([], [], color=x.color, linestyle=x.dash, label=text(term)) for term, x in lines.items()],
            loc="outside lower center",
            ncols=min(3, len(lines)),
            title="factor of a loss term's weight, 0 to 1 (left)",
            title_fontsize=8,
        )
    return figure


def _differing_terms(rows: Sequence[Outcome]) -> list[str]:
    """Return the terms whose curves are not the same in all configurations."""
    curves: dict[str, set[str]] = {}
    for outcome in rows:
        for term, schedule in outcome.schedules.items():
            curves.setdefault(term, set()).add(json.dumps(schedule.product))
    return [term for term, shapes in curves.items() if len(shapes) > 1]


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
    axes.step(
        [*numbers, len(outcomes) + 0.5], best, where="post", color="black", linewidth=1.2, label="best mean so far"
    )
    others = {x.configuration.number: fmean(x.last.values()) for x in outcomes if not x.n and x.last}
    if others:
        look = {"color": LINES[1].color, "markerfacecolor": "none", "label": "not finished: last mean"}
        axes.plot([*others], [*others.values()], "v", **look)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlim=(0.5, len(outcomes) + 0.5), xlabel="configuration, in the order of the search", ylabel=ACCURACY)
    axes.set_title("Progress of the search")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _parallel(sweep: Sweep, finished: Sequence[Outcome]) -> Figure:
    """One axis per key and one for the accuracy; one line per configuration, the best one black."""
    parameters = sweep.space.parameters
    means = [outcome.mean for outcome in finished]
    low, high = min(means), max(means)
    norm = Normalize(low, high if high > low else low + 1e-9)
    figure = new_figure(1.6 * (len(parameters) + 1) + 1.4, 4.2)
    axes = figure.add_subplot()
    label: dict[str, Any] = {
        "fontsize": 7.5,
        "va": "center",
        "bbox": {"facecolor": "w", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
    }
    for rank, outcome in reversed(list(enumerate(finished))):
        values = outcome.configuration.assignment
        heights = [_height(x.domain, values[x.key]) if x.key in values else NOT_USED for x in parameters]
        heights.append(float(norm(outcome.mean)))
        # lines of equal values would hide each other
        heights = [height + 0.012 * ((outcome.configuration.number % 7) - 3) / 3 for height in heights]
        best = {"color": "black", "linewidth": 2.6}
        look = best if rank == 0 else {"color": colormaps[COLOURS](0.9 * norm(outcome.mean))}
        axes.plot(range(len(heights)), heights, alpha=0.9, **look)
    for place, parameter in enumerate(parameters):
        axes.axvline(place, color="black", linewidth=0.8)
        for height, word in _ticks(parameter, finished):
            axes.text(place, height, f" {text(word)} ", ha="right", **label)
    axes.axvline(len(parameters), color="black", linewidth=0.8)
    for value in (low, (low + high) / 2, high) if high > low else (low,):
        axes.text(len(parameters), float(norm(value)), f" {value:.2f}", ha="left", **label)
    axes.set_xticks(range(len(parameters) + 1), [*map(text, sweep.space.keys), "accuracy in %"], fontsize=8.5)
    axes.set_xlim(-0.45, len(parameters) + 0.45)
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.set_title("Every configuration that has finished: dark is low, light is high, the thick line the best")
    return figure


def _height(domain: Domain, value: float) -> float:
    """Return the position of a value on its key's axis, from 0 to 1."""
    match domain:
        case Choice(values):
            return values.index(value) / max(1, len(values) - 1)
        case Range("loguniform", low, high):
            return float(np.log(value / low) / np.log(high / low))
        case Range(_, low, high):
            return float((value - low) / (high - low))


def _ticks(parameter: Parameter, outcomes: Sequence[Outcome]) -> list[tuple[float, str]]:
    match parameter.domain:
        case Choice(values):
            named = [(value, shown(value)) for value in values]
        case Range(form, low, high):
            middle = (low * high) ** 0.5 if form == "loguniform" else (low + high) / 2
            named = [(value, f"{value:.3g}") for value in (low, middle, high)]
    unused = any(parameter.key not in outcome.configuration.assignment for outcome in outcomes)
    return [(_height(parameter.domain, value), word) for value, word in named] + [(NOT_USED, "not used")] * unused


def _heatmap(sweep: Sweep, one: Parameter, other: Parameter, finished: Sequence[Outcome]) -> Figure:
    """The mean accuracy over two numeric keys: a cell for each pair of values, or a dot per configuration."""
    figure = new_figure(6.2, 4.6)
    axes = figure.add_subplot()
    rows = [[*(sweep.value_of(x.configuration.runs[0], p.key) for p in (one, other)), x.mean] for x in finished]
    # a key that is not used may have no number as its default
    points = pd.DataFrame(rows, columns=["x", "y", "accuracy"]).dropna().astype(float)
    others = [key for key in sweep.space.keys if key not in (one.key, other.key)]
    if isinstance(one.domain, Choice) and isinstance(other.domain, Choice):
        _cells(axes, points.pivot_table("accuracy", "y", "x", sort=True))
    else:
        axes.scatter(
            points["x"], points["y"], c=points["accuracy"], cmap=COLOURS, s=60, edgecolors="black", linewidths=0.6
        )
        for parameter, scale in ((one, axes.set_xscale), (other, axes.set_yscale)):
            if isinstance(parameter.domain, Range) and parameter.domain.form == "loguniform":
                scale("log")
    figure.colorbar((*axes.images, *axes.collections)[0], label=ACCURACY)
    axes.set_xlabel(text(one.key))
    axes.set_ylabel(text(other.key))
    over = f"\n(mean over {text(', '.join(others))})" if others and isinstance(one.domain, Choice) else ""
    axes.set_title(f"Accuracy by {text(one.key)} and {text(other.key)}{over}")
    return figure


def _cells(axes: Axes, table: pd.DataFrame) -> None:
    values = table.to_numpy()
    axes.imshow(values, cmap=COLOURS, origin="lower", aspect="auto")
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            ink = "black" if value > middle else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks(range(len(table.columns)), [f"{value:g}" for value in table.columns])
    axes.set_yticks(range(len(table.index)), [f"{value:g}" for value in table.index])
    axes.grid(visible=False)


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
    axes.set_xlim(0, 102)
    axes.set_xlabel("share of the accuracy's variance in %")
    axes.grid(visible=False)
    hatched = "; hatched: seed noise" if SEED in shares else ""
    axes.set_title(_wrapped(f"Importance: {found.how}{hatched}", 64))
    return figure


def _is_numeric(domain: Domain) -> bool:
    if isinstance(domain, Range):
        return True
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in domain.values)
    return numbers and len(domain.values) > 1


def _wrapped(label: str, width: int = 44) -> str:
    return "\n".join(map(text, wrap(label, width)))
