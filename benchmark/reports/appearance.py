"""How figures of stored runs look: colours, dashes and markers, panels and legends, on a screen and on paper."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.reports.lettering import FIGURE, families, no_warnings_of_glyphs, say_undrawn
from benchmark.store import put
from benchmark.tables import Choice, Showing, method_order, natural
from methods.errors import InputError, unknown

COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Okabe and Ito's, which colour-blind eyes tell apart, without yellow, which paper does not show."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
Dashes = Literal["-", "--", "-.", ":"] | tuple[float, tuple[float, ...]]
DASHES: Sequence[Dashes] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (1, 1)), (0, (7, 2, 2, 2)))

ENDINGS = ("svg", "pdf", "png")
PANEL = (4.6, 3.2)
"""Width and height of a panel on the screen, in inches."""

STYLES = ("screen", "paper")
PAPER_WIDTH = 6.75
"""Inches, where nothing is said: the text of a page of two columns."""

NARROWEST_PANEL = 1.55
PAPER_RATIO = 0.78
INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}


@dataclass(frozen=True)
class View:
    """What of the runs a figure shows, and how.

    Attributes:
        choice: Which rows and columns, in which order.
        showing: What they are called.
        style: ``screen`` or ``paper``: small letters and thin lines, every font in the file.
        width: Of the whole figure in inches; None for that of the style.
    """

    choice: Choice = field(default_factory=Choice)
    showing: Showing = field(default_factory=Showing)
    style: str = "screen"
    width: float | None = None

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise unknown("style", self.style, STYLES)
        if self.width is not None and not 1 <= self.width <= 100:
            raise InputError(f"--width takes 1 to 100 inches (given: {self.width:g})")

    @property
    def on_paper(self) -> bool:
        """Whether it is for a paper."""
        return self.style == "paper"

    @property
    def total(self) -> float | None:
        """The width in inches; None where it follows from the panels."""
        return self.width or (PAPER_WIDTH if self.on_paper else None)


def inches(text: str) -> float:
    """Return the width that a text such as ``3.25in``, ``84mm`` or ``240pt`` means, in inches.

    Raises:
        InputError: If it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(in|cm|mm|pt)?\s*", text)
    if not found:
        raise InputError(f"--width takes a number of inches, or one with in, cm, mm or pt (given: {text!r})")
    return float(found[1]) * INCHES[found[2] or "in"]


@dataclass(frozen=True)
class Look:
    """How one row of the table is drawn in every figure."""

    colour: str
    marker: str
    dashes: Dashes


_SHARED: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "svg.hashsalt": "okdbench",
    "pdf.fonttype": 42,
}
_SCREEN: dict[Any, Any] = {"font.size": 9, "lines.markersize": 4.5, "svg.fonttype": "none"}
_PAPER: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "legend.fontsize": 6.5,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "lines.markersize": 3,
    "axes.linewidth": 0.5,
    "grid.linewidth": 0.4,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.2,
    # letters as outlines: they look alike where the font is not installed
    "svg.fonttype": "path",
}


@contextmanager
def style(view: View | None = None) -> Iterator[None]:
    """The settings of all figures; on the screen text stays text, and the same figure is the same file."""
    fonts: dict[Any, Any] = {"font.family": families()}
    with mpl.rc_context(_SHARED | fonts | (_PAPER if view and view.on_paper else _SCREEN)):
        yield


def check_path(path: Path) -> Path:
    """Return where a figure goes, or raise an InputError for an ending that is no format."""
    ending = path.suffix.removeprefix(".").lower()
    if ending not in ENDINGS:
        raise unknown("figure format", ending, ENDINGS)
    return path


def save(figure: Figure, path: Path, view: View | None = None) -> Path:
    """Write a figure by its ending; its folder is made, and a width that was asked for is kept."""
    ending = check_path(path).suffix[1:].lower()
    exact = view is not None and view.total is not None
    drawn = BytesIO()
    with style(view):
        # without the date, which would make every file another
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending)
        with no_warnings_of_glyphs():
            figure.savefig(drawn, format=ending, dpi=200, bbox_inches=None if exact else "tight", metadata=metadata)
        say_undrawn([figure], ending == "svg" and mpl.rcParams["svg.fonttype"] == "none")
    return put(path, drawn.getbuffer())


def looks(frame: pd.DataFrame, order: Sequence[str] = ()) -> dict[str, Look]:
    """Return how each row is drawn, in the table's order; after eight the colours begin anew with other dashes.

    Args:
        frame: With ``row`` and ``method``.
        order: Of the rows; their own if it is empty.
    """
    methods = dict(zip(frame["row"], frame["method"], strict=True))
    rows = [row for row in order if row in methods] or sorted(
        methods, key=lambda row: (*method_order(methods[row]), natural(row))
    )
    count = len(COLOURS)
    return {
        row: Look(COLOURS[i % count], MARKERS[(i + i // count) % count], DASHES[(i + i // count) % count])
        for i, row in enumerate(rows)
    }


def panels(count: int, view: View, width: int = 3) -> tuple[Figure, list[Axes], int]:
    """Return a figure with so many panels, and how many stand side by side: at most ``width``, as far as they fit."""
    fits = width if view.total is None else max(1, min(width, int(view.total / NARROWEST_PANEL)))
    across = min(count, fits)
    down = -(-count // across)
    size = (PANEL[0] * across, PANEL[1] * down)
    if view.total is not None:
        # room for the legend below
        size = (view.total, view.total / across * PAPER_RATIO * down + 0.35)
    with style(view):
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(down, across, squeeze=False)
    axes = list(grid.flat)
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count], across


def name_y(figure: Figure, axes: Sequence[Axes], name: str, across: int, view: View) -> None:
    """Name the vertical axis: beside the first panel of each row, on paper once for all."""
    if view.on_paper:
        with style(view):
            figure.supylabel(name, fontsize=_PAPER["axes.labelsize"])
        return
    for axis in axes[::across]:
        axis.set_ylabel(name)


def legend(figure: Figure, appearance: Mapping[str, Look], lines: bool, view: View) -> None:
    """Put the rows' names below a figure."""
    names = [view.showing.word(row, FIGURE) for row in appearance]
    with style(view):
        handles = [
            Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.dashes if lines else "none")
            for look in appearance.values()
        ]
        width = figure.get_size_inches()[0]
        # at 9 points a letter is about 0.07 inches wide, a handle with its gaps 0.8
        scale = 0.72 if view.on_paper else 1.0
        columns = max(1, min(len(handles), int(width / scale / (0.8 + 0.07 * max(map(len, names))))))
        figure.legend(handles, names, loc="outside lower center", ncols=columns)
