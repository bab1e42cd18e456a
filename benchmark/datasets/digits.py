"""The scanned digits that ship with scikit-learn; a fifth of them is the test set."""

from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmark import libraries
from benchmark.configuration import DataConfig
from benchmark.datasets.arrays import Parts, assembled
from benchmark.datasets.images import Dataset, LabelledImages

FILE = "datasets/data/digits.csv.gz"
"""Where scikit-learn keeps them: a line an image, 64 values of 0 to 16 and the label."""

TEST = (
    "000004883524104000064100934205001a00080100240028062c12001000940a009019120420f8a0028110a000080a882044"
    "1524494240a00a0000004004d80000818020004805c400104008a0100005404800301000020ec409000224840083a8013c20"
    "a6980a0000000b08400804a0184802024041c1008004404684376a810216004480004042a0a4180a5000840b8561c6081080"
    "08004c80c02004068e00010882008100380803c008190000100e01008410a0210033282904c044c080680e01028300820088"
    "22a6402c24042108a860809081a00c02820242120138a41500"
)
"""Which images are the test set, a bit each: scikit-learn's ``train_test_split`` of a fifth, stratified, with seed 0.

Written down, it is the same with every version.
"""


@cache
def _pixels_and_labels() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    libraries.need("the data set digits", "sklearn")
    values, labels = _read()
    pixels = np.rint(values.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    return pixels, labels.astype(np.int64)


def _read() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    # read without scikit-learn, which takes a second to import: of a short run nearly a quarter
    spec = find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / FILE).is_file():
            table = np.loadtxt(path, delimiter=",")
            return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.data, digits.target


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
    test = np.unpackbits(np.frombuffer(bytes.fromhex(TEST), dtype=np.uint8), count=len(labels)).astype(bool)
    everything = LabelledImages(pixels, labels)
    parts = Parts(everything.take(np.flatnonzero(~test)), everything.take(np.flatnonzero(test)), tuple("0123456789"))
    return assembled(name, parts, config, name)
