"""Runs in brief, and a file beside the runs that holds them, so that a table need not read all metrics of all runs.

The run folders are the truth. The index is brought up to date by the stamps of the runs' files, may be deleted at any
moment, and where it cannot be read or written everything works without it, only slower. It counts only where it was
made: one that came with copied results is made anew from the files.

It is an SQLite database without a write-ahead log, which needs memory shared between processes and so no network.
"""

import json
import os
import sqlite3
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from benchmark.configuration import RunConfig
from benchmark.metrics import RECORDED
from benchmark.store import environment
from benchmark.store.files import Contents, Result, Row, Stamp, Status
from methods.errors import InputError
from methods.metrics import MethodMetric

NAME = ".index.sqlite"
COST = "cost."
MAX_POINTS = 120  # epochs of a reduced curve, of each kind: all, evaluated, diagnosed
PATIENCE_S = 2.0  # to wait for another process that writes the index; after that it is done without
_TABLES = [
    f"CREATE TABLE {table} (name TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID" for table in ("runs", "curves")
]
_FAULTS = (sqlite3.Error, zlib.error, ValueError, TypeError, KeyError, IndexError)


@dataclass(frozen=True)
class Scores:
    """Named numbers of some epochs; those that a run has not are nan."""

    names: tuple[str, ...]  # in the order of the file
    values: NDArray[np.float64]  # `[epochs, len(names)]`

    @classmethod
    def of(cls, rows: Sequence[Row], names: Sequence[str] | None = None) -> "Scores":
        """Return the numbers of rows, by all names that any of them has if none are given."""
        names = tuple(dict.fromkeys(name for row in rows for name in row)) if names is None else tuple(names)
        nothing = float("nan")
        values = np.array([[row.get(name, nothing) for name in names] for row in rows], dtype=np.float64)
        return cls(names, values.reshape(len(rows), len(names)))

    def named(self) -> dict[str, float]:
        """Return the first row's numbers by name, without those that it has not."""
        return {name: value for name, value in zip(self.names, self.values[0].tolist(), strict=True) if value == value}


@dataclass(frozen=True)
class StoredRun:
    """A run in brief: all that is asked of a run but its curves."""

    root: Path  # the results folder, or the bundle
    name: str  # of its folder; unique among the runs that were read
    stored_as: str = ""  # the name of its folder where that is another one
    seed: int = 0
    identity: str = ""  # by its configuration; one that an older version stored may have another in its name
    settings: str = ""  # the configuration without the seed, as JSON: runs often have the same text
    ending: str = ""  # the result without its seconds and cost, as JSON; status `unfinished` if it has not ended
    # the last epoch, and what the run took, as `cost.seconds`
    last: Scores = field(default=Scores((), np.empty((1, 0))), compare=False)
    # the last epoch that was evaluated; None where that is the last one
    scored: Scores | None = field(default=None, compare=False)
    best: float | None = None  # the highest accuracy of the students in any epoch; None if there is none
    epochs: int = 0  # how many it has
    digest: str = ""  # of the numbers that a run of the same identity must have on the same device
    stamp: Stamp = ()  # of its files, as in :class:`Contents`
    damage: str = ""  # what is wrong with its files, on one line; little else is set then

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.root / "runs" / (self.stored_as or self.name)

    @cached_property
    def config(self) -> RunConfig:
        """The resolved configuration."""
        return RunConfig(**json.loads(self.settings), seed=self.seed)

    @cached_property
    def result(self) -> Result | None:
        """How it ended; None if it has not."""
        end = json.loads(self.ending)
        if end["status"] == Status.UNFINISHED:
            return None
        named = self.last.named().items()
        cost = {name.removeprefix(COST): value for name, value in named if name.startswith(COST)}
        end |= {"status": Status(end["status"]), "students": tuple(end["students"])}
        end["metrics"] = tuple(MethodMetric(**one) for one in end["metrics"])
        return Result(**end, seconds=cost.pop("seconds"), cost=cost or None)

    @property
    def status(self) -> Status:
        """How far it is."""
        return self.result.status if self.result else Status.UNFINISHED

    @property
    def made_with(self) -> Mapping[str, str]:
        """Versions and device; empty if they are not known."""
        return (self.result.environment if self.result else None) or {}

    @property
    def environment(self) -> str:
        """The run's environment group; empty if nothing is known of it."""
        return environment.group(self.made_with)

    def last_metrics(self) -> dict[str, float]:
        """Return the metrics of the last epoch that was evaluated, or of the last one; nothing if there is none."""
        named = (self.scored or self.last).named()
        return {name: value for name, value in named.items() if not name.startswith(COST)}

    def asked_as(self, other: "StoredRun") -> "StoredRun":
        """Return the run with what it was asked for as elsewhere too, and its budgets there."""
        if self.settings == other.settings:
            return self
        joined = self.config.also(other.config.uses, other.config.budgets)
        return self if joined == self.config else replace(self, settings=_settings(joined))


