"""What the stored runs of a page have in common, and what limits the comparison between them."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache

from benchmark import datasets, tables
from benchmark.configuration import TrainConfig, recipes
from benchmark.formatting import duration
from benchmark.reports.run_text import recipe
from benchmark.store import Status, StoredRun
from methods.errors import InputError

FEW_SEEDS = 3
_ENVIRONMENT = {
    "hardware": "runs on different devices are compared",
    "precision": "arithmetic differs",
    "torch": "versions of torch differ",
    "okdbench": "versions of okdbench differ",
    "commit": "commits of okdbench differ",
}


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
        "seeds": _listed(map(str, sorted({run.config.seed for run in runs}))),
        "epochs": _listed(map(str, sorted({run.config.train.epochs for run in runs}))),
        "recipe": _listed(recipe(run.config) for run in runs),
        "scored on": _listed(run.config.split for run in runs),
        **{key: _listed(own.get(key, "") for own in environments) for key in ("hardware", "precision", "torch")},
        "okdbench": _listed(f"{own.get('okdbench', '')} {own.get('commit', '')}".strip() for own in environments),
        "time": f"{duration(seconds)} for all runs together" if seconds else "",
    }
    return {key: value for key, value in found.items() if value}


def limitations(columns: Mapping[str, Mapping[str, Iterable[StoredRun]]]) -> Iterator[str]:
    """Yield one line for each thing that weakens the comparison, once for all columns that have it.

    Args:
        columns: The runs by the table's column (dataset and backbone) and row (method).
    """
    found = {column: {row: list(runs) for row, runs in rows.items()} for column, rows in columns.items()}
    every = [run for rows in found.values() for runs in rows.values() for run in runs]
    unfinished = Counter(run.status for run in every if run.status is not Status.FINISHED)
    if unfinished:
        what = ", ".join(f"{count} {status}" for status, count in unfinished.items())
        yield f"{sum(unfinished.values())} of {len(every)} runs did not finish ({what}); no mean includes them"
    where: dict[str, list[str]] = {}
    for column, rows in found.items():
        for line in _of_column(rows):
            where.setdefault(line, []).append(column)
    for line, own in where.items():
        yield f"{'everywhere' if len(own) == len(found) > 1 else _listed(own, 6)}: {line}"


def _of_column(rows: Mapping[str, list[StoredRun]]) -> Iterator[str]:
    runs = [run for own in rows.values() for run in own]
    environments = [run.result.environment or {} for run in runs if run.result]
    for key, what in _ENVIRONMENT.items():
        values = Counter(own[key] for own in environments if own.get(key)).most_common()
        if len(values) > 1:
            yield f"{what}: {_listed((f'{value} ({count})' for value, count in values), 6)}"
    if any(own.get("commit", "").endswith("+") for own in environments):
        yield "some runs used code with uncommitted changes"
    yield from _seeds(rows)
    recipe_epochs = {run.config.dataset: _recipe_epochs(run.config.dataset) for run in runs}
    short = [run.config for run in runs if run.config.train.epochs < recipe_epochs[run.config.dataset]]
    if short:
        lengths = _listed(map(str, sorted({config.train.epochs for config in short})), 6)
        full = _listed(map(str, sorted({recipe_epochs[config.dataset] for config in short})), 6)
        yield f"runs are shorter than the recipe: {lengths} epochs instead of {full}"
    for key, what in (("train_per_class", "training"), ("test_per_class", "test")):
        parts = {value for run in runs if (value := getattr(run.config.data, key)) is not None}
        if parts:
            yield f"only a subset of the {what} images: {_listed(map(str, sorted(parts)), 6)} per class"
    if {run.config.split for run in runs} == {"validation"}:
        yield "scored on held-out training images, not on the test set"
    settings = Counter(own[0].config.method for own in rows.values() if any(run.config.split == "test" for run in own))
    several = [f"{method} ({count})" for method, count in settings.items() if count > 1]
    if several:
        yield (
            f"several settings of a method are scored on the test set: {_listed(several, 6)}; choosing the best of "
            "them selects on the test set (data.holdout=0.1 scores on held-out training images)"
        )


def _seeds(rows: Mapping[str, list[StoredRun]]) -> Iterator[str]:
    seeds = {
        row: frozenset(run.config.seed for run in runs if run.status is Status.FINISHED) for row, runs in rows.items()
    }
    if few := [f"{row} ({len(own)})" for row, own in seeds.items() if len(own) < FEW_SEEDS]:
        yield f"fewer than {FEW_SEEDS} finished seeds, too few for a confidence interval: {_listed(few, 6)}"
    if len({own for own in seeds.values() if own}) > 1:
        yield "the methods' finished seeds differ: only common seeds are paired"


@cache
def _recipe_epochs(dataset: str) -> int:
    try:
        found = recipes.read(recipes.find(datasets.describe(dataset).recipe))
        return int(found.get("train", {}).get("epochs", TrainConfig().epochs))
    except InputError:
        return 0


def _listed(words: Iterable[str], most: int = 20) -> str:
    """Join the distinct words with commas; beyond ``most`` of them, count the rest."""
    every = [word for word in dict.fromkeys(words) if word]
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")
