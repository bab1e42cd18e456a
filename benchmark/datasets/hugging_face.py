"""``hf:PATH``: a data set of Hugging Face's library, in a folder or by its name on the Hub.

A folder is one that ``DatasetDict.save_to_disk`` has written, or one of files that the library reads, such as parquet.
A name is taken from the library's own cache, or fetched by it where it may: ``HF_HUB_OFFLINE=1`` forbids that.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.configuration import DataConfig
from benchmark.datasets import image_cache
from benchmark.datasets.arrays import check_labels, checked_classes, labels_of
from benchmark.datasets.encoded import EncodedImages
from benchmark.datasets.images import Dataset, stratified
from benchmark.datasets.listing import identity
from benchmark.datasets.pictures import dataset_of
from methods import paths
from methods.errors import InputError
from methods.plugins import reason_of

TRAIN, TEST = ("train",), ("test", "validation", "valid", "val")
"""The names of the splits, the first that is there counting."""

LABELS = ("label", "labels", "fine_label")
"""The names that decide where several columns hold classes."""

_SAVED = ("dataset_dict.json", "state.json")


def checksum(name: str, config: DataConfig, root: Path) -> str:
    """Return the hash of the chosen images' bytes and labels."""
    return identity(_parts(name, config, root), image_cache.folder(root))


def present(name: str, root: Path) -> bool:
    """Return whether there is such a folder; of a name only the library knows."""
    return paths.is_folder(_path(name))


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return the images, decoded once into the cache of the root folder.

    Raises:
        InputError: If there is no such data set, or it is not one of images with a class each.
    """
    return dataset_of(name, _parts(name, config, root), config, root)


def _path(name: str) -> Path:
    return paths.written(name.removeprefix("hf:"), "dataset")


def _parts(name: str, config: DataConfig, root: Path) -> list[EncodedImages]:
    splits = _open(name, root)
    train = _part(splits, TRAIN, name)
    parts = [train.take(stratified(train.labels, config.train_per_class, "train"))]
    if not config.holdout:
        test = _part(splits, TEST, name, train.classes)
        parts.append(test.take(stratified(test.labels, config.test_per_class, "test")))
    return parts


def _open(name: str, root: Path) -> Mapping[str, Any]:
    try:
        import datasets as library
    except ImportError:
        raise InputError(f"{name} needs the package datasets: pip install 'okdbench[hf]'") from None
    path = _path(name)
    library.disable_progress_bars()
    try:
        if any(paths.is_file(path / saved) for saved in _SAVED):
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
        raise InputError(f"{name} is one split: a data set of several is needed, {TRAIN[0]} and {' or '.join(TEST)}")
    return found


def _part(
    splits: Mapping[str, Any], names: tuple[str, ...], name: str, classes: tuple[str, ...] | None = None
) -> EncodedImages:
    split = next((word for word in names if word in splits), None)
    if split is None:
        raise InputError(f"{name} has no split {' or '.join(names)} (found: {', '.join(splits)})")
    part, where = splits[split], f"{name} {split}"
    if not len(part):
        raise InputError(f"{where} has no image")
    image, label = _columns(part, where)
    labels = labels_of(np.asarray(part.with_format("arrow")[label][:]), label, where)
    if classes is None:
        classes = checked_classes(getattr(part.features[label], "names", None), labels, where)
    check_labels(labels, len(part), len(classes), label, where)
    # as arrow, the library decodes nothing
    rows = part.select_columns([image]).with_format("arrow")

    def read(row: int) -> bytes:
        held = rows[row][image][0].as_py()
        content: bytes | None = held["bytes"]
        return Path(held["path"]).read_bytes() if content is None else content

    return EncodedImages(where, read, np.arange(len(part)), labels, classes)


def _columns(part: Any, where: str) -> tuple[str, str]:
    """Return the names of the images' and of the labels' column."""
    kinds = {name: type(feature).__name__ for name, feature in part.features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    labels = [name for name in LABELS if name in labels][:1] or labels or [name for name in LABELS if name in kinds][:1]
    if len(images) != 1 or len(labels) != 1:
        listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise InputError(f"{where} must have one column of Image and one of ClassLabel (found: {listed})")
    return images[0], labels[0]
