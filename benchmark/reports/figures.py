"""Figures of stored runs: readable in black and white and for colour-blind eyes, means with bands over seeds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from benchmark.store import Status
from benchmark.tables import SCORES, layout, method_order, natural, of_run, summaries
from methods.errors import InputError, unknown

COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Okabe and Ito's, which colour-blind eyes tell apart, without yellow, which paper does not show."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
Dashes = Literal["-", "--", "-.", ":"] | tuple[float, tuple[float, ...]]
DASHES: Sequence[Dashes] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (1, 1)), (0, (7, 2, 2, 2)))

ENDINGS = ("svg", "pdf", "png")
PANEL = (4.6, 3.2)
MAX_PANELS = 12
MARKER_POINTS = 7.0
MARKER_SHARE = 0.025
"""Of the largest number of an axis, roughly what a marker covers."""

COSTS: Mapping[str, tuple[str, str]] = {
    "multiply-adds": ("training-multiply-adds", "multiply-adds of a training step an image, in millions"),
    "seconds": ("seconds", "wall time of a run in seconds"),
    "memory": ("memory", "peak memory in MiB"),
}
CURVES: Mapping[str, str] = {
    "student": "student accuracy in %",
    "top1/ensemble": "accuracy of the ensemble in %",
    "loss": "training loss",
    "gain/teachers": "teachers minus peers in points",
    "gain/ensemble": "ensemble minus peers in points",
}
HOMOGENEITY: Mapping[str, str] = {
    "distance/peers": "distance between peers' probabilities",
    "kl/peers": "KL between peers in nats",
    "disagreement/peers": "peers disagree in %",
    "kl/teacher-peer": "KL(teacher || peer) in nats",
}


@dataclass(frozen=True)
class Look:
    """How one row of the table is drawn in every figure."""

    colour: str
    marker: str
    dashes: Dashes


@contextmanager
def style() -> Iterator[None]:
    """The settings of all figures; text stays text, and the same figure is the same file."""
    settings: dict[Any, Any] = {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#E5E5E5",
        "axes.axisbelow": True,
        "legend.frameon": False,
        "legend.handlelength": 3.2,
        "lines.markersize": 4.5,
        "svg.fonttype": "none",
        "svg.hashsalt": "okdbench",
        "pdf.fonttype": 42,
    }
    with mpl.rc_context(settings):
        yield


def check_path(path: Path) -> Path:
    """Return where a figure goes, or raise an InputError for an ending that is no format."""
    ending = path.suffix.removeprefix(".").lower()
    if ending not in ENDINGS:
        raise unknown("figure format", ending, ENDINGS)
    return path


def save(figure: Figure, path: Path) -> Path:
    """Write a figure by its ending; its folder is made."""
    check_path(path).parent.mkdir(parents=True, exist_ok=True)
    with style():
        # without the date, which would make every file another
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix[1:].lower())
        figure.savefig(path, dpi=200, bbox_inches="tight", metadata=metadata)
    return path


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the finished runs' rows with ``row`` and ``column``, as the table of all runs has them."""
    finished = frame[frame["status"] == str(Status.FINISHED)]
    if finished.empty:
        raise InputError("no finished run to draw")
    # runs that did not finish count for the names: a row is called alike in table and figure
    places = layout.labelled(summaries(frame)).set_index("run")[["row", "column"]]
    return finished.copy().join(places, on="run")


