"""The stored runs as one tidy table, and conditions that choose some of them: ``backbone=resnet8 and lr<0.1``.

A condition is one or several comparisons joined by ``and``: ``KEY = VALUE``, or with ``!=``, ``<``, ``<=``, ``>``,
``>=``. A key is a column, or its last word where that is one column's alone. Several values, separated by commas, are
any of them. One with spaces or signs is quoted; ``null`` is what is not there. Nothing of it is ever run as code.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from operator import eq, ge, gt, le, lt
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from benchmark.configuration import PLACE, SECTIONS, RunConfig
from benchmark.formatting import OTHER_WORDS, short_name
from benchmark.metrics import DECLARED, roles_text
from benchmark.store import collection
from benchmark.store.collection import Results, Runs
from benchmark.store.files import Result
from benchmark.store.index import COST, StoredRun
from methods.errors import InputError, unknown

Epochs = Literal["all", "last"]
Split = Literal["test", "validation", "all"]
Where = str | Mapping[str, Any]

# the key of `frame.attrs` under which a table says which runs were left out: a line for each, by its name
DAMAGED = "damaged"
LEADING = ("run", "method", "dataset", "backbone", "seed", "epoch", "status", "reason", "students", "roles")
BUDGETS_JOINED_BY = " | "


def load(
    results: Results = "results",
    epochs: Epochs = "all",
    where: Where | None = None,
    prefer: str | Path | None = None,
    split: Split = "test",
) -> pd.DataFrame:
    """Return the runs below a results folder as one tidy table, one row per run and epoch; epochs count from 0.

    The columns are ``run, method, dataset, backbone, seed, epoch, status``, then ``reason``, ``students`` (names joined
    by commas), ``roles`` (``peer0=peer,...``), ``split``, ``budgets`` (joined by `` | ``) and ``environment`` (the
    group of runs that are equal bit for bit: hardware, torch, CUDA, CPU dispatch), then the metrics, then every key of
    the configuration as ``train.lr``, ``data.pad`` or ``hyperparameters.temperature``, ``uses`` (as JSON, where a run
    was asked for as something else than its method), ``method.version``, ``dataset.checksum``, the hash of each file
    that a hyperparameter names, as ``files.teacher``, and of each plug-in's code, as ``method.source``, then what the
    run took, as ``cost.seconds``, and what it was made with, as ``environment.torch``. A run that ended before its
    first epoch has one row without epoch and metrics. A run whose files are damaged is left out;
    ``frame.attrs["damaged"]`` has a line for each, and ``frame.attrs["metrics"]`` what the methods declared to record.

    Args:
        results: The folder that ``--results`` names, or several, or patterns such as ``lab*/results``; of the same run
            in several folders one counts, see :func:`benchmark.store.collection.read`.
        epochs: ``"all"``, or ``"last"`` for one row per run: the last epoch, and in the column ``best_epoch`` the
            highest accuracy of any; from an index beside the runs, so that thousands of runs take a second.
        where: Which runs: a condition as ``backbone=resnet8 and temperature=3``, or a mapping of columns to a value or
            a list of values. The curves of no other run are read.
        prefer: Of several results folders the one whose runs count where the same run has other numbers.
        split: ``"test"``; ``"validation"``, runs that are scored on a held-out part of the training images, as a
            sweep's are; or ``"all"``, which are not to be averaged over: the column ``split`` tells them apart.

    Raises:
        InputError: If there is no such folder or column, all runs are scored on another split, or runs of the same
            identity disagree.
    """
    for name, word, valid in (("epochs", epochs, get_args(Epochs)), ("split", split, get_args(Split))):
        if word not in valid:
            raise unknown(name, str(word), valid)
    runs = collection.read(results, prefer)
    found = list(runs.found)
    frame = _composed(found)
    if found:
        if isinstance(where, str):
            chosen = fits(frame, where)
        else:
            chosen = pd.Series(True, index=frame.index)
            for name, value in (where or {}).items():
                if name not in frame.columns:
                    raise unknown("column", name, map(str, frame.columns))
                values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
                chosen &= frame[name].isin(values) | (frame[name].isna() & (None in values))
        fitting = chosen.sum()
        chosen &= (frame["split"] == split) | (split == "all")
        if fitting and not chosen.any():
            raise InputError(f"no run is scored on the {split} split (split='all' gives the {fitting} others)")
        frame = frame[chosen].reset_index(drop=True)
        found = [run for run, wanted in zip(found, chosen, strict=True) if wanted]
    if epochs == "all":
        rows_of = runs.curves([run.name for run in found])
        curves = {name: pd.DataFrame(rows, dtype=float) for name, rows in rows_of}
        found = [run for run in found if run.name in curves]
        frame = _composed(found, [curves[run.name] for run in found])
    return _noted(frame, found, runs.left_out)


def last_epochs(runs: Runs) -> pd.DataFrame:
    """Return the table of last epochs of runs that are read already; see :func:`load`."""
    return _noted(_composed(runs.found), runs.found, runs.left_out)


def _noted(frame: pd.DataFrame, found: Sequence[StoredRun], left_out: Mapping[Path, str]) -> pd.DataFrame:
    declared = (one for run in found if run.result for one in run.result.metrics)
    frame.attrs[DECLARED] = tuple(dict.fromkeys(declared))
    frame.attrs[DAMAGED] = {folder.name: line for folder, line in left_out.items()}
    return frame


def _composed(found: Sequence[StoredRun], curves: Sequence[pd.DataFrame] | None = None) -> pd.DataFrame:
    """Return one row per run, its last epoch, with the highest accuracy of any as ``best_epoch``.

    Or, where the runs' curves are given, one row per run and epoch; a run without an epoch has one.
    """
    if not found:
        return pd.DataFrame(columns=[*LEADING])
    last = pd.DataFrame([run.numbers for run in found])
    costs = last[[name for name in last if str(name).startswith(COST)]]
    rows = np.arange(len(found))
    if curves is None:
        best = pd.Series([run.best for run in found], dtype=float, name="best_epoch")
        numbers = pd.concat([last.drop(columns=costs.columns), best], axis="columns")
    else:
        nothing = pd.DataFrame({"epoch": [np.nan]})
        filled = [nothing if curve.empty else curve for curve in curves]
        rows = rows.repeat([len(curve) for curve in filled])
        numbers = pd.concat(filled, ignore_index=True)
    settings = pd.DataFrame([_settings(run.config) for run in found])
    # of datasets with one content the first's name counts: two paths to one file are one dataset
    forms = settings["dataset"].str.partition(PLACE)[0]
    settings["dataset"] = settings["dataset"].groupby([forms, settings["dataset.checksum"]]).transform("first")
    names = pd.DataFrame({"run": [run.name for run in found], "seed": [run.config.seed for run in found]})
    parts = [names, settings, pd.DataFrame([_ending(run) for run in found]), costs]
    own, settings, endings, costs = (part.take(rows).reset_index(drop=True) for part in parts)
    own = own.assign(epoch=numbers.get("epoch", np.nan)).astype({"epoch": "Int64"})
    every = pd.concat([own, settings, endings], axis="columns")[[*LEADING, "split", "budgets", "environment"]]
    more = [part.drop(columns=every.columns, errors="ignore") for part in (numbers, settings, costs, endings)]
    return pd.concat([every, *more], axis="columns").copy()


def _settings(config: RunConfig) -> dict[str, Any]:
    found: dict[str, Any] = {name: getattr(config, name) for name in ("method", "dataset", "backbone", "split")}
    found["budgets"] = BUDGETS_JOINED_BY.join(config.budgets)
    sections = {name: getattr(config, name).model_dump(mode="json") for name in SECTIONS}
    for section, values in (sections | {"hyperparameters": config.hyperparameters}).items():
        for key, value in values.items():
            found[f"{section}.{key}"] = str(value) if isinstance(value, list | dict) else value
    if config.uses:
        uses = [use.model_dump(mode="json") for use in config.uses]
        found["uses"] = json.dumps([{key: value for key, value in use.items() if value} for use in uses])
    found |= {f"files.{name}": content for name, content in config.files.items()}
    found |= {f"{role}.source": content for role, content in config.sources.items()}
    return found | {"method.version": config.method_version, "dataset.checksum": config.dataset_checksum}


def _ending(run: StoredRun) -> dict[str, Any]:
    end = run.result or Result(run.status)
    found = {"status": str(end.status), "reason": end.reason, "students": ",".join(end.students)}
    found |= {"roles": roles_text(end.roles), "environment": run.environment}
    return found | {f"environment.{name}": value for name, value in run.made_with.items()}


_MAX_LISTED = 40  # values of a column that are listed for one that it does not have
_ORDERS: Mapping[str, Callable[[float, float], bool]] = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s<>=!"'(),]+)"""
_COMPARISON = re.compile(
    rf"""\s*(?P<key>[^\s<>=!"'()]+)\s*(?P<sign>[<>=!]=|[<>=])\s*(?P<values>{_VALUE}(?:,{_VALUE})*)\s*(?P<more>and\b|$)"""
)


