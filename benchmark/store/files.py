"""The files of a run: what they may hold, and how they are read.

A results folder may come from others, or from a disk that failed: every file is checked whole when it is read, and
what no run writes is damage. No link is followed, and nothing but a regular file is opened for reading.
"""

import math
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as strict_dataclass

from benchmark import metrics
from benchmark.configuration import DistinctKeys, RunConfig, resolve_core_schema
from methods.errors import InputError
from methods.hyperparameters import validated
from methods.metrics import MethodMetric, Role

CONFIG, METRICS, RESULT, ERROR = "config.yaml", "metrics.jsonl", "result.json", "error.txt"
CHECKPOINT = "checkpoint.pt"
LIMITS: Mapping[str, int] = {CONFIG: 1_000_000, METRICS: 256 * 2**20, RESULT: 1_000_000}
"""Bytes that each file may have; a run of 100,000 epochs stays below."""

Row = dict[str, float]

Stamp = tuple[int, ...]
"""Size, modification time and change time in ns of each of the three files; -1 for one that is not there."""

# names of the table's columns that no metric may have
_RESERVED = frozenset(
    ("run", "method", "dataset", "backbone", "seed", "split", "environment", "status", "reason", "students", "roles")
) | {"best_epoch", "budgets", "uses"}
_DEEPEST = 6  # a list among the settings of a use: the configuration, the uses, a use, its part, the list, an entry
_OLD_ROLES: tuple[Role, ...] = ("peer", "teacher", "ensemble")
_TRIES = 5  # to read a run while another process writes it
# a file that was changed so shortly before it was read may be changed again within its time stamp's resolution
_RACY_NS = 2_000_000_000


class Status(StrEnum):
    """How far a run is; tables and files show these words."""

    FINISHED = "finished"
    COLLAPSED = "collapsed"
    DIVERGED = "diverged"
    FAILED = "failed"
    OUT_OF_MEMORY = "out-of-memory"
    STOPPED = "stopped"
    BUSY = "busy"
    UNFINISHED = "unfinished"

    @property
    def final(self) -> bool:
        """Whether trying again would give the same: such a run is not repeated unless asked."""
        return self in (Status.FINISHED, Status.COLLAPSED, Status.DIVERGED)


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    status: Status  # how far it is
    reason: str = ""  # why it did not finish, on one line; empty if it did
    seconds: Annotated[float, Field(ge=0)] = 0.0  # its wall time
    environment: dict[str, str] | None = None  # versions, device, and the day (UTC) at which it ended
    cost: dict[str, float] | None = None  # what it takes, such as its number of trainable parameters
    students: tuple[str, ...] = ()  # the predictors whose mean is the reported metric
    roles: Mapping[str, Role] = field(default_factory=dict)  # what each predictor is in its method
    metrics: tuple[MethodMetric, ...] = ()  # what the method records beside its losses


class DamagedError(Exception):
    """A run's files are not what a run writes; the message says which and why, on one line."""


@strict_dataclass(config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False), frozen=True, kw_only=True)
class _StoredResult(Result):
    # nothing that a file may leave out
    students: tuple[str, ...] = field()


@dataclass(frozen=True)
class Run:
    """What a run was asked to do, and how it ended."""

    config: RunConfig  # its resolved configuration
    result: Result | None  # None if it has not ended

    @property
    def status(self) -> Status:
        """How far it is."""
        return self.result.status if self.result else Status.UNFINISHED

    @property
    def claim(self) -> str:
        """What runs that differ in their seeds alone have in common."""
        return self.config.model_copy(update={"seed": 0}).identity

    @property
    def made_with(self) -> Mapping[str, str]:
        """Versions and device; empty if they are not known."""
        return (self.result.environment if self.result else None) or {}


