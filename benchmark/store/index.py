"""Runs in brief, and the index of them beside the runs, so that a table need not read all metrics of all runs.

The run folders are the truth. The index is brought up to date by the stamps of the runs' files, may be deleted at any
moment, and where it cannot be read or written everything works without it, only slower. It counts only where it was
made: one that came with copied results is made anew from the files.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, TypeAdapter

from benchmark.metrics import RECORDED
from benchmark.store import environment
from benchmark.store.atomic import replacing
from benchmark.store.files import Contents, Row, Run, Stamp
from methods.errors import InputError

INDEX = ".index.json"
COST = "cost."


@dataclass(frozen=True, kw_only=True)
class StoredRun(Run):
    """A run in brief: all that is asked of a run but its curves."""

    root: Annotated[Path, Field(exclude=True)] = Path()  # the results folder, or the bundle
    name: str  # of its folder; unique among the runs that were read
    stored_as: str = ""  # the name of its folder where that is another one
    identity: str  # by its configuration; one that an older version stored may have another in its name
    last: Row  # the metrics of the last epoch
    last_metrics: Row  # of the last epoch that was evaluated; of the last one if there is none
    best: float | None  # the highest accuracy of the students in any epoch; None if there is none
    epochs: int  # how many it has
    digest: str  # of the numbers that a run of the same identity must have on the same device
    stamp: Stamp  # of its files, as in :class:`Contents`

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.root / "runs" / (self.stored_as or self.name)

    @property
    def environment(self) -> str:
        """The run's environment group; empty if nothing is known of it."""
        return environment.group(self.made_with)

    @property
    def numbers(self) -> Row:
        """The metrics of the last epoch, and what the run took, as ``cost.seconds``."""
        took = {**(self.result.cost or {}), "seconds": self.result.seconds} if self.result else {}
        return {**self.last, **{f"{COST}{key}": value for key, value in took.items()}}

    def asked_as(self, other: "StoredRun") -> "StoredRun":
        """Return the run with what it was asked for as elsewhere too, and its budgets there."""
        joined = self.config.also(other.config.uses, other.config.budgets)
        return self if joined == self.config else replace(self, config=joined)


def brief(root: Path, contents: Contents) -> StoredRun:
    """Return a run in brief."""
    rows = contents.rows
    last = rows[-1] if rows else {}
    # equal for runs whose losses and accuracies are, in every epoch and to the last bit; neither the time that epochs
    # took nor diagnostics count, which change no other number
    compared = {one.name for one in RECORDED.values() if one.compared}
    deciding = sorted({name for row in rows for name in row if name.partition("/")[0] in compared})
    numbers = np.array([[row.get(name, np.nan) for name in deciding] for row in rows], dtype="<f8")
    return StoredRun(
        config=contents.config,
        result=contents.result,
        root=root,
        name=contents.name,
        identity=contents.config.identity,
        last=last,
        last_metrics=next((row for row in reversed(rows) if "student" in row), last),
        best=max((row["student"] for row in rows if "student" in row), default=None),
        epochs=len(rows),
        digest=sha256(repr((len(rows), deciding)).encode() + numbers.tobytes()).hexdigest()[:16],
        stamp=contents.stamp,
    )


_ENTRIES = TypeAdapter(list[StoredRun])


def read_index(root: Path) -> dict[str, StoredRun]:
    """Return the runs of a results folder's index by name; none if it is not there, damaged, or made elsewhere.

    It is an InputError if it is a link or no regular file.
    """
    path = root / "runs" / INDEX
    try:
        state = path.lstat()
        if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
            raise InputError(f"{path} is a link or no regular file, as no index is: remove it")
        key, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if key != _key(path, state.st_ino, content):
        return {}
    return {run.name: replace(run, root=root) for run in _ENTRIES.validate_json(content)}


def write_index(root: Path, runs: Iterable[StoredRun]) -> None:
    """Write the index of a results folder anew; where that is not possible there is none."""
    path = root / "runs" / INDEX
    content = _ENTRIES.dump_json([*runs])
    with suppress(OSError), replacing(path) as stream:
        stream.writelines((_key(path, os.fstat(stream.fileno()).st_ino, content), b"\n", content))


def _key(path: Path, inode: int, content: bytes) -> bytes:
    """Return what changes with the content, the code that makes it, and the file's place: a copy has another inode."""
    code = environment.source_hash(("benchmark/store", "benchmark/configuration"))
    digest = sha256(repr((code, str(path.resolve()), inode)).encode("utf-8", "surrogatepass"))
    digest.update(content)
    return digest.hexdigest().encode()
