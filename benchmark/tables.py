"""From runs to a table: methods down, data sets and backbones across, mean and standard deviation over seeds."""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import pandas as pd

from benchmark.store import Status
from methods import registry
from methods.errors import InputError, unknown

Runs = pd.DataFrame

MAX_REASON = 60


@dataclass(frozen=True)
class Score:
    """One number of a run: how it is called, what it is, and how it comes from the run's rows."""

    description: str
    of: Callable[[pd.DataFrame], float | None]


def _students(rows: pd.DataFrame) -> list[str]:
    return [name for name in str(rows["students"].iloc[-1]).split(",") if name]


def _last(rows: pd.DataFrame, columns: Iterable[str]) -> list[float]:
    last = rows.iloc[-1]
    return [float(last[column]) for column in columns if column in rows.columns and pd.notna(last[column])]


def _mean_of(metric: str) -> Callable[[pd.DataFrame], float | None]:
    def score(rows: pd.DataFrame) -> float | None:
        values = _last(rows, (f"{metric}/{name}" for name in _students(rows)))
        return mean(values) if values else None

    return score


def _first(rows: pd.DataFrame) -> float | None:
    return next(iter(_last(rows, (f"top1/{name}" for name in _students(rows)[:1]))), None)


def _best(rows: pd.DataFrame) -> float | None:
    return max(_last(rows, (f"top1/{name}" for name in _students(rows))), default=None)


def _ensemble(rows: pd.DataFrame) -> float | None:
    return next(iter(_last(rows, ["top1/ensemble"])), None)


def _peers(rows: pd.DataFrame) -> float | None:
    values = _last(rows, (column for column in rows.columns if column.startswith("top1/peer")))
    return mean(values) if values else None


def _best_epoch(rows: pd.DataFrame) -> float | None:
    return float(rows["student"].max())


SCORES: Mapping[str, Score] = {
    "student": Score("mean accuracy of the students, last epoch", _mean_of("top1")),
    "first": Score("accuracy of the first student, last epoch", _first),
    "best": Score("accuracy of the best student of each run, last epoch (selected on the test set)", _best),
    "ensemble": Score("accuracy of the peers taken together, last epoch", _ensemble),
    "peers": Score("mean accuracy of the peers' own heads, last epoch", _peers),
    "best-epoch": Score("mean accuracy of the students, best epoch (selected on the test set)", _best_epoch),
    "top5": Score("mean top-5 accuracy of the students, last epoch", _mean_of("top5")),
    "nll": Score("mean negative log-likelihood of the students, last epoch", _mean_of("nll")),
}


def check_scores(names: Sequence[str]) -> list[str]:
    """Return the scores' names, or raise an InputError for one that there is not, or for none at all."""
    if not names:
        raise InputError(f"columns names nothing (valid: {', '.join(sorted(SCORES))})")
    for name in names:
        if name not in SCORES:
            raise unknown("column", name, SCORES)
    return list(names)


def accuracy_table(frame: pd.DataFrame, scores: Sequence[str] = ("student",)) -> pd.DataFrame:
    """Return the table as text: ``mean ± std (n)`` in each cell, then how many did not finish, and why.

    Runs that differ in more than their seed are never averaged: what a method's runs differ in is named in its row,
    what all differ in is named in the column.

    Args:
        frame: From :func:`benchmark.store.load`.
        scores: Names in :data:`SCORES`.
    """
    check_scores(scores)
    if frame.empty:
        return pd.DataFrame()
    runs = _label(frame)
    cells: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for (column, row), group in runs.groupby(["column", "row"], sort=False):
        for score in scores:
            cell = _cell(group, SCORES[score])
            cells.setdefault((str(group["method"].iloc[0]), str(row)), {})[str(column), score] = cell
    order = {name: index for index, name in enumerate(registry.catalogue())}
    rows = sorted(cells, key=lambda key: (order.get(key[0], len(order)), _natural(key[1])))
    position = {score: index for index, score in enumerate(scores)}
    headings = sorted(
        {key for row in cells.values() for key in row}, key=lambda key: (_natural(key[0]), position[key[1]])
    )
    alone = tuple(scores) == ("student",)
    return pd.DataFrame(
        [[cells[row].get(heading, "") for heading in headings] for row in rows],
        index=pd.Index([row for _, row in rows], name="method"),
        columns=[column if alone else f"{column} {score}" for column, score in headings],
    )


