"""A file beside the runs that holds every run in brief, so that a table need not read all metrics of all runs.

The run folders are the truth. The index is brought up to date by sizes and modification times, may be deleted at any
moment, and where it cannot be read or written everything works without it, only slower. Every entry carries a checksum
and the stamp of the files it was made from: one that is altered, lost or old is made anew from the files.

It is an SQLite database without a write-ahead log, which needs memory shared between processes and so no network.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from urllib.parse import quote

import numpy as np
from pydantic import BaseModel

from benchmark.configuration import SECTIONS, RunAlias, RunConfig
from benchmark.store.files import Stamp
from benchmark.store.records import Record, Scores

NAME = ".index.sqlite"

VERSION = 2
"""Of what an entry is made of: raised when the same files would give another one."""

PATIENCE_S = 2.0
"""To wait for another process that writes the index; after that it is done without."""

_RACY_NS = 2_000_000_000
"""A file that was changed so shortly before it was read may be changed again within its time stamp's resolution."""

_TABLES = (
    "CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    "CREATE TABLE runs (name TEXT PRIMARY KEY, stamp TEXT NOT NULL, seen INTEGER NOT NULL, settings INTEGER, "
    "ending INTEGER, names INTEGER, scored_names INTEGER, seed, identity, best, epochs, digest, damage, "
    "last BLOB, scored BLOB, check_sum INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE curves (name TEXT PRIMARY KEY, names INTEGER, epochs INTEGER NOT NULL, curve BLOB NOT NULL, "
    "check_sum INTEGER NOT NULL) WITHOUT ROWID",
)
_COLUMNS = 16


class Entry:
    """What the index has of a run."""

    __slots__ = ("record", "seen", "stamp")

    def __init__(self, stamp: Stamp, seen: int, record: Record) -> None:
        self.stamp = stamp
        self.seen = seen
        self.record = record

    def holds(self, now: Stamp) -> bool:
        """Return whether the run's files are those that the entry was made from."""
        return self.stamp == now and self.seen - max(self.stamp[1::2]) >= _RACY_NS


class Index:
    """The index of one results folder.

    Every method may be called whatever the state of the file; what cannot be had is not there, and what cannot be
    written is left.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "runs" / NAME
        self._connection: sqlite3.Connection | None = None
        self._texts: dict[str, int] = {}

    def __enter__(self) -> "Index":
        self._connection = self._opened(write=True) or self._opened(write=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def entries(self) -> dict[str, Entry]:
        """Return everything by name; nothing if the index is damaged, which is emptied then."""
        if self._connection is None:
            return {}
        try:
            return dict(self._read(self._connection))
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            self._fault(error)
            return {}

    def curves(self, names: Sequence[str]) -> Iterator[tuple[str, Scores]]:
        """Yield the reduced curves of those of the runs that have some here.

        Args:
            names: Of runs whose entries hold.
        """
        if self._connection is None:
            return
        try:
            texts = self._read_texts(self._connection)
            for name in names:
                row = self._connection.execute("SELECT * FROM curves WHERE name = ?", (name,)).fetchone()
                if row is not None:
                    _, names_id, epochs, curve, checksum = row
                    if checksum != _checksum((name, texts[names_id], epochs), curve):
                        raise ValueError("checksum")
                    known = _names(texts[names_id])
                    yield name, Scores(known, np.frombuffer(zlib.decompress(curve)).reshape(epochs, len(known)))
        except (sqlite3.Error, ValueError, TypeError, KeyError, zlib.error) as error:
            self._fault(error)

    def write(self, entries: Iterable[tuple[Entry, Scores | None]], gone: Iterable[str] = ()) -> None:
        """Put entries with their reduced curves in the place of older ones, and drop those of runs that are gone."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._texts = {text: number for number, text in self._read_texts(connection).items()}
            for entry, curve in entries:
                self._put(connection, entry, curve)
            dropped = [(name,) for name in gone]
            if dropped:
                for table in ("runs", "curves"):
                    connection.executemany(f"DELETE FROM {table} WHERE name = ?", dropped)  # noqa: S608 - two words
                connection.execute(
                    "DELETE FROM texts WHERE id NOT IN (SELECT settings FROM runs UNION SELECT ending FROM runs UNION "
                    "SELECT names FROM runs UNION SELECT scored_names FROM runs UNION SELECT names FROM curves)"
                )
            connection.execute("COMMIT")
        except (sqlite3.Error, ValueError, TypeError) as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            self._fault(error)

    def _opened(self, write: bool) -> sqlite3.Connection | None:
        """Return a connection to a database that has this version's tables, or None."""
        if not self._path.parent.is_dir():
            return None
        mode = "rwc" if write else "ro"
        try:
            connection = sqlite3.connect(
                f"file:{quote(str(self._path.absolute()))}?mode={mode}",
                uri=True,
                timeout=PATIENCE_S,
                isolation_level=None,
            )
        except sqlite3.Error:
            return None
        try:
            # what others put into the file is never carried out
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if [sql for (sql,) in found] == [*_TABLES] and version == _version():
                if write:
                    # asks for the right to write, which a folder may not give
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("ROLLBACK")
                return connection
            if write and not found:
                connection.execute("BEGIN IMMEDIATE")
                _make(connection)
                connection.execute("COMMIT")
                return connection
        except sqlite3.OperationalError:
            connection.close()
            return None
        except sqlite3.DatabaseError:
            pass
        connection.close()
        return self._emptied() if write else None

    def _emptied(self) -> sqlite3.Connection | None:
        """Empty a file that is no index of this version and return a connection to it, or None."""
        try:
            self._path.with_name(f"{NAME}-journal").unlink(missing_ok=True)
            # not removed: another process may hold the same file open
            with self._path.open("r+b") as stream:
                stream.truncate(0)
            connection = sqlite3.connect(self._path, timeout=PATIENCE_S, isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            _make(connection)
            connection.execute("COMMIT")
        except (OSError, sqlite3.Error):
            return None
        return connection

    def _fault(self, error: Exception) -> None:
        """Go on without the index; if it is not merely busy or forbidden, empty it."""
        self._close()
        if not isinstance(error, sqlite3.OperationalError):
            self._connection = self._emptied()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @staticmethod
    def _read_texts(connection: sqlite3.Connection) -> dict[int, str]:
        return dict(connection.execute("SELECT id, text FROM texts"))

    def _read(self, connection: sqlite3.Connection) -> Iterator[tuple[str, Entry]]:
        # one moment for both tables
        connection.execute("BEGIN")
        try:
            texts = self._read_texts(connection)
            rows = connection.execute("SELECT * FROM runs").fetchall()
        finally:
            connection.execute("ROLLBACK")
        for row in rows:
            (name, stamp, seen, settings, ending, names, scored_names, seed, identity, best, epochs, digest, damage,
             last, scored, checksum) = row  # fmt: skip
            there = [None if number is None else texts[number] for number in (settings, ending, names, scored_names)]
            plain = (name, stamp, seen, *there, seed, identity, best, epochs, digest, damage)
            if checksum != _checksum(plain, last or b"", scored or b""):
                raise ValueError("checksum")
            if damage:
                record = Record(name, damage=damage)
            else:
                record = Record(
                    name, seed, identity, str(there[0]), str(there[1]),
                    Scores(_names(str(there[2])), np.frombuffer(last)),
                    None if scored is None else Scores(_names(str(there[3])), np.frombuffer(scored)),
                    best, epochs, digest,
                )  # fmt: skip
            yield name, Entry(tuple(map(int, stamp.split(","))), seen, record)

    def _put(self, connection: sqlite3.Connection, entry: Entry, curve: Scores | None) -> None:
        record = entry.record
        texts: list[str | None] = [None, None, None, None]
        if not record.damage:
            texts = [record.settings, record.ending, json.dumps(record.last.names), None]
            if record.scored is not None:
                texts[3] = json.dumps(record.scored.names)
        last = None if record.damage else record.last.values.tobytes()
        scored = None if record.scored is None else record.scored.values.tobytes()
        head = (record.name, ",".join(map(str, entry.stamp)), entry.seen)
        tail = (record.seed, record.identity, record.best, record.epochs, record.digest, record.damage)
        checksum = _checksum((*head, *texts, *tail), last or b"", scored or b"")
        numbers = [self._text(connection, text) for text in texts]
        marks = ", ".join("?" * _COLUMNS)
        connection.execute(
            f"INSERT OR REPLACE INTO runs VALUES ({marks})",  # noqa: S608 - question marks
            (*head, *numbers, *tail, last, scored, checksum),
        )
        if curve is None:
            connection.execute("DELETE FROM curves WHERE name = ?", (record.name,))
        else:
            names, packed = json.dumps(curve.names), zlib.compress(curve.values.tobytes(), 1)
            epochs = len(curve.values)
            checksum = _checksum((record.name, names, epochs), packed)
            connection.execute(
                "INSERT OR REPLACE INTO curves VALUES (?, ?, ?, ?, ?)",
                (record.name, self._text(connection, names), epochs, packed, checksum),
            )

    def _text(self, connection: sqlite3.Connection, text: str | None) -> int | None:
        """Return the number of a text, which many runs share."""
        if text is None:
            return None
        if text not in self._texts:
            number = connection.execute("INSERT INTO texts (text) VALUES (?)", (text,)).lastrowid
            assert number is not None  # noqa: S101 - a row was inserted
            self._texts[text] = number
        return self._texts[text]


def _make(connection: sqlite3.Connection) -> None:
    for table in _TABLES:
        connection.execute(table)
    connection.execute(f"PRAGMA user_version = {_version()}")


@cache
def _version() -> int:
    """Return what changes with the version of entries and with the keys and defaults of configurations."""
    models: list[type[BaseModel]] = [RunConfig, RunAlias, *SECTIONS.values()]
    fields = [
        (model.__name__, name, repr(info.default)) for model in models for name, info in model.model_fields.items()
    ]
    return zlib.crc32(repr((VERSION, fields)).encode()) & 0x7FFFFFFF


@lru_cache(maxsize=1024)
def _names(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _checksum(plain: Sequence[object], *blobs: bytes) -> int:
    found = zlib.crc32(repr(plain).encode("utf-8", "surrogatepass"))
    for blob in blobs:
        found = zlib.crc32(blob, found)
    return found
