"""Encoded images of a part of a dataset, as files or within other files, and the checksum of their contents."""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmark.datasets.decoding import EmbeddedImage, EncodedImage, Item, in_blocks
from benchmark.datasets.images import Indices
from benchmark.datasets.labels import normal
from benchmark.store import atomic
from methods.errors import InputError

# a file changed within a file system's tick of its last change can look unchanged; FAT's tick is the longest
TICK_NS = 2 * 10**9


class EncodedImages(Protocol):
    """Encoded images in their order, as files or within other files."""

    @property
    def encoded(self) -> Sequence[EncodedImage]:
        """Each of them."""

    @property
    def labels(self) -> Indices:
        """Class indices ``[N]``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names in the order of their indices."""

    def contents(self, cache: Path) -> str:
        """Return the hash of the images' names and bytes; what takes long may be remembered in the folder."""


@dataclass(frozen=True)
class Listing:
    """Image files in the order of the images."""

    base: Path  # the dataset's folder
    names: Sequence[str]  # paths below it
    labels: Indices  # class indices [N]
    classes: tuple[str, ...]  # the classes' names in the order of their indices

    @property
    def encoded(self) -> list[Path]:
        """The files."""
        return [self.base / name for name in self.names]

    def take(self, indices: Indices) -> "Listing":
        """Return the chosen files in the order given."""
        return replace(self, names=[self.names[index] for index in indices], labels=self.labels[indices])

    def contents(self, cache: Path) -> str:
        """Return the hash of the files' names, in Unicode's form NFC, and bytes.

        The bytes are read again only if a file's size or one of its times has changed since the last call.

        Args:
            cache: The folder in which the answer is remembered; it may be read-only.

        Raises:
            InputError: If a file cannot be read.
        """
        return remembered_of_files(cache, self.base, self.names, lambda: _hash_of(self._hash_block, self.names))

    def _hash_block(self, names: Sequence[str]) -> bytes:
        lines = []
        for name in names:
            path = self.base / name
            try:
                lines.append(f"{normal(name)}\0{sha256(path.read_bytes()).hexdigest()}\n")
            except OSError as error:
                raise InputError(f"cannot read {path}: {error.strerror}") from None
        return os.fsencode("".join(lines))


def _hash_of(block_of: Callable[[Sequence[Item]], bytes], items: Sequence[Item]) -> str:
    digest = sha256()
    for block in in_blocks(block_of, items, "reading images"):
        digest.update(block)
    return digest.hexdigest()


def listing_of_classes(base: Path, folders: Mapping[str, str]) -> Listing:
    """Return the files of ``folders`` below ``base``, one of each class by its name, class by class."""
    members = [files(base / place) for place in folders.values()]
    names = [f"{place}/{file}" for place, listed in zip(folders.values(), members, strict=True) for file in listed]
    labels = np.repeat(np.arange(len(folders)), [len(listed) for listed in members])
    return Listing(base, names, labels, tuple(folders))


def remembered_of_files(cache: Path, base: Path, names: Sequence[str], compute: Callable[[], str]) -> str:
    """Return a hash that depends on files alone; it is computed again if a file's size or one of its times changes."""
    begin = time.time_ns()
    digest = sha256(os.fsencode(base.absolute()))
    newest = 0
    for name in names:
        path = f"{base}{os.sep}{name}"
        try:
            found = os.stat(path)  # noqa: PTH116 - a Path for every file takes longer than looking at it
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        newest = max(newest, found.st_mtime_ns)
        digest.update(os.fsencode(f"\n{normal(name)}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}"))
    if newest < begin - TICK_NS:
        return remembered(cache, digest.hexdigest(), compute)
    return compute()


def remembered(cache: Path, key: str, compute: Callable[[], str]) -> str:
    """Return a hash that was computed for a key before, or compute and remember it; the folder may be read-only."""
    path = cache / "contents" / f"{sha256(key.encode()).hexdigest()}.sha256"
    with suppress(OSError, ValueError):
        known = path.read_text(encoding="ascii").strip()
        if re.fullmatch("[0-9a-f]{64}", known):
            return known
    found = compute()
    # it is only quicker with it
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(path, f"{found}\n")
    return found


def identity(parts: Sequence[EncodedImages], cache: Path) -> str:
    """Return the hash of what a run sees of several parts."""
    return sha256("\n".join(identity_of(part, cache) for part in parts).encode()).hexdigest()


def identity_of(part: EncodedImages, cache: Path) -> str:
    """Return the hash of everything that a run sees of a part: contents, labels, classes."""
    text = "\n".join((part.contents(cache), *part.classes, *map(str, part.labels.tolist())))
    return sha256(os.fsencode(text)).hexdigest()


def folders(base: Path) -> list[str]:
    """Return the names of the folders in a folder but hidden ones, sorted by their form NFC, or raise an InputError."""
    return sorted((entry.name for entry in _entries(base) if _holds(entry.is_dir)), key=_order)


def files(base: Path) -> list[str]:
    """Return the names of the images in a folder of nothing else, sorted by their form NFC, or raise an InputError."""
    entries = _entries(base)
    if not entries:
        raise InputError(f"{base} holds no image")
    strange = min((entry.path for entry in entries if not _holds(entry.is_file)), default=None)
    if strange is not None:
        kind = "a folder" if Path(strange).is_dir() else "not a file"
        raise InputError(f"{strange} is {kind}: {base} must hold images alone")
    return sorted((entry.name for entry in entries), key=_order)


def _order(name: str) -> tuple[str, str]:
    return normal(name), name


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:
        # a link to itself, for example
        return False


def _entries(base: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(base) as found:
            return [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot read {base}: {error.strerror}") from None


@dataclass(frozen=True)
class EmbeddedImages:
    """Images in their order; they are read when they are needed."""

    where: str  # how messages name what they are in
    read: Callable[[int], bytes]  # gives the bytes of an image file for its place in there
    rows: Indices  # their places
    labels: Indices  # class indices [N]
    classes: tuple[str, ...]  # the classes' names in the order of their indices

    @property
    def encoded(self) -> list[EmbeddedImage]:
        """Each of them."""
        return [EmbeddedImage(f"{self.where}[{row}]", partial(self.read, int(row))) for row in self.rows]

    def take(self, indices: Indices) -> "EmbeddedImages":
        """Return the chosen images in the order given."""
        return replace(self, rows=self.rows[indices], labels=self.labels[indices])

    def contents(self, cache: Path) -> str:
        """Return the hash of the images' bytes; all of them are read."""
        return _hash_of(self._hash_block, self.rows.tolist())

    def _hash_block(self, rows: Sequence[int]) -> bytes:
        return b"".join(sha256(self.read(row)).digest() for row in rows)