_PLAIN = [one.name for one in fields(StoredRun) if one.name not in ("root", "name", "stored_as", "last", "scored")]


def brief(root: Path, name: str, contents: Contents) -> StoredRun:
    """Return a run in brief."""
    config, rows = contents.config, contents.rows
    ending = asdict(contents.result or Result(Status.UNFINISHED))
    costs = {**(ending.pop("cost") or {}), "seconds": ending.pop("seconds")} if contents.result else {}
    last = rows[-1] if rows else {}
    scored = next((row for row in reversed(rows) if "student" in row), last)
    # equal for runs whose losses and accuracies are, in every epoch and to the last bit; neither the time that epochs
    # took nor diagnostics count, which change no other number
    compared = {one.name for one in RECORDED.values() if one.compared}
    deciding = sorted({name for row in rows for name in row if name.partition("/")[0] in compared})
    numbers = Scores.of(rows, deciding).values.astype("<f8").tobytes()
    return StoredRun(
        root,
        name,
        seed=config.seed,
        identity=config.identity,
        settings=_settings(config),
        ending=json.dumps(ending, separators=(",", ":")),
        last=Scores.of([{**last, **{f"{COST}{key}": value for key, value in costs.items()}}]),
        scored=Scores.of([scored]) if scored is not last else None,
        best=max((row["student"] for row in rows if "student" in row), default=None),
        epochs=len(rows),
        digest=sha256(repr((len(rows), deciding)).encode() + numbers).hexdigest()[:16],
        stamp=contents.stamp,
    )


def _settings(config: RunConfig) -> str:
    return json.dumps(config.model_dump(mode="json", exclude={"seed"}), separators=(",", ":"))


def reduced(contents: Contents) -> Scores:
    """Return a run's curves at so few epochs that thousands of runs are quickly plotted.

    Which epochs these are follows from the configuration alone, so that the curves of runs that differ in their seeds
    have the same ones, however far the runs are: :data:`MAX_POINTS` of all, as many of those that are evaluated and of
    those that are diagnosed, evenly spread, and the last that there is.
    """
    train, rows = contents.config.train, contents.rows
    evaluated = [e for e in range(train.epochs) if (e + 1) % train.eval_every == 0 or e == train.epochs - 1]
    diagnosed = [e for e in evaluated if train.diagnostics_every and (e + 1) % train.diagnostics_every == 0]
    chosen = {*spread(range(train.epochs)), *spread(evaluated), *spread(diagnosed), len(rows) - 1}
    return Scores.of([row for epoch, row in enumerate(rows) if epoch in chosen])


def spread(epochs: Sequence[int]) -> list[int]:
    """Return at most :data:`MAX_POINTS` of the epochs, evenly spread, with the first and the last."""
    last, points = len(epochs) - 1, min(len(epochs), MAX_POINTS)
    return [epochs[round(index * last / (points - 1)) if points > 1 else 0] for index in range(points)]


