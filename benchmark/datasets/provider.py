"""What every source of datasets gives: the images of its parts, what identifies them, and what runs see of them."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from benchmark import paths
from benchmark.configuration import DataConfig
from benchmark.datasets.decoding import EncodedImages, Result, decoded_parts, squared
from benchmark.datasets.images import (
    Dataset,
    Indices,
    LabelledImages,
    Shape,
    Statistics,
    channel_statistics,
    holdout_split,
    normal,
    subset,
)
from methods.errors import InputError, message_of, unknown

PARTS = ("train", "test")


@dataclass(frozen=True)
class Parts:
    """All images of a dataset, in memory, in a mapped file, or encoded."""

    classes: tuple[str, ...]
    images: Sequence[LabelledImages | EncodedImages]  # to train on and, unless they are not looked at, to test on
    statistics: Statistics | None = None  # with which images are normalised; None for those of the images trained on


class Provider:
    """A source of datasets, and what is known of them before they are loaded."""

    name: str  # as on the command line
    description: str
    # training images, test images, classes, channels and side, where they are known before it is there
    sizes: tuple[int, int, int, int, int] | None = None
    recipe: str = "cifar"  # the file in configs/ with its defaults
    splits: bool = False  # whether the splits to train and score on can be chosen

    def parts(self, name: str, config: DataConfig, root: Path) -> Parts:
        """Return the images from which a configuration takes its own, with ``config.holdout`` no test part.

        An InputError is raised if there is no such dataset, or it is not what it should be.
        """
        raise NotImplementedError

    def present(self, name: str, root: Path) -> bool:
        """Return whether it seems to be there, so that nothing would be downloaded."""
        path = path_of(name)
        return paths.is_file(path) or paths.is_folder(path)

    def fetch(self, name: str, root: Path) -> None:
        """Download what can only be identified once it is there; nothing for most sources."""

    def shape(self, name: str, config: DataConfig, root: Path) -> Shape:
        """Return what its images look like; it is loaded for that unless it is known."""
        return self.load(name, config, root).shape

    def checksum(self, name: str, config: DataConfig, root: Path) -> str:
        """Return the hash of the classes with all arrays, or with the encoded images in use."""
        parts = self.parts(name, config, root)
        digest, encoded = sha256("\n".join(parts.classes).encode()), []
        for word, part in zip(PARTS, parts.images, strict=False):
            if isinstance(part, EncodedImages):
                seen = part.take(subset(part.labels, config, word, name))
                text = "\n".join((seen.contents(root), *parts.classes, *map(str, seen.labels.tolist())))
                encoded.append(sha256(os.fsencode(text)).hexdigest())
            else:
                digest.update(str(part.pixels.shape).encode())
                digest.update(np.ascontiguousarray(part.images).data)
                digest.update(part.labels.astype("<i8").data)
        return sha256("\n".join(encoded).encode()).hexdigest() if encoded else digest.hexdigest()

    def load(self, name: str, config: DataConfig, root: Path) -> Dataset:
        """Return the images in use; encoded ones are decoded once into the cache of the root folder.

        With ``config.holdout`` the held-out training images replace the test images. Images that are not square, or of
        another size for testing than for training, raise an InputError if no ``image_size`` makes them so; a class with
        fewer images than asked for does, too.
        """
        parts = self.parts(name, config, root)
        pairs = zip(PARTS, parts.images, strict=False)
        taken = [part.take(subset(part.labels, config, word, name)) for word, part in pairs]
        found = [squared(part, config.image_size, name) for part in taken if isinstance(part, LabelledImages)]
        statistics = parts.statistics
        if encoded := [part for part in taken if isinstance(part, EncodedImages)]:
            found, statistics = decoded_parts(encoded, root, config.image_size, name)
        if found[0].shape != found[-1].shape:
            sides = [part.shape[-1] for part in found]
            raise InputError(
                f"{name}: the training images are {sides[0]}x{sides[0]}, the test images {sides[1]}x{sides[1]}: "
                "data.image_size=N resizes all to NxN"
            )
        train, test = found[0], found[-1]
        dataset = Dataset(name, train, test, parts.classes, *(statistics or channel_statistics(train.images)))
        return holdout_split(dataset, config.holdout) if config.holdout else dataset


def used(config: DataConfig) -> Sequence[str]:
    """Return the parts that a configuration uses: with ``config.holdout`` no test part."""
    return PARTS[:1] if config.holdout else PARTS


def path_of(name: str) -> Path:
    """Return the path in the name of a dataset, such as ``folder:PATH``."""
    return paths.written(name.partition(":")[2], "dataset")


def downloaded(name: str, root: Path, action: Callable[[], Result], remedy: str) -> Result:
    """Return what an action makes in the root folder, one at a time, or raise an InputError with the remedy."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name.replace(':', '-')}.lock"):
            return action()
    except ImportError:
        raise
    except Exception as error:
        # whatever a missing network, a damaged archive or a full disk provokes
        reason = f"{name} is not in {root} and cannot be downloaded ({message_of(error)})"
        raise InputError(f"{reason}: {remedy}") from None


