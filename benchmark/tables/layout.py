"""The row and the column of a run in a table; runs that differ in more than the seed never share a cell.

A configuration of a method has one name, the same in every column.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from benchmark.configuration import EQUAL_EPOCHS, FieldRole, settings_of_role
from benchmark.formatting import OTHER_WORDS, short_name
from benchmark.store import BUDGETS_JOINED_BY, identity_in
from methods import registry
from methods.errors import InputError, unknown

OWN = "own."  # begins the columns with the training settings that belong to one method alone
TASK = "task"  # the column of a frame that says to which task of a suite a run belongs

ROWS = ("method", "method,seed")  # what a row may be


def check_names(option: str, given: str | Sequence[str], valid: Collection[str]) -> list[str]:
    """Return names, which may be in one text with commas, without repetitions.

    An InputError is raised for none, or for an unknown one.
    """
    names = list(filter(None, map(str.strip, given.split(",")))) if isinstance(given, str) else given
    if not names:
        raise InputError(f"{option} names nothing (valid: {', '.join(sorted(valid))})")
    for name in names:
        if name not in valid:
            raise unknown(option.removesuffix("s"), name, valid, also=OTHER_WORDS)
    return list(dict.fromkeys(names))


@dataclass(frozen=True)
class Arrangement:
    """Runs in their places."""

    # with `row`, `column`, `variant` (the method, or the name that its runs were asked for under) and `base` (the row
    # without settings); a run that was asked for under several names is there as often
    runs: pd.DataFrame
    usual: Mapping[str, str]  # what a variant's plain name is short for
    following: Mapping[str, Sequence[str]]  # the settings of a variant that follow from the context

    def notes(self, rows: Collection[str], word: Callable[[str], str] = str) -> list[str]:
        """Return what the labels of the rows that are shown leave unsaid, a line each."""
        shown = self.runs[self.runs["row"].isin(rows)]
        names = set(shown["variant"])
        lines = [f"{word(name)} alone stands for {said}" for name, said in self.usual.items() if name in names]
        following = [f"{word(name)}: {', '.join(keys)}" for name, keys in self.following.items() if name in names]
        if following:
            start = "by dataset, length of the run or number of networks differ, in one row: "
            lines.append(start + "; ".join(following))
        own = shown[shown["recipe"].notna()]
        recipes = (f"{word(label)}: {recipe}" for label, recipe in zip(own["row"], own["recipe"], strict=True))
        return [*lines, *dict.fromkeys(recipes)]


def arranged(frame: pd.DataFrame, by_seed: bool = False) -> Arrangement:
    """Return the runs with ``row`` and ``column``: method, and dataset and network, each with what runs differ in.

    What a method's runs differ in is named beside the method, alike in the whole table; what all differ in beside
    the dataset. Scores on the validation split always say so. The columns of a suite's runs are its tasks; each seed
    has a row of its own if ``by_seed``.
    """
    runs = _expanded(frame)
    runs["dataset"] = runs["dataset"].map(short_name)
    # of what a run is made of, not of what it was made with
    names = [name for name in map(str, runs.columns) if not name.startswith("environment.")]
    hashes = [name for name in names if name.startswith("files.") or name.endswith((".source", ".checksum"))]
    runs[hashes] = runs[hashes].map(lambda content: content[:8], na_action="ignore")
    # a file counts by its content, wherever it is
    paths = {name.replace("files.", "hyperparameters.", 1) for name in hashes if name.startswith("files.")}
    of_method = ("hyperparameters.", "files.", "method.version", "method.source", OWN)
    own = [name for name in names if name.startswith(of_method) and name not in paths]
    # as in a run's identity, it makes no difference in which way they are not true
    execution = [*settings_of_role(FieldRole.EXECUTION) & {*names}]
    runs[execution] = runs[execution].astype(str) == "True"
    measuring = settings_of_role(FieldRole.MEASURES)
    shared = [name for name in names if name.startswith(("train.", "data.")) and name not in measuring]
    runs["row"] = runs["variant"] + ("/seed " + runs["seed"].astype(str) if by_seed else "")
    runs["column"] = runs[TASK] if TASK in runs else runs["dataset"] + "/" + runs["backbone"]
    runs["column"] += runs["split"].map(lambda split: ", split=validation" if split == "validation" else "")
    runs["column"] += runs["budget"].map(lambda budget: f", {budget}" if budget else "")
    _tell_apart(runs, ["dataset", "backbone", "budget"], shared)
    # a subset has a checksum of its own, which says nothing more than its size
    _tell_apart(runs, ["dataset", "backbone", "column"], [name for name in hashes if name not in own])
    _tell_replicates_apart(runs)
    runs["base"] = runs["row"]
    usual: dict[str, str] = {}
    following: dict[str, list[str]] = {}
    for variant, group in runs.groupby("variant", sort=False):
        suffixes, plain, by_context = _named(group, own)
        runs.loc[group.index, "row"] += suffixes
        usual |= {str(variant): plain} if plain else {}
        following |= {str(variant): by_context} if by_context else {}
    return Arrangement(runs, usual, following)


def _tell_apart(runs: pd.DataFrame, keys: list[str], settings: list[str]) -> None:
    """Add to the columns' labels the settings in which runs that agree in the keys differ."""
    labels = runs["column"].copy()
    varying = [name for name in settings if runs[name].nunique(dropna=False) > 1]
    for _, group in runs.groupby(keys, sort=False):
        for name in [name for name in varying if group[name].nunique(dropna=False) > 1]:
            short = name.rpartition(".")[2]
            # code is not known of runs from before it was noted
            nothing = "all" if short.endswith("_per_class") else "unknown" if short == "source" else "default"
            labels[group.index] += f", {short}=" + group[name].map(partial(shown_setting, nothing=nothing))
    runs["column"] = labels


