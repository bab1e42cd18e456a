"""Files that are either wholly there or not at all, and one line where they cannot be written."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from methods.errors import InputError

SUFFIX = ".tmp"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a stream to a temporary file that is flushed to the disk and renamed to the path if nothing is raised.

    The temporary name is hidden, names the process, and ends with :data:`SUFFIX`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{SUFFIX}")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file's parts as :func:`replacing` does."""
    with replacing(path) as stream:
        stream.writelines(parts)


def write_text(path: Path, text: str) -> None:
    """Write a text file as :func:`replacing` does."""
    write_bytes(path, text.encode())


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Make a file's folder, and raise an InputError of one line if that or the file within cannot be written."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(f"cannot write {place}: {error.strerror or error}") from None


def put(path: Path, content: str | bytes | memoryview) -> Path:
    """Write a file, whose folder is made, and return it, or raise an InputError if it cannot be written."""
    with writing(path):
        write_bytes(path, content.encode() if isinstance(content, str) else content)
    return path


def check_folder(folder: Path) -> None:
    """Make a folder and raise an InputError if nothing can be written to it, before hours of work are for nothing."""
    with writing(folder):
        folder.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
