"""``hf:PATH``: a dataset of Hugging Face's library, in a folder or by its name on the Hub.

A folder is one that ``DatasetDict.save_to_disk`` has written, or one of files that the library reads, such as parquet.
A name is taken from the library's own cache, or fetched by it where it may: ``HF_HUB_OFFLINE=1`` forbids that.
"""

import io
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from benchmark import paths
from benchmark.configuration import DataConfig
from benchmark.datasets import image_cache, labels
from benchmark.datasets.decoding import EncodedImage
from benchmark.datasets.image_cache import EncodedImages
from benchmark.datasets.provider import Parts, Provider, path_of
from methods.errors import InputError
from methods.plugins import reason_of

SPLITS = {"train": ("train",), "test": ("test", "validation", "valid", "val")}
"""The usual names of the splits, the first that is there counting."""

LABELS = ("label", "labels", "fine_label")
"""The names that decide where several columns hold classes."""


class HuggingFace(Provider):
    """``hf:PATH``."""

    def parts(self, name: str, config: DataConfig, root: Path) -> Parts:
        """Return the images of a dataset of images with a class each."""
        splits = _open(name, root)
        classes: tuple[str, ...] | None = None
        images = []
        for part, split in labels.chosen(config, SPLITS, list(splits), name).items():
            found, classes = _part(splits[split], f"{name} {split}", labels.other_split(part, splits), classes)
            images.append(found)
        return Parts(classes or (), images)

    def present(self, name: str, root: Path) -> bool:
        """Return whether there is such a folder; of a name only the library knows."""
        return paths.is_folder(path_of(name))


def _open(name: str, root: Path) -> Mapping[str, Any]:
    try:
        import datasets as library
    except ImportError:
        raise InputError(f"{name} needs the package datasets: pip install 'okdbench[hf]'") from None
    path = path_of(name)
    library.disable_progress_bars()
    try:
        if any(paths.is_file(path / saved) for saved in ("dataset_dict.json", "state.json")):
            found = library.load_from_disk(str(path))
        elif paths.is_folder(path):
            found = library.load_dataset(str(path.absolute()), cache_dir=str(image_cache.folder(root) / "hf"))
        elif re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name.removeprefix("hf:")):
            found = library.load_dataset(name.removeprefix("hf:"))
        else:
            raise InputError(f"no such folder: {path} (a dataset is named hf:PATH, as save_to_disk writes it)")
    except InputError:
        raise
    except Exception as error:
        # the library lets through whatever a damaged file or a missing network provokes
        raise InputError(f"cannot open {name}: {reason_of(error)}") from None
    if not isinstance(found, Mapping):
        usual = " and ".join(" or ".join(names) for names in SPLITS.values())
        raise InputError(f"{name} is one split: a dataset of several is needed, {usual}")
    return found


def _part(split: Any, where: str, remedy: str, train: tuple[str, ...] | None) -> tuple[EncodedImages, tuple[str, ...]]:
    """Return the images of a split and its classes, which must be those of the training images, once they are known."""
    if not len(split):
        raise InputError(f"{where} has no image")
    image, label = _columns(split, where, remedy)
    column = split.with_format("arrow")[label][:]
    if column.null_count:
        row = np.flatnonzero(column.is_null())[0]
        raise InputError(f"{where}: {label}[{row}] is missing ({column.null_count} of {len(split)} are){remedy}")
    numbers = labels.labels_of(np.asarray(column), label, where)
    names = getattr(split.features[label], "names", None)
    if train is None:
        train = labels.checked_classes(names, numbers, len(split), label, where, remedy)
    else:
        labels.check_labels(numbers, len(split), len(train), label, where, remedy)
        labels.check_same_classes(train, [labels.normal(word) for word in names or train], where)
    # as arrow, the library decodes nothing
    rows = split.select_columns([image]).with_format("arrow")

    def stream(row: int) -> BinaryIO:
        held = rows[row][image][0].as_py()
        if held is None or held["bytes"] is held["path"] is None:
            raise InputError(f"{where}[{row}] has no image: {image} is null")
        if held["bytes"] is not None:
            return io.BytesIO(held["bytes"])
        try:
            return Path(held["path"]).open("rb")
        except OSError as error:
            raise InputError(f"cannot read {held['path']} of {where}[{row}]: {error.strerror}") from None

    images = [EncodedImage(f"{where}[{row}]", partial(stream, row)) for row in range(len(split))]
    return EncodedImages(images, numbers), train


def _columns(split: Any, where: str, remedy: str) -> tuple[str, str]:
    """Return the names of the images' and of the labels' column."""
    kinds = {name: type(feature).__name__ for name, feature in split.features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    classes = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    named = [name for name in LABELS if name in (classes or kinds)][:1]
    found = named or classes
    if len(images) != 1 or len(found) != 1:
        listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise InputError(f"{where} must have one column of Image and one of ClassLabel (found: {listed}){remedy}")
    return images[0], found[0]
