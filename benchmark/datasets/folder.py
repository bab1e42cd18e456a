"""Any tree of images: ``train/<class>/*`` and ``test/<class>/*`` (or ``val/<class>/*``, as ImageNet's is named)."""

from pathlib import Path

from benchmark import paths
from benchmark.configuration import DataConfig
from benchmark.datasets.arrays import Provider
from benchmark.datasets.images import subset
from benchmark.datasets.labels import check_same_classes, chosen, normal, usual_split
from benchmark.datasets.listing import Listing, folders, listing_of_classes
from methods.errors import InputError

SPLITS = {"train": ("train",), "test": ("test", "val")}
"""The usual folders of the parts, the first that is there counting."""


class Folder(Provider):
    """``folder:PATH``; of the root folder only the cache is used."""

    def parts(self, name: str, config: DataConfig, root: Path) -> list[Listing]:
        """Return the chosen files; a folder of another form is refused."""
        folder = self._path(name)
        if not paths.is_folder(folder):
            raise InputError(f"no such folder: {folder} (a dataset is named folder:PATH, with PATH/train/<class>/*)")
        taken = chosen(config, SPLITS, folders(folder), str(folder), "folder")
        train = _listing(folder, taken["train"])
        parts = [train.take(subset(train.labels, config, "train", name))]
        if "test" in taken:
            test = _listing(folder, taken["test"])
            check_same_classes(train.classes, test.classes, str(folder))
            parts.append(test.take(subset(test.labels, config, "test", name)))
        return parts

    def present(self, name: str, root: Path) -> bool:
        """Return whether there is such a folder."""
        return paths.is_folder(self._path(name))

    @staticmethod
    def _path(name: str) -> Path:
        return paths.written(name.removeprefix("folder:"), "dataset")


def listing(folder: Path, part: str) -> Listing:
    """Return the files of ``train`` or ``test`` of a tree, class by class, from the usual folder."""
    return _listing(folder, usual_split(part, SPLITS[part], folders(folder), str(folder), "folder"))


def _listing(folder: Path, split: str) -> Listing:
    base = folder / split
    found = folders(base)
    if len(found) < 2:
        raise InputError(f"{base} has {len(found)} class folders: at least 2 are needed")
    places: dict[str, str] = {}
    for name in found:
        word = normal(name)
        if word in places:
            raise InputError(f"{base} has two folders of the class {word!r}, in two forms of Unicode: one is needed")
        places[word] = f"{split}/{name}"
    return listing_of_classes(folder, places)
