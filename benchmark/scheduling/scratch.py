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
def folder(base: Path | None = None) -> Iterator[Path]:
    """Make a folder that is held by this process and removed at the end.

    Args:
        base: Where; None for the usual place of temporary files.
    """
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    while not (held := _hold(path)):
        # another command took it for one that nobody holds, and removed it
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(held)


def tidy() -> None:
    """Remove the folders of processes that were killed."""
    for base in bases():
        for path in base.glob(f"{PREFIX}*"):
            if held := _hold(path):
                shutil.rmtree(path, ignore_errors=True)
                os.close(held)


def bases() -> list[Path]:
    """Return where folders may be made, the usual place of temporary files first."""
    return [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")]  # noqa: S108 - in a folder of our own


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
