"""One run as text: its description, its recipe in a few words, and the command that repeats it."""

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
from benchmark.store import PREDICTIONS, Record, Result, StoredRun, students_files
from methods import registry
from methods.errors import InputError

RESULTS = "results"
"""The default folder of results."""


def lines(run: StoredRun) -> Iterator[str]:
    """Yield a stored run's configuration, result, last metrics and the command that repeats it."""
    config, result = run.config, run.result
    saved = {
        "students": bool(students_files(run.folder)),
        "predictions": (run.folder / PREDICTIONS).is_file(),
    }
    yield run.name
    head = {"folder": run.folder, "identity": run.identity, "status": run.status}
    if result:
        head |= {"reason": result.reason} if result.reason else {}
        students = ", ".join(path.stem for path in students_files(run.folder)) or "none (--save-students)"
        predictions = "saved" if saved["predictions"] else "none (--save-predictions)"
        head |= {"took": duration(result.seconds), "saved students": students, "predictions": predictions}
    yield from _aligned(head)
    chosen = {key: getattr(config, key) for key in ("method", "dataset", "backbone", "seed")}
    code = {f"{role} source": source for role, source in config.sources.items()}
    blocks: dict[str, Mapping[str, Any]] = {
        "run": chosen | {"scored on": config.split, "method version": config.method_version} | code,
        "train": config.train.model_dump(),
        "data": config.data.model_dump() | {"checksum": config.dataset_checksum},
        config.method: config.hyperparameters,
        "cost": (result.cost or {}) if result else {},
        "made with": (result.environment or {}) if result else {},
        "last metrics": run.last_metrics(),
    }
    for title, values in blocks.items():
        if values:
            yield from ("", f"{title}:", *_aligned(values))
    flags = [f"--save-{what}" for what, there in saved.items() if there]
    yield from ("", "repeat it (with --force if it has ended):")
    yield f"  {command(config, result, run.folder.parents[1], flags)}"


def listing(runs: Iterable[Record]) -> Iterator[str]:
    """Yield one line per run; of the same run measured in several environments with each one's."""
    runs = list(runs)
    counts = Counter(run.identity for run in runs)
    for run in runs:
        accuracy = run.last_metrics().get("student")
        score = "" if accuracy is None else f"{accuracy:6.2f} %"
        reason = f"  {' '.join(run.reason.split())}" if run.reason else ""
        place = f"  ({run.environment})" if counts[run.identity] > 1 else ""
        yield f"  {run.status:<13}  {score:>8}  {run.name}{place}{reason}"


def _aligned(values: Mapping[str, Any]) -> Iterator[str]:
    width = max(map(len, values))
    for key, value in values.items():
        text = f"{value:.12g}" if isinstance(value, float) else "" if value is None else str(value)
        yield f"  {key:<{width}}  {text}"


def recipe(config: RunConfig) -> str:
    """Return the optimiser, augmentation and regularisation, such as ``adamw + randaugment + cutmix``."""
    train, data = config.train, config.data
    words = [train.optimizer, "no augmentation" if data.augment == "none" else f"{data.augment} augmentation"]
    if data.crop == "resized" and data.augment != "none":
        words.append(f"resized crop ({data.crop_scale:g} to 1 of the area)")
    if data.erase:
        words.append(f"erase {data.erase:g}")
    if data.mix != "none":
        words.append(data.mix if data.mix_alpha == 1 else f"{data.mix} (alpha {data.mix_alpha:g})")
    if train.label_smoothing:
        words.append(f"label smoothing {train.label_smoothing:g}")
    return " + ".join(words)


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
    if device := ((result.environment or {}) if result else {}).get("device"):
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
    for section, model in SECTIONS.items():
        base, own = _recipe_section(config.dataset, section), getattr(config, section)
        for key in model.model_fields:
            if (value := getattr(own, key)) != getattr(base, key):
                yield f"{section}.{key}={_yaml(value)}"
    hyperparameters = config.hyperparameters
    # an older version's are completed with those added since; the present version stores all of them
    if registry.version(config.method) not in (None, config.method_version):
        hyperparameters = methods.restored(config.method, hyperparameters)
    for key, value in hyperparameters.items():
        yield f"{config.method}.{key}={_yaml(value)}"


@cache
def _recipe_section(dataset: str, section: str) -> Any:
    try:
        found = recipes.read(recipes.find(datasets.recipe(dataset)))
    except InputError:
        # a dataset that this version does not know: everything that is not a default is named
        found = {}
    return SECTIONS[section](**found.get(section, {}))


def _yaml(value: Any) -> str:
    """Return the shortest text that YAML reads as the value."""
    return value if isinstance(value, str) and _reads_as_itself(value) else json.dumps(value)


@lru_cache(maxsize=10_000)
def _reads_as_itself(word: str) -> bool:
    try:
        return bool(parse_yaml(word, "") == word)
    except InputError:
        return False
