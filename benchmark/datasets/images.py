"""Labelled images in memory, and their subsets."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from methods.errors import InputError

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelledImages:
    """Images ``[N, C, H, W]`` of uint8 and their class indices ``[N]`` of int64."""

    images: npt.NDArray[np.uint8]
    labels: Indices

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Indices) -> "LabelledImages":
        """Return the chosen images in the order given."""
        return LabelledImages(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Dataset:
    """A data set as runs see it.

    Attributes:
        name: As on the command line.
        train: What is trained on.
        test: What is scored: the test set, or the held-out part of the training set.
        classes: The classes' names in the order of their indices.
        mean: Of each channel, for pixels in [0, 1].
        std: Of each channel, likewise.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def in_channels(self) -> int:
        """The images' channels."""
        return int(self.train.images.shape[1])

    @property
    def image_size(self) -> int:
        """The images' side in pixels."""
        return int(self.train.images.shape[-1])


def stratified(labels: Indices, per_class: int | None, part: str) -> Indices:
    """Return the indices of the same number of items of every class, always the same ones, in ascending order.

    Args:
        labels: ``[N]``.
        per_class: How many; None for all.
        part: What they are, for the message.

    Raises:
        InputError: If a class has fewer.
    """
    if per_class is None:
        return np.arange(len(labels))
    shuffled = np.random.default_rng(0).permutation(len(labels))
    chosen = []
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        if len(members) < per_class:
            raise InputError(f"data.{part}_per_class: class {label} has only {len(members)} images ({per_class} asked)")
        chosen.append(members[:per_class])
    return np.sort(np.concatenate(chosen))


def holdout_split(dataset: Dataset, share: float) -> Dataset:
    """Return the data set with a stratified share of its training images in the place of the test images.

    The held-out images are always the same for a share: results of different seeds are scored on the same ones.

    Raises:
        InputError: If a class would be left with no image to train on or none to score.
    """
    labels = dataset.train.labels
    shuffled = np.random.default_rng(1).permutation(len(labels))
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        count = round(share * len(members))
        if not 0 < count < len(members):
            raise InputError(f"data.holdout {share:g} leaves no image on one side for class {label} ({len(members)})")
        held[members[:count]] = True
    return replace(
        dataset, train=dataset.train.take(np.flatnonzero(~held)), test=dataset.train.take(np.flatnonzero(held))
    )


def channel_statistics(images: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of ``[N, C, H, W]``, for pixels in [0, 1]."""
    # exact integer sums: independent of the order of summation, hence of the machine
    counts = images.size // images.shape[1]
    squares = np.arange(256, dtype=np.int64) ** 2
    means, stds = [], []
    for channel in range(images.shape[1]):
        histogram = np.bincount(images[:, channel].reshape(-1), minlength=256)
        total, total_squares = int(histogram @ np.arange(256)), int(histogram @ squares)
        mean = total / counts
        means.append(mean / 255)
        stds.append(max(total_squares / counts - mean**2, 1.0) ** 0.5 / 255)
    return tuple(means), tuple(stds)
