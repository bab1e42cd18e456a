"""The one form of an official set, whatever it was read from: classes by name, images by class and pixels.

A set is its content, not its container: the official archive, its unpacked form and a folder of lossless image files
give the same images in the same order, and so the same batches and the same identity of a run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmark.configuration import DataConfig
from benchmark.consoles import new_console
from benchmark.datasets import image_cache
from benchmark.datasets.decoding import check_range
from benchmark.datasets.images import Dataset, LabelledImages, stratified
from benchmark.datasets.labels import check_same_classes
from benchmark.datasets.listing import Listing, identity_of, remembered
from benchmark.datasets.resizing import squared
from benchmark.words import say
from methods.errors import InputError

PARTS = ("train", "test")

_AT_ONCE = 4096


class Container(Protocol):
    """What an official set was stored in."""

    def part(self, part: str) -> tuple[LabelledImages, tuple[str, ...]]:
        """Return the images of ``train`` or ``test`` in any order, and the classes' names in that of the labels."""

    def content(self, part: str) -> str:
        """Return the part's :func:`content_hash`; what takes long may be remembered."""


@dataclass(frozen=True)
class ImageFiles:
    """A set whose images are files.

    Attributes:
        listings: Lists the files of ``train`` and ``test``.
        root: Where datasets are stored, with the cache.
        colour: Whether the images are coloured even if every one is grey.
    """

    listings: Callable[[str], Listing]
    root: Path
    colour: bool

    def part(self, part: str) -> tuple[LabelledImages, tuple[str, ...]]:
        """Return the images, decoded at the first call and mapped from the cache ever after."""
        listing = self.listings(part)
        found = image_cache.images(listing, self.root, None, self.colour)
        check_range(found.highest, f"{listing.base}, {part}")
        return LabelledImages(found.pixels, listing.labels), listing.classes

    def content(self, part: str) -> str:
        """Return the content hash, which is computed once while the files stay the same."""
        folder = image_cache.folder(self.root)
        key = f"{identity_of(self.listings(part), folder)} {self.colour}"
        return remembered(folder, key, lambda: content_hash(*self.part(part)))


def checksum(container: Container, config: DataConfig) -> str:
    """Return what identifies the images that a run uses: all for training and, unless some are held out, for testing.

    The subsets that a configuration takes of them are part of a run's identity by themselves.
    """
    return joined([container.content(part) for part in _used(config)])


def joined(hashes: Sequence[str]) -> str:
    """Return the checksum for the parts' content hashes."""
    return sha256("\n".join(hashes).encode()).hexdigest()


def expected(contents: Sequence[str], config: DataConfig) -> str:
    """Return the checksum of an official set whose parts' content hashes are known."""
    return joined([known for known, _ in zip(contents, _used(config), strict=False)])


def dataset(
    name: str, container: Container, config: DataConfig, mean: tuple[float, ...], std: tuple[float, ...]
) -> Dataset:
    """Return a set in its one order, with the subset and in the size that the configuration asks for.

    Args:
        name: As on the command line.
        container: What it is stored in; the test images are not looked at if some training images are held out.
        config: What of it is used.
        mean: Of each channel, for pixels in [0, 1].
        std: Of each channel, likewise.

    Raises:
        InputError: If the parts differ in their classes or sizes, or a class has fewer images than asked for.
    """
    found = [container.part(part) for part in _used(config)]
    # their order is that of the names, whatever the labels are in the files
    check_same_classes(sorted(found[0][1]), sorted(found[-1][1]), name)
    parts = [
        _sized(_chosen(in_order(images, classes), part, config), config, f"{name}, {part}")
        for part, (images, classes) in zip(PARTS, found, strict=False)
    ]
    if len({part.shape for part in parts}) > 1:
        raise InputError(f"{name}: train and test have images of different sizes: data.image_size=N resizes them")
    test = parts[1] if len(parts) > 1 else parts[0].take(np.arange(0))
    return Dataset(name, parts[0], test, tuple(sorted(found[0][1])), mean, std)


def in_order(part: LabelledImages, classes: Sequence[str]) -> LabelledImages:
    """Return the images sorted by the names of their classes and then by their pixels; labels follow the names.

    Args:
        part: In any order.
        classes: The classes' names in the order of the part's labels.
    """
    names = sorted(classes)
    labels = np.array([names.index(name) for name in classes], dtype=np.int64)[part.labels]
    order: list[int] = []
    for label in range(len(names)):
        members = np.flatnonzero(labels == label)
        images = zip(members.tolist(), part.take(members).images, strict=True)
        pixels: dict[int, bytes] = {index: image.tobytes() for index, image in images}
        order += sorted(pixels, key=pixels.__getitem__)
    return LabelledImages(part.pixels, labels, part.rows).take(np.array(order, dtype=np.int64))


def content_hash(part: LabelledImages, classes: Sequence[str]) -> str:
    """Return the hash of a part's classes, labels and pixels in canonical order.

    Args:
        part: In any order.
        classes: The classes' names in the order of the part's labels.
    """
    ordered = in_order(part, classes)
    digest = sha256("\n".join([*sorted(classes), f"{len(part)} {part.shape}"]).encode())
    for start in range(0, len(ordered), _AT_ONCE):
        some = ordered.take(np.arange(start, min(start + _AT_ONCE, len(ordered))))
        digest.update(np.ascontiguousarray(some.images).data)
        digest.update(some.labels.astype("<i8").data)
    return digest.hexdigest()


@cache
def note_once(line: str) -> None:
    """Print a note; the same one once a process."""
    say(new_console(stderr=True), f"note: {line}")


def _used(config: DataConfig) -> Sequence[str]:
    return PARTS[:1] if config.holdout else PARTS


def _chosen(part: LabelledImages, word: str, config: DataConfig) -> LabelledImages:
    per_class = config.train_per_class if word == "train" else config.test_per_class
    return part.take(stratified(part.labels, per_class, word))


def _sized(part: LabelledImages, config: DataConfig, where: str) -> LabelledImages:
    if config.image_size in (None, part.shape[-1]) and part.shape[1] == part.shape[2]:
        return part
    return LabelledImages(squared(part.images, config.image_size, where), part.labels)
