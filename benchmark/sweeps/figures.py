"""A sweep in pictures: schedules beside their accuracy, heat map, parallel coordinates, progress, importance."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.escaping import figure as text
from benchmark.reports import LINES, new_figure, styled
from benchmark.sweeps.importance import SEED, Importance
from benchmark.sweeps.outcomes import Outcome, ranked
from benchmark.sweeps.plan import Sweep
from benchmark.sweeps.space import Choice, Parameter, Range, shown

MAX_CURVES = 24
COLOURS = "cividis"
"""Its lightness grows with the value: readable without colour, and for colour-blind readers."""

ACCURACY = "validation accuracy in %"


def figures(sweep: Sweep, outcomes: Sequence[Outcome], found: Importance) -> dict[str, Figure]:
    """Return the figures that the outcomes allow, by name.

    Args:
        sweep: The sweep.
        outcomes: Of every configuration, in the order of the search.
        found: The keys' importance.
    """
    drawn: dict[str, Figure] = {}
    finished = [outcome for outcome in ranked(outcomes) if outcome.n]
    with styled():
        if finished:
            drawn["configurations"] = _configurations(finished, len(outcomes))
            drawn["progress"] = _progress(outcomes)
        if len(finished) > 1:
            drawn["parallel"] = _parallel(sweep, finished)
            numeric = [parameter for parameter in sweep.space.parameters if _is_numeric(parameter)]
            # without shares the order of the space stays
            numeric.sort(
                key=lambda parameter: -found.shares[parameter.key].value if parameter.key in found.shares else 0
            )
            if len(numeric) > 1:
                drawn["heatmap"] = _heatmap(sweep, numeric[0], numeric[1], finished)
        if found.shares:
            drawn["importance"] = _importance(found)
    return drawn


def _configurations(finished: Sequence[Outcome], total: int) -> Figure:
    """The best configurations, a row each: the terms' curves where they differ, and the accuracy of every seed."""
    rows = finished[:MAX_CURVES]
    terms = _differing_terms(rows)
    figure = new_figure(8.2, 1.5 + 0.42 * len(rows))
    grid = figure.add_gridspec(len(rows), 2 if terms else 1, width_ratios=[1, 2.2] if terms else [1], hspace=0.08)
    accuracy = figure.add_subplot(grid[:, -1])
    for place, outcome in enumerate(rows):
        scores = list(outcome.scores.values())
        accuracy.plot(scores, [place] * len(scores), "o", color="#777777", markersize=3, alpha=0.8)
        spread = outcome.std if outcome.n > 1 else 0.0
        accuracy.errorbar(outcome.mean, place, xerr=spread, fmt="D", color="black", markersize=4.5, capsize=2)
        if terms:
            axes = figure.add_subplot(grid[place, 0])
            _curves(axes, outcome, terms)
            if place == len(rows) - 1:
                # people count epochs from 1
                last = outcome.configuration.runs[0].train.epochs - 1
                axes.set_xticks([0, last], ["1", f"{last + 1}"])
                axes.set_xlabel("epoch")
    accuracy.set_ylim(len(rows) - 0.5, -0.5)
    accuracy.yaxis.set_ticks_position("right" if terms else "left")
    accuracy.set_yticks(range(len(rows)), [_wrapped(outcome.configuration.label) for outcome in rows], fontsize=8)
    accuracy.spines["left"].set_visible(False)
    accuracy.tick_params(axis="y", length=0)
    accuracy.set_xlabel(f"{ACCURACY}: seeds (dots), mean and standard deviation")
    title = "Configurations, the best first" + (f" ({len(rows)} of {total})" if len(rows) < total else "")
    figure.suptitle(title, fontsize=10)
    if terms:
        handles = [
            figure.axes[1].plot([], [], color=line.color, linestyle=line.dash, label=text(term))[0]
            for term, line in zip(terms, LINES, strict=False)
        ]
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=min(3, len(terms)),
            title="share of its weight with which a term acts, 0 to 1 (left)",
            title_fontsize=8,
        )
    return figure


def _differing_terms(rows: Sequence[Outcome]) -> list[str]:
    """Return the terms whose curves are not the same in all configurations."""
    curves: dict[str, set[str]] = {}
    for outcome in rows:
        for term, schedule in outcome.schedules.items():
            curves.setdefault(term, set()).add(json.dumps(schedule.product))
    return [term for term, shapes in curves.items() if len(shapes) > 1][: len(LINES)]


