"""Trees of image files: ``train/<class>/*`` and ``test/<class>/*`` (or ``val/<class>/*``, as ImageNet's is named)."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmark import paths
from benchmark.configuration import DataConfig
from benchmark.datasets.image_cache import EncodedImages
from benchmark.datasets.images import normal
from benchmark.datasets.provider import Parts, Provider, check_same_classes, chosen, path_of
from methods.errors import InputError

SPLITS = {"train": ("train",), "test": ("test", "val")}
"""The usual folders of the parts, the first that is there counting."""

Listed = tuple[EncodedImages, tuple[str, ...]]
"""Image files and the names of their classes in the order of the labels."""


class Folder(Provider):
    """``folder:PATH``; of the root folder only the cache is used."""

    name = "folder:PATH"
    description = (
        "a tree of images: PATH/train/<class>/*, PATH/test/<class>/* (or val); ImageNet with data.image_size=224"
    )
    splits = True

    def parts(self, name: str, config: DataConfig, root: Path) -> Parts:
        """Return the files; a folder of another form is refused."""
        folder = path_of(name)
        if not paths.is_folder(folder):
            raise InputError(f"no such folder: {folder} (a dataset is named folder:PATH, with PATH/train/<class>/*)")
        splits = chosen(config, SPLITS, folders(folder), str(folder), "folder")
        images, classes = zip(*(listed(folder, split) for split in splits.values()), strict=True)
        check_same_classes(classes[0], classes[-1], str(folder))
        return Parts(classes[0], images)

    def present(self, name: str, root: Path) -> bool:
        """Return whether there is such a folder."""
        return paths.is_folder(path_of(name))


def listed(folder: Path, split: str) -> Listed:
    """Return the files of a split of a tree, class by class, or raise an InputError."""
    base = folder / split
    places: dict[str, str] = {}
    for name in folders(base):
        word = normal(name)
        if word in places:
            raise InputError(f"{base} has two folders of the class {word!r}, in two forms of Unicode: one is needed")
        places[word] = f"{split}/{name}"
    if len(places) < 2:
        raise InputError(f"{base} has {len(places)} class folders: at least 2 are needed")
    return listed_classes(folder, places)


def listed_classes(base: Path, places: Mapping[str, str]) -> Listed:
    """Return the files in folders below ``base``, given by the name of the class that each holds, class by class."""
    members = [files(base / place) for place in places.values()]
    names = [f"{place}/{file}" for place, found in zip(places.values(), members, strict=True) for file in found]
    labels = np.repeat(np.arange(len(places)), [len(found) for found in members])
    return EncodedImages.of_files(base, names, labels), tuple(places)


def folders(base: Path) -> list[str]:
    """Return the names of the folders in a folder but hidden ones, sorted by their form NFC, or raise an InputError."""
    return sorted((entry.name for entry in _entries(base) if _holds(entry.is_dir)), key=_order)


def files(base: Path) -> list[str]:
    """Return the names of the images in a folder of nothing else, sorted by their form NFC, or raise an InputError."""
    entries = _entries(base)
    if not entries:
        raise InputError(f"{base} holds no image")
    strange = min((entry.path for entry in entries if not _holds(entry.is_file)), default=None)
    if strange is not None:
        kind = "a folder" if Path(strange).is_dir() else "not a file"
        raise InputError(f"{strange} is {kind}: {base} must hold images alone")
    return sorted((entry.name for entry in entries), key=_order)


def _order(name: str) -> tuple[str, str]:
    return normal(name), name


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:
        # a link to itself, for example
        return False


def _entries(base: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(base) as found:
            return [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot read {base}: {error.strerror}") from None
