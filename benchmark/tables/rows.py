"""What a person calls a row of a table: its label, a method, or a method with some of its settings."""

import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from benchmark.tables import variants
from benchmark.tables.configurations import shown_setting
from methods.errors import InputError, unknown

_WITH_SETTINGS = re.compile(r"(?P<method>[^\[\]]+)\[(?P<settings>[^\[\]]+)\]")


def meant(word: str, runs: pd.DataFrame, labels: Sequence[str], axis: str = "row") -> list[str]:
    """Return the labels that a word means: the label itself, else all of a method's, as far as the settings fit.

    Args:
        word: A label; a method's name; or ``method[key=value, ...]`` with settings of the method.
        runs: Of :func:`benchmark.tables.layout.labelled`.
        labels: All there are.
        axis: The column of ``runs`` that holds them.
    """
    # the plain name of several configurations is that of the usual one, if there is one
    return [word] if word in labels else _of_method(word, runs, labels, axis)


def _of_method(word: str, runs: pd.DataFrame, labels: Sequence[str], axis: str) -> list[str]:
    found = _WITH_SETTINGS.fullmatch(word.strip())
    name = found["method"].strip() if found else word
    own = runs[(runs["method"] == name) | (runs["variant"] == name) | (runs["base"] == name)]
    for part in found["settings"].split(",") if found else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise InputError(f"{word!r}: settings are written as method[key=value] (given: {part.strip()!r})")
        own = own[_fits(own, key.strip(), value.strip(), word)]
    kept = set(own[axis])
    return [label for label in labels if label in kept]


def one(kind: str, word: str, runs: pd.DataFrame, labels: Sequence[str], axis: str = "row") -> str:
    """Return the one label that a word means.

    Raises:
        InputError: If it means none, or several.
    """
    found = meant(word, runs, labels, axis)
    if not found:
        raise unknown(kind, word, labels, quoted=True)
    if len(found) > 1:
        raise InputError(f"{kind} {word!r} means several {axis}s: {quoted(found)}")
    return found[0]


def several(kind: str, words: Iterable[str], runs: pd.DataFrame, labels: Sequence[str], axis: str = "row") -> list[str]:
    """Return the labels that words mean together, in the words' order; a method means all of its own.

    Raises:
        InputError: If one of them means none.
    """
    found: dict[str, None] = {}
    for word in words:
        its = _of_method(word, runs, labels, axis) or [label for label in labels if label == word]
        if not its:
            raise unknown(kind, word, {*labels, *runs["method"]}, quoted=True)
        found |= dict.fromkeys(its)
    return list(found)


def quoted(labels: Iterable[str]) -> str:
    """Return labels, which may have commas in them, as a list."""
    return ", ".join(map(repr, labels))


def _fits(runs: pd.DataFrame, key: str, value: str, word: str) -> "pd.Series[bool]":
    columns = _settings(runs)
    if runs.empty:
        return pd.Series(False, index=runs.index, dtype=bool)
    if key not in columns:
        raise unknown(f"setting in {word!r}", key, columns)
    return runs[columns[key]].map(lambda given: shown_setting(given) == _as_shown(value)).astype(bool)


def _settings(runs: pd.DataFrame) -> Mapping[str, str]:
    """Return the columns with a method's own settings, by their short names; a training recipe of its own wins."""
    beginnings = ("hyperparameters.", "files.", "method.", "train.", variants.OWN)
    there = [name for name in runs.columns if name.startswith(beginnings) and runs[name].notna().any()]
    return {name.rpartition(".")[2]: name for begin in reversed(beginnings[:-1]) for name in there if begin in name} | {
        name.rpartition(".")[2]: name for name in there if name.startswith(variants.OWN)
    }


def _as_shown(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value
