"""Any tree of images: ``train/<class>/*`` and ``test/<class>/*`` (or ``val/<class>/*``, as ImageNet's is named)."""

from pathlib import Path

import numpy as np

from benchmark.configuration import DataConfig
from benchmark.datasets import image_cache
from benchmark.datasets.images import Dataset, stratified
from benchmark.datasets.listing import Listing, files, folders, identity
from benchmark.datasets.pictures import dataset_of
from methods import paths
from methods.errors import InputError

TEST_FOLDERS = ("test", "val")


def checksum(name: str, config: DataConfig, root: Path) -> str:
    """Return the hash of the chosen files' names and bytes."""
    return identity(_parts(_folder(name), config), image_cache.folder(root))


def present(name: str, root: Path) -> bool:
    """Return whether there is such a folder."""
    return paths.is_folder(paths.written(name.removeprefix("folder:"), "dataset"))


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return the tree's images; of the root folder only the cache in it is used, the tree's path stands in the name.

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
    train = listing(folder, "train")
    parts = [train.take(stratified(train.labels, config.train_per_class, "train"))]
    if not config.holdout:
        test = listing(folder, "test")
        if test.classes != train.classes:
            differing = sorted(set(train.classes) ^ set(test.classes))
            raise InputError(f"{folder}: train and test have different classes: {', '.join(differing[:5])}")
        parts.append(test.take(stratified(test.labels, config.test_per_class, "test")))
    return parts


def listing(folder: Path, part: str) -> Listing:
    """Return the files of ``train`` or ``test`` of a tree, class by class.

    Raises:
        InputError: If it has another form.
    """
    if part == "test":
        part = next((name for name in TEST_FOLDERS if (folder / name).is_dir()), part)
    base = folder / part
    if not paths.is_folder(base):
        raise InputError(f"{folder} has no folder {part!r}: it must hold train/<class>/* and test/<class>/*")
    classes = folders(base)
    if len(classes) < 2:
        raise InputError(f"{base} has {len(classes)} class folders: at least 2 are needed")
    members = [files(base / name) for name in classes]
    names = [f"{part}/{name}/{file}" for name, listed in zip(classes, members, strict=True) for file in listed]
    labels = np.repeat(np.arange(len(classes)), [len(listed) for listed in members])
    return Listing(folder, names, labels, tuple(classes))
