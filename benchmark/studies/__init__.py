"""What the decoupled teacher and the decaying ensemble do, and which short recipe is informative: one module per study.

A study's module has ``Settings``, whose fields are its options on the command line, and ``run(settings) -> Report``;
its page is ``templates/NAME.md.j2``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Hashable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from methods.errors import unknown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

STUDIES = {
    "geometry": "How long a decoupled teacher stays decoupled, and what its pull does meanwhile: a bowl in the plane.",
    "convergence": "How soon students converge, and how many never do: Monte Carlo over random bowls.",
    "homogeneity": "Whether peers become alike or collapse: training runs with settings that provoke it.",
    "regime": "Which short recipe lets every method converge while a single network still overfits: training runs.",
    "subsets": "How much the choice of a training subset moves gains: training runs of every subset with every seed.",
    "ablation": "What each part of the method adds: training runs that differ in one hyperparameter.",
}
"""Name and one line on each; their modules are imported when they are asked for."""


class Strict(BaseModel):
    """The base of settings and of files: unknown names are errors, values are strict."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Report(NamedTuple):
    """What a study writes."""

    figure: Figure
    tables: Mapping[str, pd.DataFrame]  # file name without ending -> table, written as CSV
    facts: Mapping[str, Any]  # what its page's template shows beside its settings
    files: Mapping[str, str] = {}  # further ones: name -> content


def find(name: str) -> Any:
    """Return a study's module by its name.

    Raises:
        InputError: For an unknown name.
    """
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    return import_module(f"benchmark.studies.{name}")


def write(name: str, settings: Strict, report: Report, folder: Path) -> list[Path]:
    """Write ``NAME.svg``, ``NAME.png``, one CSV per table and ``README.md``, and return the files.

    Args:
        name: The study's.
        settings: Those that the report was made with.
        report: What the module's ``run`` returned.
        folder: Is made; files of other names are left alone.
    """
    from benchmark.reports import markdown_templates, write_figures
    from benchmark.store import put
    from benchmark.tables import frame_csv

    options = {key: f"--{key.replace('_', '-')} {shlex.quote(str(x))}" for key, x in settings.model_dump().items()}
    changed = [text for key, text in options.items() if key in settings.model_dump(exclude_defaults=True)]
    templates = markdown_templates("benchmark.studies")
    templates.filters["aligned"] = aligned
    page = templates.get_template(f"{name}.md.j2")
    words = {"command": " ".join(["bench study", name, *changed]), "all_settings": " ".join(options.values())}
    records = {table: frame.to_dict("records") for table, frame in report.tables.items()}
    files = {f"{table}.csv": frame_csv(frame, "%.10g") for table, frame in report.tables.items()}
    text = page.render(settings=settings, tables=records, interval=interval_text, **words, **report.facts)
    files |= {"README.md": text, **report.files}
    written = write_figures(folder, {name: report.figure})
    return written + [put(folder / file, content) for file, content in files.items()]


def aligned(table: str) -> str:
    """Return a Markdown table with columns of one width each; a pipe of a cell is escaped."""
    from tabulate import tabulate

    lines = table.strip().split("\n")
    heading, rule, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
    sides = ["right" if side == "-:" else "left" for side in rule]
    return tabulate(rows, heading, "pipe", disable_numparse=True, colalign=sides)


Row = dict[Hashable, Any]
"""One of a table, as pandas has it."""


def interval_columns(name: str, numbers: tuple[float, float, float]) -> Row:
    """Return a number and the ends of its interval as the columns ``name``, ``name_low`` and ``name_high``."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), numbers, strict=True))


def interval_text(row: Row, name: str, form: str, scale: float = 1.0) -> str:
    """Return a number of a row with its interval in brackets, if it has one, each formatted alike."""
    value, low, high = (f"{scale * float(row[f'{name}{end}']):{form}}" for end in ("", "_low", "_high"))
    return value if "nan" in low else f"{value} [{low}, {high}]"
