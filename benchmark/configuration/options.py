"""The options of ``bench run`` and ``bench sweep``, from which flags, keys of files and arguments of the API derive.

And the values of those that are lists: names, seeds, and methods with settings of their own.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from benchmark import paths
from benchmark.configuration.recipes import parse_yaml
from benchmark.configuration.run_config import PLACE
from methods.errors import InputError, unknown

Engine = Literal["ray", "serial"]
LogitsType = Literal["float16", "float32"]

MAX_SEEDS, SEED_STEP, TRIALS = 20, 5, 20
"""Of ``--until-decided``, and of a sweep that is not a grid."""


@dataclass(frozen=True)
class Option:
    """One option."""

    type: type  # of its value on the command line; a list is a flag that may be repeated
    help: str  # one sentence for bench run --help
    default: Any = None  # what counts if it is not given
    metavar: str | None = None  # what stands for the value in the help
    choices: tuple[str, ...] = ()  # the valid words
    low: int | None = None
    high: int | None = None
    names: str = ""  # what a shell completes: methods, datasets or backbones
    # whether its words are separated by commas, or a list in a file; what it means is checked by its reader
    several: bool = False
    flag: str | None = None  # on the command line, where it is not -- and the key

    def checked(self, key: str, value: Any) -> Any:
        """Return the value given, or the default for None; raise an InputError for another type or one out of range."""
        value = self.default if value is None else value
        if value is None or self.several or self.type is list:
            return value
        if self.choices and value not in self.choices:
            raise unknown(key, str(value), self.choices)
        if self.type is bool and type(value) is not bool:
            raise InputError(f"{key} must be true or false (given: {value!r})")
        if self.type is int and self.low is not None and self.high is not None:
            if type(value) is not int or not self.low <= value <= self.high:
                raise InputError(f"{key} must be a whole number from {self.low} to {self.high} (given: {value!r})")
        elif self.type is float and (type(value) not in (int, float) or not 0 < value < float("inf")):
            raise InputError(f"{key} must be a number above 0 (given: {value!r})")
        elif self.type in (str, Path) and not (isinstance(value, str) and value.strip() and paths.possible(value)):
            raise InputError(f"{key} must be a word (given: {value!r})")
        return paths.written(value, key) if self.type is Path else value


OPTIONS: Mapping[str, Option] = {
    "methods": Option(str, "Names separated by commas; all if not given.", names="methods", several=True),
    "variants": Option(
        list,
        "Add a variant of a method: 'dkel: decay=none', or with a name 'dml as dml-slow: train.lr=0.05'.",
        metavar="VARIANT",
        flag="--variant",
    ),
    "dataset": Option(
        str,
        "Names or forms such as folder:PATH, with commas; one that has a comma in quotes: '\"folder:a,b\"'.",
        default="digits",
        names="datasets",
        several=True,
    ),
    "backbone": Option(
        str,
        "Names separated by commas; a+b for peers with different networks.",
        default="resnet32",
        names="backbones",
        several=True,
    ),
    "seeds": Option(str, "How many (3) or which (0,4,7 or 0-4; a single one: 7,).", default=1, several=True),
    "epochs": Option(int, "Short for --set train.epochs=N."),
    "results": Option(Path, "Where runs are stored (default: results).", default="results", metavar="DIR"),
    "data_root": Option(Path, "Where datasets are stored (default: $OKDBENCH_DATA, or data).", metavar="DIR"),
    "engine": Option(
        str, "ray (runs in parallel) or serial (in this process).", default="ray", choices=get_args(Engine)
    ),
    "address": Option(str, "Address of an existing Ray cluster to join."),
    "device": Option(str, "auto, cpu, cuda, cuda:N or cuda:N,M.", default="auto"),
    "trials_per_gpu": Option(int, "Runs in parallel on one GPU.", default=1, low=1, high=100),
    "save_students": Option(bool, "Keep the students' weights.", default=False),
    "save_predictions": Option(bool, "Keep all logits on the scored images, after the last epoch.", default=False),
    "predictions_type": Option(
        str, "With --save-predictions: float16 (default) or float32.", metavar="TYPE", choices=get_args(LogitsType)
    ),
    "equal_cost": Option(
        str, "Give every method the epochs that this method's training cost allows.", metavar="METHOD", names="methods"
    ),
    "cost": Option(
        str,
        "With --equal-cost: macs, or time as measured on this machine, without evaluation.",
        default="macs",
        choices=("macs", "time"),
    ),
    "budget": Option(float, "The same for a given number of MACs, such as 2.5e15."),
    "stop_after": Option(
        str,
        "Stop in time, such as 9m or 1h30m: no epoch that would take longer is begun. The same command resumes.",
        metavar="TIME",
    ),
    "log": Option(
        str, "Also write the metrics to these, separated by commas: tensorboard, wandb, mlflow.", several=True
    ),
}
"""By their keys in a configuration file."""

RUN_ALONE = {"methods", "variants", "equal_cost", "cost", "budget"}
RUN_ALONE |= {"save_students", "save_predictions", "predictions_type"}
"""Those that ``bench sweep`` does not have."""

UNTIL_DECIDED_OPTIONS: Mapping[str, Option] = {
    "until_decided": Option(
        float, "Add seeds until every method is better, worse or equivalent within this many points.", metavar="POINTS"
    ),
    "baseline": Option(str, "With --until-decided: the method to compare with.", metavar="METHOD", names="methods"),
    "max_seeds": Option(int, f"With --until-decided: the largest number of seeds (default: {MAX_SEEDS}).", MAX_SEEDS),
    "step": Option(
        int, f"With --until-decided: seeds added at a time (default: {SEED_STEP}).", SEED_STEP, flag="--seed-step"
    ),
}
"""Of ``bench run`` alone, and no keys of a file: the seeds that they ask for depend on results."""

SWEEP_OPTIONS: Mapping[str, Option] = {
    "method": Option(str, "The method that is searched.", names="methods"),
    "trials": Option(int, f"Configurations to try (default: all of a grid, else {TRIALS}).", low=1, high=10_000),
    "search": Option(str, "grid, random or optuna.", default="random", choices=("grid", "random", "optuna")),
    "scheduler": Option(str, "none, or asha for early stopping.", default="none", choices=("none", "asha")),
    "search_seed": Option(int, "Random seed of the search.", default=0, low=0, high=2**32 - 1),
    "storage": Option(
        str,
        "With --search optuna: keep its study in this SQLite file, or at an URL; optuna-dashboard opens it.",
        metavar="FILE",
    ),
}
"""Of ``bench sweep`` beside those of :data:`OPTIONS` that it shares."""

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


def read_entries(key: str, value: Any) -> list[MethodEntry]:
    """Return the methods of a list of words and mappings with ``name``, ``as`` and settings, or raise an InputError.

    The words of ``methods`` are names, which a text may separate by commas, those of ``variants`` as of ``--variant``.
    """
    items = value.split(",") if isinstance(value, str) and key == "methods" else value
    if not isinstance(items, list) or not all(isinstance(item, str | dict) for item in items):
        form = "names separated by commas" if key == "methods" else "a list of words such as 'dkel: decay=none'"
        raise InputError(f"{key} takes {form} (given: {value!r})")
    entries: list[MethodEntry] = []
    for item in items:
        if isinstance(item, dict):
            entry = _from_mapping(key, item)
        elif key == "variants":
            entry = parse_variant(item)
        else:
            entry = MethodEntry(item.strip())
        if entry.method and entry not in entries:
            entries.append(entry)
    if not entries:
        raise InputError(f"{key} names nothing")
    return entries


_COMMA = re.compile(r",(?![^\[({]*[\])}])")
_VARIANT = re.compile(r"\s*(?P<method>[^\s:]+)(?:\s+as\s+(?P<name>[^:]+?))?\s*:(?P<settings>.*)", re.DOTALL)


def parse_variant(word: str) -> MethodEntry:
    """Return the entry of ``METHOD [as NAME]: KEY=VALUE, train.KEY=VALUE``, values in YAML, or raise an InputError."""
    problem = InputError(
        "--variant takes 'METHOD: KEY=VALUE, ...' or 'METHOD as NAME: ...', such as 'dkel: decay=none' "
        f"(given: {word!r})"
    )
    head = _VARIANT.fullmatch(word)
    if not head:
        raise problem
    content: dict[str, Any] = {"name": head["method"], "as": (head["name"] or "").strip(), "train": {}}
    for part in _COMMA.split(head["settings"]):
        key, equals, text = part.partition("=")
        key = key.strip().removeprefix(f"{head['method']}.")
        if not (equals and key) or key in content:
            raise problem
        into = content["train"] if key.startswith("train.") else content
        into[key.removeprefix("train.")] = parse_yaml(text.strip(), f"--variant {word}")
    return _from_mapping("variants", content)


def _from_mapping(key: str, item: Mapping[str, Any]) -> MethodEntry:
    example = "{name: dml, as: dml-small-lr, train: {lr: 0.05}}"
    rest = dict(item)
    method, name, train = rest.pop("name", None), rest.pop("as", ""), rest.pop("train", {})
    if not isinstance(method, str) or not method.strip() or not all(isinstance(word, str) for word in rest):
        raise InputError(f"{key}: a method with settings of its own is written as {example} (given: {item!r})")
    if not isinstance(train, dict) or not all(isinstance(word, str) for word in train):
        raise InputError(f"{key}: train must hold keys and values, as in {example} (given: {train!r})")
    if data := next((word for word in rest if word == "data" or word.startswith("data.")), None):
        raise InputError(f"{key}: {method} cannot have {data} of its own: all methods of a command see the same images")
    if not isinstance(name, str) or name != name.strip() or not re.fullmatch(r"[^,/\[\]\x00-\x1f]{0,60}", name):
        raise InputError(f"{key}: 'as' takes a name without commas, slashes and brackets (given: {name!r})")
    return MethodEntry(method.strip(), name, train, rest)