def checked_labels(
    given: npt.ArrayLike,
    images: int,
    where: str,
    names: Sequence[str] | None = None,
    train: tuple[str, ...] = (),
    remedy: str = "",
) -> tuple[Indices, tuple[str, ...]]:
    """Return the class indices ``[N]`` that are given for a part's images, and the classes' names in their order.

    Without ``names`` these are ``0``, ``1`` and so on; ``train`` has those of the training part if this is another one;
    ``remedy`` is what messages add about labels that are not there. An InputError is raised for labels of another form
    or of no class, and unless the training part has at least 2 classes of different names, each with an image, and
    another part the same ones in the same order.
    """
    labels = np.asarray(given)
    if labels.dtype.kind not in "iu":
        raise InputError(f"{where} has the type {labels.dtype}: labels must be whole numbers from 0")
    if labels.ndim != 1:
        raise InputError(f"{where} has the shape {labels.shape}: it must be [N], one number per image")
    if not train and not len(labels):
        raise InputError(f"{where} has no label")
    if len(labels) != images:
        raise InputError(f"{where} has {len(labels)} labels for {images} images")
    labels = labels.astype(np.int64)
    count = len(train) or (max(0, int(labels.max())) + 1 if names is None else len(names))
    wrong = np.flatnonzero((labels < 0) | (labels >= count))
    if len(wrong) and (labels < 0).all():
        raise InputError(f"{where} names no class: every label is below 0, as those of an unlabelled part{remedy}")
    if len(wrong):
        first = f"{where}[{wrong[0]}] is {labels[wrong[0]]}"
        raise InputError(f"{first}: labels must be in 0..{count - 1} ({count} classes)")
    if train:
        check_same_classes(train, names or train, where)
        return labels, train
    # before there is anything a class: a label may be any number
    present = np.unique(labels)
    if len(present) < count:
        absent = next((place for place, label in enumerate(present) if place != label), len(present))
        raise InputError(f"{where}: class {absent} of 0..{count - 1} has no image")
    classes = tuple(normal(str(name)) for name in (range(count) if names is None else names))
    if (different := len(set(classes))) < 2 or different < len(classes):
        raise InputError(f"{where}: {different} classes in {len(classes)} names: at least 2 are needed, each once")
    return labels, classes


def check_same_classes(train: Sequence[str], test: Sequence[str], where: str) -> None:
    """Raise an InputError unless the labels of both parts, whose classes are in their order, mean the same classes."""
    if differing := sorted(set(map(normal, train)) ^ set(map(normal, test))):
        raise InputError(f"{where}: train and test have different classes: {', '.join(differing[:5])}")
    if found := first_difference(train, test):
        index, one, other = found
        raise InputError(f"{where}: train and test have the classes in another order: {index} is {one} and {other}")


def first_difference(first: Sequence[str], second: Sequence[str]) -> tuple[int, str, str] | None:
    """Return the first index for which two lists have different names, and both names; None if there is none."""
    pairs = enumerate(zip(map(normal, first), map(normal, second), strict=False))
    return next(((index, one, other) for index, (one, other) in pairs if one != other), None)


def chosen(
    config: DataConfig, usual: Mapping[str, Sequence[str]], found: Collection[str], where: str, word: str = "split"
) -> dict[str, str]:
    """Return the split that each part in use is read from.

    If none is asked for it is the first of the part's ``usual`` names that is there. A split that is not there, or one
    split for both parts, raises an InputError.
    """
    splits = {}
    for part in used(config):
        asked = config.train_split if part == "train" else config.test_split
        if asked is not None and asked not in found:
            raise unknown(f"data.{part}_split of {where}", asked, found)
        taken = asked or next((name for name in usual[part] if name in found), None)
        if taken is None:
            raise InputError(f"{where} has no {word} {' or '.join(usual[part])}{other_split(part, found)}")
        splits[part] = taken
    if splits["train"] == splits.get("test"):
        raise InputError(
            f"{where}: {splits['test']!r} would be trained on and scored: data.train_split and data.test_split must "
            "differ, or data.holdout keeps a part of the training images out"
        )
    return splits


def other_split(part: str, found: Collection[str]) -> str:
    """Return what a message adds where another split of a part may have what is wanted."""
    return f"; data.{part}_split=NAME takes another split (found: {', '.join(found) or 'none'})"
