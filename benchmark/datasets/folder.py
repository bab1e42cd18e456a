"""Any tree of images: ``train/<class>/*`` and ``test/<class>/*`` (or ``val/<class>/*``, as ImageNet's is named)."""

from pathlib import Path

import numpy as np

from benchmark import paths
from benchmark.configuration import DataConfig
from benchmark.datasets import image_cache
from benchmark.datasets.image_cache import dataset_of
from benchmark.datasets.images import Dataset, subset
from benchmark.datasets.labels import check_same_classes, chosen, normal, usual_split
from benchmark.datasets.listing import Listing, files, folders, identity
from methods.errors import InputError

SPLITS = {"train": ("train",), "test": ("test", "val")}
"""The usual folders of the parts, the first that is there counting."""


def checksum(name: str, config: DataConfig, root: Path) -> str:
    """Return the hash of the chosen files' names and bytes."""
    return identity(_parts(_folder(name), config), image_cache.folder(root))


def present(name: str, root: Path) -> bool:
    """Return whether there is such a folder."""
    return paths.is_folder(paths.written(name.removeprefix("folder:"), "dataset"))


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return the tree's images; the tree's path is in the name; of the root folder only the cache is used.

    The images must be square and of one size unless ``config.image_size`` makes them so. Grey images among coloured
    ones count as coloured.

    Raises:
        InputError: If the tree has another form, or a file is no image; the file is named.
    """
    return dataset_of(name, _parts(_folder(name), config), config, root)


def _folder(name: str) -> Path:
    path = paths.written(name.removeprefix("folder:"), "dataset")
    if not paths.is_folder(path):
        raise InputError(f"no such folder: {path} (a dataset is named folder:PATH, with PATH/train/<class>/*)")
    return path


def _parts(folder: Path, config: DataConfig) -> list[Listing]:
    """Return the chosen training files and, unless a part of them is scored, the chosen test files."""
    taken = chosen(config, SPLITS, folders(folder), str(folder), "folder")
    train = _listing(folder, taken["train"])
    parts = [train.take(subset(train.labels, config, "train"))]
    if "test" in taken:
        test = _listing(folder, taken["test"])
        check_same_classes(train.classes, test.classes, str(folder))
        parts.append(test.take(subset(test.labels, config, "test")))
    return parts


def listing(folder: Path, part: str) -> Listing:
    """Return the files of ``train`` or ``test`` of a tree, class by class, from the usual folder.

    Raises:
        InputError: If it has another form.
    """
    return _listing(folder, usual_split(part, SPLITS[part], folders(folder), str(folder), "folder"))


def _listing(folder: Path, split: str) -> Listing:
    base = folder / split
    found = folders(base)
    if len(found) < 2:
        raise InputError(f"{base} has {len(found)} class folders: at least 2 are needed")
    classes = tuple(map(normal, found))
    if double := [name for place, name in enumerate(classes) if name in classes[:place]]:
        raise InputError(f"{base} has two folders of the class {double[0]!r}, in two forms of Unicode: one is needed")
    members = [files(base / name) for name in found]
    names = [f"{split}/{name}/{file}" for name, listed in zip(found, members, strict=True) for file in listed]
    labels = np.repeat(np.arange(len(classes)), [len(listed) for listed in members])
    return Listing(folder, names, labels, classes)
