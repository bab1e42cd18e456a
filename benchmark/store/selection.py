"""Conditions that choose runs by the columns of the table of all runs, such as ``backbone=resnet8 and lr<0.1``.

A condition is one or several comparisons joined by ``and``: ``KEY = VALUE``, or with ``!=``, ``<``, ``<=``, ``>``,
``>=``. A key is a column, or its last word where that is one column's alone. Several values, separated by commas, are
any of them. One with spaces or signs is quoted; ``null`` is what is not there. Nothing of it is ever run as code.
"""

import operator
import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import pandas as pd

from benchmark.formatting import OTHER_WORDS, short_name
from methods.errors import InputError, unknown

MAX_LISTED = 40
"""Values of a column that are listed for one that it does not have."""

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s<>=!"'(),]+)"""
_COMPARISON = re.compile(
    rf"""\s*(?P<key>[^\s<>=!"'()]+)\s*(?P<sign>[<>=!]=|[<>=])\s*(?P<values>{_VALUE}(?:,{_VALUE})*)\s*(?P<more>and\b|$)"""
)


def select(frame: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Return the rows of the runs that fit a condition; of a run with several epochs the last one is judged.

    Args:
        frame: From :func:`benchmark.store.load`.
        condition: As above.

    Raises:
        InputError: If the condition has another form, or names a column or a value that is not there.
    """
    last = frame.drop_duplicates("run", keep="last")
    return frame[frame["run"].isin(last.loc[fits(last, condition), "run"])]


def fits(frame: pd.DataFrame, condition: str) -> "pd.Series[bool]":
    """Return for each row whether it fits a condition.

    Args:
        frame: Any table whose columns have the names of :func:`benchmark.store.load`.
        condition: As above.

    Raises:
        InputError: As :func:`select`.
    """
    found = pd.Series(True, index=frame.index)
    place, more = 0, True
    while more:
        part = _COMPARISON.match(condition, place)
        if part is None:
            raise InputError(
                "--where takes comparisons joined by 'and', as in 'backbone=resnet8 and temperature=3', and of several "
                f"values any, as in method=pcl,dkel: none can be read in {condition[place:].strip()!r} of {condition!r}"
            )
        key, sign = part["key"], part["sign"]
        words = [word[1:-1] if word[0] in "\"'" else word for word in re.findall(_VALUE, part["values"])]
        own = frame[column(frame, key)]
        answers = [_compared(own, key, sign, word) for word in words]
        found &= pd.concat(answers, axis=1).all(axis=1) if sign == "!=" else pd.concat(answers, axis=1).any(axis=1)
        place, more = part.end(), bool(part["more"])
    return found


def column(frame: pd.DataFrame, key: str) -> str:
    """Return the column that a key means: its name, or its last word.

    Raises:
        InputError: If it means none, or several.
    """
    names = [str(name) for name in frame.columns]
    if key in names:
        return key
    meant = [name for name in names if name.rpartition(".")[2] == key and "." in name]
    # of settings and what is known beside them, the setting is meant
    settings = [name for name in meant if name.startswith(("train.", "data.", "hyperparameters."))]
    meant = settings or meant
    if len(meant) > 1:
        raise InputError(f"{key!r} means several columns: {', '.join(meant)}")
    if not meant:
        valid = {*names, *(name.rpartition(".")[2] for name in names if "." in name)}
        raise unknown("word in --where", key, valid, also=OTHER_WORDS)
    return meant[0]


def _compared(values: "pd.Series[Any]", key: str, sign: str, word: str) -> "pd.Series[bool]":
    there = values.dropna().unique().tolist()
    if sign in ("=", "==", "!=") and word != "null" and there and all(isinstance(value, str) for value in there):
        known = {name for value in there for name in (value, short_name(value))}
        if word not in known and len(known) <= MAX_LISTED:
            raise unknown(key, word, known)
    # by type too: True is 1 to a dictionary
    answers = {(type(value), value): _fits(value, key, sign, word) for value in there}
    missing = (word == "null") == (sign != "!=") and sign in ("=", "==", "!=")
    found = [missing if pd.isna(value) else answers[type(value), value] for value in values.tolist()]
    return pd.Series(found, index=values.index, dtype=bool)


def _fits(value: Hashable, key: str, sign: str, word: str) -> bool:
    """Return whether a value that is there stands so to a word."""
    compare = _COMPARISONS[sign]
    if word == "null":
        return sign == "!="
    if not isinstance(value, str):
        is_switch = isinstance(value, bool)
        given = {"true": 1.0, "false": 0.0}.get(word.lower()) if is_switch else _number(word)
        if given is None:
            # a setting that is a number in one method and a word in another is compared where it fits
            return sign == "!="
        return compare(float(str(value)) if not is_switch else float(bool(value)), given)
    if sign not in ("=", "==", "!="):
        raise InputError(f"{key}{sign}{word}: {key} is a word, which is only = or != ({value!r})")
    same = word in (value, short_name(value))
    return same if sign != "!=" else not same


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
