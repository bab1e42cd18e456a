"""Encoded images to what runs see, through the cache of decoded ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark.configuration import DataConfig
from benchmark.datasets import image_cache
from benchmark.datasets.decoding import check_range, highest_of
from benchmark.datasets.images import Dataset, LabelledImages, statistics_of
from benchmark.datasets.listing import Pictures
from methods.errors import InputError


def dataset_of(name: str, parts: Sequence[Pictures], config: DataConfig, root: Path) -> Dataset:
    """Return the images of one part to train on and, unless a share of it is scored, one to test on.

    The images must be square and of one size unless ``config.image_size`` makes them so. Grey images among coloured
    ones count as coloured.

    Args:
        name: As on the command line.
        parts: Those in use, their subsets chosen already.
        config: What else is asked for.
        root: Where data sets lie, with the cache.

    Raises:
        InputError: If a file is no image, or has another size; it is named. Or if the 16-bit images do not use the
            range of 16 bits.
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
            f"{parts[1].pictures[0]} is {sides[1]}x{sides[1]}, the training images are {sides[0]}x{sides[0]}: "
            "data.image_size=N resizes all to NxN"
        )
    mean, std = statistics_of(found[0].counts)
    train, *others = (LabelledImages(images.pixels, part.labels) for images, part in zip(found, parts, strict=True))
    return Dataset(name, train, others[0] if others else train.take(np.arange(0)), parts[0].classes, mean, std)
