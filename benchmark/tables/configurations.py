"""One name for each configuration of a method, the same in every column of a table."""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Naming:
    """What the configurations of a table are called.

    Attributes:
        suffixes: What stands behind a run's method, by the runs' index; nothing for a method's usual configuration.
        usual: What a plain name stands for, by name.
        following: The settings that follow from the context, by name.
    """

    suffixes: "pd.Series[Any]"
    usual: Mapping[str, str]
    following: Mapping[str, Sequence[str]]

    def notes(self, shown: Collection[str], word: Callable[[str], str]) -> list[str]:
        """Return what the names leave unsaid, a line each.

        Args:
            shown: The names that the table has.
            word: What a name is called.
        """
        lines = [f"{word(name)} alone stands for {said}" for name, said in self.usual.items() if name in shown]
        own = [f"{word(name)}: {', '.join(keys)}" for name, keys in self.following.items() if name in shown]
        start = "by data set, length of the run or number of networks differ, in one row: "
        return lines + ([start + "; ".join(own)] if own else [])


@dataclass(frozen=True)
class _Key:
    """One setting in which configurations differ.

    Attributes:
        values: As text, by run.
        tokens: The same, with one empty word for what is usual in each context.
    """

    values: "pd.Series[Any]"
    tokens: "pd.Series[Any]"


def named(runs: pd.DataFrame, who: str, place: str, settings: Sequence[str]) -> Naming:
    """Name the configurations of every method.

    Two runs have one name exactly if no setting tells them apart. What a setting is may follow from the data set, the
    length of the run and the number of networks: it tells runs apart only if it has several values within one such
    context, and a value is then the usual one of its context if it is the most common one of the table, or, where that
    one is not to be found, the most common one that never stands beside it. The configuration with the most places has
    the method's plain name; where several have as many, all are named. A name says every setting in which the
    configurations of its method differ.

    Args:
        runs: With ``dataset``, ``backbone`` and, if it is known, ``train.epochs``; a row a run.
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
        plain = _most(identities, group[place], strictly=True, own=group.get("recipe"))
        for identity, members in identities.groupby(identities, sort=False):
            said = ", ".join(f"{names[name]}={_value(key, members.index)}" for name, key in keys.items())
            if identity == plain:
                usual[str(method)] = said
            else:
                suffixes.loc[members.index] = f", {said}"
    return Naming(suffixes, usual, following)


def _keys(group: pd.DataFrame, place: str, settings: Sequence[str]) -> tuple[dict[str, _Key], list[str]]:
    """Return the settings that tell a method's runs apart, and the names of those that follow from the context."""
    context = _context(group)
    keys: dict[str, _Key] = {}
    by_context: list[str] = []
    for name in settings:
        if group[name].nunique(dropna=False) == 1:
            continue
        values = group[name].map(shown_setting)
        if values.groupby(context, sort=False).nunique().max() > 1:
            keys[name] = _Key(values, _tokens(values, context, group[place]))
        else:
            by_context.append(name.rpartition(".")[2])
    return keys, by_context


def _context(group: pd.DataFrame) -> "pd.Series[Any]":
    """Return what the usual values of settings may follow from: data set, length, number of networks, comparison.

    In a comparison of equal cost the length follows from the network, and is not known here.
    """
    nothing = pd.Series("", index=group.index, dtype=object)
    epochs = group["train.epochs"] if "train.epochs" in group.columns else nothing
    parts = [
        group["dataset"],
        epochs.where(epochs.notna(), group["backbone"]),
        group["backbone"].map(lambda name: str(name).count("+")),
        group["budget"] if "budget" in group.columns else nothing,
    ]
    return pd.Series(list(map(str, zip(*parts, strict=True))), index=group.index, dtype=object)


def _tokens(values: "pd.Series[Any]", context: "pd.Series[Any]", place: "pd.Series[Any]") -> "pd.Series[Any]":
    common = _most(values, place)
    beside = [set(own) for _, own in values.groupby(context, sort=False)]
    rivals = set().union(*(own for own in beside if common in own)) - {common}
    tokens = values.copy()
    for _, own in values.groupby(context, sort=False):
        free = own[~own.isin(rivals)]
        usual = common if common in set(own) else _most(free, place[free.index]) if len(free) else None
        tokens.loc[own[own == usual].index] = ""
    return tokens


def _most(
    values: "pd.Series[Any]",
    place: "pd.Series[Any]",
    strictly: bool = False,
    own: "pd.Series[Any] | None" = None,
) -> Hashable | None:
    """Return the value with the most places; of as many, the one of most runs, or none if there must be one alone."""
    counts: dict[Hashable, tuple[int, int, int]] = {}
    for value, members in values.groupby(values, sort=False):
        # a training recipe of its own is what is set beside the plain method, never the plain method
        plain = 0 if own is None else -int(own[members.index].notna().any())
        runs = 0 if strictly else len(members)
        counts[value] = (place[members.index].nunique(), plain, runs)
    best = max(counts.values())
    leaders = [value for value, count in counts.items() if count == best]
    if strictly and len(leaders) > 1:
        return None
    return min(leaders, key=str)


def _value(key: _Key, index: "pd.Index[Any]") -> str:
    values = sorted(set(key.values[index]))
    return values[0] if len(values) == 1 else f"usual ({' or '.join(values)})"


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
