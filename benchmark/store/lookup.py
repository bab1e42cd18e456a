"""Single runs of a results folder: found by name, measured, and moved to the trash."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.configuration import RunConfig
from benchmark.store import atomic
from benchmark.store.files import (
    CHECKPOINT,
    CONFIG,
    ERROR,
    METRICS,
    RESULT,
    DamagedError,
    Result,
    Status,
    read_contents,
    read_files,
    read_result,
)
from benchmark.store.predictions import PREDICTIONS
from benchmark.store.runs import REPLICATE, Store, identity_in
from methods.errors import InputError, unknown


@dataclass(frozen=True)
class StoredRun:
    """One run on the disk.

    Attributes:
        folder: Where it is stored.
        config: Its resolved configuration.
        result: How it ended; None if it has not.
    """

    folder: Path
    config: RunConfig
    result: Result | None

    @classmethod
    def read(cls, folder: Path) -> "StoredRun":
        """Read a run's folder.

        Raises:
            InputError: If its files are damaged.
        """
        contents = read_contents(folder)
        return cls(folder, contents.config, contents.result)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def identity(self) -> str:
        """What the folder's name ends with; an older version's identity may differ from the configuration's."""
        return identity_in(self.name)

    @property
    def status(self) -> Status:
        """How far it is."""
        return self.result.status if self.result else Status.UNFINISHED

    def last_metrics(self) -> dict[str, float]:
        """Return the metrics of the last epoch that was evaluated, or of the last one; nothing if there is none."""
        try:
            return dict(read_files(self.folder).contents.scored or {})
        except DamagedError:
            return {}


def names(results: Path) -> list[str]:
    """Return the runs' folder names in order; empty if there are none."""
    return sorted(path.parent.name for path in (results / "runs").glob(f"*/{CONFIG}"))


def find(results: Path, word: str) -> StoredRun:
    """Return the run of a results folder that a person names, see :func:`match`.

    Raises:
        InputError: If there is none, or several, or it is damaged.
    """
    if not results.is_dir():
        raise InputError(f"no such results folder: {results}")
    return StoredRun.read(results / "runs" / match(names(results), word))


def match(known: Collection[str], word: str) -> str:
    """Return the run that a person names by its folder, a unique beginning of that, or an identity or its beginning.

    An identity alone names the run and not its replicates.

    Args:
        known: The runs' names.
        word: What the person wrote.

    Raises:
        InputError: If there is none, or several.
    """
    # a path, as a shell completes it, names its last part
    wanted = Path(word).name
    found = [name for name in known if wanted == name]
    for fits in (_has_identity, _begins):
        found = found or [name for name in known if wanted and fits(name, wanted)]
        originals = [name for name in found if REPLICATE not in name]
        found = originals if len(originals) == 1 else found
    if not found:
        shown = list(known)[:10]
        raise unknown("run", word, shown if len(known) <= 10 else [*shown, f"... {len(known)} in all: bench list runs"])
    if len(found) > 1:
        some = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise InputError(f"run {word!r} names {len(found)} runs: {some}")
    return found[0]


def _has_identity(name: str, wanted: str) -> bool:
    return identity_in(name) == wanted


def _begins(name: str, wanted: str) -> bool:
    return name.startswith(wanted) or identity_in(name).startswith(wanted)


@dataclass(frozen=True)
class Kind:
    """Files of one kind in a results folder.

    Attributes:
        name: What they are.
        files: How many.
        bytes: How large together.
        remark: Whether they may be removed.
    """

    name: str
    files: int
    bytes: int
    remark: str


REMARKS = {
    "students": "bench export reads them; no table does",
    "predictions": "bench plot confusion, bench plot agreement and bench predict read them; no table does",
    "checkpoints": "of runs that resume from them: they keep what was trained so far",
    "left checkpoints": "of runs that have ended: may be removed, and the next bench run of them removes it",
    "logs": "of tensorboard: may be removed, no table reads them",
    "records": "configurations, metrics, results: the tables are made of them",
    "temporary files": "of processes that were killed: may be removed while nothing runs",
    "sweeps": "tables and figures of sweeps: bench sweep writes them anew",
    "trash": "of bench rm: may be removed",
    "other": "",
}


def kinds(results: Path) -> list[Kind]:
    """Return what takes the space in a results folder, the largest first.

    Args:
        results: The results folder.
    """
    counted: dict[str, list[int]] = {}
    for path in _files(results):
        counted.setdefault(_kind(results, path), []).append(path.lstat().st_size)
    found = [Kind(name, len(sizes), sum(sizes), REMARKS[name]) for name, sizes in counted.items()]
    return sorted(found, key=lambda kind: (-kind.bytes, kind.name))


def _kind(results: Path, path: Path) -> str:
    top, *below = path.relative_to(results).parts
    if top in ("sweeps", TRASH):
        return top
    if path.name.endswith(atomic.SUFFIX):
        return "temporary files"
    if top != "runs" or len(below) < 2:
        return "other"
    if below[1] == "tensorboard":
        return "logs"
    if path.name == CHECKPOINT:
        result = read_result(path.parent)
        return "left checkpoints" if result is not None and result.status.final else "checkpoints"
    if path.name == PREDICTIONS:
        return "predictions"
    records = (CONFIG, METRICS, RESULT, ERROR)
    return "students" if path.suffix == ".safetensors" else "records" if path.name in records else "other"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


TRASH = "trash"


@dataclass(frozen=True)
class Moved:
    """What became of a run.

    Attributes:
        name: Of the run.
        to: Where it is now; None if it could not be moved.
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
    return [_moved(Store(results), run) for run in runs]


def _moved(store: Store, run: StoredRun) -> Moved:
    trash = store.root / TRASH
    try:
        with store.lock(run.config, patience=0) as held:
            if not held:
                return Moved(run.name, None, "another process works on it")
            to = trash / run.name
            number = 0
            while to.exists():
                number += 1
                to = trash / f"{run.name}.{number}"
            trash.mkdir(exist_ok=True)
            run.folder.rename(to)
    except OSError as error:
        return Moved(run.name, None, error.strerror or "it cannot be moved")
    return Moved(run.name, to)


def described(runs: Iterable[StoredRun]) -> Iterator[str]:
    """Yield a line per run: its status, its size, its name."""
    for run in runs:
        size = sum(path.lstat().st_size for path in _files(run.folder))
        yield f"  {run.status:<13}  {size / 2**20:8.2f} MiB  {run.name}"