@dataclass(frozen=True)
class Contents(Run):
    """A run's files, checked."""

    rows: Sequence[Row]  # its metrics, a row per epoch; a metric that was no finite number is left out
    raw: Mapping[str, bytes] = field(default_factory=dict)  # the bytes of all files that were given, by name
    stamp: Stamp = ()  # when they were read in a folder; empty for files of a bundle, or that may change unnoticed
    name: str = ""  # of the run's folder

    @cached_property
    def hash(self) -> str:
        """What changes with any byte of configuration, metrics and result."""
        digest = sha256()
        for name in sorted(LIMITS.keys() & self.raw.keys()):
            digest.update(f"{name} {len(self.raw[name])}\n".encode() + self.raw[name])
        return digest.hexdigest()


class _Loader(DistinctKeys, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - as PyYAML declares it


class Dumper(yaml.SafeDumper):
    """Writes YAML that readers of YAML 1.1 and of YAML 1.2 take for the same values."""


resolve_core_schema(_Loader, Dumper)


def parse_stored_yaml(text: str) -> Any:
    """Return the plain data in a stored file's strict YAML 1.2.

    Anything else is a DamagedError: aliases, tags, a key twice, or more nesting than a run's files have.
    """
    depth = 0
    try:
        # deep nesting ends the process inside libyaml: it is read event by event first
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST or isinstance(event, yaml.AliasEvent):
                raise DamagedError("more nesting than a configuration has, or an alias")
            if getattr(event, "anchor", None) or getattr(event, "tag", None) not in (None, "!"):
                raise DamagedError("an anchor or a tag")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        raise DamagedError("it is no strict YAML") from None


def parse_config(content: bytes) -> RunConfig:
    """Return the configuration that a file holds, or raise a DamagedError if it is none."""
    try:
        found = parse_stored_yaml(content.decode())
        if not isinstance(found, dict):
            raise DamagedError("it has no keys")
        config = validated(RunConfig, found)
    except (UnicodeDecodeError, TypeError, InputError, DamagedError) as error:
        raise DamagedError(f"{CONFIG} is no configuration: {_one_line(error)}") from None
    if fault := next(_unstorable(config.model_dump(mode="json")), ""):
        raise DamagedError(f"{CONFIG} holds {fault}")
    return config


def parse_result(content: bytes) -> Result:
    """Return how a run ended, as a file says, or raise a DamagedError if it does not say so."""
    try:
        found = Result(**vars(_RESULT.validate_json(content)))
    except ValidationError as error:
        raise DamagedError(f"{RESULT}: {first_fault(error)}") from None
    if fault := next(_unstorable(asdict(found)), ""):
        raise DamagedError(f"{RESULT} holds {fault}")
    return found


_RESULT = TypeAdapter(_StoredResult)
_NUMBERS = TypeAdapter(dict[str, Annotated[float, Field(allow_inf_nan=False)] | None], config=ConfigDict(strict=True))


def parse_metrics(content: bytes, declared: Sequence[MethodMetric] = ()) -> list[Row]:
    """Return the metrics of every epoch, or raise a DamagedError that names a line by its number, counted from 1.

    Those that the run's method declares are checked for their ranges as ours are.
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
            raise DamagedError(f"{METRICS}, line {number + 1}: {first_fault(error)}") from None
        if given.get("epoch") != number:
            raise DamagedError(f"{METRICS}, line {number + 1}: not epoch {number}")
        # all rows share one text per name
        row = {names.setdefault(name, name): value for name, value in given.items() if value is not None}
        if fault := next(metrics.out_of_range(row, declared), ""):
            raise DamagedError(f"{METRICS}, line {number + 1}: {fault}")
        row["epoch"] = number
        rows.append(row)
    faulty = (name for name in names if name in _RESERVED or not 0 < len(name) <= 200 or not name.isprintable())
    if (bad := next(faulty, None)) is not None:
        raise DamagedError(f"{METRICS}: {bad[:60]!r} is no name of a metric")
    return rows


def parse(raw: Mapping[str, bytes], name: str = "") -> Contents:
    """Return what a run's files say together, given their bytes by name and their folder's; of others nothing is read.

    It is a DamagedError if one is damaged, there is no configuration, or they contradict each other.
    """
    if CONFIG not in raw:
        raise DamagedError(f"there is no {CONFIG}")
    ended = parse_result(raw[RESULT]) if RESULT in raw else None
    config, rows = parse_config(raw[CONFIG]), parse_metrics(raw.get(METRICS, b""), ended.metrics if ended else ())
    if ended is not None and not ended.roles:
        # it was stored before methods declared them: its predictors' names said them
        scored = dict.fromkeys(name[5:] for row in rows for name in row if name.startswith("top1/"))
        roles = {name: role for name in scored for role in _OLD_ROLES if name.rstrip("0123456789") == role}
        ended = replace(ended, roles=roles)
    read = Contents(config, ended, rows, raw, name=name)
    if len(rows) > config.train.epochs or (read.status is Status.FINISHED and len(rows) != config.train.epochs):
        raise DamagedError(f"it is {read.status} with {len(rows)} of {config.train.epochs} epochs in {METRICS}")
    return read


def stamp(folder: str | Path) -> Stamp:
    """Return what changes when one of a run's files does."""
    found: list[int] = []
    for name in (CONFIG, METRICS, RESULT):
        # nothing but three calls of the system per run: thousands of runs are looked at for every table
        try:
            state = os.stat(f"{folder}/{name}", follow_symlinks=False)  # noqa: PTH116
        except OSError:
            found += (-1, -1, -1)
        else:
            found += (state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return tuple(found)


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file, or raise an OSError.

    No link is followed, and a FIFO or a device is not waited for: these, and more bytes than the limit, are a
    DamagedError.
    """
    if path.is_symlink():
        raise DamagedError(f"{path.name} is a link")
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as stream:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise DamagedError(f"{path.name} is no file")
        if state.st_size > limit:
            raise DamagedError(f"{path.name} has {state.st_size:,} bytes, more than the {limit:,} of any run")
        return stream.read()


def content_of(folder: Path, name: str) -> bytes | None:
    """Return one of a run's files; None if it is not there, and a DamagedError if it cannot be one."""
    try:
        return read_regular(folder / name, LIMITS[name])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedError(f"{name} cannot be read: {error.strerror}") from None


def read_metrics(folder: Path) -> list[Row]:
    """Return the metrics in a run's folder, a row per epoch; none if there is no file of them."""
    return parse_metrics(content_of(folder, METRICS) or b"")


def read_files(folder: Path) -> Contents:
    """Return a run's files as they are at one moment, while others may be writing them, or raise a DamagedError."""
    for _ in range(_TRIES):
        begun, before = time.time_ns(), stamp(folder)
        # the result is written last: whoever reads it first finds all metrics after it
        read = {name: content_of(folder, name) for name in (CONFIG, RESULT, METRICS)}
        if before == stamp(folder):
            break
    found = parse({name: content for name in LIMITS if (content := read[name]) is not None}, folder.name)
    return replace(found, stamp=before if begun - max(before[1::3]) >= _RACY_NS else ())


def whole_files(folder: Path) -> Contents:
    """Return a run's files as :func:`read_files` does, but raise an InputError that names the folder on damage."""
    try:
        return read_files(folder)
    except DamagedError as error:
        raise InputError(f"{folder} is damaged: {error}") from None


def _unstorable(value: Any) -> Iterator[str]:
    """Yield what no configuration and no table holds: control characters, and numbers without bounds."""
    if isinstance(value, dict | list | tuple):
        for entry in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _unstorable(entry)
    elif isinstance(value, str):
        if "\0" in value or (not value.isascii() and any(0xD800 <= ord(char) < 0xE000 for char in value)):
            yield "characters that no text has"
    elif isinstance(value, int | float) and not abs(value) < (math.inf if isinstance(value, float) else 2**63):
        yield "a number without bounds"


def first_fault(error: ValidationError) -> str:
    """Return what pydantic says first, on one line that begins with the place of the fault."""
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"] if part not in ("float", "none"))
    return _one_line(f"{where}: {fault['msg']}" if where else fault["msg"])


def _one_line(message: object) -> str:
    text = " ".join(str(message).split())
    return text if len(text) <= 200 else f"{text[:197]}..."
