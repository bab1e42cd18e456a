"""What the decoupled teacher and the decaying ensemble do, and which short recipe is informative: one module per study.

A study's module has ``NameSettings``, whose fields are its options on the command line, ``run(settings) -> result`` and
``report(result) -> Report``; its page is ``templates/NAME.md.j2``.
"""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from methods.errors import unknown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmark.reports import Line

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


@dataclass(frozen=True)
class Report:
    """What a study writes.

    Attributes:
        figure: Its figure.
        tables: File name without ending -> table, written as CSV.
        facts: What its page's template shows beside ``settings``.
        files: Further files: name -> content.
    """

    figure: Figure
    tables: Mapping[str, pd.DataFrame]
    facts: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """One study, ready to be carried out."""

    name: str
    description: str
    module: Any

    @property
    def settings(self) -> type[Strict]:
        """The model of its settings."""
        found: type[Strict] = getattr(self.module, f"{self.name.capitalize()}Settings")
        return found

    def carry_out(self, settings: Strict, folder: Path) -> list[Path]:
        """Run the study and write its report into a folder; return the files."""
        return self.write(self.module.run(settings), folder)

    def write(self, result: Any, folder: Path) -> list[Path]:
        """Write ``NAME.svg``, ``NAME.png``, one CSV per table and ``README.md`` into a folder, which is made.

        Args:
            result: Of the module's ``run``.
            folder: Files of other names are left alone.

        Returns:
            The files.
        """
        from benchmark.reports import markdown_templates, write_figures
        from benchmark.store import put
        from benchmark.tables import frame_csv

        report: Report = self.module.report(result)
        written = write_figures(folder, {self.name: report.figure})
        written += [put(folder / f"{name}.csv", frame_csv(x, "%.10g")) for name, x in report.tables.items()]
        page = markdown_templates("benchmark.studies").get_template(f"{self.name}.md.j2")
        options = _options(self.name, result.settings)
        written.append(put(folder / "README.md", page.render(settings=result.settings, **options, **report.facts)))
        return [*written, *(put(folder / name, content) for name, content in report.files.items())]


def find(name: str) -> Study:
    """Return a study by its name.

    Raises:
        InputError: For an unknown name.
    """
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    return Study(name, STUDIES[name], import_module(f"benchmark.studies.{name}"))


def _options(study: str, settings: Strict) -> dict[str, str]:
    """Return the command that makes a study, and all of its settings on one line."""
    values = settings.model_dump()
    defaults = {name: info.default for name, info in type(settings).model_fields.items()}
    words = {name: f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in values.items()}
    changed = [words[name] for name, value in values.items() if value != defaults[name]]
    return {"command": " ".join(["bench study", study, *changed]), "all_settings": " ".join(words.values())}


def interval_columns(name: str, numbers: tuple[float, float, float]) -> dict[str, float]:
    """Return a number and the ends of its interval as the columns ``name``, ``name_low`` and ``name_high``."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), numbers, strict=True))


def plot_interval(
    axis: Axes, row: Mapping[Hashable, Any], name: str, place: float, line: Line, scale: float = 1.0, **look: Any
) -> None:
    """Plot a number of a row with its interval at a height."""
    value, low, high = (scale * float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    axis.errorbar(
        value, place, xerr=[[value - low], [high - value]], fmt=line.marker, color=line.color, capsize=3, **look
    )
