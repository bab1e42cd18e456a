"""The row and the column of a run in a table; runs that differ in more than the seed never share a cell."""

import json
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from benchmark.configuration import EQUAL_EPOCHS, FieldRole, settings_of_role
from benchmark.formatting import OTHER_WORDS, short_name
from benchmark.store import BUDGETS_JOINED_BY, identity_in
from benchmark.tables import configurations
from methods import registry
from methods.errors import InputError, unknown

OWN = "own."  # begins the columns with the training settings that belong to one method alone
TASK = "task"  # the column of a frame that says to which task of a suite a run belongs

KEYS = ("method", "dataset", "backbone", "split", "seed")
ROWS: tuple[str, ...] = ("method",)
COLUMNS: tuple[str, ...] = ("dataset", "backbone")


def split_words(text: str) -> list[str]:
    """Return the words of a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def check_names(option: str, names: Sequence[str], valid: Collection[str]) -> list[str]:
    """Return the names without repetitions, or raise an InputError for none, or for an unknown one."""
    if not names:
        raise InputError(f"{option} names nothing (valid: {', '.join(sorted(valid))})")
    for name in names:
        if name not in valid:
            raise unknown(option.removesuffix("s"), name, valid, also=OTHER_WORDS)
    return list(dict.fromkeys(names))


@dataclass(frozen=True)
class Arrangement:
    """Runs in their places."""

    # with `row`, `column`, `variant` (the method, or the name that its runs were asked for under) and `base` (the
    # row, or the column where methods are there, without settings); a run that was asked for under several names is
    # there as often
    runs: pd.DataFrame
    methods: str  # `row` or `column`: where the methods are
    naming: configurations.Naming  # what they are called, and what that leaves unsaid

    def notes(self, labels: Collection[str], word: Callable[[str], str] = str) -> list[str]:
        """Return what the labels that are shown leave unsaid, a line each."""
        shown = self.runs[self.runs[self.methods].isin(labels)]
        own = shown[shown["recipe"].notna()]
        recipes = (f"{word(label)}: {recipe}" for label, recipe in zip(own[self.methods], own["recipe"], strict=True))
        return [*self.naming.notes(set(shown["variant"]), word), *dict.fromkeys(recipes)]


def arranged(frame: pd.DataFrame, rows: Sequence[str] = ROWS, columns: Sequence[str] = COLUMNS) -> Arrangement:
    """Return the runs with ``row`` and ``column``: the keys' values, each with the settings in which runs differ.

    What a method's runs differ in is named beside the method, alike in the whole table; what all differ in beside
    the dataset. Scores on the validation split always say so.
    """
    if TASK in frame.columns and tuple(columns) == COLUMNS:
        # the runs of a suite: its tasks say what their columns are
        columns = (TASK,)
    if both := [key for key in columns if key in rows]:
        raise InputError(f"{both[0]} cannot be in the rows and in the columns")
    runs = _one_budget_per_row(_expanded(frame))
    runs["dataset"] = runs["dataset"].map(short_name)
    # of what a run is made of, not of what it was made with
    parts = [name for name in runs.columns if not name.startswith("environment.")]
    hashes = [name for name in parts if name.startswith("files.") or name.endswith((".source", ".checksum"))]
    for name in hashes:
        runs[name] = runs[name].map(lambda content: content[:8], na_action="ignore")
    # a file counts by its content, wherever it is
    files = {name.removeprefix("files.") for name in hashes if name.startswith("files.")}
    of_method = ("method.version", "method.source")
    beginnings = ("hyperparameters.", "files.", OWN)
    own = [name for name in runs.columns if name.startswith(beginnings) or name in of_method]
    own = [name for name in own if name.removeprefix("hyperparameters.") not in files]
    # as in a run's identity, it makes no difference in which way they are not true
    for name in settings_of_role(FieldRole.EXECUTION) & {*runs.columns}:
        runs[name] = runs[name].map(lambda value: str(value) == "True")
    measuring = settings_of_role(FieldRole.MEASURES)
    shared = [name for name in runs.columns if name.startswith(("train.", "data.")) and name not in measuring]
    about_data = "row" if {"dataset", "backbone"} & {*rows} and not {"dataset", "backbone"} & {*columns} else "column"
    about_method = "column" if "method" in columns else "row"
    words = {key: runs[key] for key in (*rows, *columns)}
    words |= {"method": runs["variant"], "seed": "seed " + runs["seed"].astype(str)}
    runs["row"], runs["column"] = (
        pd.Series(list(map("/".join, zip(*(words[key] for key in keys), strict=True))), index=runs.index, dtype=object)
        for keys in (rows, columns)
    )
    placed = {"dataset", "backbone"} if TASK in columns else {*rows, *columns}
    free = [key for key in ("dataset", "backbone") if key not in placed]
    runs[about_data] = _with_differences(runs, [], about_data, free)
    if "split" not in (*rows, *columns):
        validation = runs["split"].map(lambda split: ", split=validation" if split == "validation" else "")
        runs[about_data] += validation
    runs[about_data] += runs["budget"].map(lambda budget: f", {budget}" if budget else "")
    runs[about_data] = _with_differences(runs, ["dataset", "backbone", "budget"], about_data, shared)
    # a subset has a checksum of its own, which says nothing more than its size
    checksum = [name for name in hashes if not name.startswith(("files.", "method."))]
    runs[about_data] = _with_differences(runs, ["dataset", "backbone", about_data], about_data, checksum)
    runs[about_data] += _environments(runs, about_data)
    if "method" not in (*rows, *columns) and runs["variant"].nunique() > 1:
        runs[about_method] += ", method=" + runs["variant"]
    runs["base"] = runs[about_method]
    runs["place"] = runs["dataset"] + "/" + runs["backbone"] if about_data == about_method else runs[about_data]
    naming = configurations.named(runs, "variant", "place", own)
    runs[about_method] += naming.suffixes
    return Arrangement(runs.drop(columns="place"), about_method, naming)


def _environments(runs: pd.DataFrame, label: str) -> "pd.Series[Any]":
    """Return what tells replicates apart: the environment, where the same run was measured in several.

    What did not finish is shown in the environment with the most runs.
    """
    found = pd.Series("", index=runs.index, dtype=object)
    if "environment" not in runs or runs["environment"].nunique() < 2:
        return found
    finished = runs[runs["status"] == "finished"]
    identities = finished["run"].map(identity_in)
    for name, own in finished.groupby(label, sort=False):
        if own["environment"].groupby(identities).nunique().max() > 1:
            most = own["environment"].value_counts().index[0]
            places = runs[runs[label] == name]
            found[places.index] = ", " + places["environment"].where(places["status"] == "finished", most)
    return found


def _with_differences(runs: pd.DataFrame, keys: list[str], label: str, settings: list[str]) -> "pd.Series[Any]":
    """Return the labels with the settings in which runs that agree in the keys differ."""
    labels = runs[label].copy()
    codes = {name: pd.factorize(runs[name], use_na_sentinel=False)[0] for name in settings}
    several = [code for code in codes.values() if code.any()]
    if not several:
        return labels
    # most groups differ in nothing, which is seen at once for all
    table = np.column_stack(several)
    for places in runs.groupby(keys, sort=False).indices.values() if keys else [np.arange(len(runs))]:
        if (table[places] == table[places[0]]).all():
            continue
        group = runs.iloc[places]
        for name in settings:
            if group[name].nunique(dropna=False) > 1:
                short = name.rpartition(".")[2]
                # code is not known of runs from before it was noted
                nothing = "all" if short.endswith("_per_class") else "unknown" if short == "source" else "default"
                words = group[name].map(lambda value, nothing=nothing: configurations.shown_setting(value, nothing))
                labels.loc[group.index] += ", " + short + "=" + words
    return labels


def _one_budget_per_row(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with ``budget``: a run of several comparisons has a row for each.

    ``budget`` is empty for equal epochs where there is no other comparison. In a comparison of equal cost the length
    of a run follows from its method, so that ``train.epochs`` is no difference between its runs.
    """
    runs = frame.copy()
    runs["budget"] = runs["budgets"].str.split(BUDGETS_JOINED_BY, regex=False)
    runs = runs.explode("budget", ignore_index=True)
    by_cost = runs["budget"] != EQUAL_EPOCHS
    runs["train.epochs"] = runs["train.epochs"].mask(by_cost)
    if not by_cost.any():
        runs["budget"] = ""
    return runs


