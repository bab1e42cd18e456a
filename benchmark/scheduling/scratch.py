"""The folders that Ray Tune writes to while it runs: of no use to anyone afterwards."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "okdbench-ray-"


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder that is held by this process and removed at the end."""
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    while not (held := _hold(path)):
        # another command took it for one that nobody holds, and removed it
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(held)


def tidy() -> None:
    """Remove the folders of processes that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if held := _hold(path):
            shutil.rmtree(path, ignore_errors=True)
            os.close(held)


def _hold(path: Path) -> int:
    """Lock a folder, which the system undoes when the process dies; return 0 if it is held, gone, or not ours."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            here, there = os.fstat(descriptor), path.stat()
            if here.st_uid == os.geteuid() and here.st_ino == there.st_ino:
                return descriptor
        except OSError:
            pass
        os.close(descriptor)
    return 0
