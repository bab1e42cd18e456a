"""Runs as text: all that is known of one, a line each of several, and the command that repeats one."""

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import methods
from benchmark import datasets
from benchmark.configuration import DATA_ROOT, SECTIONS, RunConfig, joined, parse_yaml, recipes
from benchmark.formatting import duration
from benchmark.store import PREDICTIONS, Result, StoredRun, identity_in, students_files
from methods import registry
from methods.errors import InputError

RESULTS = "results"  # the default folder of results


def lines(run: StoredRun) -> Iterator[str]:
    """Yield a stored run's configuration, result, last metrics and the command that repeats it."""
    config, result = run.config, run.result
    students = [path.stem for path in students_files(run.folder)]
    predictions = (run.folder / PREDICTIONS).is_file()
    head = {"folder": run.folder, "identity": identity_in(run.name), "status": run.status}
    if result:
        head |= {"reason": result.reason} if result.reason else {}
        head |= {"took": duration(result.seconds), "saved students": ", ".join(students) or "none (--save-students)"}
        head |= {"predictions": "saved" if predictions else "none (--save-predictions)"}
    chosen = {key: getattr(config, key) for key in ("method", "dataset", "backbone", "seed")}
    code = {f"{role} source": source for role, source in config.sources.items()}
    blocks: dict[str, Mapping[str, Any]] = {
        run.name: head,
        "run:": chosen | {"scored on": config.split, "method version": config.method_version} | code,
        "train:": config.train.model_dump(),
        "data:": config.data.model_dump() | {"checksum": config.dataset_checksum},
        f"{config.method}:": config.hyperparameters,
        "cost:": (result.cost if result else None) or {},
        "made with:": run.made_with,
        "last metrics:": run.last_metrics,
    }
    for title, values in blocks.items():
        if values:
            yield from (title,) if values is head else ("", title)
        width = max(map(len, values), default=0)
        for key, value in values.items():
            text = f"{value:.12g}" if isinstance(value, float) else "" if value is None else str(value)
            yield f"  {key:<{width}}  {text}"
    saved = {"students": students, "predictions": predictions}
    flags = [f"--save-{what}" for what, there in saved.items() if there]
    yield from ("", "repeat it (with --force if it has ended):")
    yield f"  {command(config, result, run.folder.parents[1], flags)}"


def listing(runs: Iterable[StoredRun]) -> Iterator[str]:
    """Yield one line per run; of the same run measured in several environments with each one's."""
    runs = list(runs)
    counts = Counter(run.identity for run in runs)
    for run in runs:
        accuracy = run.last_metrics.get("student")
        score = "" if accuracy is None else f"{accuracy:6.2f} %"
        reason = f"  {' '.join(run.result.reason.split())}" if run.result and run.result.reason else ""
        place = f"  ({run.environment})" if counts[run.identity] > 1 else ""
        yield f"  {run.status:<13}  {score:>8}  {run.name}{place}{reason}"


def command(
    config: RunConfig, result: Result | None = None, results: Path | None = None, flags: Sequence[str] = ()
) -> str:
    """Return the ``bench run`` command that repeats exactly this run.

    It names every setting of training and data that differs from this version's recipe, and every hyperparameter: a
    method's defaults may change. Plug-ins, data and results are those of the original command.

    Args:
        result: Of the run; the device is part of its numbers.
        results: The results folder that contains it; None for the default.
    """
    words = ["bench", "run", "--methods", config.method, "--dataset", joined([config.dataset])]
    words += ["--backbone", config.backbone, "--seeds", f"{config.seed},"]
    if device := ((result.environment if result else None) or {}).get("device"):
        words += ["--device", device]
    for assignment in _assignments(config):
        words += ["--set", assignment]
    root = Path(config.origin.data_root) if config.origin.data_root else None
    return shlex.join([*words, *places(config.origin.plugins, results, root), *flags])


def places(plugins: Sequence[str], results: Path | None, data_root: Path | None) -> list[str]:
    """Return the options for a command's plug-ins, results and data where they differ from the defaults."""
    words = [word for plugin in plugins for word in ("--plugin", plugin)]
    if results is not None and results.absolute() != Path(RESULTS).absolute():
        words += ["--results", str(results)]
    if data_root is not None and data_root != Path(DATA_ROOT):
        words += ["--data-root", str(data_root)]
    return words


def _assignments(config: RunConfig) -> Iterator[str]:
    # of a dataset that is unknown everything that is not a default is named
    usual = recipe_settings(config.dataset) or {name: model() for name, model in SECTIONS.items()}
    for section, model in SECTIONS.items():
        for key in model.model_fields:
            if (value := getattr(getattr(config, section), key)) != getattr(usual[section], key):
                yield f"{section}.{key}={_yaml(value)}"
    hyperparameters = config.hyperparameters
    # an older version's are completed with those added since; the present version stores all of them
    if registry.version(config.method) not in (None, config.method_version):
        hyperparameters = methods.restored(config.method, hyperparameters)
    for key, value in hyperparameters.items():
        yield f"{config.method}.{key}={_yaml(value)}"


@cache
def recipe_settings(dataset: str) -> Mapping[str, Any] | None:
    """Return the settings of a dataset's recipe by section; None if the dataset is unknown."""
    try:
        found = recipes.read(recipes.find(datasets.recipe(dataset)))
    except InputError:
        return None
    return {name: model(**found.get(name, {})) for name, model in SECTIONS.items()}


def _yaml(value: Any) -> str:
    """Return the shortest text that YAML reads as the value."""
    return _word(value) if isinstance(value, str) else json.dumps(value)


@lru_cache(maxsize=10_000)
def _word(word: str) -> str:
    try:
        return word if parse_yaml(word, "") == word else json.dumps(word)
    except InputError:
        return json.dumps(word)