class Index:
    """The index of one results folder: what cannot be read is not there, and what cannot be written is left out.

    Entering it is an InputError if it or its journal is a link or no regular file.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / "runs" / NAME
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> "Index":
        for path in (self._path, self._path.with_name(f"{NAME}-journal")):
            with suppress(FileNotFoundError, NotADirectoryError):
                state = path.lstat()
                if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
                    raise InputError(f"{path} is a link or no regular file, as no index is: remove it")
        if self._path.parent.is_dir():
            self._open()
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def runs(self) -> dict[str, StoredRun]:
        """Return all runs in brief by name; none if the index is damaged, which is emptied then."""
        found = {}
        for name, (last, scored, plain), numbers in self._read("SELECT name, content FROM runs"):
            own = _names(last)
            plain |= {"stamp": tuple(plain["stamp"]), "last": Scores(own, numbers[None, : len(own)])}
            rest = None if scored is None else Scores(_names(scored), numbers[None, len(own) :])
            found[name] = StoredRun(self._root, name, scored=rest, **plain)
        return found

    def curves(self, names: Iterable[str]) -> Iterator[tuple[str, Scores]]:
        """Yield the reduced curves of those of the runs, whose files have not changed, that have some here."""
        for name in names:
            for _, (known, epochs), numbers in self._read("SELECT name, content FROM curves WHERE name = ?", name):
                yield name, Scores(_names(known), numbers.reshape(epochs, len(_names(known))))

    def write(self, runs: Iterable[tuple[StoredRun, Scores]], gone: Iterable[str] = ()) -> None:
        """Put runs in brief and reduced curves in the place of older ones, and drop those of runs that are gone."""
        if self._connection is None:
            return
        try:
            with self._connection as opened:
                opened.execute("BEGIN IMMEDIATE")
                for run, curve in runs:
                    name, scored = run.name, run.scored
                    plain = {key: getattr(run, key) for key in _PLAIN}
                    head = ["\n".join(run.last.names), "\n".join(scored.names) if scored else None, plain]
                    numbers = run.last.values.tobytes() + (scored.values.tobytes() if scored else b"")
                    opened.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (name, _packed(name, head, numbers)))
                    packed = _packed(name, ["\n".join(curve.names), len(curve.values)], curve.values.tobytes())
                    opened.execute("INSERT OR REPLACE INTO curves VALUES (?, ?)", (name, packed))
                for name in gone:
                    opened.execute("DELETE FROM runs WHERE name = ?", (name,))
                    opened.execute("DELETE FROM curves WHERE name = ?", (name,))
        except _FAULTS as error:
            self._fault(error)

    def _read(self, query: str, *values: str) -> list[tuple[str, list[Any], Any]]:
        """Return names with what :func:`_packed` was given; nothing if there is any fault."""
        found: list[tuple[str, list[Any], Any]] = []
        if self._connection is None:
            return found
        try:
            for name, content in self._connection.execute(query, values):
                head, _, numbers = zlib.decompress(content).partition(b"\n\n")
                own, *parts = json.loads(head)
                if own != name:
                    raise ValueError("another run's")
                found.append((name, parts, np.frombuffer(numbers)))
        except _FAULTS as error:
            self._fault(error)
            return []
        return found

    def _open(self) -> None:
        """Open a database that has this version's tables and was made here, or make one; neither if it is busy."""
        try:
            with suppress(FileExistsError):
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            uri = f"file:{quote(str(self._path.absolute()))}?mode=rw"
            self._connection = sqlite3.connect(uri, uri=True, timeout=PATIENCE_S, isolation_level=None)
            # what others put into the file is never carried out
            self._connection.execute("PRAGMA trusted_schema = OFF")
            self._connection.execute("PRAGMA cell_size_check = ON")
            query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
            found = [sql for (sql,) in self._connection.execute(query)]
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if found != _TABLES or version != self._version():
                raise ValueError("another version's")
        except (OSError, *_FAULTS) as error:
            self._fault(error)

    def _fault(self, error: Exception) -> None:
        """Continue without the index; if it is not merely busy or forbidden, empty it and continue with that."""
        self.__exit__()
        if isinstance(error, OSError | sqlite3.OperationalError):
            return
        try:
            self._path.with_name(f"{NAME}-journal").unlink(missing_ok=True)
            # not removed: another process may have the same file open
            with self._path.open("r+b") as stream:
                stream.truncate(0)
            connection = sqlite3.connect(self._path, timeout=PATIENCE_S, isolation_level=None)
            for command in ("BEGIN IMMEDIATE", *_TABLES, f"PRAGMA user_version = {self._version()}", "COMMIT"):
                connection.execute(command)
        except (OSError, sqlite3.Error):
            return
        self._connection = connection

    def _version(self) -> int:
        """Return what changes with the code that makes entries, and with the file's place: a copy has another inode."""
        code = environment.source_hash(("benchmark/store", "benchmark/configuration"))
        place = str(self._path.resolve()), self._path.lstat().st_ino
        return zlib.crc32(repr((code, place)).encode("utf-8", "surrogatepass")) & 0x7FFFFFFF


def _packed(name: str, head: list[Any], numbers: bytes) -> bytes:
    """Return a name, plain data and numbers as one compressed text, which carries a checksum of its own."""
    return zlib.compress(json.dumps([name, *head]).encode() + b"\n\n" + numbers, 1)


@lru_cache(maxsize=1024)
def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n")) if text else ()
