"""What a reader of results should know before believing them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from benchmark import datasets
from benchmark.configuration import TrainConfig, recipes
from benchmark.store import Status, StoredRun
from methods.errors import InputError

FEW_SEEDS = 3
NAMED = 6


def cautions(columns: Mapping[str, Mapping[str, Iterable[StoredRun]]]) -> Iterator[str]:
    """Yield a line for each thing that weakens a comparison.

    Args:
        columns: The runs by the table's column (data set and backbone) and row (method).
    """
    held = {column: {row: list(runs) for row, runs in rows.items()} for column, rows in columns.items()}
    yield from _unfinished([run for rows in held.values() for runs in rows.values() for run in runs])
    # what holds for many columns is said once
    where: dict[str, list[str]] = {}
    for column, rows in held.items():
        for line in _of_column(rows):
            where.setdefault(line, []).append(column)
    for line, found in where.items():
        yield f"{'everywhere' if len(found) == len(held) > 1 else _listed(found)}: {line}"


def _of_column(rows: Mapping[str, list[StoredRun]]) -> Iterator[str]:
    runs = [run for own in rows.values() for run in own]
    yield from _mixed(runs)
    yield from _seeds(rows)
    yield from _length(runs)
    yield from _data(runs)
    yield from _selection(rows)


def _unfinished(runs: list[StoredRun]) -> Iterator[str]:
    counts = Counter(run.status for run in runs if run.status is not Status.FINISHED)
    if counts:
        what = ", ".join(f"{count} {status}" for status, count in counts.items())
        yield f"{sum(counts.values())} of {len(runs)} runs did not finish ({what}); no mean counts them"


def _mixed(runs: list[StoredRun]) -> Iterator[str]:
    found = [run.result.environment or {} for run in runs if run.result]
    kinds = {
        "hardware": "runs on different devices are compared",
        "precision": "arithmetic differs",
        "torch": "versions of torch differ",
        "okdbench": "versions of okdbench differ",
        "commit": "commits of okdbench differ",
    }
    for key, what in kinds.items():
        values = Counter(environment[key] for environment in found if environment.get(key))
        if len(values) > 1:
            yield f"{what}: {_listed(f'{value} ({count})' for value, count in values.most_common())}"
    if any(environment.get("commit", "").endswith("+") for environment in found):
        yield "runs were made with code that was changed after its last commit"


def _seeds(rows: Mapping[str, list[StoredRun]]) -> Iterator[str]:
    seeds = {
        row: frozenset(run.config.seed for run in runs if run.status is Status.FINISHED) for row, runs in rows.items()
    }
    few = [f"{row} ({len(own)})" for row, own in seeds.items() if len(own) < FEW_SEEDS]
    if few:
        yield f"fewer than {FEW_SEEDS} finished seeds, too few for an interval: {_listed(few)}"
    if len({own for own in seeds.values() if own}) > 1:
        yield "the methods' finished seeds differ: only those in common are paired"


def _length(runs: list[StoredRun]) -> Iterator[str]:
    wanted = {run.config.dataset: _recipe_epochs(run.config.dataset) for run in runs}
    short = [run for run in runs if run.config.train.epochs < wanted[run.config.dataset]]
    if short:
        lengths = _listed(str(length) for length in sorted({run.config.train.epochs for run in short}))
        full = _listed(str(length) for length in sorted({wanted[run.config.dataset] for run in short}))
        yield f"runs are shorter than the recipe: {lengths} epochs instead of {full}"


@cache
def _recipe_epochs(dataset: str) -> int:
    try:
        recipe = recipes.read(recipes.find(datasets.describe(dataset).recipe))
        return int(recipe.get("train", {}).get("epochs", TrainConfig().epochs))
    except InputError:
        return 0


def _data(runs: list[StoredRun]) -> Iterator[str]:
    for key, what in (("train_per_class", "training"), ("test_per_class", "test")):
        parts = {value for run in runs if (value := getattr(run.config.data, key)) is not None}
        if parts:
            yield f"a part of the {what} images alone: {_listed(str(part) for part in sorted(parts))} a class"
    scored = Counter(run.config.split for run in runs)
    if set(scored) == {"validation"}:
        yield "scored on held-out training images, not on the test set"


def _selection(rows: Mapping[str, list[StoredRun]]) -> Iterator[str]:
    settings: Counter[str] = Counter()
    for runs in rows.values():
        if any(run.config.split == "test" for run in runs):
            settings[runs[0].config.method] += 1
    several = [f"{method} ({count})" for method, count in settings.items() if count > 1]
    if several:
        yield (
            f"several settings of a method are scored on the test set: {_listed(several)}; picking the best of them "
            "selects on it (data.holdout=0.1 scores on held-out training images)"
        )


def _listed(words: Iterable[str]) -> str:
    every = list(words)
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more
