"""``torchvision:NAME``: a classification set of torchvision that takes ``split=`` or ``train=``, such as SVHN."""

import inspect
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from benchmark.configuration import DataConfig
from benchmark.consoles import new_console
from benchmark.datasets import image_cache
from benchmark.datasets.arrays import Parts, assembled, check_labels, checked_classes
from benchmark.datasets.encoded import EncodedImages
from benchmark.datasets.images import Dataset, Indices, LabelledImages, stratified
from benchmark.datasets.listing import Listing, Pictures, identity
from benchmark.datasets.pictures import dataset_of
from benchmark.datasets.torchvision_items import Items
from benchmark.words import say
from methods.errors import InputError, unknown

SPLITS = {"train": ("train", "trainval"), "test": ("test", "val", "valid")}
"""The words for ``split``; of each part the first that a set knows counts."""


def checksum(name: str, config: DataConfig, root: Path) -> str:
    """Return the hash of the images and labels; the set is downloaded first if it is not there."""
    parts = _parts(name, config, root)
    return parts.checksum if isinstance(parts, Parts) else identity(parts, image_cache.folder(root))


def present(name: str, root: Path) -> bool:
    """Return whether both parts can be opened without a download."""
    kind = _class(name)
    try:
        return all(_on_disk(kind, part, root)[1] is not None for part in SPLITS)
    except InputError:
        return False


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return the set, from where torchvision keeps it in the root folder; what is not there it downloads.

    Raises:
        InputError: If there is no such set, if it is neither there nor can be downloaded, or if its items are not one
            image and one class number.
    """
    parts = _parts(name, config, root, remark=True)
    if isinstance(parts, Parts):
        return assembled(name, parts, config, name)
    return dataset_of(name, parts, config, root)


def _parts(name: str, config: DataConfig, root: Path, remark: bool = False) -> Parts | list[Pictures]:
    kind = _class(name)
    wanted = ("train",) if config.holdout else ("train", "test")
    items = {part: Items(_open(name, kind, part, root, remark), f"{name} {part}") for part in wanted}
    labels = {part: found.labels() for part, found in items.items()}
    names = getattr(items["train"].dataset, "classes", None)
    classes = checked_classes(names if isinstance(names, list | tuple) else None, labels["train"], name)
    for part, found in labels.items():
        check_labels(found, len(items[part]), len(classes), part, name)
    arrays = {part: found.pixels() for part, found in items.items()}
    whole = {part: LabelledImages(array, labels[part]) for part, array in arrays.items() if array is not None}
    if len(whole) == len(wanted):
        return Parts(whole["train"], whole.get("test"), classes)
    per_class = {"train": config.train_per_class, "test": config.test_per_class}
    return [
        _pictures(items[part], labels[part], classes, root).take(stratified(labels[part], per_class[part], part))
        for part in wanted
    ]


def _pictures(items: Items, labels: Indices, classes: tuple[str, ...], root: Path) -> Listing | EncodedImages:
    files = items.files()
    base = root.absolute()
    if files and all(path.absolute().is_relative_to(base) for path in files):
        names = [path.absolute().relative_to(base).as_posix() for path in files]
        return Listing(base, names, labels, classes)
    return EncodedImages(items.where, items.read, np.arange(len(items)), labels, classes)


def _class(name: str) -> Any:
    import torchvision.datasets

    word = name.partition(":")[2]
    sets = {key: getattr(torchvision.datasets, key) for key in torchvision.datasets.__all__}
    usable = {key: kind for key, kind in sets.items() if inspect.isclass(kind) and _is_usual(kind)}
    if word not in usable:
        raise unknown("set of torchvision", word, usable)
    return usable[word]


def _is_usual(kind: Any) -> bool:
    parameters = inspect.signature(kind.__init__).parameters
    needed = {
        key
        for key, value in parameters.items()
        if value.default is value.empty and value.kind is value.POSITIONAL_OR_KEYWORD
    }
    # without a transform of its targets a set is of pairs, flows or films
    labelled = "target_transform" in parameters or any(value.kind is value.VAR_KEYWORD for value in parameters.values())
    return needed == {"self", "root"} and labelled and bool({"train", "split"} & set(parameters))


def _arguments(kind: Any, part: str) -> list[dict[str, Any]]:
    if "train" in inspect.signature(kind.__init__).parameters:
        return [{"train": part == "train"}]
    return [{"split": word} for word in SPLITS[part]]


def _open(name: str, kind: Any, part: str, root: Path, remark: bool) -> Any:
    """Return one part: the published files if they are there, else files of their names, else what is downloaded."""
    arguments, found, published = _on_disk(kind, part, root)
    if found is None:
        return _downloaded(name, kind, arguments, root)
    if remark and not published:
        line = f"note: the files of {name} in {root} are not the published ones; they are taken as they are"
        say(new_console(stderr=True), line)
    return found


def _on_disk(kind: Any, part: str, root: Path) -> tuple[dict[str, Any], Any, bool]:
    """Return what the set takes for a part, the part or None, and whether its files are the published ones."""
    for arguments in _arguments(kind, part):
        with suppress(_UnknownSplitError):
            if (found := _at_hand(kind, arguments, root)) is not None:
                return arguments, found, True
            return arguments, _at_hand(_unverified(kind), arguments, root), False
    raise InputError(f"torchvision:{kind.__name__} has no {' and no '.join(SPLITS[part])} split")


class _UnknownSplitError(Exception):
    """A set has no split of that name."""


def _at_hand(kind: Any, arguments: dict[str, Any], root: Path) -> Any:
    """Return the set, or None if it cannot be opened without a download."""
    try:
        return kind(str(root), **arguments)
    except ImportError as error:
        raise InputError(f"torchvision needs {error.name} for {kind.__name__}: pip install {error.name}") from None
    except Exception as error:
        if isinstance(error, ValueError) and "argument split" in str(error):
            raise _UnknownSplitError from None
        # whatever a missing or a damaged file provokes
        return None


def _unverified(kind: Any) -> Any:
    """Return the class without torchvision's comparison of MD5 sums: what is read is hashed here anyway."""
    if not hasattr(kind, "_check_integrity"):
        return kind
    return type(kind.__name__, (kind,), {"_check_integrity": lambda self: True})


def _downloaded(name: str, kind: Any, arguments: dict[str, Any], root: Path) -> Any:
    if not any("download" in inspect.signature(base.__init__).parameters for base in kind.__mro__):
        raise InputError(f"{name} is not in {root}, and torchvision does not download it: put its files there")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".torchvision-{kind.__name__}.lock"):
            return kind(str(root), **arguments, download=True)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"{name} is not in {root} and cannot be downloaded ({reason}): put its files there as "
            f"torchvision.datasets.{kind.__name__} names them"
        ) from None
