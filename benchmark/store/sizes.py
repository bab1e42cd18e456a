"""What takes the space in a results folder, and what of it may go."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.store import atomic
from benchmark.store.predictions import PREDICTIONS
from benchmark.store.runs import CHECKPOINT, CONFIG, ERROR, METRICS, RESULT, read_result


@dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Attributes:
        name: What they are.
        files: How many.
        bytes: How large together.
        remark: Whether they may go.
    """

    name: str
    files: int
    bytes: int
    remark: str


REMARKS = {
    "students": "bench export reads them; no table does",
    "predictions": "bench plot confusion, bench plot agreement and bench predict read them; no table does",
    "checkpoints": "of runs that go on from them: they keep what was trained so far",
    "left checkpoints": "of runs that have ended: may go, and the next bench run of them removes it",
    "logs": "of tensorboard: may go, no table reads them",
    "records": "configurations, metrics, results: the tables are made of them",
    "temporary files": "of processes that were killed: may go while nothing runs",
    "sweeps": "tables and figures of sweeps: bench sweep writes them anew",
    "trash": "of bench rm: may go",
    "other": "",
}
RECORDS = (CONFIG, METRICS, RESULT, ERROR)


def kinds(results: Path) -> list[Kind]:
    """Return what lies in a results folder, the largest first; what there is nothing of is left out.

    Args:
        results: The results folder.
    """
    counted: dict[str, list[int]] = {}
    for path in _files(results):
        counted.setdefault(_kind(results, path), []).append(path.lstat().st_size)
    found = [Kind(name, len(sizes), sum(sizes), REMARKS[name]) for name, sizes in counted.items()]
    return sorted(found, key=lambda kind: (-kind.bytes, kind.name))


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _kind(results: Path, path: Path) -> str:
    top, *below = path.relative_to(results).parts
    if top in ("sweeps", "trash"):
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
    return "students" if path.suffix == ".safetensors" else "records" if path.name in RECORDS else "other"
