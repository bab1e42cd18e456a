"""``hf:PATH``: a dataset of Hugging Face's library, in a folder or by its name on the Hub.

A folder is one that ``DatasetDict.save_to_disk`` has written, or one of files that the library reads, such as parquet.
A name is taken from the library's own cache, or fetched by it where it may: ``HF_HUB_OFFLINE=1`` forbids that.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import paths
from benchmark.configuration import DataConfig
from benchmark.datasets import image_cache
from benchmark.datasets.arrays import Provider
from benchmark.datasets.images import subset
from benchmark.datasets.labels import (
    check_labels,
    check_same_classes,
    checked_classes,
    chosen,
    labels_of,
    normal,
    other_split,
)
from benchmark.datasets.listing import EmbeddedImages
from methods.errors import InputError
from methods.plugins import reason_of

SPLITS = {"train": ("train",), "test": ("test", "validation", "valid", "val")}
"""The usual names of the splits, the first that is there counting."""

LABELS = ("label", "labels", "fine_label")
"""The names that decide where several columns hold classes."""

_SAVED = ("dataset_dict.json", "state.json")


class HuggingFace(Provider):
    """``hf:PATH``."""

    def parts(self, name: str, config: DataConfig, root: Path) -> list[EmbeddedImages]:
        """Return the chosen images of a dataset of images with a class each."""
        splits = _open(name, root)
        taken = chosen(config, SPLITS, list(splits), name)
        train = _part(splits, "train", taken["train"], name)
        parts = [train.take(subset(train.labels, config, "train", name))]
        if "test" in taken:
            test = _part(splits, "test", taken["test"], name, train.classes)
            parts.append(test.take(subset(test.labels, config, "test", name)))
        return parts

    def present(self, name: str, root: Path) -> bool:
        """Return whether there is such a folder; of a name only the library knows."""
        return paths.is_folder(_path(name))


def _path(name: str) -> Path:
    return paths.written(name.removeprefix("hf:"), "dataset")


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
        usual = " and ".join(" or ".join(names) for names in SPLITS.values())
        raise InputError(f"{name} is one split: a dataset of several is needed, {usual}")
    return found


def _part(
    splits: Mapping[str, Any], which: str, split: str, name: str, classes: tuple[str, ...] | None = None
) -> EmbeddedImages:
    """Return a part of a dataset, ``train`` or ``test``, from one of its splits."""
    part, where, remedy = splits[split], f"{name} {split}", other_split(which, splits)
    if not len(part):
        raise InputError(f"{where} has no image")
    image, label = _columns(part, where, remedy)
    column = part.with_format("arrow")[label][:]
    if column.null_count:
        row = np.flatnonzero(column.is_null())[0]
        raise InputError(f"{where}: {label}[{row}] is missing ({column.null_count} of {len(part)} are){remedy}")
    labels = labels_of(np.asarray(column), label, where)
    names = getattr(part.features[label], "names", None)
    if classes is None:
        classes = checked_classes(names, labels, len(part), label, where, remedy)
    else:
        check_labels(labels, len(part), len(classes), label, where, remedy)
        if names is not None:
            check_same_classes(classes, [normal(word) for word in names], name)
    # as arrow, the library decodes nothing
    rows = part.select_columns([image]).with_format("arrow")

    def read(row: int) -> bytes:
        held = rows[row][image][0].as_py()
        if held is None or held["bytes"] is held["path"] is None:
            raise InputError(f"{where}[{row}] has no image: {image} is null")
        content: bytes | None = held["bytes"]
        try:
            return Path(held["path"]).read_bytes() if content is None else content
        except OSError as error:
            raise InputError(f"cannot read {held['path']} of {where}[{row}]: {error.strerror}") from None

    return EmbeddedImages(where, read, np.arange(len(part)), labels, classes)


def _columns(part: Any, where: str, remedy: str) -> tuple[str, str]:
    """Return the names of the images' and of the labels' column."""
    kinds = {name: type(feature).__name__ for name, feature in part.features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    labels = [name for name in LABELS if name in labels][:1] or labels or [name for name in LABELS if name in kinds][:1]
    if len(images) != 1 or len(labels) != 1:
        listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise InputError(f"{where} must have one column of Image and one of ClassLabel (found: {listed}){remedy}")
    return images[0], labels[0]
