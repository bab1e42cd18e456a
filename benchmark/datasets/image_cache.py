"""Decoded images as one memory-mapped file a part, below ``<data_root>/.cache/``.

``images/<key>.npy`` holds uint8 ``[N, C, H, W]``; the key is the hash of the image files' contents and of how they
were decoded, so nothing in there is ever out of date, and everything may be deleted between runs. ``images/<key>.json``
beside it says what the file must look like. ``contents/`` remembers the hashes of listings (:mod:`.listing`).
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from filelock import FileLock

from benchmark.configuration import DataConfig
from benchmark.console import note_once
from benchmark.datasets import image_cache
from benchmark.datasets.decoding import (
    Block,
    EncodedImage,
    ImageFormat,
    check_range,
    decoded,
    format_of,
    highest_of,
)
from benchmark.datasets.images import Dataset, Indices, LabelledImages, Pixels, histogram, statistics_of
from benchmark.datasets.listing import EncodedImages
from benchmark.store import atomic
from methods.errors import InputError

FORMAT = 1

_HIGHEST = "highest_of_16_bit"


@dataclass(frozen=True)
class Decoded:
    """The images of a listing."""

    pixels: Pixels  # [N, C, H, W], mapped from the cache or, where that cannot be written, in memory
    counts: Indices  # how often each value occurs in each channel, [C, 256]
    highest: int | None  # the highest value in those files that are grey and of 16 bits; None if none is


def folder(root: Path) -> Path:
    """Return the folder of decoded images and hashes of listings."""
    return root / ".cache"


def images(listing: EncodedImages, root: Path, image_size: int | None, colour: bool = False) -> Decoded:
    """Return a listing's images, decoded at the first call and from the cache ever after.

    Args:
        image_size: The side that images are resized to; None if they stay as they are.
        colour: Whether they are coloured even if every one is grey.
    """
    cache = folder(root)
    # another version of Pillow may decode a JPEG to slightly other pixels
    how = f"{FORMAT} {PIL.__version__} {image_size} {colour}"
    key = hashlib.sha256(f"{how} {listing.contents(cache)}".encode()).hexdigest()[:32]
    encoded = listing.encoded
    entry = _Entry(cache / "images" / f"{key}.npy", encoded)
    try:
        entry.path.parent.mkdir(parents=True, exist_ok=True)
        if (found := entry.open()) is not None:
            return found
        with FileLock(entry.path.with_suffix(".lock")):
            if (found := entry.open()) is not None:
                return found
            if entry.path.exists():
                note_once(f"{entry.path} is incomplete or damaged: its images are decoded anew")
            form = format_of(encoded, image_size, colour)
            return entry.write(form, decoded(encoded, form))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        note_once(f"cannot write {entry.path.parent} ({reason}): images are decoded into memory at every start")
        form = format_of(encoded, image_size, colour)
        return _in_memory(len(encoded), form, decoded(encoded, form))


@dataclass(frozen=True)
class _Entry:
    path: Path
    encoded: Sequence[EncodedImage]

    def open(self) -> Decoded | None:
        """Return the images if the file is there and is what was written."""
        try:
            described = json.loads(self.path.with_suffix(".json").read_text(encoding="utf-8"))
            pixels = np.load(self.path, mmap_mode="r", allow_pickle=False)
            counts = np.array(described["histogram"], dtype=np.int64)
            fits = pixels.dtype == np.uint8 and pixels.flags.c_contiguous and list(pixels.shape) == described["shape"]
            counted = counts.shape == (pixels.shape[1], 256) and int(counts.sum()) == pixels.size
            if fits and counted and len(pixels) == len(self.encoded) and self._same(described):
                return Decoded(pixels, counts, described[_HIGHEST])
        except (OSError, ValueError, LookupError, TypeError, EOFError, OverflowError):
            # whatever it is, it is none of our files
            return None
        return None

    def write(self, form: ImageFormat, blocks: Iterator[Block]) -> Decoded:
        """Write the file under a temporary name, rename it, and return its images."""
        # the lock is held, so there is one writer and one temporary name, which also cleans up after a killed one
        temporary = self.path.with_suffix(".tmp")
        shape = (len(self.encoded), *form.shape)
        counts = np.zeros((form.channels, 256), dtype=np.int64)
        highest: int | None = None
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        digest = hashlib.sha256(header.getvalue())
        try:
            # written as a stream: where the disk is full, a write fails, but a write to a mapping kills the process
            with temporary.open("wb") as stream:
                stream.write(header.getvalue())
                for block in blocks:
                    stream.write(block.pixels.data)
                    digest.update(block.pixels.data)
                    counts += histogram(block.pixels)
                    highest = highest_of((highest, block.highest))
                stream.flush()
                os.fsync(stream.fileno())
            # a time in the past: whoever writes to the file from now on changes it, even within the clock's tick
            past = time.time_ns() - 10**10
            os.utime(temporary, ns=(past, past))
            temporary.replace(self.path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        content = {"shape": list(shape), "histogram": counts.tolist(), "sha256": digest.hexdigest(), _HIGHEST: highest}
        self._describe(content)
        return Decoded(np.load(self.path, mmap_mode="r", allow_pickle=False), counts, highest)

    def _same(self, described: dict[str, Any]) -> bool:
        """Say whether the bytes are those written; they are read only if the file's size or time is another."""
        if described["stamp"] == self._stamp():
            return True
        with self.path.open("rb") as stream:
            if described["sha256"] != hashlib.file_digest(stream, "sha256").hexdigest():
                return False
        with suppress(OSError):
            self._describe(described)
        return True

    def _describe(self, content: dict[str, Any]) -> None:
        text = json.dumps({**content, "stamp": self._stamp()})
        atomic.write_text(self.path.with_suffix(".json"), text + "\n")

    def _stamp(self) -> list[int]:
        found = self.path.stat()
        return [found.st_size, found.st_mtime_ns]


