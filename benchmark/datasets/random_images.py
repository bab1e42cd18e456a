"""Images of noise, for measuring and checking where no data set is wanted."""

import numpy as np

from benchmark.datasets.images import Dataset, LabelledImages, Shape


def random_dataset(shape: Shape) -> Dataset:
    """Return a data set of that shape: always the same noise, the classes in turn."""
    source = np.random.default_rng(0)

    def part(count: int) -> LabelledImages:
        pixels = source.integers(0, 256, (count, shape.in_channels, shape.image_size, shape.image_size), dtype=np.uint8)
        return LabelledImages(pixels, np.arange(count) % shape.num_classes)

    classes = tuple(map(str, range(shape.num_classes)))
    middle = (0.5,) * shape.in_channels
    return Dataset("random", part(shape.train), part(shape.test), classes, middle, middle)
