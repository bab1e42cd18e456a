"""What every figure is drawn with: style, lines that need no colour, files that are wholly there or not at all."""

from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmark.reports.lettering import families, no_warnings_of_glyphs
from benchmark.store import put

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "okdbench",  # identifiers of the SVG come from this, so the same numbers make the same file
}


class Line(NamedTuple):
    """A colour (Okabe and Ito's, told apart by colour-blind readers), a dash and a marker: readable without colour."""

    color: str
    dash: str | tuple[int, tuple[int, ...]]
    marker: str


LINES = (
    Line("#000000", "-", "o"),
    Line("#D55E00", "--", "s"),
    Line("#0072B2", "-.", "^"),
    Line("#009E73", ":", "D"),
    Line("#CC79A7", (0, (6, 1, 1, 1, 1, 1)), "v"),
    Line("#E69F00", (0, (1, 3)), "X"),
)


def styled() -> AbstractContextManager[None]:
    """Return a context in which what is drawn has the project's style."""
    return mpl.rc_context(_STYLE | {"font.family": families()})


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that belongs to no window and to no global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_figure(folder: Path, name: str, figure: Figure) -> list[Path]:
    """Write ``NAME.svg`` and ``NAME.png`` into a folder, which is made, and return the files."""
    written = []
    for ending, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        drawn = BytesIO()
        with styled(), no_warnings_of_glyphs():
            figure.savefig(drawn, format=ending, dpi=150, metadata=metadata)
        written.append(put(folder / f"{name}.{ending}", drawn.getbuffer()))
    return written
