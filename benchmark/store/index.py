"""A file beside the runs that holds every run in brief, so that a table need not read all metrics of all runs.

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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from pydantic import BaseModel

from benchmark.configuration import SECTIONS, RunAlias, RunConfig
from benchmark.store.files import Stamp
from benchmark.store.records import Record, Scores
from methods.errors import InputError

NAME = ".index.sqlite"

VERSION = 4
"""Of what an entry is made of: raised when the same files would give another one."""

PATIENCE_S = 2.0
"""To wait for another process that writes the index; after that it is done without."""

_RACY_NS = 2_000_000_000
"""A file that was changed so shortly before it was read may be changed again within its time stamp's resolution."""

_TABLES = tuple(
    f"CREATE TABLE {table} (name TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID" for table in ("runs", "curves")
)
_FAULTS = (sqlite3.Error, zlib.error, ValueError, TypeError, KeyError, IndexError)


class Entry(NamedTuple):
    """What the index has of a run: the stamp of its files, when they were read (ns), and the run in brief."""

    stamp: Stamp
    seen: int
    record: Record

    def holds(self, now: Stamp) -> bool:
        """Return whether the run's files are those that the entry was made from."""
        return self.stamp == now and self.seen - max(self.stamp[1::3]) >= _RACY_NS


class Index:
    """The index of one results folder.

    What cannot be read is not there, and what cannot be written is left out.

    Raises:
        InputError: On entering, if the index or its journal is a link or no regular file.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "runs" / NAME
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> "Index":
        for path in (self._path, self._path.with_name(f"{NAME}-journal")):
            with suppress(FileNotFoundError, NotADirectoryError):
                state = path.lstat()
                if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
                    raise InputError(f"{path} is a link or no regular file, as no index is: remove it")
        self._connection = self._opened(write=True) or self._opened(write=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def entries(self) -> dict[str, Entry]:
        """Return everything by name; nothing if the index is damaged, which is emptied then."""
        found = {}
        for name, (stamp, seen, last, scored, plain), numbers in self._read("SELECT name, content FROM runs", ()):
            own = _names(last)
            rest = None if scored is None else Scores(_names(scored), numbers[len(own) :])
            record = Record(name, last=Scores(own, numbers[: len(own)]), scored=rest, **plain)
            found[name] = Entry(tuple(stamp), seen, record)
        return found if self._connection is not None else {}

    def curves(self, names: Iterable[str]) -> Iterator[tuple[str, Scores]]:
        """Yield the reduced curves of those of the runs, whose entries hold, that have some here."""
        for name in names:
            for _, (known, epochs), numbers in self._read("SELECT name, content FROM curves WHERE name = ?", (name,)):
                yield name, Scores(_names(known), numbers.reshape(epochs, len(_names(known))))

    def write(self, entries: Iterable[tuple[Entry, Scores | None]], gone: Iterable[str] = ()) -> None:
        """Put entries with their reduced curves in the place of older ones, and drop those of runs that are gone."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            for entry, curve in entries:
                name = entry.record.name
                connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (name, _packed_entry(entry)))
                if curve is None:
                    connection.execute("DELETE FROM curves WHERE name = ?", (name,))
                else:
                    packed = _packed(name, ["\n".join(curve.names), len(curve.values)], curve.values)
                    connection.execute("INSERT OR REPLACE INTO curves VALUES (?, ?)", (name, packed))
            for table in ("runs", "curves"):
                connection.executemany(f"DELETE FROM {table} WHERE name = ?", [(name,) for name in gone])  # noqa: S608
            connection.execute("COMMIT")
        except _FAULTS as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            self._fault(error)

    def _read(self, query: str, values: tuple[str, ...]) -> Iterator[tuple[str, list[Any], Any]]:
        """Yield names with what :func:`_packed` was given; nothing more once there is a fault."""
        if self._connection is None:
            return
        try:
            for name, content in self._connection.execute(query, values).fetchall():
                head, _, numbers = zlib.decompress(content).partition(b"\n\n")
                own, *parts = json.loads(head)
                if own != name:
                    raise ValueError("another run's")
                yield name, parts, np.frombuffer(numbers)
        except _FAULTS as error:
            self._fault(error)

    def _opened(self, write: bool) -> sqlite3.Connection | None:
        """Return a connection to a database that has this version's tables and was made here, or None."""
        if not self._path.parent.is_dir():
            return None
        connection = None
        try:
            if write:
                with suppress(FileExistsError):
                    os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            uri = f"file:{quote(str(self._path.absolute()))}?mode={'rw' if write else 'ro'}"
            connection = sqlite3.connect(uri, uri=True, timeout=PATIENCE_S, isolation_level=None)
            # what others put into the file is never carried out
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if [sql for (sql,) in found] == [*_TABLES] and version == self._version():
                if write:
                    # asks for the right to write, which a folder may not give
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("ROLLBACK")
                return connection
            usable = True
        except (OSError, sqlite3.Error) as error:
            usable = not isinstance(error, OSError | sqlite3.OperationalError)
        if connection is not None:
            connection.close()
        return self._emptied() if write and usable else None

    def _emptied(self) -> sqlite3.Connection | None:
        """Empty a file that is no index of this version and place and return a connection to it, or None."""
        try:
            self._path.with_name(f"{NAME}-journal").unlink(missing_ok=True)
            # not removed: another process may have the same file open
            with self._path.open("r+b") as stream:
                stream.truncate(0)
            connection = sqlite3.connect(self._path, timeout=PATIENCE_S, isolation_level=None)
            for command in ("BEGIN IMMEDIATE", *_TABLES, f"PRAGMA user_version = {self._version()}", "COMMIT"):
                connection.execute(command)
        except (OSError, sqlite3.Error):
            return None
        return connection

    def _version(self) -> int:
        """Return what changes with the form of entries, and with the file's place: a copy has another inode."""
        place = str(self._path.resolve()), self._path.lstat().st_ino
        return zlib.crc32(repr((_form(), place)).encode("utf-8", "surrogatepass")) & 0x7FFFFFFF

    def _fault(self, error: Exception) -> None:
        """Continue without the index; if it is not merely busy or forbidden, empty it."""
        self._close()
        if not isinstance(error, sqlite3.OperationalError):
            self._connection = self._emptied()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _packed_entry(entry: Entry) -> bytes:
    record = entry.record
    plain = {
        one.name: getattr(record, one.name) for one in fields(Record) if one.name not in ("name", "last", "scored")
    }
    last, scored = ("\n".join(one.names) if one else None for one in (record.last, record.scored))
    head = [entry.stamp, entry.seen, last, scored, plain]
    return _packed(record.name, head, *(one.values for one in (record.last, record.scored) if one is not None))


def _packed(name: str, head: Sequence[object], *arrays: np.ndarray[Any, np.dtype[np.float64]]) -> bytes:
    """Return a name, plain data and numbers as one compressed text, which carries a checksum of its own."""
    text = json.dumps([name, *head]).encode()
    return zlib.compress(b"\n\n".join([text, b"".join(array.tobytes() for array in arrays)]), 1)


@cache
def _form() -> str:
    """Return what changes with the version of entries and with the keys and defaults of configurations."""
    models: list[type[BaseModel]] = [RunConfig, RunAlias, *SECTIONS.values()]
    keys = [(model.__name__, name, repr(info.default)) for model in models for name, info in model.model_fields.items()]
    return repr((VERSION, keys))


@lru_cache(maxsize=1024)
def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n")) if text else ()
