"""Values that are written as words: names, and which seeds."""

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

from benchmark import paths
from benchmark.configuration.run_config import PLACE
from methods.errors import InputError

MAX_RUNS = 100_000
"""Seeds at most, and runs of one data set."""


def names(key: str, value: Any) -> list[str]:
    """Return the names that a value of a key holds, as text separated by commas or as a list, each once.

    Raises:
        InputError: If it holds none, or something else.
    """
    words = split(value) if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{key} takes names separated by commas (given: {value!r})")
    stripped = [word.strip() for word in words if word.strip()]
    if not stripped:
        raise InputError(f"{key} names nothing")
    return list(dict.fromkeys(stripped))


def split(text: str) -> list[str]:
    """Return the words between commas; one with a comma of its own stands in quotes, as in ``"folder:a,b",digits``."""
    try:
        return next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error:
        return text.split(",")


def joined(words: Iterable[str]) -> str:
    """Return words as the text that :func:`split` reads."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(words)
    return line.getvalue()


def datasets_named(value: Any) -> list[str]:
    """Return the data sets that a value of ``dataset`` names, a place in its plain form: ``npz:./a`` is ``npz:a``.

    Raises:
        InputError: If it names none, or holds something else.
    """
    return list(dict.fromkeys(map(_in_plain_form, names("dataset", value))))


def _in_plain_form(name: str) -> str:
    form, colon, place = name.partition(PLACE)
    # links decide what a step upwards means: those stay
    return f"{form}{colon}{paths.written(place, 'dataset')}" if place.strip() else name


def _range(word: str) -> list[str]:
    """Return what ``0-4`` means one by one; any other word alone, and ranges that are none or far too long too."""
    found = re.fullmatch(r"\s*([0-9]{1,10})\s*-\s*([0-9]{1,10})\s*", word)
    first, last = (int(found[1]), int(found[2])) if found else (0, -1)
    seeds = [str(seed) for seed in range(first, last + 1)] if last - first < MAX_RUNS else []
    # one alone would be a number of seeds
    return [*seeds, ""] if seeds else [word]


def parse_seeds(value: Any) -> list[int]:
    """Return the seeds that a value means: 3 is 0, 1, 2; "0,4,7" (or a list) is those three, "5," only 5, "0-4" five.

    Raises:
        InputError: If it is neither.
    """
    problem = InputError(
        f"seeds takes how many (3) or which (0,4,7 or 0-4), each from 0 to {2**32 - 1} (given: {value!r})"
    )
    if isinstance(value, str):
        parts = [part.strip() for word in value.split(",") for part in _range(word)]
        if not all(part.isascii() and part.isdigit() and len(part) <= 10 for part in parts if part) or not any(parts):
            raise problem
        value = int(parts[0]) if len(parts) == 1 else [int(part) for part in parts if part]
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_RUNS:
        return list(range(value))
    if isinstance(value, list) and value and all(type(seed) is int and 0 <= seed < 2**32 for seed in value):
        return list(dict.fromkeys(value))
    raise problem
