"""Data sets by name: labelled uint8 images in memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from benchmark.config import DataConfig
from benchmark.datasets.images import Dataset, LabelledImages, holdout_split
from methods.errors import unknown

__all__ = ["Dataset", "LabelledImages", "Spec", "available", "checksum", "describe", "load"]

FOLDER = "folder:"


@dataclass(frozen=True)
class Spec:
    """What is known of a data set before it is loaded.

    Attributes:
        description: One line.
        recipe: The file in ``configs/`` with its defaults.
        module: The module in this folder with its ``load`` and ``checksum``.
    """

    description: str
    recipe: str
    module: str


_SPECS: Mapping[str, Spec] = {
    "digits": Spec("1,797 scanned digits, 8x8 grey, 10 classes; ships with scikit-learn", "digits", "digits"),
    "cifar10": Spec("60,000 photographs, 32x32 colour, 10 classes", "cifar", "official"),
    "cifar100": Spec("60,000 photographs, 32x32 colour, 100 classes", "cifar", "official"),
    "fashion-mnist": Spec("70,000 articles of clothing, 28x28 grey, 10 classes", "cifar", "official"),
    f"{FOLDER}PATH": Spec("a tree of images: PATH/train/<class>/*, PATH/test/<class>/*", "cifar", "folder"),
}


def available() -> dict[str, str]:
    """Return every data set's name and one-line description."""
    return {name: spec.description for name, spec in _SPECS.items()}


def describe(name: str) -> Spec:
    """Return what is known of a data set, or raise an InputError that lists the valid names."""
    key = f"{FOLDER}PATH" if name.startswith(FOLDER) else name
    if key not in _SPECS:
        raise unknown("dataset", name, _SPECS)
    return _SPECS[key]


def checksum(name: str, config: DataConfig, root: Path) -> str:
    """Return what identifies the images of a data set, without decoding them.

    Args:
        name: One of :func:`available`, or ``folder:PATH``.
        config: Which part of them is used.
        root: Where data sets lie.
    """
    module = import_module(f"benchmark.datasets.{describe(name).module}")
    result: str = module.checksum(name, config, root)
    return result


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return a data set with the subset and the held-out part that the configuration asks for.

    With ``config.holdout`` the test images are not read; the held-out training images stand in their place.

    Raises:
        InputError: If the files are missing or are not what they should be.
    """
    module = import_module(f"benchmark.datasets.{describe(name).module}")
    dataset: Dataset = module.load(name, config, root)
    return holdout_split(dataset, config.holdout) if config.holdout else dataset
