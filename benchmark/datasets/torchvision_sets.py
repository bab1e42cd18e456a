"""``torchvision:NAME``: a classification set of torchvision that takes ``split=`` or ``train=``, such as SVHN."""

import inspect
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from PIL import Image

from benchmark.configuration import DataConfig
from benchmark.console import note_once
from benchmark.datasets.arrays import Parts, Provider
from benchmark.datasets.images import Indices, LabelledImages, Pixels, subset
from benchmark.datasets.labels import (
    asked_for,
    check_apart,
    check_labels,
    check_same_classes,
    checked_classes,
    normal,
    other_split,
)
from benchmark.datasets.listing import EmbeddedImages, EncodedImages, Listing
from methods.errors import InputError, unknown

PROBES = 16


class Items:
    """One part of a torchvision set."""

    def __init__(self, dataset: Any, where: str) -> None:
        """Look at some items of a torchvision set without transforms, or raise an InputError for other items."""
        self.dataset = dataset
        self.where = where
        if not len(dataset):
            raise InputError(f"{where} has no image")
        places = np.unique(np.linspace(0, len(dataset) - 1, PROBES).round().astype(int)).tolist()
        self._probes = {place: self._item(place) for place in places}

    def __len__(self) -> int:
        return len(self.dataset)

    def labels(self) -> Indices:
        """Return the class numbers ``[N]``; all items are read if there is no list of them."""
        found = [labels for value in self._lists() if (labels := self._as_labels(value)) is not None]
        if found and all(np.array_equal(found[0], other) for other in found):
            return found[0]
        return np.array([self._item(place)[1] for place in range(len(self))], dtype=np.int64)

    def pixels(self) -> Pixels | None:
        """Return the images ``[N, C, H, W]`` if the set holds them as one array."""
        data = getattr(self.dataset, "data", None)
        if data is None or isinstance(data, list):
            return None
        array = np.asarray(data)
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or len(array) != len(self):
            return None
        given = {place: np.asarray(image) for place, (image, _) in self._probes.items()}
        if array.ndim == 3:
            return array[:, None] if all(np.array_equal(array[place], given[place]) for place in given) else None
        for ordered in (array, array.transpose(0, 2, 3, 1)):
            if all(np.array_equal(ordered[place], given[place]) for place in given):
                return np.ascontiguousarray(ordered.transpose(0, 3, 1, 2))
        return None

    def files(self) -> list[Path] | None:
        """Return the image files in the items' order if the set holds a list of them."""
        for value in self._lists():
            paths = [item[0] if isinstance(item, tuple) and item else item for item in value]
            if all(isinstance(path, str | Path) for path in paths) and self._gives(paths):
                return [Path(path) for path in paths]
        return None

    def read(self, place: int) -> bytes:
        """Return an item's image as a PNG file."""
        stream = io.BytesIO()
        self._item(place)[0].save(stream, "PNG")
        return stream.getvalue()

    def _item(self, place: int) -> tuple[Image.Image, int]:
        with suppress(TypeError, ValueError, RuntimeError):
            image, label = self.dataset[place]
            if isinstance(image, Image.Image):
                return image, int(label)
        raise InputError(f"{self.where}[{place}] is not one image and one class number")

    def _lists(self) -> Iterator[Sequence[Any]]:
        for value in vars(self.dataset).values():
            if isinstance(value, list | tuple) and len(value) == len(self):
                yield value
            elif getattr(value, "ndim", 0) == 1 and len(value) == len(self):
                yield np.asarray(value).tolist()

    def _as_labels(self, value: Sequence[Any]) -> Indices | None:
        numbers = [item[1] if isinstance(item, tuple) and len(item) == 2 else item for item in value]
        if not all(isinstance(number, int | np.integer) for number in numbers):
            return None
        labels: npt.NDArray[np.int64] = np.array(numbers, dtype=np.int64)
        return labels if all(labels[place] == label for place, (_, label) in self._probes.items()) else None

    def _gives(self, paths: Sequence[str | Path]) -> bool:
        try:
            for place, (given, _) in self._probes.items():
                with Image.open(paths[place]) as opened:
                    # torchvision's loaders convert to colour
                    if not np.array_equal(np.asarray(opened.convert(given.mode)), np.asarray(given)):
                        return False
        except OSError:
            return False
        return True


SPLITS = {"train": ("train", "trainval"), "test": ("test", "val", "valid")}
"""The usual words for ``split``; of each part the first that a set knows counts."""


