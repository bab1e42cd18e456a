"""Runs as one tidy table."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.configuration import PLACE
from benchmark.metrics import roles_text
from benchmark.store import environment as environments
from benchmark.store.collection import Found
from benchmark.store.records import COST, Scores

LEADING = ("run", "method", "dataset", "backbone", "seed", "epoch", "status", "reason", "students", "roles")
BEST = "best_epoch"
BUDGETS_JOINED_BY = " | "

Columns = dict[str, Any]


def last_epochs(found: Sequence[Found]) -> pd.DataFrame:
    """Return one row per run: its last epoch, and the highest accuracy of any as ``best_epoch``."""
    lasts = [run.record.last for run in found]
    numbers = _numbers([Scores(last.names, last.values[None]) for last in lasts])
    best = np.array([run.record.best for run in found], dtype=np.float64)
    return _composed(found, [1] * len(found), numbers, {BEST: best})


def all_epochs(found: Sequence[Found], curves: Sequence[Scores]) -> pd.DataFrame:
    """Return one row per run and epoch; a run without an epoch has one.

    Args:
        found: The runs.
        curves: The metrics of each.
    """
    filled = [curve if len(curve.values) else Scores(("epoch",), np.full((1, 1), np.nan)) for curve in curves]
    counts = [len(curve.values) for curve in filled]
    costs = []
    for run, count in zip(found, counts, strict=True):
        names, values = run.record.last.names, run.record.last.values
        own = [index for index, name in enumerate(names) if name.startswith(COST)]
        costs.append(Scores(tuple(names[index] for index in own), np.tile(values[own], (count, 1))))
    return _composed(found, counts, _numbers(filled) | _numbers(costs), {})


def _composed(found: Sequence[Found], counts: Sequence[int], numbers: Columns, more: Columns) -> pd.DataFrame:
    if not found:
        return pd.DataFrame(columns=[*LEADING])
    records = [run.record for run in found]
    rows = np.repeat(np.arange(len(records)), counts)
    # runs that differ in their seeds alone share these texts: each is read once
    settings = _repeated([record.settings for record in records], _settings, rows)
    settings["dataset"] = _named_once(settings["dataset"], settings["dataset.checksum"])
    endings = _repeated([record.ending for record in records], _ending, rows)
    costs = [name for name in numbers if name.startswith(COST)]
    nothing = np.full(len(rows), np.nan)
    epochs = pd.Series(numbers.pop("epoch", nothing)).astype("Int64")
    columns: Columns = {
        "run": np.array([record.name for record in records], dtype=object)[rows],
        "seed": np.array([record.seed for record in records])[rows],
        "epoch": epochs,
        **{name: settings.pop(name) for name in ("method", "dataset", "backbone", "split", "budgets")},
        **{name: endings.pop(name) for name in ("status", "reason", "students", "roles", "environment")},
    }
    leading = {name: columns.pop(name) for name in LEADING}
    metrics = {name: values for name, values in numbers.items() if name not in costs}
    return pd.DataFrame(
        leading | columns | metrics | more | settings | {name: numbers[name] for name in costs} | endings
    )


def _numbers(curves: Sequence[Scores]) -> Columns:
    """Return the columns of curves that stand one below the other; what a run has not is nan."""
    lengths = [len(curve.values) for curve in curves]
    starts = np.cumsum([0, *lengths])
    alike: dict[tuple[str, ...], list[int]] = {}
    for number, curve in enumerate(curves):
        alike.setdefault(curve.names, []).append(number)
    columns: Columns = {}
    for names, numbers in alike.items():
        where = np.concatenate([np.arange(starts[number], starts[number + 1]) for number in numbers])
        values = np.concatenate([curves[number].values for number in numbers])
        for index, name in enumerate(names):
            if name not in columns:
                columns[name] = np.full(starts[-1], np.nan)
            columns[name][where] = values[:, index]
    return columns


def _repeated(texts: Sequence[str], read: Any, rows: Any) -> Columns:
    codes: dict[str, int] = {}
    of_run = np.array([codes.setdefault(text, len(codes)) for text in texts])
    distinct = pd.DataFrame([read(text) for text in codes])
    repeated = distinct.take(of_run[rows]).reset_index(drop=True)
    return {str(name): repeated[name] for name in repeated.columns}


def _named_once(names: "pd.Series[str]", checksums: "pd.Series[str]") -> "pd.Series[str]":
    """Return the datasets' names, of those with one content the first: two paths to one file are one dataset."""
    forms = names.str.partition(PLACE)[0]
    return names.groupby([forms, checksums]).transform("first")


def _settings(text: str) -> Columns:
    config = json.loads(text)
    found = {name: config[name] for name in ("method", "dataset", "backbone")}
    found["split"] = "validation" if config["data"]["holdout"] else "test"
    found["budgets"] = BUDGETS_JOINED_BY.join(config["budgets"])
    for section in ("train", "data", "hyperparameters"):
        found |= {f"{section}.{key}": _plain(value) for key, value in config[section].items()}
    if uses := config["uses"]:
        found["uses"] = json.dumps([{key: value for key, value in use.items() if value} for use in uses])
    found |= {f"files.{name}": content for name, content in config["files"].items()}
    # a configuration without a plug-in has no such key
    found |= {f"{role}.source": content for role, content in config.get("sources", {}).items()}
    return found | {"method.version": config["method_version"], "dataset.checksum": config["dataset_checksum"]}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, list | dict) else value


def _ending(text: str) -> Columns:
    end = json.loads(text)
    found = {"status": end["status"], "reason": end["reason"], "students": ",".join(end["students"])}
    found["roles"] = roles_text(end["roles"])
    environment = end["environment"] if isinstance(end["environment"], dict) else {}
    found["environment"] = environments.group(environment)
    return found | {f"environment.{name}": value for name, value in environment.items()}
