"""Runs that are taken out of the store: they are moved aside, never deleted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.store.lookup import StoredRun
from benchmark.store.runs import Store
from benchmark.store.sizes import size_of

TRASH = "trash"


@dataclass(frozen=True)
class Moved:
    """What became of a run.

    Attributes:
        name: Of the run.
        to: Where it lies now; None if it could not be moved.
        reason: Why not.
    """

    name: str
    to: Path | None
    reason: str = ""


def move(results: Path, runs: Iterable[StoredRun]) -> list[Moved]:
    """Move runs into the trash folder of their store; one that another process works on stays.

    Args:
        results: The results folder.
        runs: Its runs.
    """
    store = Store(results)
    trash = store.root / TRASH
    found = []
    for run in runs:
        with store.lock(run.config, patience=0) as held:
            if not held:
                found.append(Moved(run.name, None, "another process works on it"))
                continue
            to = _free(trash / run.name)
            try:
                trash.mkdir(exist_ok=True)
                run.folder.rename(to)
                found.append(Moved(run.name, to))
            except OSError as error:
                found.append(Moved(run.name, None, error.strerror or "it cannot be moved"))
    return found


def _free(path: Path) -> Path:
    """Return a path that nothing lies at yet."""
    if not path.exists():
        return path
    return next(free for n in range(1, 10**6) if not (free := path.with_name(f"{path.name}.{n}")).exists())


def described(runs: Sequence[StoredRun]) -> Iterable[str]:
    """Yield a line a run: how it stands, its size, its name."""
    for run in runs:
        yield f"  {run.status:<13}  {size_of(run.folder) / 2**20:8.2f} MiB  {run.name}"
