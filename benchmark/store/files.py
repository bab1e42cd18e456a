"""What a run's three files may hold: each is checked whole when it is read, and what is not so is damage.

A store may come from others, or from a disk that failed: nothing in it is believed before it is checked.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from benchmark import metrics
from benchmark.configuration import RunConfig, parse_yaml
from benchmark.store.ending import Result, Status
from methods.errors import InputError
from methods.hyperparameters import validated
from methods.metrics import MethodMetric, Role

CONFIG, METRICS, RESULT, ERROR = "config.yaml", "metrics.jsonl", "result.json", "error.txt"
CHECKPOINT = "checkpoint.pt"

LIMITS: Mapping[str, int] = {CONFIG: 1_000_000, METRICS: 256 * 2**20, RESULT: 1_000_000}
"""Bytes that each file may have; a run of 100,000 epochs stays below."""

RESERVED = frozenset(
    (
        "run",
        "method",
        "dataset",
        "backbone",
        "seed",
        "status",
        "reason",
        "students",
        "environment",
        "roles",
        "split",
        "best_epoch",
        "budgets",
        "uses",
    )
)
"""Names of the table's columns that no metric may have."""

Row = dict[str, float]

_LARGEST = 2**63
_DEEPEST = 6
"""A list among the settings of a use: the configuration, the uses, a use, its part, the list, an entry."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
_NUMBERS = TypeAdapter(dict[str, Finite | None], config=ConfigDict(strict=True))

# libyaml reads hundreds of configurations ten times as fast, but lets deep nesting end the process and aliases
# through; text that has more than a configuration needs is left to the loader that people's own files are read with
_UNUSUAL = re.compile(rb"[&*!?\t]|-\s+-|^ {16}|^[^\n]*[\[{][^\n]*[\[{]", re.MULTILINE)
_Fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


Stamp = tuple[int, ...]
"""Size and modification time in ns of each of the three files; -1 for one that is not there."""


class DamagedError(Exception):
    """A run's files are not what a run writes; the message says which and why, on one line.

    Attributes:
        stamp: Of the files, where they lie in a folder.
    """

    stamp: Stamp = (-1,) * 6


class _StoredResult(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    status: Status
    students: tuple[str, ...]
    reason: str = ""
    seconds: float = Field(0.0, ge=0)
    environment: dict[str, str] | None = None
    cost: dict[str, float] | None = None
    roles: dict[str, Role] = {}
    metrics: tuple[MethodMetric, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What a run's files say, checked.

    Attributes:
        config: Its resolved configuration.
        result: How it ended; None if it has not.
        rows: Its metrics, a row an epoch; a score that was no finite number is left out.
    """

    config: RunConfig
    result: Result | None
    rows: Sequence[Row]

    @property
    def status(self) -> Status:
        """How far it is."""
        return self.result.status if self.result else Status.UNFINISHED

    @property
    def scored(self) -> Row | None:
        """The metrics of the last epoch that was evaluated, or of the last one; None if there is none."""
        return next((row for row in reversed(self.rows) if "student" in row), self.rows[-1] if self.rows else None)


def parse_config(content: bytes) -> RunConfig:
    """Return the configuration that a file holds.

    Raises:
        DamagedError: If it is none.
    """
    try:
        if _UNUSUAL.search(content):
            found = parse_yaml(content.decode(), CONFIG)
        else:
            found = yaml.load(content.decode(), Loader=_Fast)  # noqa: S506 - it is a safe loader
        if not isinstance(found, dict):
            raise DamagedError(f"{CONFIG} is no configuration")
        config = validated(RunConfig, found)
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        reason = f": {_one_line(error)}" if isinstance(error, InputError) else ""
        raise DamagedError(f"{CONFIG} is no configuration{reason}") from None
    if fault := next(_unstorable(config.model_dump(mode="json")), ""):
        raise DamagedError(f"{CONFIG} holds {fault}")
    return config


def parse_result(content: bytes) -> Result:
    """Return how a run ended, as a file says.

    Raises:
        DamagedError: If it does not say so.
    """
    try:
        found = _StoredResult.model_validate_json(content)
    except ValidationError as error:
        raise DamagedError(f"{RESULT}: {_first_fault(error)}") from None
    texts = [found.reason, *found.students, *(found.environment or {}), *(found.environment or {}).values()]
    texts += [*found.roles, *(text for one in found.metrics for text in (one.name, one.description, one.unit, one.key))]
    if fault := next(_unstorable([*texts, *(found.cost or {})]), ""):
        raise DamagedError(f"{RESULT} holds {fault}")
    return Result(**dict(found))


