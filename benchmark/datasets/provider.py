"""What every source of datasets gives: the images of its parts, what identifies them, and what runs see of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmark import paths
from benchmark.configuration import DataConfig
from benchmark.datasets import image_cache
from benchmark.datasets.decoding import squared
from benchmark.datasets.image_cache import EncodedImages
from benchmark.datasets.images import Dataset, LabelledImages, channel_statistics, statistics_of, subset
from methods.errors import InputError

PARTS = ("train", "test")

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, for pixels in [0, 1]."""


@dataclass(frozen=True)
class Parts:
    """All images of a dataset, in memory, in a mapped file, or encoded."""

    classes: tuple[str, ...]
    images: Sequence[LabelledImages | EncodedImages]  # to train on and, unless they are not looked at, to test on
    statistics: Statistics | None = None  # with which images are normalised; None for those of the images trained on

    @property
    def arrays(self) -> list[LabelledImages]:
        """All of its images; none if they are encoded."""
        return [part for part in self.images if isinstance(part, LabelledImages)]

    def encoded(self, name: str, config: DataConfig) -> list[EncodedImages]:
        """Return the encoded images that a configuration uses; none if they are arrays."""
        found = [
            (word, part) for word, part in zip(PARTS, self.images, strict=False) if isinstance(part, EncodedImages)
        ]
        return [part.take(subset(part.labels, config, word, name)) for word, part in found]


class Provider:
    """A source of datasets."""

    def parts(self, name: str, config: DataConfig, root: Path) -> Parts:
        """Return the images from which a configuration takes its own; with ``config.holdout`` no test part.

        Raises:
            InputError: If there is no such dataset, or it is not what it should be.
        """
        raise NotImplementedError

    def present(self, name: str, root: Path) -> bool:
        """Return whether it seems to be there, so that nothing would be downloaded."""
        raise NotImplementedError

    def fetch(self, name: str, root: Path) -> None:
        """Download what can only be identified once it is there; nothing for most sources."""

    def usual(self, name: str, config: DataConfig, root: Path) -> bool:
        """Return whether it has the sizes that are known of it."""
        return False

    def checksum(self, name: str, config: DataConfig, root: Path) -> str:
        """Return the hash of all arrays, or of the encoded images in use."""
        parts = self.parts(name, config, root)
        if encoded := parts.encoded(name, config):
            return image_cache.identity(encoded, parts.classes, image_cache.folder(root))
        digest = sha256("\n".join(parts.classes).encode())
        for part in parts.arrays:
            digest.update(str(part.pixels.shape).encode())
            digest.update(np.ascontiguousarray(part.images).data)
            digest.update(part.labels.astype("<i8").data)
        return digest.hexdigest()

    def load(self, name: str, config: DataConfig, root: Path) -> Dataset:
        """Return the images in use; encoded ones are decoded once into the cache of the root folder.

        Raises:
            InputError: If the images are not square, or those for training and testing differ in size, and no
                ``image_size`` makes them so; or if a class has fewer images than asked for.
        """
        parts = self.parts(name, config, root)
        statistics = parts.statistics
        if encoded := parts.encoded(name, config):
            decoded = image_cache.decoded_alike(encoded, config.image_size, root, name)
            found = [LabelledImages(some.pixels, part.labels) for some, part in zip(decoded, encoded, strict=True)]
            statistics = statistics_of(decoded[0].counts)
        else:
            pairs = zip(PARTS, parts.arrays, strict=False)
            used = [part.take(subset(part.labels, config, word, name)) for word, part in pairs]
            found = [squared(part, config.image_size, name) for part in used]
        if found[0].shape != found[-1].shape:
            sides = [part.shape[-1] for part in found]
            raise InputError(
                f"{name}: the training images are {sides[0]}x{sides[0]}, the test images {sides[1]}x{sides[1]}: "
                "data.image_size=N resizes all to NxN"
            )
        train, test = found[0], found[1] if len(found) > 1 else found[0].take(np.arange(0))
        return Dataset(name, train, test, parts.classes, *(statistics or channel_statistics(train.images)))


def path_of(name: str) -> Path:
    """Return the path in the name of a dataset, such as ``folder:PATH``."""
    return paths.written(name.partition(":")[2], "dataset")
