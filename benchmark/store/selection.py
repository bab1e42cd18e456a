"""Which runs are meant: conditions on the columns of the table of all runs, such as ``backbone=resnet8 and lr<0.1``.

The grammar, in which ``and`` binds closer than ``or``::

    condition  = all ("or" all)*
    all        = part ("and" part)*
    part       = "not" part | "(" condition ")" | KEY ("=" | "!=" | "<" | "<=" | ">" | ">=") VALUE

A key is a column, or its last word where that is one column's alone. A value with spaces or signs stands in quotes;
``null`` is what is not there. Nothing of it is ever carried out as code.
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
_TOKEN = re.compile(r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<sign>[<>=!]=|[<>=()])|(?P<word>[^\s<>=!()"']+))""")
_KEYWORDS = ("and", "or", "not")
_EXAMPLE = "as in 'backbone=resnet8 and temperature=3'"


def select(frame: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Return the rows of the runs that fit a condition; of a run with several epochs the last one is judged.

    Args:
        frame: From :func:`benchmark.store.load`.
        condition: In the grammar above.

    Raises:
        InputError: If the condition has another form, or names a column or a value that is not there.
    """
    last = frame.drop_duplicates("run", keep="last")
    return frame[frame["run"].isin(last.loc[fits(last, condition), "run"])]


def fits(frame: pd.DataFrame, condition: str) -> "pd.Series[bool]":
    """Return for each row whether it fits a condition.

    Args:
        frame: Any table whose columns have the names of :func:`benchmark.store.load`.
        condition: In the grammar above.

    Raises:
        InputError: As :func:`select`.
    """
    return _Reader(frame, condition).read()


class _Reader:
    """Reads one condition from left to right."""

    def __init__(self, frame: pd.DataFrame, text: str) -> None:
        self.frame = frame
        self.text = text
        self.tokens = self._tokens(text)
        self.place = 0

    def _tokens(self, text: str) -> list[tuple[str, str]]:
        found, place = [], 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None:
                raise self._problem(f"nothing can begin with {text[place:].strip()[0]!r}")
            kind = str(match.lastgroup)
            found.append((kind, match[kind][1:-1] if kind == "quoted" else match[kind]))
            place = match.end()
        return found

    def _problem(self, what: str) -> InputError:
        return InputError(f"--where takes conditions {_EXAMPLE}: {what} (given: {self.text!r})")

    def read(self) -> "pd.Series[bool]":
        found = self._any()
        if self.place < len(self.tokens):
            raise self._problem(f"'and' or 'or' must stand before {self.tokens[self.place][1]!r}")
        return found

    def _any(self) -> "pd.Series[bool]":
        found = self._all()
        while self._taken("or"):
            found = found | self._all()
        return found

    def _all(self) -> "pd.Series[bool]":
        found = self._part()
        while self._taken("and"):
            found = found & self._part()
        return found

    def _part(self) -> "pd.Series[bool]":
        if self._taken("not"):
            return ~self._part()
        if self._taken("("):
            found = self._any()
            if not self._taken(")"):
                raise self._problem("a bracket is not closed")
            return found
        key = self._next("a key")
        sign = self._next(f"a comparison after {key!r}", _COMPARISONS)
        return _compared(self.frame[column(self.frame, key)], key, sign, self._next(f"a value after '{key}{sign}'"))

    def _taken(self, word: str) -> bool:
        there = self.place < len(self.tokens)
        taken = there and self.tokens[self.place][0] != "quoted" and self.tokens[self.place][1] == word
        self.place += taken
        return taken

    def _next(self, wanted: str, valid: Mapping[str, Any] | None = None) -> str:
        kind, word = self.tokens[self.place] if self.place < len(self.tokens) else ("", "")
        fits = kind == "sign" and word in valid if valid else kind == "quoted" or (
            kind == "word" and word not in _KEYWORDS
        )  # fmt: skip
        if not fits:
            raise self._problem(f"{wanted} is missing" + (f" before {word!r}" if kind else ""))
        self.place += 1
        return word


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