def _curves(axes: Axes, outcome: Outcome, terms: Sequence[str]) -> None:
    for term, line in zip(terms, LINES, strict=False):
        if term in outcome.schedules:
            axes.plot(outcome.schedules[term].product, color=line.color, linestyle=line.dash, linewidth=1.3)
    axes.set_ylim(-0.08, 1.08)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)


def _progress(outcomes: Sequence[Outcome]) -> Figure:
    """The accuracy in the order of the search, and the best mean so far."""
    figure = new_figure(7, 3.6)
    axes = figure.add_subplot()
    finished = [outcome for outcome in outcomes if outcome.n]
    numbers = [outcome.configuration.number for outcome in finished]
    means = [outcome.mean for outcome in finished]
    spreads = [outcome.std if outcome.n > 1 else 0.0 for outcome in finished]
    axes.errorbar(
        numbers, means, yerr=spreads, fmt="o", color=LINES[2].color, markersize=4, capsize=2, label="mean ± std"
    )
    axes.step(
        [*numbers, len(outcomes) + 0.5],
        [*np.maximum.accumulate(means), max(means)],
        where="post",
        color="black",
        linewidth=1.2,
        label="best mean so far",
    )
    others = [outcome for outcome in outcomes if not outcome.n and outcome.last]
    if others:
        axes.plot(
            [outcome.configuration.number for outcome in others],
            [sum(outcome.last.values()) / len(outcome.last) for outcome in others],
            "v",
            color=LINES[1].color,
            markerfacecolor="none",
            label="not finished: last mean",
        )
    axes.set_xlim(0.5, len(outcomes) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("configuration, in the order of the search")
    axes.set_ylabel(ACCURACY)
    axes.set_title("Progress of the search")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _parallel(sweep: Sweep, finished: Sequence[Outcome]) -> Figure:
    """One axis a key and one for the accuracy; a line a configuration, the best one black."""
    parameters = sweep.space.parameters
    scales = [_Scale(parameter, finished) for parameter in parameters]
    means = [outcome.mean for outcome in finished]
    low, high = min(means), max(means)
    norm = Normalize(low, high if high > low else low + 1e-9)
    figure = new_figure(1.6 * (len(parameters) + 1) + 1.4, 4.2)
    axes = figure.add_subplot()
    colours = _colour_map()
    for rank, outcome in reversed(list(enumerate(finished))):
        heights = [scale.height(outcome) for scale in scales]
        heights.append(float(norm(outcome.mean)))
        # lines of equal values would hide each other
        heights = [height + 0.012 * ((outcome.configuration.number % 7) - 3) / 3 for height in heights]
        line = {"color": "black", "linewidth": 2.6} if rank == 0 else {"color": colours(0.9 * norm(outcome.mean))}
        axes.plot(range(len(heights)), heights, alpha=0.9, **line)
    for place, scale in enumerate(scales):
        axes.axvline(place, color="black", linewidth=0.8)
        for height, called in scale.ticks():
            axes.text(place, height, f" {text(called)} ", fontsize=7.5, va="center", ha="right", bbox=_WHITE)
    axes.axvline(len(scales), color="black", linewidth=0.8)
    for value in (low, (low + high) / 2, high) if high > low else (low,):
        axes.text(len(scales), float(norm(value)), f" {value:.2f}", fontsize=7.5, va="center", ha="left", bbox=_WHITE)
    axes.set_xticks(range(len(scales) + 1), [*map(text, sweep.space.keys), "accuracy in %"], fontsize=8.5)
    axes.set_xlim(-0.45, len(scales) + 0.45)
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.set_title("Every configuration that has finished: dark is low, light is high, the thick line the best")
    return figure


_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}