def main_environment(runs: pd.DataFrame) -> str | None:
    """Return the environment with the most finished runs, where one of them was measured in several; else None."""
    finished = runs[runs["status"] == "finished"]
    if not finished["environment"].groupby(finished["run"].map(identity_in)).nunique().max() > 1:
        return None
    return str(finished["environment"].value_counts().sort_index().idxmax())


def _tell_replicates_apart(runs: pd.DataFrame) -> None:
    """Add to the columns' labels the environment, where the same run was measured in several.

    What did not finish is shown in the environment with the most runs.
    """
    labels = runs["column"].copy()
    several = "environment" in runs and runs["environment"].nunique() > 1
    for _, places in runs.groupby("column", sort=False) if several else ():
        if (most := main_environment(places)) is not None:
            labels[places.index] += ", " + places["environment"].where(places["status"] == "finished", most)
    runs["column"] = labels


def _expanded(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with a row for each budget, ``variant`` and ``recipe``: for each use that was made of them.

    A use is ``{"name": ..., "train": {key: value}, "chosen": {...}}``: what it is called, the training settings that
    the other methods of its command had instead of its own, and the hyperparameters that it was asked for with. The
    columns ``train.*`` then hold the command's settings, ``own.train.*`` the method's; ``recipe`` says what differs.

    ``budget`` is empty for equal epochs where there is no other comparison. In a comparison of equal cost the length
    of a run follows from its method, so that ``train.epochs`` is no difference between its runs.
    """
    runs = frame.assign(variant=frame["method"], recipe=None)
    used = runs["uses"].notna() if "uses" in runs else pd.Series(False, index=runs.index)
    if used.any():
        rows = [_used(row, use) for row in runs[used].to_dict("records") for use in json.loads(str(row["uses"]))]
        # most runs have but one use: they are not taken apart
        # a copy is in one piece: what is joined of many columns is not
        runs = pd.concat([runs[~used], pd.DataFrame(rows).astype({"variant": object})], ignore_index=True).copy()
    runs["budget"] = runs["budgets"].str.split(BUDGETS_JOINED_BY, regex=False)
    runs = runs.explode("budget", ignore_index=True)
    by_cost = runs["budget"] != EQUAL_EPOCHS
    runs["train.epochs"] = runs["train.epochs"].mask(by_cost)
    return runs if by_cost.any() else runs.assign(budget="")


def _used(row: Mapping[Any, Any], use: Mapping[str, Any]) -> dict[Any, Any]:
    """Return a run as one use has it."""

    def flat(value: Any) -> Any:
        # as the store's columns have it
        return str(value) if isinstance(value, list) else value

    settings = {f"train.{key}": flat(value) for key, value in use.get("train", {}).items()}
    said = [f"{key}={shown_setting(flat(value), 'None')}" for key, value in use.get("chosen", {}).items()]
    said += [
        f"{name}={shown_setting(row.get(name), 'None')} (the others: {shown_setting(value, 'None')})"
        for name, value in settings.items()
    ]
    recipe = f"{row['method']} with {', '.join(said)}" if said and (settings or use.get("name")) else None
    own = {f"{OWN}{name}": row.get(name) for name in settings}
    return {**row, **settings, **own, "variant": use.get("name") or row["method"], "recipe": recipe}


# what the configurations of a method are called


def _named(runs: pd.DataFrame, settings: Sequence[str]) -> "tuple[pd.Series[Any], str, list[str]]":
    """Return for a method's runs what follows its name, what its plain name is short for, and what the context decides.

    Two runs have one name exactly if no setting that is read tells them apart. What a setting is may follow from the
    dataset and the number of networks, and a number of epochs from the length of the run: it tells runs apart only if
    it has several values within one such context, and a value is then the usual one of its context if it is the most
    common one of the table, or, where that one is not to be found, the most common one that never is beside it. The
    configuration with the most places has the plain name, if it is one; others name every setting that differs.
    """
    anywhere = runs["dataset"] + " " + runs["backbone"].str.count(r"\+").astype(str) + " " + runs["budget"]
    # in a comparison of equal cost the length follows from the network, which stands for it
    lengths = runs["train.epochs"].astype(object).where(runs["train.epochs"].notna(), runs["backbone"])
    context = anywhere + " " + lengths.astype(str)
    keys: dict[str, pd.Series[Any]] = {}
    tokens: list[pd.Series[Any]] = []
    by_context: list[str] = []
    for name in settings:
        if runs[name].nunique(dropna=False) == 1:
            continue
        other, read = registry.read_with().get(name.removeprefix("hyperparameters."), ("", ()))
        beside = runs.get(f"hyperparameters.{other}", pd.Series(None, index=runs.index, dtype=object))
        # of some runs nothing reads it
        values = runs[name].map(shown_setting).mask(beside.notna() & ~beside.isin(read))
        within = context
        if values.groupby(context, sort=False).nunique().max() < 2:
            within = anywhere
            if values.groupby(anywhere, sort=False).nunique().max() < 2 or _scales(name, runs, lengths, anywhere):
                by_context.append(name.rpartition(".")[2])
                continue
        keys[name] = values
        tokens.append(_tokens(values, within, runs["column"]))
    suffixes, plain = pd.Series("", index=runs.index, dtype=object), ""
    if not keys:
        return suffixes, plain, by_context
    # the last words of settings, longer where two would be called alike
    last = Counter(name.rpartition(".")[2] for name in keys)
    short = {name: name.rpartition(".")[2] for name in keys}
    names = [word if last[word] == 1 else re.sub(f"^hyperparameters.|^{OWN}", "", name) for name, word in short.items()]
    identities = pd.Series([*zip(*tokens, strict=True)], index=runs.index, dtype=object)
    usual = _most(identities, runs["column"], runs["recipe"])
    for identity, members in identities.groupby(identities, sort=False):
        found = [sorted(set(values[members.index].dropna())) for values in keys.values()]
        words = [own[0] if len(own) == 1 else f"usual ({' or '.join(own)})" for own in found]
        said = ", ".join(f"{name}={word}" for name, word, own in zip(names, words, found, strict=True) if own)
        if identity == usual:
            plain = said
        else:
            suffixes[members.index] = f", {said}"
    return suffixes, plain, by_context


def _scales(name: str, runs: pd.DataFrame, lengths: "pd.Series[Any]", context: "pd.Series[Any]") -> bool:
    """Return whether a setting is a number of epochs that has grown with the length of the runs, and nothing else."""
    values, epochs = (pd.to_numeric(one, errors="coerce") for one in (runs[name], lengths))
    may = all(registry.may_scale(str(method), name.rpartition(".")[2]) for method in runs["method"].unique())
    if not may or (values % 1 != 0).any():
        return False
    # what the default for the published length can have been that was rounded to this
    least = ((values - 0.5) / epochs).where(values > 1, 0.0).groupby(context).max()
    return not (least > ((values + 0.5) / epochs).groupby(context).min()).any()


def _tokens(values: "pd.Series[Any]", context: "pd.Series[Any]", place: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return the values with one empty word for what is usual in each context and for what is not read."""
    values = values.dropna()
    common = _most(values, place)
    groups = [own for _, own in values.groupby(context, sort=False)]
    rivals = {value for own in groups if common in set(own) for value in own} - {common}
    tokens = values.copy()
    for own in groups:
        free = own[~own.isin(rivals)]
        usual = common if common in set(own) else _most(free, place[free.index]) if len(free) else None
        tokens[own[own == usual].index] = ""
    return tokens.reindex(place.index, fill_value="")


def _most(values: "pd.Series[Any]", place: "pd.Series[Any]", recipe: "pd.Series[Any] | None" = None) -> Hashable | None:
    """Return the value with the most places; of as many, the one of most runs, or, with recipes, none."""
    counts: dict[Hashable, tuple[int, int]] = {}
    for value, members in values.groupby(values, sort=False):
        # a training recipe of its own is what is set beside the plain method, never the plain method
        second = len(members) if recipe is None else -int(recipe[members.index].notna().any())
        counts[value] = (place[members.index].nunique(), second)
    leaders = [value for value, count in counts.items() if count == max(counts.values())]
    return min(leaders, key=str) if recipe is None or len(leaders) == 1 else None


def shown_setting(value: Hashable, nothing: str = "default") -> str:
    """Return a setting's value as a table shows it, and a word for one that is not set."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return nothing
    return f"{value:g}" if isinstance(value, float) else str(value)


# orders


def method_order(name: str) -> tuple[int, str]:
    """Return a key that sorts methods as they are listed: by their publication, unknown ones last."""
    known = [*registry.catalogue()]
    return known.index(name) if name in known else len(known), name


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
    best = frame.groupby("run", sort=False)["student"].max() if "student" in frame else pd.Series(dtype=float)
    return frame.drop_duplicates("run", keep="last").assign(best_epoch=lambda last: last["run"].map(best))