def _natural(label: str) -> list[str | float]:
    """Return a key that sorts labels by the numbers in them: ``resnet8`` before ``resnet14``."""
    # words and numbers take turns, so that like is compared with like
    return [float(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+(?:\.\d+)?)", label))]


def _label(frame: pd.DataFrame) -> pd.DataFrame:
    """Add ``row`` and ``column``: the method and the data set, each with the settings in which its runs differ."""
    runs = frame.copy()
    hashes = [name for name in runs.columns if name.startswith("files.") or name == "dataset.checksum"]
    for name in hashes:
        runs[name] = runs[name].map(lambda content: content[:8], na_action="ignore")
    # a file counts by its content, wherever it lies
    files = {name.removeprefix("files.") for name in hashes}
    own = [name for name in runs.columns if name.startswith(("hyperparameters.", "files.")) or name == "method.version"]
    own = [name for name in own if name.removeprefix("hyperparameters.") not in files]
    shared = [name for name in runs.columns if name.startswith(("train.", "data."))] + ["split"]
    runs["column"] = runs["dataset"] + "/" + runs["backbone"]
    runs["row"] = runs["method"]
    runs["column"] = _with_differences(runs, ["dataset", "backbone"], "column", shared)
    # a subset has a checksum of its own, which says nothing more than its size
    checksum = [name for name in hashes if name == "dataset.checksum"]
    runs["column"] = _with_differences(runs, ["dataset", "backbone", "column"], "column", checksum)
    runs["row"] = _with_differences(runs, ["method", "column"], "row", own)
    return runs


def _with_differences(runs: pd.DataFrame, keys: list[str], label: str, settings: list[str]) -> "pd.Series[Any]":
    labels = runs[label].copy()
    for _, group in runs.groupby(keys, sort=False):
        differing = [name for name in settings if group[name].nunique(dropna=False) > 1]
        for name in differing:
            short = name.rpartition(".")[2]
            nothing = "all" if short.endswith("_per_class") else "default"
            labels.loc[group.index] += (
                ", " + short + "=" + group[name].map(lambda value, none=nothing: _shown(value, none))
            )
    return labels


def _shown(value: Hashable, nothing: str) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return nothing
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(group: pd.DataFrame, score: Score) -> str:
    values: list[float] = []
    reasons: dict[Status, list[str]] = {status: [] for status in Status}
    for _, rows in group.groupby("run", sort=False):
        status = Status(rows["status"].iloc[-1])
        reasons[status].append(str(rows["reason"].iloc[-1]))
        if status is Status.FINISHED and (value := score.of(rows)) is not None:
            values.append(value)
    others = [_ending(status, given) for status, given in reasons.items() if given and status is not Status.FINISHED]
    return ", ".join([*([mean_and_deviation(values)] if values else []), *others])


def _ending(status: Status, reasons: Sequence[str]) -> str:
    """Return how many runs ended so and the first of their reasons, on one line and without the table's own sign."""
    reason = " ".join(reasons[0].replace("|", "/").split())
    shortened = reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}..."
    return f"{len(reasons)} {status}" + (f": {shortened}" if shortened else "")


def mean_and_deviation(values: Sequence[float]) -> str:
    """Return ``mean ± std (n)`` with the sample's standard deviation; one value has no ±."""
    if len(values) == 1:
        return f"{values[0]:.2f} (1)"
    return f"{mean(values):.2f} ± {stdev(values):.2f} ({len(values)})"


FORMATS: Mapping[str, Callable[[pd.DataFrame], str]] = {
    "md": lambda table: table.to_markdown(),
    "csv": lambda table: table.to_csv().rstrip("\n"),
}


def rendered(table: pd.DataFrame, form: str = "md") -> str:
    """Return the table in one of :data:`FORMATS`, or raise an InputError that lists them."""
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    return FORMATS[form](table)
