"""One name for each configuration of a method, the same in every column of a table."""

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from methods import registry


@dataclass(frozen=True)
class Naming:
    """What the configurations of a table are called."""

    # what follows a run's method, by the runs' index; nothing for a method's usual configuration
    suffixes: "pd.Series[Any]"
    usual: Mapping[str, str]  # what a plain name is short for, by name
    following: Mapping[str, Sequence[str]]  # the settings that follow from the context, by name

    def notes(self, shown: Collection[str], word: Callable[[str], str]) -> list[str]:
        """Return what the names leave unsaid, a line each."""
        lines = [f"{word(name)} alone stands for {said}" for name, said in self.usual.items() if name in shown]
        own = [f"{word(name)}: {', '.join(keys)}" for name, keys in self.following.items() if name in shown]
        start = "by dataset, length of the run or number of networks differ, in one row: "
        return lines + ([start + "; ".join(own)] if own else [])


class _Key(NamedTuple):
    """One setting in which configurations differ."""

    values: "pd.Series[Any]"  # as text, by run; nothing where the others' values leave it unread
    tokens: "pd.Series[Any]"  # the same, with one empty word for what is usual in each context and for what is not read


def named(runs: pd.DataFrame, who: str, place: str, settings: Sequence[str]) -> Naming:
    """Name the configurations of every method.

    Two runs have one name exactly if no setting that is read tells them apart. What a setting is may follow from the
    dataset and the number of networks, and a number of epochs from the length of the run: it tells runs apart only if
    it has several values within one such context, and a value is then the usual one of its context if it is the most
    common one of the table, or, where that one is not to be found, the most common one that never is beside it. The
    configuration with the most places has the method's plain name; where several have as many, all are named. A name
    says every setting that is read and in which the configurations of its method differ.

    Args:
        runs: With ``dataset``, ``backbone``, ``budget``, ``recipe`` and ``train.epochs``; one row per run.
        who: The column with what is to be named: configurations of different ones are not compared.
        place: The column with what counts as one place of the table.
        settings: The columns with the settings that belong to a method.
    """
    suffixes = pd.Series("", index=runs.index, dtype=object)
    usual: dict[str, str] = {}
    following: dict[str, list[str]] = {}
    for method, group in runs.groupby(who, sort=False):
        keys, by_context = _keys(group, place, settings)
        if by_context:
            following[str(method)] = by_context
        if not keys:
            continue
        names = _short_names(list(keys))
        identities = pd.Series(
            list(zip(*(key.tokens for key in keys.values()), strict=True)), index=group.index, dtype=object
        )
        plain = _most(identities, group[place], group["recipe"])
        for identity, members in identities.groupby(identities, sort=False):
            values = {names[name]: sorted(set(key.values[members.index].dropna())) for name, key in keys.items()}
            words = {
                name: own[0] if len(own) == 1 else f"usual ({' or '.join(own)})" for name, own in values.items() if own
            }
            said = ", ".join(f"{name}={word}" for name, word in words.items())
            if identity == plain:
                usual[str(method)] = said
            else:
                suffixes.loc[members.index] = f", {said}"
    return Naming(suffixes, usual, following)


def _keys(group: pd.DataFrame, place: str, settings: Sequence[str]) -> tuple[dict[str, _Key], list[str]]:
    """Return the settings that tell a method's runs apart, and the names of those that follow from the context."""
    # what the usual values of settings may follow from: dataset, number of networks, comparison, and the epochs
    networks = group["backbone"].map(lambda name: str(name).count("+"))
    parts = zip(group["dataset"], networks, group["budget"], strict=True)
    anywhere = pd.Series(list(map(str, parts)), index=group.index, dtype=object)
    # in a comparison of equal cost the length follows from the network, which stands for it
    lengths = group["train.epochs"].astype(object).where(group["train.epochs"].notna(), group["backbone"])
    context = anywhere + " " + lengths.map(str)
    keys: dict[str, _Key] = {}
    by_context: list[str] = []
    for name in settings:
        if group[name].nunique(dropna=False) == 1:
            continue
        other, read = registry.read_with().get(name.removeprefix("hyperparameters."), ("", ()))
        beside = group.get(f"hyperparameters.{other}", pd.Series(None, index=group.index, dtype=object))
        # of some runs nothing reads it
        values = group[name].map(shown_setting).mask(beside.notna() & ~beside.isin(read))
        if values.groupby(context, sort=False).nunique().max() > 1:
            keys[name] = _Key(values, _tokens(values, context, group[place]))
        elif values.groupby(anywhere, sort=False).nunique().max() > 1 and not _scales(name, group, lengths, anywhere):
            keys[name] = _Key(values, _tokens(values, anywhere, group[place]))
        else:
            by_context.append(name.rpartition(".")[2])
    return keys, by_context


def _scales(name: str, group: pd.DataFrame, lengths: "pd.Series[Any]", context: "pd.Series[Any]") -> bool:
    """Return whether a setting is a number of epochs that has grown with the length of the runs, and nothing else."""
    word = name.rpartition(".")[2]
    if not all(registry.may_scale(str(method), word) for method in group["method"].unique()):
        return False
    for _, values in group[name].groupby(context, sort=False):
        least, most = 0.0, math.inf
        for value, epochs in zip(values, lengths[values.index], strict=True):
            if not isinstance(value, int | float | np.integer) or value % 1 != 0:
                return False
            if not isinstance(epochs, str):
                # what the default for the published length can have been that was rounded to this
                least = max(least, (value - 0.5) / epochs if value > 1 else 0.0)
                most = min(most, (value + 0.5) / epochs)
        if least > most:
            return False
    return True


def _tokens(values: "pd.Series[Any]", context: "pd.Series[Any]", place: "pd.Series[Any]") -> "pd.Series[Any]":
    values = values.dropna()
    common = _most(values, place)
    beside = [set(own) for _, own in values.groupby(context, sort=False)]
    rivals = set().union(*(own for own in beside if common in own)) - {common}
    tokens = values.copy()
    for _, own in values.groupby(context, sort=False):
        free = own[~own.isin(rivals)]
        usual = common if common in set(own) else _most(free, place[free.index]) if len(free) else None
        tokens.loc[own[own == usual].index] = ""
    return tokens.reindex(place.index, fill_value="")


def _most(values: "pd.Series[Any]", place: "pd.Series[Any]", recipe: "pd.Series[Any] | None" = None) -> Hashable | None:
    """Return the value with the most places; of as many, the one of most runs, or, with recipes, none."""
    counts: dict[Hashable, tuple[int, int]] = {}
    for value, members in values.groupby(values, sort=False):
        # a training recipe of its own is what is set beside the plain method, never the plain method
        second = len(members) if recipe is None else -int(recipe[members.index].notna().any())
        counts[value] = (place[members.index].nunique(), second)
    best = max(counts.values())
    leaders = [value for value, count in counts.items() if count == best]
    return min(leaders, key=str) if recipe is None or len(leaders) == 1 else None


def _short_names(names: Sequence[str]) -> Mapping[str, str]:
    """Return the last words of settings, longer where two would be called alike."""
    short = [name.rpartition(".")[2] for name in names]
    return {
        name: name.removeprefix("hyperparameters.").removeprefix("own.") if short.count(word) > 1 else word
        for name, word in zip(names, short, strict=True)
    }


def shown_setting(value: Hashable, nothing: str = "default") -> str:
    """Return a setting's value as a table shows it, and a word for one that is not set."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return nothing
    return f"{value:g}" if isinstance(value, float) else str(value)
