"""Runs as text: one run and the command that repeats it; what several have in common and what limits comparisons."""

import json
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import methods
from benchmark import datasets, tables
from benchmark.configuration import DATA_ROOT, SECTIONS, RunConfig, joined, parse_yaml, recipes
from benchmark.formatting import duration
from benchmark.store import PREDICTIONS, Result, Status, StoredRun, identity_in, students_files
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
        "cost:": (result.cost or {}) if result else {},
        "made with:": (result.environment or {}) if result else {},
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
    # of a dataset that is unknown everything that is not a default is named
    _, usual = _recipe(config.dataset)
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
def _recipe(dataset: str) -> tuple[bool, Mapping[str, Any]]:
    """Return whether a dataset is known, and its recipe by section; of an unknown one the defaults."""
    try:
        found = recipes.read(recipes.find(datasets.recipe(dataset)))
    except InputError:
        found = None
    return found is not None, {name: model(**(found or {}).get(name, {})) for name, model in SECTIONS.items()}


def _yaml(value: Any) -> str:
    """Return the shortest text that YAML reads as the value."""
    return value if isinstance(value, str) and _reads_as_itself(value) else json.dumps(value)


@lru_cache(maxsize=10_000)
def _reads_as_itself(word: str) -> bool:
    try:
        return bool(parse_yaml(word, "") == word)
    except InputError:
        return False


# several runs


def facts(runs: Collection[StoredRun]) -> dict[str, str]:
    """Return what was run, how, and on which machines."""
    ended = [run.result for run in runs if run.result]
    environments = [result.environment or {} for result in ended]
    seconds = sum(result.seconds for result in ended)
    statuses = Counter(str(run.status) for run in runs).most_common()
    found = {
        "runs": f"{len(runs)}: " + ", ".join(f"{count} {status}" for status, count in statuses),
        "methods": _listed(sorted({run.config.method for run in runs}, key=tables.method_order)),
        "datasets": _listed(run.config.dataset for run in runs),
        "backbones": _listed(run.config.backbone for run in runs),
        "seeds": _numbers(run.config.seed for run in runs),
        "epochs": _numbers(run.config.train.epochs for run in runs),
        "recipe": _listed(recipe(run.config) for run in runs),
        "scored on": _listed(run.config.split for run in runs),
        **{key: _listed(own.get(key, "") for own in environments) for key in ("hardware", "precision", "torch")},
        "okdbench": _listed(f"{own.get('okdbench', '')} {own.get('commit', '')}".strip() for own in environments),
        "time": f"{duration(seconds)} for all runs together" if seconds else "",
    }
    return {key: value for key, value in found.items() if value}


def limitations(columns: Mapping[str, Mapping[str, Sequence[StoredRun]]]) -> Iterator[str]:
    """Yield a line for each thing that weakens a comparison of runs by column and row, once for all its columns."""
    every = [run for rows in columns.values() for runs in rows.values() for run in runs]
    unfinished = Counter(run.status for run in every if run.status is not Status.FINISHED)
    if unfinished:
        what = ", ".join(f"{count} {status}" for status, count in unfinished.items())
        yield f"{sum(unfinished.values())} of {len(every)} runs did not finish ({what}); no mean includes them"
    where: dict[str, list[str]] = {}
    for column, rows in columns.items():
        for line in _of_column(rows):
            where.setdefault(line, []).append(column)
    for line, own in where.items():
        yield f"{'everywhere' if len(own) == len(columns) > 1 else _listed(own, 6)}: {line}"


def _of_column(rows: Mapping[str, Sequence[StoredRun]]) -> Iterator[str]:
    runs = [run for own in rows.values() for run in own]
    configs = [run.config for run in runs]
    environments = [run.result.environment or {} for run in runs if run.result]
    for key in ("hardware", "precision", "torch", "okdbench", "commit"):
        values = Counter(own[key] for own in environments if own.get(key)).most_common()
        if len(values) > 1:
            yield f"different {tables.MIXED[key]}: {_listed((f'{value} ({count})' for value, count in values), 6)}"
    if any(own.get("commit", "").endswith("+") for own in environments):
        yield "some runs used code with uncommitted changes"
    seeds = {
        row: frozenset(run.config.seed for run in own if run.status is Status.FINISHED) for row, own in rows.items()
    }
    if few := [f"{row} ({len(own)})" for row, own in seeds.items() if len(own) < tables.MIN_PAIRS]:
        yield f"fewer than {tables.MIN_PAIRS} finished seeds, too few for a confidence interval: {_listed(few, 6)}"
    if len({own for own in seeds.values() if own}) > 1:
        yield "the methods' finished seeds differ: only common seeds are paired"
    full = {one.dataset: usual["train"].epochs for one in configs for known, usual in [_recipe(one.dataset)] if known}
    short = [one for one in configs if one.train.epochs < full.get(one.dataset, 0)]
    if short:
        lengths, usual = {one.train.epochs for one in short}, {full[one.dataset] for one in short}
        yield f"runs are shorter than the recipe: {_numbers(lengths, 6)} epochs instead of {_numbers(usual, 6)}"
    for key, what in (("train_per_class", "training"), ("test_per_class", "test")):
        if parts := {value for one in configs if (value := getattr(one.data, key)) is not None}:
            yield f"only a subset of the {what} images: {_numbers(parts, 6)} per class"
    if {one.split for one in configs} == {"validation"}:
        yield "scored on held-out training images, not on the test set"
    settings = Counter(own[0].config.method for own in rows.values() if any(run.config.split == "test" for run in own))
    if several := [f"{method} ({count})" for method, count in settings.items() if count > 1]:
        yield (
            f"several settings of a method are scored on the test set: {_listed(several, 6)}; choosing the best of "
            "them selects on the test set (data.holdout=0.1 scores on held-out training images)"
        )


def _numbers(found: Iterable[int], most: int = 20) -> str:
    return _listed(map(str, sorted(set(found))), most)


def _listed(words: Iterable[str], most: int = 20) -> str:
    """Join the distinct words with commas; beyond ``most`` of them, count the rest."""
    every = [word for word in dict.fromkeys(words) if word]
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")
