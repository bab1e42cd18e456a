"""What ``methods`` lists: names, and methods with settings of their own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.configuration import yaml_files
from methods.errors import InputError

MAX_NAME = 60
_COMMA = re.compile(r",(?![^\[({]*[\])}])")
_HEAD = re.compile(r"\s*(?P<method>[^\s:]+)(?:\s+as\s+(?P<name>[^:]+?))?\s*:(?P<settings>.*)", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """One of the methods of a command.

    Attributes:
        method: Its name.
        name: What the table calls it; empty for its own name.
        train: Training settings of its own.
        hyperparameters: The same, of the method.
    """

    method: str
    name: str = ""
    train: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


def read(key: str, value: Any) -> list[Entry]:
    """Return what a list of methods means: words, or mappings with ``name`` and, if wanted, ``as`` and settings.

    Args:
        key: Where the list stands, for messages.
        value: The list, or its words with commas.

    Raises:
        InputError: If it has another form.
    """
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(item, str | dict) for item in value):
        raise InputError(f"{key} takes names separated by commas (given: {value!r})")
    words = [item.strip() if isinstance(item, str) else item for item in value]
    entries = [_from_mapping(key, item) if isinstance(item, dict) else Entry(item) for item in words if item]
    if not entries:
        raise InputError(f"{key} names nothing")
    return distinct(entries)


def read_variants(value: Any) -> list[Entry]:
    """Return what ``--variant`` words, or a list of such words and mappings, mean.

    Raises:
        InputError: If one has another form.
    """
    if not isinstance(value, list) or not value:
        raise InputError(f"variants takes a list of words such as 'dkel: decay=none' (given: {value!r})")
    items = [parse(item) if isinstance(item, str) else item for item in value]
    return [item if isinstance(item, Entry) else _from_mapping("variants", item) for item in items]


def parse(word: str) -> Entry:
    """Return the entry that ``METHOD [as NAME]: KEY=VALUE, train.KEY=VALUE`` stands for; values are read as YAML.

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
        into[key] = yaml_files.parse(text.strip(), f"--variant {word}")
    return _from_mapping("variants", content | ({"train": train} if train else {}))


def _from_mapping(key: str, item: Any) -> Entry:
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
    return Entry(method.strip(), name, train, rest)


def distinct(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries, those that are the same once."""
    found: list[Entry] = []
    for entry in entries:
        if entry not in found:
            found.append(entry)
    return found