def parse_metrics(content: bytes) -> list[Row]:
    """Return the metrics of every epoch, a line an epoch.

    Raises:
        DamagedError: If a line is no such line; it is named by its number, counted from 1.
    """
    lines = content.split(b"\n")
    if lines.pop():
        raise DamagedError(f"{METRICS} is cut short in line {len(lines) + 1}")
    rows = []
    names: dict[str, str] = {}
    for number, line in enumerate(lines):
        try:
            given = _NUMBERS.validate_json(line)
        except ValidationError as error:
            raise DamagedError(f"{METRICS}, line {number + 1}: {_first_fault(error)}") from None
        if given.get("epoch") != number:
            raise DamagedError(f"{METRICS}, line {number + 1}: not epoch {number}")
        # all rows share one text a name
        row = {names.setdefault(name, name): value for name, value in given.items() if value is not None}
        if fault := next(metrics.out_of_range(row), ""):
            raise DamagedError(f"{METRICS}, line {number + 1}: {fault}")
        row["epoch"] = number
        rows.append(row)
    if bad := next((name for name in names if not _is_metric(name)), None):
        raise DamagedError(f"{METRICS}: {bad[:60]!r} is no name of a metric")
    return rows


def parse(config: bytes, result: bytes | None, curves: bytes | None) -> Contents:
    """Return what a run's files say together.

    Args:
        config: Content of ``config.yaml``.
        result: Of ``result.json``; None if there is none.
        curves: Of ``metrics.jsonl``; None if there is none.

    Raises:
        DamagedError: If one of them is damaged, or if they contradict each other.
    """
    ended = parse_result(result) if result is not None else None
    read = Contents(parse_config(config), ended, parse_metrics(curves) if curves is not None else [])
    if ended is not None:
        for number, row in enumerate(read.rows):
            if fault := next(metrics.out_of_range(row, ended.metrics), ""):
                raise DamagedError(f"{METRICS}, line {number + 1}: {fault}")
        if not ended.roles:
            read = replace(read, result=replace(ended, roles=_roles_by_name(name for row in read.rows for name in row)))
    planned, there = read.config.train.epochs, len(read.rows)
    if there > planned or (read.status is Status.FINISHED and there != planned):
        said = "is finished" if read.status is Status.FINISHED else "goes on"
        raise DamagedError(f"it {said} with {there} of {planned} epochs in {METRICS}")
    return read


def _is_metric(name: str) -> bool:
    return name not in RESERVED and 0 < len(name) <= 200 and name.isprintable()


def _roles_by_name(names: Iterable[str]) -> dict[str, Role]:
    """Return the roles of a run that was stored before methods declared them: its predictors' names said them."""
    found: dict[str, Role] = {}
    for name in dict.fromkeys(names):
        kind, _, predictor = name.partition("/")
        role = next((role for role in _ROLES if predictor.rstrip("0123456789") == role), None)
        if kind == "top1" and role is not None:
            found[predictor] = role
    return found


_ROLES: tuple[Role, ...] = ("peer", "teacher", "ensemble")


def _unstorable(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield what a configuration or a table cannot hold: control characters, endless numbers, deep nesting."""
    if depth > _DEEPEST:
        yield "more nesting than a configuration has"
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _unstorable(str(key))
            yield from _unstorable(entry, depth + 1)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _unstorable(entry, depth + 1)
    elif isinstance(value, str):
        if "\0" in value or (not value.isascii() and any(0xD800 <= ord(char) < 0xE000 for char in value)):
            yield "characters that no text has"
    elif isinstance(value, bool) or value is None:
        pass
    elif isinstance(value, int | float):
        if not math.isfinite(value) if isinstance(value, float) else abs(value) >= _LARGEST:
            yield "a number without bounds"
    else:
        yield f"a value of no plain type ({type(value).__name__})"


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"] if part not in ("float", "none"))
    return f"{where}: {_one_line(fault['msg'])}" if where else _one_line(fault["msg"])


def _one_line(message: object) -> str:
    text = " ".join(str(message).split())
    return text if len(text) <= 200 else f"{text[:197]}..."
