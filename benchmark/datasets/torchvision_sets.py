"""``torchvision:NAME``: a classification set of torchvision that takes ``split=`` or ``train=``, such as SVHN."""

import inspect
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock
from PIL import Image

from benchmark.configuration import DataConfig
from benchmark.console import note_once
from benchmark.datasets import labels
from benchmark.datasets.decoding import EncodedImage
from benchmark.datasets.image_cache import EncodedImages
from benchmark.datasets.images import Indices, LabelledImages, Pixels
from benchmark.datasets.provider import PARTS, Parts, Provider
from methods.errors import InputError, message_of, unknown

PROBES = 16

SPLITS = {"train": ("train", "trainval"), "test": ("test", "val", "valid")}
"""The usual words for ``split``; of each part the first that a set knows counts."""


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

    def labels(self) -> Indices:
        """Return the class numbers ``[N]``; all items are read if there is no list of them."""
        found: list[Indices] = []
        for value in self._lists():
            numbers = [item[1] if isinstance(item, tuple) and len(item) == 2 else item for item in value]
            if all(isinstance(number, int | np.integer) for number in numbers) and all(
                numbers[place] == label for place, (_, label) in self._probes.items()
            ):
                found.append(np.array(numbers, dtype=np.int64))
        if found and all(np.array_equal(found[0], other) for other in found):
            return found[0]
        return np.array([self._item(place)[1] for place in range(len(self.dataset))], dtype=np.int64)

    def pixels(self) -> Pixels | None:
        """Return the images ``[N, C, H, W]`` if the set holds them as one array."""
        data = getattr(self.dataset, "data", None)
        if data is None or isinstance(data, list):
            return None
        array = np.asarray(data)
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or len(array) != len(self.dataset):
            return None
        for ordered in (array,) if array.ndim == 3 else (array, array.transpose(0, 2, 3, 1)):
            if all(np.array_equal(ordered[place], np.asarray(image)) for place, (image, _) in self._probes.items()):
                return array[:, None] if array.ndim == 3 else np.ascontiguousarray(ordered.transpose(0, 3, 1, 2))
        return None

    def files(self) -> list[Path] | None:
        """Return the image files in the items' order if the set holds a list of them."""
        for value in self._lists():
            paths = [item[0] if isinstance(item, tuple) and item else item for item in value]
            if all(isinstance(path, str | Path) for path in paths) and self._gives(paths):
                return [Path(path) for path in paths]
        return None

    def encoded(self, root: Path, numbers: Indices) -> EncodedImages:
        """Return the images as files below the root folder, or else each as a PNG file that is written when needed."""
        files, base = [path.absolute() for path in self.files() or ()], root.absolute()
        if files and all(path.is_relative_to(base) for path in files):
            return EncodedImages.of_files(base, [path.relative_to(base).as_posix() for path in files], numbers)
        places = range(len(self.dataset))
        return EncodedImages([EncodedImage(f"{self.where}[{at}]", partial(self.png, at)) for at in places], numbers)

    def png(self, place: int) -> BinaryIO:
        """Return an item's image as a PNG file."""
        stream = io.BytesIO()
        self._item(place)[0].save(stream, "PNG")
        stream.seek(0)
        return stream

    def _item(self, place: int) -> tuple[Image.Image, int]:
        with suppress(TypeError, ValueError, RuntimeError):
            image, label = self.dataset[place]
            if isinstance(image, Image.Image):
                return image, int(label)
        raise InputError(f"{self.where}[{place}] is not one image and one class number")

    def _lists(self) -> Iterator[Sequence[Any]]:
        for value in vars(self.dataset).values():
            if isinstance(value, list | tuple) and len(value) == len(self.dataset):
                yield value
            elif getattr(value, "ndim", 0) == 1 and len(value) == len(self.dataset):
                yield np.asarray(value).tolist()

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


