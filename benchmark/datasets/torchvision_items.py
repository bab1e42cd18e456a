"""What one part of a torchvision set consists of: images and class numbers.

A set gives one item after the other. Most hold their labels as a list, and their images as an array or as a list of
files; what is found among a set's attributes is taken for those if it agrees with what the set gives at
:data:`PROBES` places.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.datasets.images import Indices, Pixels
from methods.errors import InputError

PROBES = 16


class Items:
    """One part of a torchvision set."""

    def __init__(self, dataset: Any, where: str) -> None:
        """Look at some items.

        Args:
            dataset: An instance of a class of ``torchvision.datasets``, without transforms.
            where: How messages name it.

        Raises:
            InputError: If it is empty, or gives something else than an image and a class number.
        """
        self.dataset = dataset
        self.where = where
        if not len(dataset):
            raise InputError(f"{where} has no image")
        places = np.unique(np.linspace(0, len(dataset) - 1, PROBES).round().astype(int)).tolist()
        self._probes = {place: self._item(place) for place in places}

    def __len__(self) -> int:
        return len(self.dataset)

    def labels(self) -> Indices:
        """Return the class numbers ``[N]``; all items are read if there is no list of them."""
        found = [labels for value in self._lists() if (labels := self._as_labels(value)) is not None]
        if found and all(np.array_equal(found[0], other) for other in found):
            return found[0]
        return np.array([self._item(place)[1] for place in range(len(self))], dtype=np.int64)

    def pixels(self) -> Pixels | None:
        """Return the images ``[N, C, H, W]`` if the set holds them as one array."""
        data = getattr(self.dataset, "data", None)
        if data is None or isinstance(data, list):
            return None
        array = np.asarray(data)
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or len(array) != len(self):
            return None
        given = {place: np.asarray(image) for place, (image, _) in self._probes.items()}
        if array.ndim == 3:
            return array[:, None] if all(np.array_equal(array[place], given[place]) for place in given) else None
        for ordered in (array, array.transpose(0, 2, 3, 1)):
            if all(np.array_equal(ordered[place], given[place]) for place in given):
                return np.ascontiguousarray(ordered.transpose(0, 3, 1, 2))
        return None

    def files(self) -> list[Path] | None:
        """Return the image files in the items' order if the set holds a list of them."""
        for value in self._lists():
            paths = [item[0] if isinstance(item, tuple) and item else item for item in value]
            if all(isinstance(path, str | Path) for path in paths) and self._gives(paths):
                return [Path(path) for path in paths]
        return None

    def read(self, place: int) -> bytes:
        """Return an item's image as a PNG file."""
        stream = io.BytesIO()
        self._item(place)[0].save(stream, "PNG")
        return stream.getvalue()

    def _item(self, place: int) -> tuple[Image.Image, int]:
        try:
            image, label = self.dataset[place]
            number = int(label)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"{self.where}[{place}] is not one image and one class number") from None
        if not isinstance(image, Image.Image):
            raise InputError(f"{self.where}[{place}] is not one image and one class number")
        return image, number

    def _lists(self) -> Iterator[Sequence[Any]]:
        for value in vars(self.dataset).values():
            if isinstance(value, list | tuple) and len(value) == len(self):
                yield value
            elif getattr(value, "ndim", 0) == 1 and len(value) == len(self):
                yield np.asarray(value).tolist()

    def _as_labels(self, value: Sequence[Any]) -> Indices | None:
        numbers = [item[1] if isinstance(item, tuple) and len(item) == 2 else item for item in value]
        if not all(isinstance(number, int | np.integer) for number in numbers):
            return None
        labels: npt.NDArray[np.int64] = np.array(numbers, dtype=np.int64)
        return labels if all(labels[place] == label for place, (_, label) in self._probes.items()) else None

    def _gives(self, paths: Sequence[str | Path]) -> bool:
        for place, (given, _) in self._probes.items():
            try:
                with Image.open(paths[place]) as opened:
                    # torchvision's loaders convert to colour
                    same = opened.size == given.size and np.array_equal(
                        np.asarray(opened.convert(given.mode)), np.asarray(given)
                    )
            except OSError:
                return False
            if not same:
                return False
        return True