def select(frame: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Return the rows of the runs that fit a condition; of a run with several epochs the last one is judged.

    A condition of another form than this module says, or a column or value that is not there, is an InputError.
    """
    last = frame.drop_duplicates("run", keep="last")
    return frame[frame["run"].isin(last.loc[fits(last, condition), "run"])]


def fits(frame: pd.DataFrame, condition: str) -> "pd.Series[bool]":
    """Return for each row of a table with :func:`load`'s columns whether it fits; see :func:`select`."""
    found = pd.Series(True, index=frame.index)
    place, more = 0, True
    while more:
        part = _COMPARISON.match(condition, place)
        if part is None:
            raise InputError(
                "--where takes comparisons joined by 'and', as in 'backbone=resnet8 and temperature=3', and of several "
                f"values any, as in method=pcl,dkel: none can be read in {condition[place:].strip()!r} of {condition!r}"
            )
        words = [word[1:-1] if word[0] in "\"'" else word for word in re.findall(_VALUE, part["values"])]
        found &= _compared(frame[column(frame, part["key"])], part["key"], part["sign"], words)
        place, more = part.end(), bool(part["more"])
    return found


def column(frame: pd.DataFrame, key: str) -> str:
    """Return the column that a key names by its name or its last word; an InputError if it names none, or several."""
    names = [str(name) for name in frame.columns]
    if key in names:
        return key
    found = [name for name in names if name.rpartition(".")[2] == key and "." in name]
    # of settings and what is known beside them, a setting comes first
    found = [name for name in found if name.startswith(("train.", "data.", "hyperparameters."))] or found
    if len(found) > 1:
        raise InputError(f"{key!r} names several columns: {', '.join(found)}")
    if not found:
        valid = {*names, *(name.rpartition(".")[2] for name in names if "." in name)}
        raise unknown("word in --where", key, valid, also=OTHER_WORDS)
    return found[0]


def _compared(values: "pd.Series[Any]", key: str, sign: str, words: Sequence[str]) -> "pd.Series[bool]":
    """Return for each value whether it compares so with any of the words; with ``!=``, whether with none as ``=``."""
    order, negative = {"==": "=", "!=": "="}.get(sign, sign), sign == "!="
    there = values.dropna().unique().tolist()
    if order == "=" and there and all(isinstance(value, str) for value in there):
        known = {name for value in there for name in (value, short_name(value))}
        for word in words:
            if word not in (*known, "null") and len(known) <= _MAX_LISTED:
                raise unknown(key, word, known)

    def fit(value: Any) -> bool:
        if pd.isna(value):
            return order == "=" and "null" in words
        if isinstance(value, str):
            if order != "=":
                raise InputError(f"{key}{sign}{words[0]}: {key} is a word, which is only = or != ({value!r})")
            return value in words or short_name(value) in words
        given = [switches.get(word.lower(), math.nan) for word in words] if isinstance(value, bool) else numbers
        return any(_ORDERS[order](float(value), number) for number in given)

    switches = {"true": 1.0, "false": 0.0}
    # a setting that is a number in one method and a word in another is compared where it fits
    numbers = pd.to_numeric(pd.Series(words), errors="coerce").tolist()
    return pd.Series([fit(value) for value in values.tolist()], index=values.index, dtype=bool) ^ negative
