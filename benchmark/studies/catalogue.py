"""The studies by name.

A study is a module with ``run(settings) -> result`` and ``write(result, folder) -> files``; what it assumes is one
model of settings, whose fields are its options on the command line.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from methods.errors import unknown

STUDIES = {
    "geometry": "How long a decoupled teacher stays decoupled, and what its pull does meanwhile: a bowl in the plane.",
    "convergence": "How soon students arrive, and how many never do: Monte Carlo over random bowls.",
    "homogeneity": "Whether peers become alike or collapse: training runs with settings that provoke it.",
    "regime": "Which short recipe lets every method arrive and leaves something to regularise: training runs.",
    "ablation": "What each part of the method adds: training runs that differ in one hyperparameter.",
}
"""Name and one line on each; their modules are imported when they are asked for."""


class Study(NamedTuple):
    """One study, ready to be carried out."""

    name: str
    description: str
    settings: type[BaseModel]
    module: Any

    def carry_out(self, settings: BaseModel, folder: Path) -> list[Path]:
        """Run the study and write its figure, tables and text into a folder; return the files."""
        files: list[Path] = self.module.write(self.module.run(settings), folder)
        return files


def find(name: str) -> Study:
    """Return a study by its name, or raise an InputError that lists them."""
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    module = import_module(f"benchmark.studies.{name}")
    return Study(name, STUDIES[name], getattr(module, f"{name.capitalize()}Settings"), module)
