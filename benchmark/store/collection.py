"""All runs of one results folder or of several, in brief; the curves of those that are asked for."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.store.files import CONFIG, METRICS, RESULT, DamagedError, Stamp
from benchmark.store.folder import read, read_files
from benchmark.store.index import Entry, Index
from benchmark.store.lookup import StoredRun
from benchmark.store.records import Record, Scores, brief, reduced
from methods.errors import InputError

BATCH = 200
"""Runs that are read between two writings of the index: a command that is killed loses no more."""


@dataclass(frozen=True)
class Found:
    """A run and where it lies.

    Attributes:
        root: The results folder.
        record: The run in brief.
        curve: The metrics of all its epochs, where they were asked for.
    """

    root: Path
    record: Record
    curve: Scores | None = None

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.root / "runs" / self.record.name

    def stored(self) -> StoredRun:
        """Return the run as those see it who ask for one."""
        return StoredRun(self.folder, self.record.config, self.record.result)


@dataclass(frozen=True)
class Damaged:
    """A run whose files are damaged, and what is wrong with them."""

    folder: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.folder} is damaged and left out: {self.reason}"


@dataclass(frozen=True)
class Runs:
    """The runs of one results folder or of several.

    Attributes:
        found: In the order of their names.
        damaged: Those that are left out.
    """

    found: Sequence[Found]
    damaged: Sequence[Damaged]

    def curves(self, names: Sequence[str]) -> Iterator[tuple[str, Scores]]:
        """Yield the reduced curves of some of the runs, see :func:`benchmark.store.records.reduced`, in any order.

        Args:
            names: Of runs.
        """
        wanted = set(names)
        by_root: dict[Path, list[str]] = {}
        for found in self.found:
            if found.record.name in wanted:
                by_root.setdefault(found.root, []).append(found.record.name)
        for root, here in by_root.items():
            missing = set(here)
            with Index(root) as index:
                for name, curve in index.curves(here):
                    missing.discard(name)
                    yield name, curve
            for name in sorted(missing):
                try:
                    contents = read(root / "runs" / name)
                except DamagedError:
                    # it was whole a moment ago, and is named by the next command
                    continue
                yield name, reduced(contents)


def scan(root: Path) -> dict[str, Stamp]:
    """Return the stamp of every run below a results folder, by name and in their order.

    Raises:
        InputError: If there is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"no such results folder: {root}")
    try:
        with os.scandir(root / "runs") as entries:
            folders = sorted(entry.path for entry in entries if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InputError(f"cannot read {root / 'runs'}: {error.strerror}") from None
    found = {}
    for folder in folders:
        # three calls of the system a run, and nothing else: ten thousand runs are looked at for every table
        stamp = [part for name in (CONFIG, METRICS, RESULT) for part in _state(f"{folder}/{name}")]
        if stamp[0] >= 0:
            found[os.path.basename(folder)] = tuple(stamp)  # noqa: PTH119 - a string's end
    return found


def _state(path: str) -> tuple[int, int]:
    try:
        state = os.stat(path)  # noqa: PTH116 - see above
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns


def read_one(root: Path) -> Runs:
    """Return the runs of one results folder, by its index where that holds, and bring the index up to date."""
    stamps = scan(root)
    entries: dict[str, Entry] = {}
    with Index(root) as index:
        known = index.entries()
        entries = {name: known[name] for name, stamp in stamps.items() if name in known and known[name].holds(stamp)}
        stale = [name for name in stamps if name not in entries]
        for start in range(0, len(stale), BATCH):
            batch = stale[start : start + BATCH]
            made = [(entry, curve) for name in batch for entry, curve, _ in _entry(root, name)]
            index.write(made)
            entries |= {entry.record.name: entry for entry, _ in made}
        if gone := known.keys() - stamps.keys():
            index.write((), gone)
    return _sorted(root, [(entry.record, None) for entry in entries.values()])


def read_whole(root: Path) -> Runs:
    """Return the runs of one results folder with the metrics of all epochs, read from the runs' own files."""
    found = [(entry.record, whole) for name in scan(root) for entry, _, whole in _entry(root, name, every_epoch=True)]
    return _sorted(root, found)


def _sorted(root: Path, runs: Sequence[tuple[Record, Scores | None]]) -> Runs:
    runs = sorted(runs, key=lambda run: run[0].name)
    return Runs(
        [Found(root, record, curve) for record, curve in runs if not record.damage],
        [Damaged(root / "runs" / record.name, record.damage) for record, _ in runs if record.damage],
    )


def _entry(root: Path, name: str, every_epoch: bool = False) -> Iterator[tuple[Entry, Scores | None, Scores | None]]:
    """Yield a run's entry, its reduced curve and its whole one; nothing if its folder is gone."""
    folder = root / "runs" / name
    seen = time.time_ns()
    try:
        files = read_files(folder)
    except DamagedError as error:
        if folder.is_dir():
            yield Entry(error.stamp, seen, Record(name, damage=str(error))), None, None
        return
    contents = files.contents
    whole = Scores.over_epochs(contents.rows) if every_epoch else None
    yield Entry(files.stamp, seen, brief(name, contents)), None if every_epoch else reduced(contents), whole
