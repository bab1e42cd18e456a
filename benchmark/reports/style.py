"""The look of every figure: colours, dashes and markers, fonts, panels and legends, on a screen and on paper."""

import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.lines import Line2D
from matplotlib.mathtext import MathTextParser

from benchmark import escaping
from benchmark.console import new_console, say
from benchmark.escaping import Markup
from benchmark.reports.palette import LINES, Line
from benchmark.store import put
from benchmark.tables import TableFilter, TableStyle
from methods.errors import InputError, unknown

FORMATS = ("svg", "pdf", "png")
STYLES = ("screen", "paper")  # beside what they share, see the files in `styles`
PANEL = (4.6, 3.2)  # width and height of a panel on the screen, in inches
PAPER_WIDTH = 6.75  # default width on paper in inches: the text width of a two-column page
NARROWEST_PANEL = 1.55
PAPER_RATIO = 0.78
LEGEND_HEIGHT = 0.35  # inches that a figure of given width has for its legend
INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}


@dataclass(frozen=True)
class View:
    """Which runs a figure shows, and how."""

    choice: TableFilter = field(default_factory=TableFilter)  # which rows and columns, in which order
    showing: TableStyle = field(default_factory=TableStyle)  # what they are called
    style: str = "screen"  # `screen`, or `paper`: small fonts and thin lines, all text as outlines or embedded fonts
    width: float | None = None  # of the whole figure in inches, 1 to 100; None for the default of the style

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise unknown("style", self.style, STYLES)
        if self.width is not None and not 1 <= self.width <= 100:
            raise InputError(f"--width takes 1 to 100 inches (given: {self.width:g})")

    def word(self, label: str) -> str:
        """Return what a row or column is called in the figure."""
        return self.showing.word(label, FIGURE)

    @property
    def on_paper(self) -> bool:
        """Whether the figure is for a paper."""
        return self.style == "paper"

    @property
    def total(self) -> float | None:
        """The width in inches; None where it follows from the panels."""
        return self.width or (PAPER_WIDTH if self.on_paper else None)


def inches(text: str) -> float:
    """Return a width such as ``3.25in``, ``84mm``, ``240pt`` or ``3.25`` in inches, or raise an InputError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(in|cm|mm|pt)?\s*", text)
    if not found:
        raise InputError(f"--width takes a number of inches, or one with in, cm, mm or pt (given: {text!r})")
    return float(found[1]) * INCHES[found[2] or "in"]


@contextmanager
def styled(view: View | None = None) -> Iterator[None]:
    """Apply the project's matplotlib settings to everything that is plotted inside the context."""
    own = _settings("shared") | _settings(view.style if view else "screen")
    with mpl.rc_context(own | {"font.family": font_families()}):
        yield


@cache
def _settings(name: str) -> dict[Any, Any]:
    file = Path(__file__).with_name("styles") / f"{name}.mplstyle"
    return dict(mpl.rc_params_from_file(file, use_default_template=False))


def font_families() -> list[str]:
    """Return the fonts of figures, of which the first is always there: a character comes from the first that has it."""
    first, *others = _settings("shared")["font.family"]
    installed = set(get_font_names())
    return [first, *(name for name in others if name in installed)]


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, without a window and without pyplot's global state."""
    return Figure(figsize=(width, height), layout="constrained")


