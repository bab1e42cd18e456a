"""What every study writes: a figure, a table and a short text, each of them wholly there or not at all."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pydantic import BaseModel

from benchmark.reports import say_undrawn, write_figure
from benchmark.store import put
from benchmark.tables import frame_csv

PROVENANCE = (
    "Of the paper (Decoupled Knowledge with Ensemble Learning for Online Distillation) nothing beyond the abstract is "
    "at hand. This study is this project's own, made to test what the abstract says; it is not the paper's analysis, "
    "and its numbers are not the paper's."
)


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
    say_undrawn([figure])
    for table_name, table in tables.items():
        written.append(put(folder / f"{table_name}.csv", frame_csv(table, "%.10g")))
    return [*written, put(folder / "README.md", text)]


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
