"""Encoded images: what identifies them, and their pixels in one mapped file per part below ``<data_root>/.cache/``.

``images/<key>.npy`` holds uint8 ``[N, C, H, W]``; the key is the hash of the image files' contents and of how they
were decoded, so nothing in there is ever out of date, and everything may be deleted between runs. ``images/<key>.json``
beside it says what the file must look like. ``contents/`` remembers hashes of files' contents.
"""

import io
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import IO

import numpy as np
import PIL
from filelock import FileLock

from benchmark.console import note_once
from benchmark.datasets import decoding
from benchmark.datasets.decoding import EncodedImage, ImageFormat, format_of
from benchmark.datasets.images import Indices, LabelledImages, Pixels, histogram, normal
from benchmark.store import atomic
from methods.errors import InputError

FORMAT = 1

# a file changed within a file system's tick of its last change can look unchanged; FAT's tick is the longest
TICK_NS = 2 * 10**9


def folder(root: Path) -> Path:
    """Return the folder of decoded images and of hashes."""
    return root / ".cache"


@dataclass(frozen=True)
class EncodedImages:
    """Encoded images of a part of a dataset in their order."""

    images: Sequence[EncodedImage]
    labels: Indices  # class indices [N]
    base: Path | None = None  # the folder that all of them are files in, at any depth; None for images in other files

    @classmethod
    def of_files(cls, base: Path, names: Sequence[str], labels: Indices) -> "EncodedImages":
        """Return files, given as their paths below a folder."""
        return cls([EncodedImage.of_file(f"{base}/{name}") for name in names], labels, base)

    @property
    def names(self) -> list[str]:
        """The files' paths below their folder."""
        return [image.name[len(f"{self.base}/") :] for image in self.images]

    def take(self, indices: Indices) -> "EncodedImages":
        """Return the chosen images in the order given."""
        return replace(self, images=[self.images[index] for index in indices], labels=self.labels[indices])

    def contents(self, root: Path) -> str:
        """Return the hash of the images' bytes and, of files, their names in Unicode's form NFC.

        That of files is :func:`remembered`; one that cannot be read raises an InputError.
        """
        start = len(f"{self.base}/")

        def block_of(images: Sequence[EncodedImage]) -> bytes:
            sums = [(image.name[start:], sha256(image.read())) for image in images]
            if self.base is None:
                return b"".join(digest.digest() for _, digest in sums)
            return os.fsencode("".join(f"{normal(name)}\0{digest.hexdigest()}\n" for name, digest in sums))

        def compute() -> str:
            digest = sha256()
            for block in decoding.in_blocks(block_of, self.images, "reading images"):
                digest.update(block)
            return digest.hexdigest()

        return compute() if self.base is None else remembered(root, self.base, self.names, "", compute)


def remembered(root: Path, base: Path, names: Sequence[str], also: str, compute: Callable[[], str]) -> str:
    """Return a hash that depends on files, computed again only if the size or one of the times of one has changed.

    The files are ``names`` below ``base``; ``also`` says what else it depends on. It is remembered in the cache of
    ``root``, which may be read-only. A file that is not there raises an InputError.
    """
    begin, newest = time.time_ns(), 0
    digest = sha256(os.fsencode(f"{base.absolute()}\n{also}"))
    for name in names:
        path = f"{base}/{name}"
        try:
            found = os.stat(path)  # noqa: PTH116 - a Path for every file takes longer than looking at it
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        newest = max(newest, found.st_mtime_ns)
        digest.update(os.fsencode(f"\n{normal(name)}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}"))
    if newest >= begin - TICK_NS:
        return compute()
    known = folder(root) / "contents" / f"{digest.hexdigest()}.sha256"
    with suppress(OSError, ValueError):
        text = known.read_text(encoding="ascii").strip()
        if re.fullmatch("[0-9a-f]{64}", text):
            return text
    result = compute()
    # it is only quicker with it
    with suppress(OSError):
        known.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(known, f"{result}\n")
    return result


@dataclass(frozen=True)
class Decoded:
    """The pixels of encoded images."""

    pixels: Pixels  # [N, C, H, W], mapped from the cache or, where that cannot be written, in memory
    counts: Indices  # how often each value occurs in each channel, [C, 256]
    highest: int | None  # the highest value in those files that are grey and of 16 bits; None if none is


