"""The scanned digits that ship with scikit-learn; a fifth of them is the test set."""

from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmark import libraries
from benchmark.configuration import DataConfig
from benchmark.datasets.arrays import Parts, assembled
from benchmark.datasets.images import Dataset, LabelledImages

TEST_SHARE = 0.2


@cache
def _pixels_and_labels() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    libraries.need("the data set digits", "sklearn")
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    return pixels, digits.target.astype(np.int64)


def checksum(name: str, config: DataConfig, root: Path) -> str:
    """Return the hash of all pixels and labels."""
    pixels, labels = _pixels_and_labels()
    return sha256(pixels.tobytes() + labels.tobytes()).hexdigest()


def present(name: str, root: Path) -> bool:
    """Return whether scikit-learn is there: they come with it."""
    return libraries.present("sklearn")


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return the digits, 8x8 and grey unless they are resized; nothing is read from the root folder."""
    pixels, labels = _pixels_and_labels()
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(np.arange(len(labels)), test_size=TEST_SHARE, stratify=labels, random_state=0)
    train, test = np.sort(train), np.sort(test)
    everything = LabelledImages(pixels, labels)
    parts = Parts(everything.take(train), everything.take(test), tuple("0123456789"))
    return assembled(name, parts, config, name)
