"""Datasets of torchvision's and of Hugging Face's library: ``torchvision:NAME`` and ``hf:PATH``."""

import inspect
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark import paths
from benchmark.configuration import DataConfig
from benchmark.console import note_once
from benchmark.datasets import provider
from benchmark.datasets.decoding import CACHE, EncodedImage, EncodedImages, channels_first
from benchmark.datasets.images import Indices, LabelledImages, Pixels
from methods.errors import InputError, unknown
from methods.plugins import reason_of

TORCHVISION_SPLITS = {"train": ("train", "trainval"), "test": ("test", "val", "valid")}
HF_SPLITS = {"train": ("train",), "test": ("test", "validation", "valid", "val")}
"""The usual names of the splits; of each part the first that is there counts."""

PROBES = 16


class Torchvision(provider.Provider):
    """``torchvision:NAME``: a classification set that takes ``split=`` or ``train=``, where torchvision keeps it."""

    name = "torchvision:NAME"
    description = "a classification set of torchvision with split= or train=, such as SVHN, STL10, Flowers102"
    splits = True

    def parts(self, name: str, config: DataConfig, root: Path) -> provider.Parts:
        """Return the set; what is not there torchvision downloads."""
        kind = _class(name)
        splits = provider.chosen(config, TORCHVISION_SPLITS, _splits(kind, root), name)
        # both are looked for before one is downloaded
        found = {part: _at_hand(kind, split, root) for part, split in splits.items()}
        parts: list[tuple[Items, Indices]] = []
        classes: tuple[str, ...] = ()
        for part, (there, published) in found.items():
            if there is None:
                there = _downloaded(name, kind, splits[part], root)
            elif not published:
                note_once(f"the files of {name} in {root} are not the published ones; they are taken as they are")
            items, names = Items(there, f"{name} {part}"), getattr(there, "classes", None)
            names = names if isinstance(names, list | tuple) else None
            labels, classes = provider.checked_labels(items.labels(), len(there), f"{name}: {part}", names, classes)
            parts.append((items, labels))
        arrays = [(items.pixels(), labels) for items, labels in parts]
        whole = [LabelledImages(pixels, labels) for pixels, labels in arrays if pixels is not None]
        encoded = [] if len(whole) == len(parts) else [items.encoded(root, labels) for items, labels in parts]
        return provider.Parts(classes, encoded or whole)

    def present(self, name: str, root: Path) -> bool:
        """Return whether both parts can be opened without a download."""
        kind = _class(name)
        try:
            splits = provider.chosen(DataConfig(), TORCHVISION_SPLITS, _splits(kind, root), name).values()
        except InputError:
            return False
        return all(_at_hand(kind, split, root)[0] is not None for split in splits)


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
        found = [
            np.array(column, dtype=np.int64)
            for column in self._columns()
            if all(isinstance(number, int | np.integer) for number in column)
            and all(column[place] == label for place, (_, label) in self._probes.items())
        ]
        if found and all(np.array_equal(found[0], other) for other in found):
            return found[0]
        return np.array([self._item(place)[1] for place in range(len(self.dataset))], dtype=np.int64)

    def pixels(self) -> Pixels | None:
        """Return the images ``[N, C, H, W]`` if the set holds them as one array."""
        data = getattr(self.dataset, "data", None)
        array = np.asarray(() if isinstance(data, list) else data)
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or len(array) != len(self.dataset):
            return None
        for images in (array[:, None],) if array.ndim == 3 else (array.transpose(0, 3, 1, 2), array):
            if all(np.array_equal(images[place], channels_first(given)) for place, (given, _) in self._probes.items()):
                return np.ascontiguousarray(images)
        return None

    def files(self) -> list[Path]:
        """Return the image files in the items' order if the set holds a list of them; else nothing."""
        for column in self._columns():
            with suppress(OSError):
                if all(isinstance(path, str | Path) for path in column) and self._gives(column):
                    return [Path(path).absolute() for path in column]
        return []

    def encoded(self, root: Path, labels: Indices) -> EncodedImages:
        """Return the images as files below the root folder, or else each as a PNG file that is written when needed."""
        files, base = self.files(), root.absolute()
        if files and all(path.is_relative_to(base) for path in files):
            return EncodedImages.of_files(base, [path.relative_to(base).as_posix() for path in files], labels)
        places = range(len(self.dataset))
        return EncodedImages([EncodedImage(f"{self.where}[{at}]", partial(self.png, at)) for at in places], labels)

    def png(self, place: int) -> bytes:
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

    def _columns(self) -> Iterator[Sequence[Any]]:
        """Yield what the set holds a list of, one value per item; a list of tuples is several."""
        for value in vars(self.dataset).values():
            held = np.asarray(value).tolist() if getattr(value, "ndim", 0) == 1 else value
            if isinstance(held, list | tuple) and len(held) == len(self.dataset):
                yield from zip(*held, strict=False) if all(isinstance(item, tuple) for item in held) else [held]

    def _gives(self, paths: Sequence[str | Path]) -> bool:
        for place, (given, _) in self._probes.items():
            with Image.open(paths[place]) as opened:
                # torchvision's loaders convert to colour
                if not np.array_equal(np.asarray(opened.convert(given.mode)), np.asarray(given)):
                    return False
        return True