def decoded_alike(
    parts: Sequence[EncodedImages], root: Path, image_size: int | None, where: str
) -> tuple[list[LabelledImages], Indices]:
    """Return the images of the parts of a dataset as :func:`decoded` does, and how often the values occur in the first.

    Grey parts beside a coloured one are coloured. 16-bit images that don't use their range raise an InputError.
    """
    found = [decoded(part, root, image_size) for part in parts]
    # a part may well be dark by itself
    decoding.check_range(decoding.highest_of(images.highest for images in found), where)
    colour = any(images.pixels.shape[1] == 3 for images in found)
    for at, part in enumerate(parts):
        if colour and found[at].pixels.shape[1] == 1:
            found[at] = decoded(part, root, image_size, colour)
    pairs = zip(found, parts, strict=True)
    return [LabelledImages(images.pixels, part.labels) for images, part in pairs], found[0].counts


def decoded(part: EncodedImages, root: Path, image_size: int | None, colour: bool = False) -> Decoded:
    """Return the pixels of a part, decoded at the first call and from the cache of the root folder ever after.

    Without ``image_size``, the side that images are resized to, all must be square and of one size. With ``colour``
    they are coloured even if all are grey. An image that is not as it should be is named in an InputError.
    """
    # another version of Pillow may decode a JPEG to slightly other pixels
    how = f"{FORMAT} {PIL.__version__} {image_size} {colour}"
    key = sha256(f"{how} {part.contents(root)}".encode()).hexdigest()[:32]
    path = folder(root) / "images" / f"{key}.npy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if (found := _from_cache(path, len(part.images))) is not None:
            return found
        with FileLock(path.with_suffix(".lock")):
            if (found := _from_cache(path, len(part.images))) is not None:
                return found
            if path.exists():
                note_once(f"{path} is incomplete or damaged: its images are decoded anew")
            return _to_cache(path, part.images, format_of(part.images, image_size, colour))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        note_once(f"cannot write {path.parent} ({reason}): images are decoded into memory at every start")
        form, stream = format_of(part.images, image_size, colour), io.BytesIO()
        counts, highest = _decode_into(stream, part.images, form)
        pixels = np.frombuffer(stream.getbuffer(), dtype=np.uint8)
        return Decoded(pixels.reshape(-1, form.channels, form.side, form.side), counts, highest)


def _decode_into(stream: IO[bytes], images: Sequence[EncodedImage], form: ImageFormat) -> tuple[Indices, int | None]:
    """Write the pixels of all images, and return how often each value occurs and the highest of the 16-bit values."""
    counts: Indices = np.zeros((form.channels, 256), dtype=np.int64)
    highest: int | None = None
    for pixels, top in decoding.decoded(images, form):
        stream.write(pixels.data)
        counts += histogram(pixels)
        highest = decoding.highest_of((highest, top))
    return counts, highest


def _from_cache(path: Path, count: int) -> Decoded | None:
    """Return the images if the file is what was written, of the same size and time."""
    try:
        described = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        counts = np.array(described["histogram"], dtype=np.int64)
        fits = pixels.dtype == np.uint8 and pixels.flags.c_contiguous and list(pixels.shape) == described["shape"]
        counted = counts.shape == (pixels.shape[1], 256) and int(counts.sum()) == pixels.size
        if fits and counted and len(pixels) == count and described["stamp"] == _stamp(path):
            return Decoded(pixels, counts, described["highest_of_16_bit"])
    except (OSError, ValueError, LookupError, TypeError, EOFError, OverflowError):
        # whatever it is, it is none of our files
        return None
    return None


def _to_cache(path: Path, images: Sequence[EncodedImage], form: ImageFormat) -> Decoded:
    """Write the file under a temporary name, rename it, and return its images."""
    # the lock is held, so there is one writer and one temporary name, which also cleans up after a killed one
    temporary = path.with_suffix(".tmp")
    shape = (len(images), form.channels, form.side, form.side)
    try:
        # written as a stream: where the disk is full, a write fails, but a write to a mapping kills the process
        with temporary.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
            counts, highest = _decode_into(stream, images, form)
            stream.flush()
            os.fsync(stream.fileno())
        # a time in the past: whoever writes to the file from now on changes it, even within the clock's tick
        past = time.time_ns() - 10**10
        os.utime(temporary, ns=(past, past))
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    content = {"shape": shape, "histogram": counts.tolist(), "highest_of_16_bit": highest, "stamp": _stamp(path)}
    atomic.write_text(path.with_suffix(".json"), json.dumps(content) + "\n")
    return Decoded(np.load(path, mmap_mode="r", allow_pickle=False), counts, highest)


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
