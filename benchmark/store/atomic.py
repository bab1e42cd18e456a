"""Files that are either wholly there or not at all."""

import os
from pathlib import Path

SUFFIX = ".tmp"


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file's parts under a temporary name, flush them to the disk, and rename the file.

    The temporary name is hidden, names the process, and ends with :data:`SUFFIX`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{SUFFIX}")
    try:
        with temporary.open("wb") as stream:
            for part in parts:
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file as :func:`write_bytes` does."""
    write_bytes(path, text.encode())
