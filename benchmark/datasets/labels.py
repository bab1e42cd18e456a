"""The check of labels and classes that a dataset of every form has to pass."""

from collections.abc import Sequence
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from benchmark.datasets.images import Indices
from methods.errors import InputError


def normal(name: str) -> str:
    """Return a name in Unicode's form NFC: file systems and programs write one name in several forms."""
    return normalize("NFC", name)


def labels_of(value: npt.ArrayLike, key: str, where: str) -> Indices:
    """Return class indices ``[N]``, or raise an InputError."""
    labels = np.asarray(value)
    if labels.dtype.kind not in "iu":
        raise InputError(f"{where}: {key} has the type {labels.dtype}: labels must be whole numbers from 0")
    if labels.ndim != 1:
        raise InputError(f"{where}: {key} has the shape {labels.shape}: it must be [N], a number an image")
    return labels.astype(np.int64)


def checked_classes(
    given: Sequence[str] | None, labels: Indices, images: int, key: str, where: str, remedy: str = ""
) -> tuple[str, ...]:
    """Return the classes' names, ``0``, ``1`` and so on if none are given, once the training labels are checked.

    Args:
        given: Names in the order of the indices.
        labels: Of the training images.
        images: How many training images there are.
        key: How messages name the labels.
        where: How messages name the dataset.
        remedy: What messages add about labels that are not there.

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
    """Raise an InputError unless there is a label an image, each from 0 to the number of classes - 1.

    Args:
        labels: ``[N]``.
        images: How many images there are.
        classes: How many classes there are.
        key: How messages name the labels.
        where: How messages name the dataset.
        remedy: What messages add about labels that are not there.
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
        f"{where}: {key}[{wrong[0]}] is {labels[wrong[0]]}: labels must lie in 0..{classes - 1} ({classes} classes)"
    )


def check_same_classes(train: Sequence[str], test: Sequence[str], where: str) -> None:
    """Raise an InputError unless the labels of both parts mean the same classes.

    Args:
        train: The classes' names in the order of the training labels.
        test: The classes' names in the order of the test labels.
        where: How messages name the dataset.
    """
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