def looks(frame: pd.DataFrame) -> dict[str, Look]:
    """Return how each row is drawn, in the table's order; after eight the colours begin anew with other dashes."""
    methods = dict(zip(frame["row"], frame["method"], strict=True))
    rows = sorted(methods, key=lambda row: (*method_order(methods[row]), natural(row)))
    count = len(COLOURS)
    return {
        row: Look(COLOURS[i % count], MARKERS[(i + i // count) % count], DASHES[(i + i // count) % count])
        for i, row in enumerate(rows)
    }


def curves(frame: pd.DataFrame, metric: str = "student") -> Figure:
    """Draw a metric over the epochs, a panel a data set and backbone: mean, and a band of one standard deviation."""
    if metric not in CURVES:
        raise unknown("curve", metric, CURVES)
    runs = labelled(frame)
    panels = [(column, metric, column) for column in _columns(runs)]
    return _over_epochs(runs, panels, CURVES[metric])


def homogeneity(frame: pd.DataFrame) -> Figure:
    """Draw how alike the predictors are over the epochs, a panel a measure, a row of panels a data set and backbone."""
    runs = labelled(frame)
    measures = [metric for metric in HOMOGENEITY if metric in runs.columns and runs[metric].notna().any()]
    if not measures:
        raise InputError("no run has diagnostics of its peers: bench run --set train.diagnostics_every=1")
    columns = _columns(runs)
    panels = [
        (column, metric, HOMOGENEITY[metric] if len(columns) == 1 else f"{column}\n{HOMOGENEITY[metric]}")
        for column in columns
        for metric in measures
    ]
    return _over_epochs(runs, panels, "", width=len(measures) if len(columns) > 1 else 2)


def cost(frame: pd.DataFrame, against: str = "multiply-adds", score: str = "student") -> Figure:
    """Draw a score against what training takes: a point a row, its mean and one standard deviation over the seeds.

    Rows that take the same stand side by side, a marker's width apart.
    """
    if against not in COSTS:
        raise unknown("cost", against, COSTS)
    if score not in SCORES:
        raise unknown("value", score, SCORES)
    key, name = COSTS[against]
    runs = _scored(labelled(frame), {"x": key, "y": score})
    if runs.empty:
        raise InputError(f"no finished run has both {score} and {against}: runs of older versions stored no cost")
    appearance = looks(runs)
    columns = _columns(runs)
    figure, axes = _panels(len(columns))
    for axis, column in zip(axes, columns, strict=True):
        points = runs[runs["column"] == column].groupby("row", sort=False).agg({"x": "mean", "y": ["mean", "std"]})
        width = MARKER_SHARE * points["x", "mean"].max()
        place = -math.inf
        for row, x, y, spread in points.sort_values(("x", "mean"), kind="stable").itertuples(name=None):
            look = appearance[str(row)]
            place = max(x, place + width)
            aside = ScaledTranslation((place - x) / width * MARKER_POINTS / 72, 0, figure.dpi_scale_trans)
            drawn = axis.errorbar(
                x, y, yerr=None if pd.isna(spread) else spread, fmt=look.marker, color=look.colour, capsize=3,
                markersize=MARKER_POINTS, markeredgecolor="white", markeredgewidth=0.5,
            )  # fmt: skip
            # moved afterwards: the axis takes its limits from what is drawn in data coordinates alone
            for artist in drawn.get_children():
                artist.set_transform(axis.transData + aside)
        axis.set(title=column, xlabel=name)
        axis.margins(x=0.12, y=0.15)
    _name_y(axes, SCORES[score].description.partition(",")[0], len(columns))
    _legend(figure, appearance, lines=False)
    return figure


def ranks(frame: pd.DataFrame, score: str = "student") -> Figure:
    """Draw each row's average rank, over every data set, backbone and seed in which all rows have a value."""
    if score not in SCORES:
        raise unknown("value", score, SCORES)
    if SCORES[score].best is None:
        raise InputError(f"of {score} neither end is better: there are no ranks")
    runs = _scored(labelled(frame), {"y": score})
    table = runs.pivot_table(index=["column", "seed"], columns="row", values="y").dropna()
    if table.empty or table.shape[1] < 2:
        raise InputError("ranks need two methods and one seed at least that all of them have")
    ranked = table.rank(axis=1, ascending=SCORES[score].best == "low")
    order = ranked.mean().sort_values(ascending=False, kind="stable")
    appearance = looks(runs)
    with style():
        figure = Figure(figsize=(5.6, 0.9 + 0.42 * len(order)), layout="constrained")
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
        axis.set_yticks(range(len(order)), [str(row) for row in order.index])
        axis.set_ylim(-0.6, len(order) - 0.2)
        axis.set_xlim(0.5, len(order) + 0.5)
        axis.set_xticks(range(1, len(order) + 1))
        axis.grid(axis="y", visible=False)
        blocks = f"{len(ranked)} block{'' if len(ranked) == 1 else 's'} (data set, backbone and seed)"
        axis.set_xlabel(f"average rank by {score} over {blocks};\nfaint: the ranks in each, larger where more often")
    return figure


def _scored(frame: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Return a row a run with scores in the columns named, without runs that lack one."""
    runs = summaries(frame)
    records = runs.to_dict("records")
    for column, score in names.items():
        runs[column] = [of_run(score, run).get("") for run in records]
    return runs.dropna(subset=[*names])


def _columns(runs: pd.DataFrame) -> list[str]:
    columns = sorted(runs["column"].unique(), key=natural)
    if len(columns) > MAX_PANELS:
        raise InputError(f"{len(columns)} data sets, backbones and settings are too many for one figure ({MAX_PANELS})")
    return columns


def _over_epochs(runs: pd.DataFrame, panels: Sequence[tuple[str, str, str]], y: str, width: int = 3) -> Figure:
    appearance = looks(runs)
    drawn: dict[str, Look] = {}
    figure, axes = _panels(len(panels), width)
    for axis, (column, metric, title) in zip(axes, panels, strict=True):
        here = runs[(runs["column"] == column)]
        here = here[here[metric].notna()] if metric in here.columns else here.iloc[:0]
        for row, look in appearance.items():
            if len(group := here[here["row"] == row]):
                drawn[row] = look
                _line(axis, group, metric, look)
        if here.empty:
            axis.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axis.transAxes, color="#666666")
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if y:
        _name_y(axes, y, min(len(axes), width))
    if not drawn:
        raise InputError("no finished run has these numbers")
    _legend(figure, {row: look for row, look in appearance.items() if row in drawn}, lines=True)
    return figure


def _line(axis: Axes, group: pd.DataFrame, metric: str, look: Look) -> None:
    by_epoch = group.assign(epoch=group["epoch"].astype(float) + 1).groupby("epoch")[metric]
    mean, spread = by_epoch.mean(), by_epoch.std()
    axis.plot(
        mean.index, mean, color=look.colour, linestyle=look.dashes, marker=look.marker,
        markevery=max(1, len(mean) // 8), markeredgecolor="white", markeredgewidth=0.5, linewidth=1.4,
    )  # fmt: skip
    if spread.notna().any():
        # what is never negative has no band below 0
        low = (mean - spread).clip(lower=0) if (group[metric] >= 0).all() else mean - spread
        axis.fill_between(mean.index, low, mean + spread, color=look.colour, alpha=0.12, linewidth=0)


def _panels(count: int, width: int = 3) -> tuple[Figure, list[Axes]]:
    across = min(count, width)
    down = -(-count // across)
    with style():
        figure = Figure(figsize=(PANEL[0] * across, PANEL[1] * down), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False)
    axes = list(grid.flat)
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


def _name_y(axes: Sequence[Axes], name: str, across: int) -> None:
    for axis in axes[::across]:
        axis.set_ylabel(name)


def _legend(figure: Figure, appearance: Mapping[str, Look], lines: bool) -> None:
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.dashes if lines else "none")
        for look in appearance.values()
    ]
    with style():
        width = figure.get_size_inches()[0]
        longest = max(map(len, appearance))
        # a letter is about 0.07 inches wide, a handle with its gaps 0.6
        columns = max(1, min(len(handles), int(width / (0.8 + 0.07 * longest))))
        figure.legend(handles, list(appearance), loc="outside lower center", ncols=columns)
