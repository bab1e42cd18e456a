"""What labels, classes and splits of a dataset of any form must be."""

from collections.abc import Collection, Mapping, Sequence
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from benchmark.configuration import DataConfig
from benchmark.datasets.images import Indices
from methods.errors import InputError, unknown


def normal(name: str) -> str:
    """Return a name in Unicode's form NFC: file systems and programs write one name in several forms."""
    return normalize("NFC", name)


def labels_of(value: npt.ArrayLike, key: str, where: str) -> Indices:
    """Return class indices ``[N]``, or raise an InputError."""
    labels = np.asarray(value)
    if labels.dtype.kind not in "iu":
        raise InputError(f"{where}: {key} has the type {labels.dtype}: labels must be whole numbers from 0")
    if labels.ndim != 1:
        raise InputError(f"{where}: {key} has the shape {labels.shape}: it must be [N], one number per image")
    return labels.astype(np.int64)


def checked_classes(
    given: Sequence[str] | None, labels: Indices, images: int, key: str, where: str, remedy: str = ""
) -> tuple[str, ...]:
    """Return the classes' names, ``0``, ``1`` and so on if none are given, once the training labels are checked.

    Raises:
        InputError: If the labels are not as :func:`check_labels` says, a class has no training image, there are fewer
            than 2 classes, or two have one name.
    """
    if not len(labels):
        raise InputError(f"{where}: {key} has no label")
    count = max(0, int(labels.max())) + 1 if given is None else len(given)
    check_labels(labels, images, count, key, where, remedy)
    # before there is anything a class: a label may be any number
    present = np.unique(labels)
    if len(present) < count:
        missing = np.flatnonzero(present != np.arange(len(present)))
        first = int(missing[0]) if len(missing) else len(present)
        raise InputError(f"{where}: {key}: class {first} of 0..{count - 1} has no image")
    classes = tuple(normal(str(name)) for name in (range(count) if given is None else given))
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise InputError(
            f"{where}: {len(set(classes))} classes in {len(classes)} names: at least 2 are needed, each once"
        )
    return classes


def check_labels(labels: Indices, images: int, classes: int, key: str, where: str, remedy: str = "") -> None:
    """Raise an InputError unless there is one label ``[N]`` per image, each from 0 to the number of classes - 1.

    ``remedy`` is what messages add about labels that are not there.
    """
    if len(labels) != images:
        raise InputError(f"{where}: {key} has {len(labels)} labels for {images} images")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if not len(wrong):
        return
    if (labels < 0).all():
        raise InputError(
            f"{where}: {key} names no class: every label is below 0, as those of an unlabelled part{remedy}"
        )
    raise InputError(
        f"{where}: {key}[{wrong[0]}] is {labels[wrong[0]]}: labels must be in 0..{classes - 1} ({classes} classes)"
    )


def check_same_classes(train: Sequence[str], test: Sequence[str], where: str) -> None:
    """Raise an InputError unless the labels of both parts, whose classes are in their order, mean the same classes."""
    if differing := sorted(set(train) ^ set(test)):
        raise InputError(f"{where}: train and test have different classes: {', '.join(differing[:5])}")
    if found := first_difference(train, test):
        raise InputError(
            f"{where}: train and test have the classes in another order: {found[0]} is {found[1]} and {found[2]}"
        )


def first_difference(first: Sequence[str], second: Sequence[str]) -> tuple[int, str, str] | None:
    """Return the first index for which two lists have different names, and both names; None if there is none."""
    pairs = ((normal(one), normal(other)) for one, other in zip(first, second, strict=False))
    return next(((index, *pair) for index, pair in enumerate(pairs) if pair[0] != pair[1]), None)


def chosen(
    config: DataConfig, usual: Mapping[str, Sequence[str]], found: Collection[str], where: str, word: str = "split"
) -> dict[str, str]:
    """Return the split that each part in use is read from; with ``config.holdout`` there is no test part.

    Args:
        usual: The names that are taken of each part if none is asked for, the first that is there counting.

    Raises:
        InputError: If a split is not there, or both parts are one split.
    """
    splits = {}
    parts = (
        {"train": config.train_split} if config.holdout else {"train": config.train_split, "test": config.test_split}
    )
    for part, asked in parts.items():
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
