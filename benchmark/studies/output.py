"""What every study writes: a figure, a table and a short text, each of them wholly there or not at all."""

import os
import shlex
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pydantic import BaseModel

from benchmark.atomic import write_text

PROVENANCE = (
    "Of the paper (Decoupled Knowledge with Ensemble Learning for Online Distillation) nothing beyond the abstract is "
    "at hand. This study is this project's own, made to test what the abstract says; it is not the paper's analysis, "
    "and its numbers are not the paper's."
)

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
    """Return a context in which what is drawn has the studies' style."""
    return mpl.rc_context(_STYLE)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that belongs to no window and to no global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_study(folder: Path, name: str, figure: Figure, tables: Mapping[str, pd.DataFrame], text: str) -> list[Path]:
    """Write ``NAME.svg``, ``NAME.png``, one CSV a table and ``README.md`` into a folder, which is made.

    Args:
        folder: Where; files of other names are left alone.
        name: The study's.
        figure: What is drawn.
        tables: File name without ending -> table.
        text: The text in Markdown.

    Returns:
        The files.
    """
    written = write_figure(folder, name, figure)
    for table_name, table in tables.items():
        written.append(folder / f"{table_name}.csv")
        write_text(written[-1], table.to_csv(index=False, float_format="%.10g"))
    written.append(folder / "README.md")
    write_text(written[-1], text)
    return written


def write_figure(folder: Path, name: str, figure: Figure) -> list[Path]:
    """Write ``NAME.svg`` and ``NAME.png`` into a folder, which is made, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for ending, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        path = folder / f"{name}.{ending}"
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with styled():
                figure.savefig(temporary, format=ending, dpi=150, metadata=metadata)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        written.append(path)
    return written


def settings_text(study: str, settings: BaseModel) -> str:
    """Return the command that makes a study, and all of its settings on one line."""
    values = settings.model_dump()
    defaults = {name: field.default for name, field in type(settings).model_fields.items()}
    changed = {name: value for name, value in values.items() if value != defaults[name]}
    return (
        f"Made by `{' '.join(['bench study', study, *_options(changed)])}`.\n\nSettings: `{' '.join(_options(values))}`"
    )


def _options(values: Mapping[str, Any]) -> list[str]:
    return [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in values.items()]
