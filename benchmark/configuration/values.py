"""Values of options that are lists: names, seeds, and methods with settings of their own."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark import paths
from benchmark.configuration.recipes import parse_yaml
from benchmark.configuration.run_config import PLACE
from methods.errors import InputError

MAX_RUNS = 100_000
"""Seeds at most, and runs of one dataset."""


def names(key: str, value: Any) -> list[str]:
    """Return the names in a text with commas or in a list, each once, or raise an InputError if there is none."""
    words = split(value) if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{key} takes names separated by commas (given: {value!r})")
    if stripped := dict.fromkeys(word.strip() for word in words if word.strip()):
        return list(stripped)
    raise InputError(f"{key} names nothing")


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
    """Return the datasets of a value, paths in their plain form (``npz:./a`` is ``npz:a``), or raise an InputError."""
    found = []
    for name in names("dataset", value):
        form, _, place = name.partition(PLACE)
        # links decide what a step upwards means: those stay
        found.append(f"{form}{PLACE}{paths.written(place, 'dataset')}" if place.strip() else name)
    return list(dict.fromkeys(found))


_SEEDS = re.compile(r"\s*([0-9]{1,10})\s*(?:-\s*([0-9]{1,10})\s*)?")


def parse_seeds(value: Any) -> list[int]:
    """Return the seeds of 3 (0, 1, 2), of "0,4,7" or a list, "5," (5 alone) or "0-4" (five), or raise an InputError."""
    seeds = value
    if isinstance(value, str):
        found = [_SEEDS.fullmatch(word) for word in value.split(",") if word.strip()]
        ranges = [(int(one[1]), int(one[2] or one[1])) for one in found if one]
        if len(ranges) == len(found) and all(first <= last < first + MAX_RUNS for first, last in ranges):
            seeds = [seed for first, last in ranges for seed in range(first, last + 1)]
            if found and not re.search("[,-]", value):
                (seeds,) = seeds
    if type(seeds) is int and 1 <= seeds <= MAX_RUNS:
        return list(range(seeds))
    if isinstance(seeds, list) and seeds and all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds):
        return list(dict.fromkeys(seeds))
    raise InputError(f"seeds takes how many (3) or which (0,4,7 or 0-4), each from 0 to {2**32 - 1} (given: {value!r})")


@dataclass(frozen=True)
class MethodEntry:
    """One of the methods of a command."""

    method: str
    name: str = ""  # its name in tables; empty for its own name
    train: Mapping[str, Any] = field(default_factory=dict)  # training settings of its own
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)  # the same, of the method


_COMMA = re.compile(r",(?![^\[({]*[\])}])")
_VARIANT = re.compile(r"\s*(?P<method>[^\s:]+)(?:\s+as\s+(?P<name>[^:]+?))?\s*:(?P<settings>.*)", re.DOTALL)


def parse_variant(word: Any) -> MethodEntry:
    """Return the entry of ``METHOD [as NAME]: KEY=VALUE, train.KEY=VALUE``, values in YAML, or raise an InputError."""
    problem = InputError(
        "--variant takes 'METHOD: KEY=VALUE, ...' or 'METHOD as NAME: ...', such as 'dkel: decay=none' "
        f"(given: {word!r})"
    )
    head = _VARIANT.fullmatch(word) if isinstance(word, str) else None
    if not head:
        raise problem
    settings: dict[str, Any] = {}
    for part in _COMMA.split(head["settings"]):
        key, equals, text = part.partition("=")
        key = key.strip().removeprefix(f"{head['method']}.")
        if not (equals and key.removeprefix("train.")) or key in settings:
            raise problem
        if key.startswith("data."):
            raise InputError(f"--variant {word}: all methods of a command see the same images: leave out {key}")
        settings[key] = parse_yaml(text.strip(), f"--variant {word}")
    name = (head["name"] or "").strip()
    if not re.fullmatch(r"[^,/\[\]\x00-\x1f]{0,60}", name):
        raise InputError(f"--variant {word}: 'as' takes a name without commas, slashes and brackets (given: {name!r})")
    train = {key.removeprefix("train."): settings.pop(key) for key in list(settings) if key.startswith("train.")}
    return MethodEntry(head["method"], name, train, settings)
