"""Data sets that come as whole arrays: their form is checked, hashed, and made into what runs see."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.configuration import DataConfig
from benchmark.datasets.images import Dataset, LabelledImages, Pixels, channel_statistics, stratified
from benchmark.datasets.labels import check_labels, checked_classes, labels_of
from benchmark.datasets.resizing import squared
from methods.errors import InputError

CHANNELS = (1, 3)


@dataclass(frozen=True)
class Arrays:
    """A data set as its author has it.

    Attributes:
        x_train: uint8 images ``[N, H, W, C]`` with 1 or 3 channels, or ``[N, H, W]``.
        y_train: Their class indices ``[N]``, from 0; every class has a training image.
        x_test: The test images, likewise.
        y_test: Their class indices.
        classes: The classes' names in the order of their indices; None: ``0``, ``1`` and so on.
    """

    x_train: npt.ArrayLike
    y_train: npt.ArrayLike
    x_test: npt.ArrayLike
    y_test: npt.ArrayLike
    classes: Sequence[str] | None = None


@dataclass(frozen=True)
class Parts:
    """A data set in the form that all of them have, of any height and width.

    Attributes:
        train: The training images.
        test: The test images; None if they were not looked at.
        classes: The classes' names.
    """

    train: LabelledImages
    test: LabelledImages | None
    classes: tuple[str, ...]

    @property
    def checksum(self) -> str:
        """The hash of all pixels, labels and names."""
        digest = sha256("\n".join(self.classes).encode())
        for part in (self.train, self.test):
            if part is not None:
                digest.update(str(part.pixels.shape).encode())
                digest.update(np.ascontiguousarray(part.images).data)
                digest.update(part.labels.astype("<i8").data)
        return digest.hexdigest()


def checked(arrays: Arrays, where: str, holdout: bool = False) -> Parts:
    """Return arrays in their one form.

    Args:
        arrays: As they were given.
        where: How messages name their origin.
        holdout: Whether the test images are not used; they are not looked at then.

    Raises:
        InputError: If a type, a shape, a length or a label is not what it should be.
    """
    x_train, y_train = pixels_of(arrays.x_train, "x_train", where), labels_of(arrays.y_train, "y_train", where)
    classes = checked_classes(arrays.classes, y_train, len(x_train), "y_train", where)
    train = LabelledImages(x_train, y_train)
    if holdout:
        return Parts(train, None, classes)
    x_test, y_test = pixels_of(arrays.x_test, "x_test", where), labels_of(arrays.y_test, "y_test", where)
    check_labels(y_test, len(x_test), len(classes), "y_test", where)
    test = LabelledImages(x_test, y_test)
    if test.shape[0] != train.shape[0]:
        raise InputError(f"{where}: x_train has {train.shape[0]} channels, x_test {test.shape[0]}")
    return Parts(train, test, classes)


def pixels_of(value: npt.ArrayLike, key: str, where: str) -> Pixels:
    """Return images ``[N, C, H, W]`` for ``[N, H, W, C]`` or ``[N, H, W]`` of uint8, or raise an InputError."""
    pixels = np.asarray(value)
    if pixels.dtype != np.uint8:
        raise InputError(f"{where}: {key} has the type {pixels.dtype}: images must be uint8, from 0 to 255")
    if pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[-1] not in CHANNELS):
        hint = "; channels come last" if pixels.ndim == 4 and pixels.shape[1] in CHANNELS else ""
        raise InputError(
            f"{where}: {key} has the shape {pixels.shape}: it must be [N, H, W] or [N, H, W, C] with C 1 or 3{hint}"
        )
    if 0 in pixels.shape:
        raise InputError(f"{where}: {key} has the shape {pixels.shape}: it holds no image")
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None])


def assembled(
    name: str,
    parts: Parts,
    config: DataConfig,
    where: str,
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> Dataset:
    """Return the data set with the subset and in the size that the configuration asks for.

    Args:
        name: As on the command line.
        parts: Everything there is.
        config: What of it is used.
        where: How messages name its origin.
        statistics: Mean and standard deviation of each channel; None for those of the training images in use.

    Raises:
        InputError: If the images are not square, or those for training and testing differ in size, and no
            ``image_size`` makes them so; or if a class has fewer images than asked for.
    """
    train = _used(parts.train, config.train_per_class, "train", config, where)
    if parts.test is None or config.holdout:
        test = train.take(np.arange(0))
    else:
        test = _used(parts.test, config.test_per_class, "test", config, where)
    if test.shape != train.shape:
        sides = train.shape[-1], test.shape[-1]
        raise InputError(
            f"{where}: train has images of side {sides[0]}, test of {sides[1]}: data.image_size=N resizes all"
        )
    mean, std = statistics or channel_statistics(train.images)
    return Dataset(name, train, test, parts.classes, mean, std)


def _used(part: LabelledImages, per_class: int | None, word: str, config: DataConfig, where: str) -> LabelledImages:
    chosen = part.take(stratified(part.labels, per_class, word))
    return LabelledImages(squared(chosen.images, config.image_size, where), chosen.labels)


def as_arrays(value: Any, where: str) -> Arrays:
    """Return what a plug-in's function returned, or raise an InputError if it is something else."""
    if not isinstance(value, Arrays):
        raise InputError(f"{where} returned {type(value).__name__}: it must return benchmark.datasets.Arrays")
    return value