def _in_memory(count: int, form: ImageFormat, blocks: Iterator[Block]) -> Decoded:
    pixels = np.empty((count, *form.shape), dtype=np.uint8)
    counts = np.zeros((form.channels, 256), dtype=np.int64)
    highest: int | None = None
    done = 0
    for block in blocks:
        pixels[done : done + len(block.pixels)] = block.pixels
        counts += histogram(block.pixels)
        highest = highest_of((highest, block.highest))
        done += len(block.pixels)
    return Decoded(pixels, counts, highest)


def dataset_of(name: str, parts: Sequence[EncodedImages], config: DataConfig, root: Path) -> Dataset:
    """Return the images of one part to train on and, unless a share of it is scored, one to test on.

    The images must be square and of one size unless ``config.image_size`` makes them so, and 16-bit images must use
    their range. Grey images among coloured ones count as coloured. A file that is not as it should be is named.
    """
    found = [image_cache.images(part, root, config.image_size) for part in parts]
    # a part may well be dark by itself
    check_range(highest_of(images.highest for images in found), name)
    if len({images.pixels.shape[1] for images in found}) > 1:
        found = [
            images if images.pixels.shape[1] == 3 else image_cache.images(part, root, config.image_size, colour=True)
            for images, part in zip(found, parts, strict=True)
        ]
    sides = [images.pixels.shape[-1] for images in found]
    if len(set(sides)) > 1:
        raise InputError(
            f"{parts[1].encoded[0]} is {sides[1]}x{sides[1]}, the training images are {sides[0]}x{sides[0]}: "
            "data.image_size=N resizes all to NxN"
        )
    mean, std = statistics_of(found[0].counts)
    train, *others = (LabelledImages(images.pixels, part.labels) for images, part in zip(found, parts, strict=True))
    return Dataset(name, train, others[0] if others else train.take(np.arange(0)), parts[0].classes, mean, std)
