"""What the decoupled teacher and the decaying ensemble do, and which short recipe is informative: one module per study.

A study's module has ``NameSettings``, whose fields are its options on the command line, ``run(settings) -> result`` and
``report(result) -> Report``; its page is ``templates/NAME.md.j2``.
"""

from __future__ import annotations

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
    "regime": "Which short recipe lets every method converge and leaves something to regularise: training runs.",
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


class Study(NamedTuple):
    """One study, ready to be carried out."""

    name: str
    description: str
    module: Any

    @property
    def settings(self) -> type[Strict]:
        """The model of its settings."""
        found: type[Strict] = getattr(self.module, f"{self.name.capitalize()}Settings")
        return found

    def write(self, result: Any, folder: Path) -> list[Path]:
        """Write ``NAME.svg``, ``NAME.png``, one CSV per table and ``README.md`` into a folder, and return the files.

        Args:
            result: Of the module's ``run``.
            folder: Is made; files of other names are left alone.
        """
        from benchmark.reports import markdown_templates, write_figures
        from benchmark.store import put
        from benchmark.tables import frame_csv

        report: Report = self.module.report(result)
        settings: Strict = result.settings
        words, changed = [], []
        for name, value in settings.model_dump().items():
            words.append(f"--{name.replace('_', '-')} {shlex.quote(str(value))}")
            changed += words[-1:] if value != type(settings).model_fields[name].default else []
        command = " ".join(["bench study", self.name, *changed])
        page = markdown_templates("benchmark.studies").get_template(f"{self.name}.md.j2")
        text = page.render(settings=settings, command=command, all_settings=" ".join(words), **report.facts)
        files = {f"{name}.csv": frame_csv(table, "%.10g") for name, table in report.tables.items()}
        files |= {"README.md": text, **report.files}
        written = write_figures(folder, {self.name: report.figure})
        return written + [put(folder / name, content) for name, content in files.items()]


def find(name: str) -> Study:
    """Return a study by its name.

    Raises:
        InputError: For an unknown name.
    """
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    return Study(name, STUDIES[name], import_module(f"benchmark.studies.{name}"))


def interval_columns(name: str, numbers: tuple[float, float, float]) -> dict[str, float]:
    """Return a number and the ends of its interval as the columns ``name``, ``name_low`` and ``name_high``."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), numbers, strict=True))


def interval_text(row: Mapping[Hashable, Any], name: str, form: str, scale: float = 1.0) -> str:
    """Return a number of a row with its interval in brackets, if it has one, each formatted alike."""
    value, low, high = (f"{scale * float(row[f'{name}{end}']):{form}}" for end in ("", "_low", "_high"))
    return value if "nan" in low else f"{value} [{low}, {high}]"
