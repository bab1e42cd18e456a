"""The command that repeats a stored run."""

import json
import shlex
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import methods
from benchmark import datasets
from benchmark.configuration import DATA_ROOT, SECTIONS, RunConfig, joined, recipes, yaml_files
from benchmark.store import Result
from methods import registry
from methods.errors import InputError

RESULTS = "results"
"""Where runs are stored if nothing is said."""

_Sections = dict[str, dict[str, Any]]


class Kept(NamedTuple):
    """What of a run was kept beside its numbers: its students' weights, and what its predictors said."""

    students: bool = False
    predictions: bool = False


def command(
    config: RunConfig, result: Result | None = None, results: Path | None = None, kept: Kept | None = None
) -> str:
    """Return the ``bench run`` line that means exactly this run, by the recipes of this version.

    Of training and data it says what differs from the recipe, of the method every hyperparameter: the line means the
    same when a method's defaults change. Plug-ins, data and results are those of the command that made the run.

    Args:
        config: The run.
        result: How it ended; the device that it ran on belongs to its numbers.
        results: The results folder that it lies in; None for the usual one.
        kept: What was kept of it; None for nothing.
    """
    words = ["bench", "run", "--methods", config.method, "--dataset", joined([config.dataset])]
    words += ["--backbone", config.backbone]
    words += ["--seeds", f"{config.seed},"]
    if device := ((result.environment or {}) if result else {}).get("device"):
        words += ["--device", device]
    for assignment in _assignments(config):
        words += ["--set", assignment]
    root = Path(config.origin.data_root) if config.origin.data_root else None
    flags = [f"--save-{name}" for name, there in (kept or Kept())._asdict().items() if there]
    return shlex.join([*words, *places(config.origin.plugins, results, root), *flags])


def places(plugins: Sequence[str], results: Path | None, data_root: Path | None) -> list[str]:
    """Return the words that say where a command's plug-ins, results and data lie, where that is not the usual place."""
    words = [word for plugin in plugins for word in ("--plugin", plugin)]
    if results is not None and results.absolute() != Path(RESULTS).absolute():
        words += ["--results", str(results)]
    if data_root is not None and data_root != Path(DATA_ROOT):
        words += ["--data-root", str(data_root)]
    return words


def _assignments(config: RunConfig) -> Iterator[str]:
    for section, model in SECTIONS.items():
        base = _base(config.dataset, section)
        own = getattr(config, section)
        for key in model.model_fields:
            if (value := getattr(own, key)) != getattr(base, key):
                yield f"{section}.{key}={_text(value)}"
    for key, value in _hyperparameters(config).items():
        yield f"{config.method}.{key}={_text(value)}"


def _hyperparameters(config: RunConfig) -> dict[str, Any]:
    """Return all of them, also those that are newer than the stored configuration; a plug-in's as they were stored."""
    # the present version of a method stores everything: it need not be imported
    if registry.version(config.method) in (None, config.method_version):
        return config.hyperparameters
    return methods.restored(config.method, config.hyperparameters)


@cache
def _base(dataset: str, section: str) -> Any:
    return SECTIONS[section](**_recipe(dataset).get(section, {}))


@cache
def _recipe(dataset: str) -> _Sections:
    try:
        return recipes.read(recipes.find(datasets.recipe(dataset)))
    except InputError:
        # a data set that this version does not know: everything that is not a default is said
        return {}


def _text(value: Any) -> str:
    """Return the shortest word that YAML reads as the value."""
    if isinstance(value, str) and _reads_as_itself(value):
        return value
    return json.dumps(value)


@lru_cache(maxsize=10_000)
def _reads_as_itself(word: str) -> bool:
    try:
        return bool(yaml_files.parse(word, "") == word)
    except InputError:
        return False