class Torchvision(Provider):
    """``torchvision:NAME``, in the root folder as torchvision keeps it there."""

    def parts(self, name: str, config: DataConfig, root: Path) -> Parts:
        """Return the set; what is not there torchvision downloads."""
        kind = _class(name)
        splits = labels.chosen(config, SPLITS, _splits(kind, root), name)
        # both are looked for before one is downloaded
        found = {part: _at_hand(kind, split, root) for part, split in splits.items()}
        items = []
        for part, (there, published) in found.items():
            if there is None:
                there = _downloaded(name, kind, splits[part], root)
            elif not published:
                note_once(f"the files of {name} in {root} are not the published ones; they are taken as they are")
            items.append(Items(there, f"{name} {part}"))
        numbers = [held.labels() for held in items]
        names = [_names(held.dataset) for held in items]
        classes = labels.checked_classes(names[0], numbers[0], len(items[0].dataset), "train", name)
        labels.check_labels(numbers[-1], len(items[-1].dataset), len(classes), [*splits][-1], name)
        if names[0] is not None and names[-1] is not None:
            labels.check_same_classes(names[0], names[-1], name)
        arrays = [held.pixels() for held in items]
        whole = [LabelledImages(array, own) for array, own in zip(arrays, numbers, strict=True) if array is not None]
        if len(whole) == len(items):
            return Parts(classes, whole)
        return Parts(classes, [held.encoded(root, own) for held, own in zip(items, numbers, strict=True)])

    def present(self, name: str, root: Path) -> bool:
        """Return whether both parts can be opened without a download."""
        kind = _class(name)
        try:
            splits = labels.chosen(DataConfig(), SPLITS, _splits(kind, root), name).values()
            return all(_at_hand(kind, split, root)[0] is not None for split in splits)
        except InputError:
            return False


def _names(dataset: Any) -> list[str] | None:
    names = getattr(dataset, "classes", None)
    return [labels.normal(str(name)) for name in names] if isinstance(names, list | tuple) else None


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


def _splits(kind: Any, root: Path) -> Sequence[str]:
    """Return the splits that a set knows, which torchvision lists where it is asked for another."""
    found: list[str] = []
    if "train" not in inspect.signature(kind.__init__).parameters:
        try:
            kind(str(root), split="?")
        except Exception as error:
            found = re.findall("'([^']*)'", str(error).partition("Valid values are")[2])
    return found or PARTS


def _argument(kind: Any, split: str) -> dict[str, Any]:
    takes_train = "train" in inspect.signature(kind.__init__).parameters
    return {"train": split == "train"} if takes_train else {"split": split}


def _at_hand(kind: Any, split: str, root: Path) -> tuple[Any, bool]:
    """Return a split, or None if it cannot be opened without a download, and whether its files are the published ones.

    The published files are taken if they are there, else files of their names: what is read is hashed here anyway, so
    that torchvision need not compare MD5 sums.
    """

    def opened(kind: Any) -> Any:
        try:
            return kind(str(root), **_argument(kind, split))
        except ImportError as error:
            raise InputError(f"torchvision needs {error.name} for {kind.__name__}: pip install {error.name}") from None
        except Exception:
            # whatever a missing or a damaged file provokes
            return None

    if (found := opened(kind)) is not None:
        return found, True
    return opened(type(kind.__name__, (kind,), {"_check_integrity": lambda self: True})), False


def _downloaded(name: str, kind: Any, split: str, root: Path) -> Any:
    if not any("download" in inspect.signature(base.__init__).parameters for base in kind.__mro__):
        raise InputError(f"{name} is not in {root}, and torchvision does not download it: put its files there")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".torchvision-{kind.__name__}.lock"):
            return kind(str(root), **_argument(kind, split), download=True)
    except Exception as error:
        raise InputError(
            f"{name} is not in {root} and cannot be downloaded ({message_of(error)}): put its files there as "
            f"torchvision.datasets.{kind.__name__} names them"
        ) from None