def _class(name: str) -> Any:
    import torchvision.datasets

    usable = {}
    for key in torchvision.datasets.__all__:
        kind = getattr(torchvision.datasets, key)
        given = inspect.signature(kind).parameters
        several = [one.name for one in given.values() if one.kind is one.VAR_KEYWORD]
        needed = [one.name for one in given.values() if one.default is one.empty and one.name not in several]
        # without a transform of its targets a set is of pairs, flows or films
        labelled = "target_transform" in given or several
        if needed == ["root"] and labelled and not given.keys().isdisjoint({"train", "split"}):
            usable[key] = kind
    if (word := name.partition(":")[2]) not in usable:
        raise unknown("set of torchvision", word, usable)
    return usable[word]


def _splits(kind: Any, root: Path) -> Sequence[str]:
    """Return the splits that a set knows, which torchvision lists where it is asked for another."""
    found: list[str] = []
    if "train" not in inspect.signature(kind).parameters:
        try:
            kind(str(root), split="?")
        except Exception as error:
            found = re.findall("'([^']*)'", str(error).partition("Valid values are")[2])
    return found or provider.PARTS


def _opened(kind: Any, split: str, root: Path, **options: Any) -> Any:
    takes_train = "train" in inspect.signature(kind).parameters
    return kind(str(root), **({"train": split == "train"} if takes_train else {"split": split}), **options)


def _at_hand(kind: Any, split: str, root: Path) -> tuple[Any, bool]:
    """Return a split, or None if it cannot be opened without a download, and whether its files are the published ones.

    The published files are taken if they are there, else files of their names: what is read is hashed here anyway, so
    that torchvision need not compare MD5 sums.
    """
    unverified = type(kind.__name__, (kind,), {"_check_integrity": lambda self: True})
    for cls in (kind, unverified):
        # whatever a missing file, a damaged one or a missing package provokes
        with suppress(Exception):
            return _opened(cls, split, root), cls is kind
    return None, False


def _downloaded(name: str, kind: Any, split: str, root: Path) -> Any:
    if not any("download" in inspect.signature(base.__init__).parameters for base in kind.__mro__):
        raise InputError(f"{name} is not in {root}, and torchvision does not download it: put its files there")
    remedy = f"put its files there as torchvision.datasets.{kind.__name__} names them"
    return provider.downloaded(name, root, lambda: _opened(kind, split, root, download=True), remedy)


LABELS = ("label", "labels", "fine_label")
"""The names that decide where several columns of a Hugging Face dataset hold classes."""


