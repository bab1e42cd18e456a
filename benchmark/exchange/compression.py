"""Compressed streams whose bytes depend on what is written alone, chosen by a file's ending."""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from methods.errors import InputError, unknown

ENDINGS = (".tar.zst", ".tar.xz", ".tar.gz")

_WINDOW = 2**27
"""Bytes that a stream may ask to be held in memory."""


def ending_of(path: Path) -> str:
    """Return which of :data:`ENDINGS` a bundle has, or raise an InputError that lists them."""
    found = next((ending for ending in ENDINGS if path.name.endswith(ending)), None)
    if found is None:
        raise unknown("kind of bundle", path.name, ENDINGS)
    return found


def is_bundle(word: str) -> bool:
    """Return whether a word ends as a bundle's name does."""
    return word.endswith(ENDINGS)


@contextmanager
def compressed(stream: IO[bytes], ending: str) -> Iterator[IO[bytes]]:
    """Yield a stream that compresses what is written to it: the same bytes every time.

    Args:
        stream: Where it goes.
        ending: One of :data:`ENDINGS`.
    """
    writer: Any
    if ending == ".tar.zst":
        writer = _zstandard().ZstdCompressor(level=10, write_checksum=True).stream_writer(stream, closefd=False)
    elif ending == ".tar.xz":
        writer = lzma.LZMAFile(stream, "wb", preset=6)  # noqa: SIM115 - entered below
    else:
        # without name and time of making
        writer = gzip.GzipFile("", "wb", 9, stream, mtime=0)
    with writer:
        yield cast(IO[bytes], writer)


@contextmanager
def decompressed(stream: IO[bytes], ending: str) -> Iterator[IO[bytes]]:
    """Yield a stream of what a compressed stream holds.

    Args:
        stream: Where it comes from.
        ending: One of :data:`ENDINGS`.
    """
    reader: Any
    if ending == ".tar.zst":
        reader = _ZstandardReader(stream)
    elif ending == ".tar.xz":
        reader = lzma.LZMAFile(stream, "rb")  # noqa: SIM115 - entered below
    else:
        reader = gzip.GzipFile("", "rb", fileobj=stream)
    with reader:
        yield cast(IO[bytes], reader)


class _ZstandardReader(io.RawIOBase):
    """A stream of what a zstandard frame holds; the package's own reader takes a frame that was cut for a whole one."""

    _PART = 256
    """Bytes that are taken at once: they may become 32,000 times as many."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._frame = _zstandard().ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        self._ready = bytearray()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; fewer at the end alone.

        Raises:
            EOFError: If the frame was cut.
        """
        while (size < 0 or len(self._ready) < size) and not self._frame.eof:
            part = self._stream.read(self._PART)
            if not part:
                raise EOFError("it is cut short")
            self._ready += self._frame.decompress(part)
        end = len(self._ready) if size < 0 else size
        content = bytes(self._ready[:end])
        del self._ready[:end]
        return content


def faults() -> tuple[type[Exception], ...]:
    """Return what reading a damaged stream raises."""
    found: list[type[Exception]] = [OSError, EOFError, lzma.LZMAError, zlib.error]
    with suppress(InputError):
        found.append(_zstandard().ZstdError)
    return tuple(found)


def _zstandard() -> Any:
    try:
        import zstandard
    except ModuleNotFoundError:
        raise InputError(
            ".tar.zst needs the package zstandard: pip install 'okdbench[bundles]' (or name the bundle .tar.xz)"
        ) from None
    return zstandard
