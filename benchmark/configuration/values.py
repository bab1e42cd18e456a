"""Values of options that are lists: names, seeds, and methods with settings of their own."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark import paths
from benchmark.configuration.recipes import parse_yaml
from benchmark.configuration.run_config import PLACE
from methods.errors import InputError

MAX_RUNS = 100_000
"""Seeds at most, and runs of one dataset."""


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
    """Return the words between commas; one with a comma of its own is in quotes, as in ``"folder:a,b",digits``."""
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
    """Return the datasets that a value of ``dataset`` names, with paths in their plain form: ``npz:./a`` is ``npz:a``.

    Raises:
        InputError: If it names none, or holds something else.
    """
    return list(dict.fromkeys(map(_in_plain_form, names("dataset", value))))


def _in_plain_form(name: str) -> str:
    form, colon, place = name.partition(PLACE)
    # links decide what a step upwards means: those stay
    return f"{form}{colon}{paths.written(place, 'dataset')}" if place.strip() else name


def _range(word: str) -> list[str]:
    """Return the seeds of a range such as ``0-4``; any other word alone, also an invalid or far too long range."""
    found = re.fullmatch(r"\s*([0-9]{1,10})\s*-\s*([0-9]{1,10})\s*", word)
    first, last = (int(found[1]), int(found[2])) if found else (0, -1)
    seeds = [str(seed) for seed in range(first, last + 1)] if last - first < MAX_RUNS else []
    # one alone would be a number of seeds
    return [*seeds, ""] if seeds else [word]


def parse_seeds(value: Any) -> list[int]:
    """Return the seeds of a value: 3 is 0, 1, 2; "0,4,7" (or a list) is those three, "5," only 5, "0-4" five.

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


MAX_NAME = 60
_COMMA = re.compile(r",(?![^\[({]*[\])}])")
_HEAD = re.compile(r"\s*(?P<method>[^\s:]+)(?:\s+as\s+(?P<name>[^:]+?))?\s*:(?P<settings>.*)", re.DOTALL)


@dataclass(frozen=True)
class MethodEntry:
    """One of the methods of a command."""

    method: str
    name: str = ""  # its name in tables; empty for its own name
    train: Mapping[str, Any] = field(default_factory=dict)  # training settings of its own
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)  # the same, of the method


def read_methods(key: str, value: Any) -> list[MethodEntry]:
    """Return the methods of a list of words, or of mappings with ``name`` and, if wanted, ``as`` and settings.

    Raises:
        InputError: If it has another form.
    """
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(item, str | dict) for item in value):
        raise InputError(f"{key} takes names separated by commas (given: {value!r})")
    words = [item.strip() if isinstance(item, str) else item for item in value]
    entries = [_from_mapping(key, item) if isinstance(item, dict) else MethodEntry(item) for item in words if item]
    if not entries:
        raise InputError(f"{key} names nothing")
    return distinct_entries(entries)


def read_variants(value: Any) -> list[MethodEntry]:
    """Return the variants of a list of ``--variant`` words and mappings.

    Raises:
        InputError: If one has another form.
    """
    if not isinstance(value, list) or not value:
        raise InputError(f"variants takes a list of words such as 'dkel: decay=none' (given: {value!r})")
    items = [parse_variant(item) if isinstance(item, str) else item for item in value]
    return [item if isinstance(item, MethodEntry) else _from_mapping("variants", item) for item in items]


def parse_variant(word: str) -> MethodEntry:
    """Return the entry of ``METHOD [as NAME]: KEY=VALUE, train.KEY=VALUE``; values are read as YAML.

    Raises:
        InputError: If the word has another form.
    """
    problem = InputError(
        "--variant takes 'METHOD: KEY=VALUE, ...' or 'METHOD as NAME: ...', such as 'dkel: decay=none' "
        f"(given: {word!r})"
    )
    head = _HEAD.fullmatch(word)
    if not head:
        raise problem
    content: dict[str, Any] = {"name": head["method"]}
    if head["name"]:
        content["as"] = head["name"].strip()
    train: dict[str, Any] = {}
    for part in _COMMA.split(head["settings"]):
        key, equals, text = part.partition("=")
        key = key.strip().removeprefix(f"{head['method']}.")
        if not (equals and key) or key in ("name", "as", "train"):
            raise problem
        into, key = (train, key.removeprefix("train.")) if key.startswith("train.") else (content, key)
        into[key] = parse_yaml(text.strip(), f"--variant {word}")
    return _from_mapping("variants", content | ({"train": train} if train else {}))


def _from_mapping(key: str, item: Any) -> MethodEntry:
    example = "{name: dml, as: dml-small-lr, train: {lr: 0.05}}"
    if not isinstance(item, dict) or not all(isinstance(word, str) for word in item):
        raise InputError(f"{key}: a method with settings of its own is written as {example} (given: {item!r})")
    rest = dict(item)
    method, name, train = rest.pop("name", None), rest.pop("as", ""), rest.pop("train", {})
    if not isinstance(method, str) or not method.strip():
        raise InputError(f"{key}: a method with settings of its own is written as {example} (given: {item!r})")
    if not isinstance(train, dict) or not all(isinstance(word, str) for word in train):
        raise InputError(f"{key}: train must hold keys and values, as in {example} (given: {train!r})")
    if data := next((word for word in rest if word == "data" or word.startswith("data.")), None):
        raise InputError(f"{key}: {method} cannot have {data} of its own: all methods of a command see the same images")
    if (
        not isinstance(name, str)
        or len(name) > MAX_NAME
        or re.search(r"[,/\[\]\x00-\x1f]", name)
        or name != name.strip()
    ):
        raise InputError(f"{key}: 'as' takes a name without commas, slashes and brackets (given: {name!r})")
    return MethodEntry(method.strip(), name, train, rest)


def distinct_entries(entries: Sequence[MethodEntry]) -> list[MethodEntry]:
    """Return the entries, those that are the same once."""
    found: list[MethodEntry] = []
    for entry in entries:
        if entry not in found:
            found.append(entry)
    return found
