"""Datasets by name: labelled uint8 images, in memory or in a mapped file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import paths
from benchmark.configuration import PLACE, DataConfig
from methods.errors import InputError, unknown

if TYPE_CHECKING:
    from benchmark.configuration import SourceCode
    from benchmark.datasets.arrays import PluginDataset
    from benchmark.datasets.images import Dataset, Shape
    from benchmark.datasets.provider import Provider


@dataclass(frozen=True)
class Spec:
    """What is known of a dataset before it is loaded."""

    description: str
    provider: str = ""  # the module of this folder with what loads it, and its name there; empty for a plug-in's
    # training images, test images, classes, channels and side, where they are known before it is there
    sizes: tuple[int, int, int, int, int] | None = None
    recipe: str = "cifar"  # the file in configs/ with its defaults
    splits: bool = False  # whether the splits to train and score on can be chosen


_SPECS: Mapping[str, Spec] = {
    "digits": Spec(
        "1,797 scanned digits, 8x8 grey, 10 classes; ships with scikit-learn", "arrays:Digits", None, "digits"
    ),
    "cifar10": Spec("60,000 photographs, 32x32 colour, 10 classes", "official:CIFAR10", (50_000, 10_000, 10, 3, 32)),
    "cifar100": Spec(
        "60,000 photographs, 32x32 colour, 100 classes", "official:CIFAR100", (50_000, 10_000, 100, 3, 32)
    ),
    "fashion-mnist": Spec(
        "70,000 articles of clothing, 28x28 grey, 10 classes", "official:FASHION_MNIST", (60_000, 10_000, 10, 1, 28)
    ),
    "tinyimagenet": Spec(
        "110,000 photographs, 64x64 colour, 200 classes", "official:TINYIMAGENET", None, "tinyimagenet"
    ),
    "folder:PATH": Spec(
        "a tree of images: PATH/train/<class>/*, PATH/test/<class>/* (or val); ImageNet with data.image_size=224",
        "folder:Folder",
        splits=True,
    ),
    "npz:FILE": Spec(
        "a file of arrays: x_train, y_train, x_test, y_test; uint8 images [N, H, W, C] or [N, H, W]", "arrays:Npz"
    ),
    "torchvision:NAME": Spec(
        "a classification set of torchvision with split= or train=, such as SVHN, STL10, Flowers102",
        "libraries:Torchvision",
        splits=True,
    ),
    "hf:PATH": Spec(
        "a Hugging Face dataset: a folder as save_to_disk writes it, or one that is in the cache; okdbench[hf]",
        "libraries:HuggingFace",
        splits=True,
    ),
}
_FORMS = {key.partition(PLACE)[0]: key for key in _SPECS if PLACE in key}


def default_root() -> Path:
    """Return the folder of datasets without ``--data-root``: the environment's ``OKDBENCH_DATA``, else ``data``."""
    return paths.written(os.environ.get("OKDBENCH_DATA") or "data", "OKDBENCH_DATA")


def available(plugins: Sequence[str] = ()) -> dict[str, str]:
    """Return every dataset's name and one-line description; a broken plug-in's is its reason."""
    from benchmark.datasets.arrays import plugin_datasets

    own = {name: spec.description for name, spec in _SPECS.items()}
    return {**own, **{name: item.description for name, item in plugin_datasets(plugins).items()}, **own}


def describe(name: str, plugins: Sequence[str] = ()) -> Spec:
    """Return what is known of a dataset, or raise an InputError that lists the valid names."""
    return _own(name) or Spec(_plugin(name, plugins).description)


def recipe(name: str, plugins: Sequence[str] = ()) -> str:
    """Return the file in ``configs/`` with a dataset's defaults, or raise an InputError that lists the names."""
    return describe(name, plugins).recipe


def source(name: str, plugins: Sequence[str] = ()) -> "SourceCode | None":
    """Return the code of a plug-in's dataset; None for one of this project, which its checksum tells."""
    return None if _own(name) else _plugin(name, plugins).source


def checksum(name: str, config: DataConfig, root: Path, plugins: Sequence[str] = ()) -> str:
    """Return what identifies the images of a dataset, or raise an InputError if its files are not what they should be.

    The name is one of :func:`available`, or with a form's word in capitals replaced, as in ``folder:photos``.
    """
    return _provider(name, plugins, config).checksum(name, config, root)


def present(name: str, root: Path, plugins: Sequence[str] = ()) -> bool:
    """Return whether a dataset seems to be there, so that nothing would be downloaded, or raise an InputError."""
    return _provider(name, plugins).present(name, root)


def fetch(name: str, root: Path, plugins: Sequence[str] = ()) -> None:
    """Download what only its content can identify and is not there, so that runs can be planned, or raise an error."""
    _provider(name, plugins).fetch(name, root)


def load(name: str, config: DataConfig, root: Path, plugins: Sequence[str] = ()) -> "Dataset":
    """Return a dataset with the subset and the held-out part that the configuration asks for.

    With ``config.holdout`` the test images are not read; the held-out training images replace them. Files that are
    missing or are not what they should be raise an InputError.
    """
    from benchmark.datasets.images import holdout_split

    dataset = _provider(name, plugins, config).load(name, config, root)
    return holdout_split(dataset, config.holdout) if config.holdout else dataset


def shape(name: str, config: DataConfig, root: Path, plugins: Sequence[str] = ()) -> "Shape":
    """Return what a dataset's images look like; it is loaded, or an InputError raised, only if that is not known."""
    from benchmark.datasets.images import Shape

    sizes = describe(name, plugins).sizes
    if sizes is None or not _provider(name, plugins).usual(name, config, root):
        return load(name, config, root, plugins).shape
    return Shape(*sizes).part(config)


def _own(name: str) -> Spec | None:
    form, colon, place = name.partition(PLACE)
    if not colon:
        return _SPECS.get(name)
    if form in _FORMS and not place.strip():
        raise InputError(f"dataset {name!r} names nothing: {_FORMS[form]}")
    return _SPECS.get(_FORMS.get(form, ""))


def _provider(name: str, plugins: Sequence[str], config: DataConfig | None = None) -> "Provider":
    """Return what knows a dataset, and refuse a configuration that asks for splits where there are none to choose."""
    spec = _own(name)
    if spec is None:
        found: Any = _plugin(name, plugins)
    else:
        module, _, kind = spec.provider.partition(":")
        found = getattr(import_module(f"benchmark.datasets.{module}"), kind)
    asked = [key for key in ("train_split", "test_split") if getattr(config, key, None) is not None]
    if asked and not (spec and spec.splits):
        able = ", ".join(form for form, other in _SPECS.items() if other.splits)
        raise InputError(f"data.{asked[0]}: {name} has no splits to choose from (what has: {able})")
    provider: Provider = found() if isinstance(found, type) else found
    return provider


def _plugin(name: str, plugins: Sequence[str]) -> "PluginDataset":
    from benchmark.datasets.arrays import plugin_datasets

    found = plugin_datasets(plugins)
    if name in found:
        return found[name]
    for plugin in (item.plugin for item in found.values()):
        if plugin.broken:
            raise InputError(f"unknown dataset {name!r}, and the plug-in {plugin.origin} is broken: {plugin.broken}")
    raise unknown("dataset", name, {*_SPECS, *found})
