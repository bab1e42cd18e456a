"""Data sets by name: labelled uint8 images, in memory or in a mapped file."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from benchmark.configuration import DataConfig
from benchmark.datasets.images import Dataset, Shape, holdout_split
from methods.errors import InputError, unknown

FOLDER = "folder:"

# the modules that decode image files
_RESIZABLE = ("folder", "tinyimagenet")


@dataclass(frozen=True)
class Spec:
    """What is known of a data set before it is loaded.

    Attributes:
        description: One line.
        recipe: The file in ``configs/`` with its defaults.
        module: The module in this folder with its ``load`` and ``checksum``.
        shape: What the images look like, where that is known before they are there.
    """

    description: str
    recipe: str
    module: str
    shape: Shape | None = None


_SPECS: Mapping[str, Spec] = {
    "digits": Spec("1,797 scanned digits, 8x8 grey, 10 classes; ships with scikit-learn", "digits", "digits"),
    "cifar10": Spec(
        "60,000 photographs, 32x32 colour, 10 classes", "cifar", "official", Shape(50_000, 10_000, 10, 3, 32)
    ),
    "cifar100": Spec(
        "60,000 photographs, 32x32 colour, 100 classes", "cifar", "official", Shape(50_000, 10_000, 100, 3, 32)
    ),
    "fashion-mnist": Spec(
        "70,000 articles of clothing, 28x28 grey, 10 classes", "cifar", "official", Shape(60_000, 10_000, 10, 1, 28)
    ),
    "tinyimagenet": Spec("110,000 photographs, 64x64 colour, 200 classes", "tinyimagenet", "tinyimagenet"),
    f"{FOLDER}PATH": Spec(
        "a tree of images: PATH/train/<class>/*, PATH/test/<class>/* (or val); ImageNet with data.image_size=224",
        "cifar",
        "folder",
    ),
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


def recipe(name: str) -> str:
    """Return the file in ``configs/`` with a data set's defaults, or raise an InputError that lists the names."""
    return describe(name).recipe


def checksum(name: str, config: DataConfig, root: Path) -> str:
    """Return what identifies the images of a data set, without decoding them.

    Args:
        name: One of :func:`available`, or ``folder:PATH``.
        config: Which part of them is used.
        root: Where data sets lie.

    Raises:
        InputError: If files are there and are not what they should be, or a setting does not apply to them.
    """
    module = _module(name, config)
    result: str = module.checksum(name, config, root)
    return result


def present(name: str, root: Path) -> bool:
    """Return whether a data set's files seem to be there, so that loading it would download nothing.

    Raises:
        InputError: For an unknown name.
    """
    found: bool = import_module(f"benchmark.datasets.{describe(name).module}").present(name, root)
    return found


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return a data set with the subset and the held-out part that the configuration asks for.

    With ``config.holdout`` the test images are not read; the held-out training images stand in their place.

    Raises:
        InputError: If the files are missing or are not what they should be.
    """
    module = _module(name, config)
    dataset: Dataset = module.load(name, config, root)
    return holdout_split(dataset, config.holdout) if config.holdout else dataset


def _module(name: str, config: DataConfig) -> ModuleType:
    spec = describe(name)
    if config.image_size is not None and spec.module not in _RESIZABLE:
        raise InputError(
            f"data.image_size: the images of {name} have one size (it applies to tinyimagenet, folder:PATH)"
        )
    return import_module(f"benchmark.datasets.{spec.module}")


def shape(name: str, config: DataConfig, root: Path) -> Shape:
    """Return what the images of a data set look like; it is loaded only if that cannot be known before.

    Raises:
        InputError: If it has to be loaded and cannot be.
    """
    known = describe(name).shape
    return load(name, config, root).shape if known is None else known.part(config)
