"""The command that repeats a stored run."""

import json
import shlex
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from benchmark import datasets
from benchmark.configuration import SECTIONS, RunConfig, recipes, yaml_files
from benchmark.store import Result
from methods.errors import InputError

_Sections = dict[str, dict[str, Any]]


def command(config: RunConfig, result: Result | None = None) -> str:
    """Return the ``bench run`` line that means exactly this run, by the recipes of this version.

    Of training and data it says what differs from the recipe, of the method every hyperparameter: the line means the
    same when a method's defaults change. A method from a file needs its ``--plugin`` added.

    Args:
        config: The run.
        result: How it ended; the device that it ran on belongs to its numbers.
    """
    words = ["bench", "run", "--methods", config.method, "--dataset", config.dataset, "--backbone", config.backbone]
    words += ["--seeds", f"{config.seed},"]
    if device := ((result.environment or {}) if result else {}).get("device"):
        words += ["--device", device]
    for assignment in _assignments(config):
        words += ["--set", assignment]
    return shlex.join(words)


def _assignments(config: RunConfig) -> Iterator[str]:
    for section, model in SECTIONS.items():
        base = _base(config.dataset, section)
        own = getattr(config, section)
        for key in model.model_fields:
            if (value := getattr(own, key)) != getattr(base, key):
                yield f"{section}.{key}={_text(value)}"
    for key, value in config.hyperparameters.items():
        yield f"{config.method}.{key}={_text(value)}"


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