class HuggingFace(provider.Provider):
    """``hf:PATH``: a folder that ``DatasetDict.save_to_disk`` has written or of files such as parquet, or a name.

    A name is taken from the library's own cache, or fetched by it where it may: ``HF_HUB_OFFLINE=1`` forbids that.
    """

    name = "hf:PATH"
    description = "a Hugging Face dataset: a folder as save_to_disk writes it, or one in the cache; okdbench[hf]"
    splits = True

    def parts(self, name: str, config: DataConfig, root: Path) -> provider.Parts:
        """Return the images of a dataset of images with a class each."""
        splits = _hf_splits(name, root)
        classes: tuple[str, ...] = ()
        images = []
        for part, split in provider.chosen(config, HF_SPLITS, list(splits), name).items():
            found, classes = _hf_part(splits[split], f"{name} {split}", provider.other_split(part, splits), classes)
            images.append(found)
        return provider.Parts(classes, images)


def _hf_splits(name: str, root: Path) -> Mapping[str, Any]:
    try:
        import datasets as library
    except ImportError:
        raise InputError(f"{name} needs the package datasets: pip install 'okdbench[hf]'") from None
    path, word = provider.path_of(name), name.removeprefix("hf:")
    library.disable_progress_bars()
    if not paths.is_folder(path) and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", word):
        raise InputError(f"no such folder: {path} (a dataset is named hf:PATH, as save_to_disk writes it)")
    try:
        if any(paths.is_file(path / saved) for saved in ("dataset_dict.json", "state.json")):
            found = library.load_from_disk(str(path))
        elif paths.is_folder(path):
            found = library.load_dataset(str(path.absolute()), cache_dir=str(root / CACHE / "hf"))
        else:
            found = library.load_dataset(word)
    except Exception as error:
        # the library lets through whatever a damaged file or a missing network provokes
        raise InputError(f"cannot open {name}: {reason_of(error)}") from None
    if not isinstance(found, Mapping):
        usual = " and ".join(" or ".join(names) for names in HF_SPLITS.values())
        raise InputError(f"{name} is one split: a dataset of several is needed, {usual}")
    return found


def _hf_part(split: Any, where: str, remedy: str, train: tuple[str, ...]) -> tuple[EncodedImages, tuple[str, ...]]:
    """Return the images of a split and its classes, which must be those of the training images, once they are known."""
    if not len(split):
        raise InputError(f"{where} has no image")
    kinds = {name: type(feature).__name__ for name, feature in split.features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    labelled = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    columns = [name for name in LABELS if name in (labelled or kinds)][:1] or labelled
    if len(images) != 1 or len(columns) != 1:
        listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise InputError(f"{where} must have one column of Image and one of ClassLabel (found: {listed}){remedy}")
    [image], [label] = images, columns
    column = split.with_format("arrow")[label][:]
    if column.null_count:
        row = np.flatnonzero(column.is_null())[0]
        raise InputError(f"{where}: {label}[{row}] is missing ({column.null_count} of {len(split)} are){remedy}")
    names = getattr(split.features[label], "names", None)
    labels, classes = provider.checked_labels(np.asarray(column), len(split), f"{where}: {label}", names, train, remedy)
    # as arrow, the library decodes nothing
    rows = split.select_columns([image]).with_format("arrow")

    def content(row: int) -> bytes:
        held = rows[row][image][0].as_py()
        if held is None or held["bytes"] is held["path"] is None:
            raise InputError(f"{where}[{row}] has no image: {image} is null")
        if held["bytes"] is not None:
            return bytes(held["bytes"])
        try:
            return Path(held["path"]).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {held['path']} of {where}[{row}]: {error.strerror}") from None

    encoded = [EncodedImage(f"{where}[{row}]", partial(content, row)) for row in range(len(split))]
    return EncodedImages(encoded, labels), classes