def _expanded(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with a row for each use that was made of them.

    A use is ``{"name": ..., "train": {key: value}, "chosen": {...}}``: what it is called, the training settings that
    the other methods of its command had instead of its own, and the hyperparameters that it was asked for with. The
    columns ``train.*`` then hold the command's settings, ``own.train.*`` the method's; ``recipe`` says what differs.
    """
    plain = runs.assign(variant=runs["method"], recipe=None)
    if "uses" not in runs.columns or runs["uses"].isna().all():
        return plain
    used = plain["uses"].notna()
    rows = [row | _changes(row, use) for row in plain[used].to_dict("records") for use in json.loads(str(row["uses"]))]
    # most runs have but one use: they are not taken apart
    return pd.concat([plain[~used], pd.DataFrame(rows).astype({"variant": object})], ignore_index=True)


def _changes(row: Mapping[Any, Any], use: Mapping[str, Any]) -> dict[str, Any]:
    instead: Mapping[str, Any] = use.get("train", {})
    shown = configurations.shown_setting
    settings = {f"train.{key}": _flat(value) for key, value in instead.items()}
    own = {f"{OWN}{name}": row.get(name) for name in settings}
    said = [f"{key}={shown(_flat(value), 'None')}" for key, value in use.get("chosen", {}).items()]
    said += [
        f"{name}={shown(row.get(name), 'None')} (the others: {shown(value, 'None')})"
        for name, value in settings.items()
    ]
    name = use.get("name") or row["method"]
    recipe = f"{row['method']} with {', '.join(said)}" if said and (instead or use.get("name")) else None
    return {**settings, **own, "variant": name, "recipe": recipe}


def _flat(value: Any) -> Any:
    # as the store's columns have it
    return str(value) if isinstance(value, list) else value


def method_order(name: str) -> tuple[int, str]:
    """Return a key that sorts methods as they are listed: by their publication, unknown ones last."""
    known = _places(tuple(sys.path))
    return known.get(name, len(known)), name


@cache
def _places(path: tuple[str, ...]) -> dict[str, int]:
    # installed packages are looked for once: thousands of rows are sorted by this
    return {name: place for place, name in enumerate(registry.catalogue())}


def natural(label: str) -> list[str | float]:
    """Return a key that sorts labels by the numbers in them: ``resnet8`` before ``resnet14``."""
    # words and numbers take turns, so that like is compared with like
    return [float(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+(?:\.\d+)?)", label))]


def summaries(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run of a frame of all epochs or of the last ones: its last epoch and ``best_epoch``."""
    if "best_epoch" in frame.columns:
        last = frame.copy(deep=False)
        # pandas would copy what is there for every group of runs
        last.attrs = {}
        return last
    last = frame.drop_duplicates("run", keep="last").copy()
    if "student" not in frame.columns:
        return last.assign(best_epoch=float("nan"))
    best = frame.groupby("run", sort=False)["student"].max()
    return last.assign(best_epoch=last["run"].map(best))