class Torchvision(Provider):
    """``torchvision:NAME``, in the root folder as torchvision keeps it there."""

    def parts(self, name: str, config: DataConfig, root: Path) -> Parts | list[EncodedImages]:
        """Return the set; what is not there torchvision downloads."""
        kind = _class(name)
        # both are looked for before one is downloaded
        found = {part: _on_disk(kind, part, root, split) for part, split in asked_for(config).items()}
        check_apart({part: arguments for part, (arguments, _, _) in found.items()}, name)
        items = {}
        for part, (arguments, there, published) in found.items():
            if there is None:
                there = _downloaded(name, kind, arguments, root)
            elif not published:
                note_once(f"the files of {name} in {root} are not the published ones; they are taken as they are")
            items[part] = Items(there, f"{name} {part}")
        labels = {part: held.labels() for part, held in items.items()}
        names = {part: _names(held.dataset) for part, held in items.items()}
        classes = checked_classes(names["train"], labels["train"], len(items["train"]), "train", name)
        if "test" in items:
            check_labels(labels["test"], len(items["test"]), len(classes), "test", name)
            if names["train"] is not None and names["test"] is not None:
                check_same_classes(names["train"], names["test"], name)
        arrays = {part: held.pixels() for part, held in items.items()}
        whole = {part: LabelledImages(array, labels[part]) for part, array in arrays.items() if array is not None}
        if len(whole) == len(items):
            return Parts(name, whole["train"], whole.get("test"), classes)
        return [
            _encoded(held, labels[part], classes, root).take(subset(labels[part], config, part, name))
            for part, held in items.items()
        ]

    def present(self, name: str, root: Path) -> bool:
        """Return whether both parts can be opened without a download."""
        kind = _class(name)
        try:
            return all(_on_disk(kind, part, root)[1] is not None for part in SPLITS)
        except InputError:
            return False


def _names(dataset: Any) -> list[str] | None:
    names = getattr(dataset, "classes", None)
    return [normal(str(name)) for name in names] if isinstance(names, list | tuple) else None


def _encoded(items: Items, labels: Indices, classes: tuple[str, ...], root: Path) -> Listing | EmbeddedImages:
    files = items.files()
    base = root.absolute()
    if files and all(path.absolute().is_relative_to(base) for path in files):
        names = [path.absolute().relative_to(base).as_posix() for path in files]
        return Listing(base, names, labels, classes)
    return EmbeddedImages(items.where, items.read, np.arange(len(items)), labels, classes)


def _class(name: str) -> Any:
    import torchvision.datasets

    word = name.partition(":")[2]
    sets = {key: getattr(torchvision.datasets, key) for key in torchvision.datasets.__all__}
    usable = {key: kind for key, kind in sets.items() if inspect.isclass(kind) and _is_usual(kind)}
    if word not in usable:
        raise unknown("set of torchvision", word, usable)
    return usable[word]


def _is_usual(kind: Any) -> bool:
    given = inspect.signature(kind.__init__).parameters
    needed = {key for key, one in given.items() if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD}
    # without a transform of its targets a set is of pairs, flows or films
    labelled = "target_transform" in given or any(one.kind is one.VAR_KEYWORD for one in given.values())
    return needed == {"self", "root"} and labelled and not given.keys().isdisjoint({"train", "split"})


def _arguments(kind: Any, part: str, asked: str | None) -> list[dict[str, Any]]:
    """Return what a set may be opened with for a part, the first that it knows counting."""
    if "train" not in inspect.signature(kind.__init__).parameters:
        return [{"split": word} for word in ([asked] if asked else SPLITS[part])]
    if asked is not None and asked not in SPLITS:
        raise unknown(f"data.{part}_split of torchvision:{kind.__name__}", asked, SPLITS)
    return [{"train": (asked or part) == "train"}]


def _on_disk(kind: Any, part: str, root: Path, asked: str | None = None) -> tuple[dict[str, Any], Any, bool]:
    """Return what the set takes for a part, the part or None, and whether its files are the published ones.

    The published files are taken if they are there, else files of their names.
    """
    valid: list[str] = []
    for arguments in _arguments(kind, part, asked):
        try:
            if (found := _at_hand(kind, arguments, root)) is not None:
                return arguments, found, True
            return arguments, _at_hand(_unverified(kind), arguments, root), False
        except _UnknownSplitError as error:
            valid = error.valid
    if asked is not None:
        raise unknown(f"data.{part}_split of torchvision:{kind.__name__}", asked, valid)
    raise InputError(f"torchvision:{kind.__name__} has no split {' or '.join(SPLITS[part])}{other_split(part, valid)}")


class _UnknownSplitError(Exception):
    """A set has no split of that name."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        # the names of those that it has, in torchvision's message
        self.valid = re.findall("'([^']*)'", told.partition("Valid values are")[2])


def _at_hand(kind: Any, arguments: dict[str, Any], root: Path) -> Any:
    """Return the set, or None if it cannot be opened without a download."""
    try:
        return kind(str(root), **arguments)
    except ImportError as error:
        raise InputError(f"torchvision needs {error.name} for {kind.__name__}: pip install {error.name}") from None
    except Exception as error:
        if isinstance(error, ValueError) and "argument split" in str(error):
            raise _UnknownSplitError(str(error)) from None
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