def lines_by_row(frame: pd.DataFrame, order: Sequence[str]) -> dict[str, Line]:
    """Return the line style of each row of a frame in order; after eight rows the colours repeat with other dashes."""
    rows, count = [row for row in order if row in set(frame["row"])], len(LINES)
    return {
        row: LINES[(place + place // count) % count]._replace(color=LINES[place % count].color)
        for place, row in enumerate(rows)
    }


@contextmanager
def panels(count: int, view: View, most: int = 3, y: str = "") -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure with ``count`` panels, to plot in its style: at most ``most`` side by side, as far as they fit.

    The vertical axis is labelled beside the first panel of each row, on paper once for all.
    """
    fit = most if view.total is None else max(1, min(most, int(view.total / NARROWEST_PANEL)))
    across = min(count, fit)
    down = -(-count // across)
    size = (PANEL[0] * across, PANEL[1] * down)
    if view.total is not None:
        size = (view.total, view.total / across * PAPER_RATIO * down + LEGEND_HEIGHT)
    with styled(view):
        figure = new_figure(*size)
        axes = list(figure.subplots(down, across, squeeze=False).flat)
        for axis in axes[count:]:
            axis.remove()
        if view.on_paper and y:
            figure.supylabel(y, fontsize=mpl.rcParams["axes.labelsize"])
        for axis in [] if view.on_paper else axes[:count:across]:
            axis.set_ylabel(y)
        yield figure, axes[:count]


def legend(figure: Figure, lines: Mapping[str, Line], view: View, dashes: bool = True) -> None:
    """Write the rows' names below a figure, with their markers and, unless ``dashes`` is off, their dashes."""
    names = [view.word(row) for row in lines]
    handles = [
        Line2D([], [], color=line.color, marker=line.marker, linestyle=line.dash if dashes else "none")
        for line in lines.values()
    ]
    # at 9 points a letter is about 0.07 inches wide, a handle with its gaps 0.8
    scale = 0.72 if view.on_paper else 1.0
    width, height = figure.get_size_inches()
    columns = max(1, min(len(handles), int(width / scale / (0.8 + 0.07 * max(map(len, names))))))
    # a long legend makes the figure higher, not its panels lower
    reserved = LEGEND_HEIGHT if view.total is not None else 0
    figure.set_size_inches(width, height + max(0, 0.19 * scale * -(-len(handles) // columns) - reserved))
    figure.legend(handles, names, loc="outside lower center", ncols=columns)


# files


def check_path(path: Path) -> Path:
    """Return the path of a figure, or raise an InputError if its ending is not a supported format."""
    ending = path.suffix.removeprefix(".").lower()
    if ending not in FORMATS:
        raise unknown("figure format", ending, FORMATS)
    return path


def save(figure: Figure, path: Path, view: View | None = None) -> Path:
    """Write a figure in the format of the path's ending, with exactly the view's width if it has one.

    One line on the error stream names the characters that no font has.
    """
    ending = check_path(path).suffix[1:].lower()
    exact = view is not None and view.total is not None
    content = BytesIO()
    # without the date and the version, so that equal figures are equal files
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}[ending]
    with styled(view), _missing_glyphs() as missing:
        figure.savefig(content, format=ending, dpi=200, bbox_inches=None if exact else "tight", metadata=metadata)
        # a reader of the file has fonts of its own for what stays text
        stays_text = ending == "svg" and mpl.rcParams["svg.fonttype"] == "none"
    put(path, content.getbuffer())
    if missing and not stays_text:
        line = f"note: no font for {' '.join(sorted(missing))}: the figure shows placeholders there"
        say(new_console(stderr=True), line)
    return path


def write_figures(folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Write each figure as ``NAME.svg`` and ``NAME.png`` into a folder, which is made, and return the files."""
    return [save(figure, folder / f"{name}.{end}") for name, figure in figures.items() for end in ("svg", "png")]


# text in figures


def _chosen(label: str) -> str:
    """Return a label that a person chose: a formula in matplotlib's mathtext if it contains one, else plain text."""
    label = escaping.visible(label)
    if not is_math_text(label):
        return re.sub(r"(?<!\\)\$", r"\\$", label)
    try:
        with _missing_glyphs():
            MathTextParser("path").parse(label)
    except ValueError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"the label {label!r} is not a formula that matplotlib can render: {reason}") from None
    return label


FIGURE = Markup(escaping.figure, _chosen)


def shortened(name: str, longest: int) -> str:
    """Cut an escaped name to ``longest`` characters, the last one an ellipsis; formulas stay whole."""
    text = name.replace(r"\$", "$")
    if is_math_text(name) or len(text) <= longest:
        return name
    return escaping.figure(f"{text[: longest - 1]}…")


@contextmanager
def _missing_glyphs() -> Iterator[set[str]]:
    """Collect the characters that no font has, in place of matplotlib's warnings of them."""
    missing: set[str] = set()

    def other(message: str) -> bool:
        found = re.search(r"Glyph (\d+) |does not have a glyph for .* \[U\+(\w+)\]", message)
        missing.update(chr(int(found[1] or int(found[2], 16))) if found else "")
        return not found and "does not support" not in message

    def of_a_formula(record: logging.LogRecord) -> bool:
        return other(record.getMessage())

    formulas = logging.getLogger("matplotlib.mathtext")
    formulas.addFilter(of_a_formula)
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", r"Glyph \d")
        try:
            yield missing
        finally:
            formulas.removeFilter(of_a_formula)
    for one in caught:
        if other(str(one.message)):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
