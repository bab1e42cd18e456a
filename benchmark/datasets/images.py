"""Labelled images, in memory or in a memory-mapped file, and their subsets."""

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from benchmark.configuration import DataConfig
from methods.errors import InputError

Indices = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, for pixels in [0, 1]."""


@dataclass(frozen=True)
class LabelledImages:
    """Images of uint8 and their class indices.

    A subset of a memory-mapped file stays in the file; such images go to another process as the file's name.
    """

    pixels: Pixels  # [M, C, H, W], an array in memory or an np.memmap of a whole .npy file
    labels: Indices  # [N] of int64
    rows: Indices | None = None  # which of the pixels the images are, [N]; None if they are all of them, in order

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[Callable[..., "LabelledImages"], tuple[Any, ...]]:
        """Pickle a file as its name; anything else such that pickle's buffers carry it without a copy."""
        base: object = self.pixels.base
        # a part of a mapped array has that array for its base
        if isinstance(self.pixels, np.memmap) and isinstance(base, mmap.mmap):
            return _from_file, (str(self.pixels.filename), self.labels, self.rows)
        # numpy pickles subclasses of its arrays by a copy
        return LabelledImages, (np.asarray(self.pixels), self.labels, self.rows)

    @property
    def images(self) -> Pixels:
        """The images ``[N, C, H, W]``; a subset of a file is read into memory for it."""
        return self.pixels if self.rows is None else np.asarray(self.pixels[self.rows])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: channels, height, width."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def take(self, indices: Indices) -> "LabelledImages":
        """Return the chosen images in the order given; from a file nothing is read."""
        if isinstance(self.pixels, np.memmap):
            rows = indices if self.rows is None else self.rows[indices]
            return LabelledImages(self.pixels, self.labels[indices], rows)
        return LabelledImages(self.images[indices], self.labels[indices])


def _from_file(path: str, labels: Indices, rows: Indices | None) -> LabelledImages:
    try:
        return LabelledImages(np.load(path, mmap_mode="r", allow_pickle=False), labels, rows)
    except (OSError, ValueError) as error:
        raise InputError(f"the image cache {path} has gone while a run needed it: {error}") from None


@dataclass(frozen=True)
class Shape:
    """How many images there are and what they look like."""

    train: int
    test: int
    num_classes: int
    in_channels: int
    image_size: int

    def part(self, config: DataConfig) -> "Shape":
        """Return the shape of the part that a configuration takes, as exactly as the classes are equally large."""
        pairs = ((self.train, config.train_per_class), (self.test, config.test_per_class))
        train, test = (whole if few is None else few * self.num_classes for whole, few in pairs)
        if config.holdout:
            test = round(train * config.holdout)
            train -= test
        return replace(self, train=train, test=test, image_size=config.image_size or self.image_size)


@dataclass(frozen=True)
class Dataset:
    """A dataset as runs see it."""

    name: str  # as on the command line
    train: LabelledImages  # what is trained on
    test: LabelledImages  # what is scored: the test set, or the held-out part of the training set
    classes: tuple[str, ...]  # the classes' names in the order of their indices
    mean: tuple[float, ...]  # of each channel, for pixels in [0, 1]
    std: tuple[float, ...]  # of each channel, likewise

    def without_files(self) -> "Dataset":
        """Return the same set such that it goes to another machine whole, not as files' names."""
        train, test = (LabelledImages(np.asarray(part.images), part.labels) for part in (self.train, self.test))
        return replace(self, train=train, test=test)

    @property
    def shape(self) -> Shape:
        """How many images there are and what they look like."""
        channels, side, _ = self.train.shape
        return Shape(len(self.train), len(self.test), len(self.classes), channels, side)


def subset(labels: Indices, config: DataConfig, part: str, name: str) -> Indices:
    """Return the indices of the images of a part, ``train`` or ``test``, that a configuration uses, ascending.

    There are the same number of every class; one that has fewer raises an InputError. ``config.subset_seed`` selects
    among subsets of the training images, and of one seed a smaller subset is part of a larger one; the test images are
    always the same.
    """
    training = part == "train"
    per_class, seed = (config.train_per_class, config.subset_seed) if training else (config.test_per_class, 0)
    if per_class is None:
        return np.arange(len(labels))
    chosen = []
    for label, members in _shuffled_classes(labels, seed):
        if len(members) < per_class:
            raise InputError(
                f"{name}: data.{part}_per_class: class {label} has only {len(members)} images ({per_class} asked)"
            )
        chosen.append(members[:per_class])
    return np.sort(np.concatenate(chosen))


def _shuffled_classes(labels: Indices, seed: int) -> Iterator[tuple[int, Indices]]:
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    for label in np.unique(labels):
        yield int(label), shuffled[labels[shuffled] == label]


def holdout_split(dataset: Dataset, share: float) -> Dataset:
    """Return the dataset with a stratified share of its training images in the place of the test images.

    The held-out images are always the same for a share: results of different seeds are scored on the same ones. A
    class with no image left to train on or none to score raises an InputError.
    """
    held = np.zeros(len(dataset.train), dtype=bool)
    for label, members in _shuffled_classes(dataset.train.labels, 1):
        count = round(share * len(members))
        if not 0 < count < len(members):
            raise InputError(f"data.holdout {share:g} leaves no image on one side for class {label} ({len(members)})")
        held[members[:count]] = True
    kept, scored = (dataset.train.take(np.flatnonzero(chosen)) for chosen in (~held, held))
    return replace(dataset, train=kept, test=scored)


def channel_statistics(images: Pixels) -> Statistics:
    """Return mean and standard deviation of each channel of ``[N, C, H, W]``; a deviation is at least 1 / 255."""
    # exact integer sums of some images at once: independent of the order of summation, hence of the machine
    step = max(1, (1 << 22) // images[0].size)
    total = squares = np.zeros(images.shape[1], dtype=np.int64)
    for start in range(0, len(images), step):
        block = images[start : start + step].astype(np.int64)
        total, squares = total + block.sum((0, 2, 3)), squares + (block**2).sum((0, 2, 3))
    pixels = images.size // images.shape[1]
    means = [int(one) / pixels for one in total]
    stds = [max(int(one) / pixels - mean**2, 1.0) ** 0.5 for one, mean in zip(squares, means, strict=True)]
    return tuple(mean / 255 for mean in means), tuple(std / 255 for std in stds)


def normal(name: str) -> str:
    """Return a name in Unicode's form NFC: file systems and programs write one name in several forms."""
    return normalize("NFC", name)


def image_digests(part: LabelledImages) -> Indices:
    """Return eight bytes of BLAKE2b over each image's pixels as a whole number, ``[N]``, in the images' order.

    Images are read one by one: a mapped file is never read as a whole.
    """
    rows = range(len(part)) if part.rows is None else part.rows
    found = b"".join(blake2b(part.pixels[row].tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(found, dtype="<i8").astype(np.int64)


def random_dataset(shape: Shape) -> Dataset:
    """Return a dataset of that shape: always the same noise, the classes in turn."""
    source = np.random.default_rng(0)
    one = (shape.in_channels, shape.image_size, shape.image_size)
    train, test = (
        LabelledImages(source.integers(0, 256, (count, *one), dtype=np.uint8), np.arange(count) % shape.num_classes)
        for count in (shape.train, shape.test)
    )
    middle = (0.5,) * shape.in_channels
    return Dataset("random", train, test, tuple(map(str, range(shape.num_classes))), middle, middle)
