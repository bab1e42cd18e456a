"""The folders that Ray Tune writes to while it runs: of no use to anyone afterwards."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "okdbench-ray-"

_LOCK = ".lock"


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder that is held by this process and removed at the end."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        path = Path(name)
        with FileLock(path / _LOCK):
            yield path


def tidy() -> None:
    """Remove the folders of processes that were killed: the system has freed their locks."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # without a lock it is about to get one; what belongs to someone else stays
        if (path / _LOCK).is_file():
            with suppress(OSError, Timeout), FileLock(path / _LOCK, timeout=0):
                shutil.rmtree(path, ignore_errors=True)