class _Scale:
    """Where the values of a key stand on its axis, from 0 to 1; below 0 where the key does not count."""

    def __init__(self, parameter: Parameter, outcomes: Sequence[Outcome]) -> None:
        self.parameter = parameter
        self.inactive = any(parameter.key not in outcome.configuration.assignment for outcome in outcomes)

    def height(self, outcome: Outcome) -> float:
        assignment = outcome.configuration.assignment
        if self.parameter.key not in assignment:
            return -0.12
        return self._height(assignment[self.parameter.key])

    def ticks(self) -> list[tuple[float, str]]:
        absent = [(-0.12, "not used")] if self.inactive else []
        match self.parameter.domain:
            case Choice(values):
                return [*((self._height(value), shown(value)) for value in values), *absent]
            case Range(form, low, high):
                middle = (low * high) ** 0.5 if form == "loguniform" else (low + high) / 2
                return [*((self._height(value), f"{value:.3g}") for value in (low, middle, high)), *absent]

    def _height(self, value: Any) -> float:
        match self.parameter.domain:
            case Choice(values):
                return values.index(value) / max(1, len(values) - 1)
            case Range("loguniform", low, high):
                return float(np.log(value / low) / np.log(high / low))
            case Range(_, low, high):
                return float((value - low) / (high - low))


def _heatmap(sweep: Sweep, one: Parameter, other: Parameter, finished: Sequence[Outcome]) -> Figure:
    """The mean accuracy over two numeric keys: a field a pair of values, or a dot a configuration."""
    figure = new_figure(6.2, 4.6)
    axes = figure.add_subplot()
    # a key that is not used may have no number: its default then says so
    values = [[sweep.value_of(x.configuration.runs[0], p.key) for p in (one, other)] for x in finished]
    finished = [x for x, pair in zip(finished, values, strict=True) if None not in pair]
    places = [(float(pair[0]), float(pair[1])) for pair in values if None not in pair]
    means = [outcome.mean for outcome in finished]
    others = [key for key in sweep.space.keys if key not in (one.key, other.key)]
    if isinstance(one.domain, Choice) and isinstance(other.domain, Choice):
        _fields(axes, figure, places, means)
    else:
        dots = axes.scatter(
            [x for x, _ in places],
            [y for _, y in places],
            c=means,
            cmap=COLOURS,
            s=60,
            edgecolors="black",
            linewidths=0.6,
        )
        figure.colorbar(dots, label=ACCURACY)
        for parameter, scale in ((one, axes.set_xscale), (other, axes.set_yscale)):
            if isinstance(parameter.domain, Range) and parameter.domain.form == "loguniform":
                scale("log")
    axes.set_xlabel(text(one.key))
    axes.set_ylabel(text(other.key))
    over = f"\n(mean over {text(', '.join(others))})" if others and isinstance(one.domain, Choice) else ""
    axes.set_title(f"Accuracy by {text(one.key)} and {text(other.key)}{over}")
    return figure


def _fields(axes: Axes, figure: Figure, places: Sequence[tuple[float, float]], means: Sequence[float]) -> None:
    columns, rows = (sorted({place[axis] for place in places}) for axis in (0, 1))
    table = np.full((len(rows), len(columns)), np.nan)
    for row, column in np.ndindex(table.shape):
        here = [x for place, x in zip(places, means, strict=True) if place == (columns[column], rows[row])]
        table[row, column] = np.mean(here) if here else np.nan
    image = axes.imshow(table, cmap=COLOURS, origin="lower", aspect="auto")
    figure.colorbar(image, label=ACCURACY)
    middle = (np.nanmin(table) + np.nanmax(table)) / 2
    for row, column in np.ndindex(table.shape):
        value = table[row, column]
        if not np.isnan(value):
            ink = "black" if value > middle else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
    axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    axes.grid(visible=False)


def _importance(found: Importance) -> Figure:
    shares = dict(reversed([*found.shares.items()]))
    figure = new_figure(6, 1.7 + 0.32 * len(shares))
    axes = figure.add_subplot()
    values = [100 * share.value for share in shares.values()]
    ends = [[100 * (x.value - x.low), 100 * (x.high - x.value)] for x in shares.values()]
    bars = axes.barh([*map(text, shares)], values, color="#0072B2", edgecolor="black", linewidth=0.6)
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


def _is_numeric(parameter: Parameter) -> bool:
    match parameter.domain:
        case Choice(values):
            return len(values) > 1 and all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)
        case _:
            return True


def _colour_map() -> Any:
    from matplotlib import colormaps

    return colormaps[COLOURS]


def _wrapped(label: str, width: int = 44) -> str:
    from textwrap import wrap

    return "\n".join(map(text, wrap(label, width)))
