"""Trees of image files, ``folder:PATH``; and CIFAR-10, CIFAR-100, Fashion-MNIST and TinyImageNet.

An official set is its content, not its container: the official archive, its unpacked form and a tree of lossless
image files give the same images in the same order, and so the same mini-batches and the same identity of a run.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import paths
from benchmark.configuration import DataConfig, parse_yaml
from benchmark.console import note_once
from benchmark.datasets.decoding import EncodedImages, decoded_parts, remembered
from benchmark.datasets.images import LabelledImages, Shape, normal
from benchmark.datasets.provider import Parts, Provider, check_same_classes, chosen, downloaded, path_of, used
from methods.errors import InputError

SPLITS = {"train": ("train",), "test": ("test", "val")}
"""The usual folders of the parts (ImageNet's is ``val``), the first that is there counting."""

_AT_ONCE = 4096

Listed = tuple[EncodedImages, tuple[str, ...]]
"""Image files and the names of their classes in the order of the labels."""

Place = tuple[Path, bool]
"""A folder, and whether it holds the official files; if not, it is a tree of image files."""


class Folder(Provider):
    """``folder:PATH``; of the root folder only the cache is used."""

    name = "folder:PATH"
    description = "a tree of images: PATH/{train,test}/<class>/* (or val); ImageNet with data.image_size=224"
    splits = True

    def parts(self, name: str, config: DataConfig, root: Path) -> Parts:
        """Return the files; a folder of another form is refused."""
        folder = path_of(name)
        if not paths.is_folder(folder):
            raise InputError(f"no such folder: {folder} (a dataset is named folder:PATH, with PATH/train/<class>/*)")
        splits = chosen(config, SPLITS, _entries(folder, os.DirEntry.is_dir), str(folder), "folder")
        images, classes = zip(*(_listed(folder, split) for split in splits.values()), strict=True)
        check_same_classes(classes[0], classes[-1], str(folder))
        return Parts(classes[0], images)


def _listed(folder: Path, split: str) -> Listed:
    """Return the files of a split of a tree, class by class, or raise an InputError."""
    base = folder / split
    names = _entries(base, os.DirEntry.is_dir)
    words = [normal(name) for name in names]
    if twice := [one for one, other in pairwise(words) if one == other]:
        raise InputError(f"{base} has two folders of the class {twice[0]!r}, in two forms of Unicode: one is needed")
    if len(words) < 2:
        raise InputError(f"{base} has {len(words)} class folders: at least 2 are needed")
    return _listed_classes(folder, {word: f"{split}/{name}" for word, name in zip(words, names, strict=True)})


def _listed_classes(base: Path, places: Mapping[str, str]) -> Listed:
    """Return the files in folders below ``base``, given by the name of the class that each holds, class by class."""
    found = [(f"{place}/{file}", at) for at, place in enumerate(places.values()) for file in _images(base / place)]
    names, labels = zip(*found, strict=True)
    return EncodedImages.of_files(base, names, np.array(labels, dtype=np.int64)), tuple(places)


def _images(base: Path) -> list[str]:
    """Return the names of the images in a folder of nothing else, or raise an InputError."""
    everything, files = _entries(base), _entries(base, os.DirEntry.is_file)
    if not everything:
        raise InputError(f"{base} holds no image")
    if strange := sorted(set(everything) - set(files)):
        kind = "a folder" if paths.is_folder(base / strange[0]) else "not a file"
        raise InputError(f"{base / strange[0]} is {kind}: {base} must hold images alone")
    return files


def _entries(base: Path, kind: Callable[[os.DirEntry[str]], bool] = lambda entry: True) -> list[str]:
    """Return the names of the entries of a kind but hidden ones, sorted by their form NFC, or raise an InputError."""

    def wanted(entry: os.DirEntry[str]) -> bool:
        try:
            return not entry.name.startswith(".") and kind(entry)
        except OSError:
            # a link to itself, for example
            return False

    try:
        with os.scandir(base) as found:
            return sorted((entry.name for entry in found if wanted(entry)), key=lambda name: (normal(name), name))
    except OSError as error:
        raise InputError(f"cannot read {base}: {error.strerror}") from None


def in_order(part: LabelledImages, classes: Sequence[str]) -> tuple[LabelledImages, tuple[str, ...]]:
    """Return the images sorted by the names of their classes, then by pixels, labels following, and these names."""
    names = tuple(sorted(classes))
    labels = np.array([names.index(name) for name in classes], dtype=np.int64)[part.labels]
    order: list[int] = []
    for label in range(len(names)):
        members = np.flatnonzero(labels == label)
        pixels = [image.tobytes() for image in part.take(members).images]
        order += [members[at] for at in sorted(range(len(pixels)), key=pixels.__getitem__)]
    return LabelledImages(part.pixels, labels, part.rows).take(np.array(order, dtype=np.int64)), names


def content_hash(part: LabelledImages, classes: Sequence[str]) -> str:
    """Return the hash of the classes, labels and pixels of a part that is :func:`in_order`."""
    digest = sha256("\n".join([*classes, f"{len(part)} {part.shape}"]).encode())
    for start in range(0, len(part), _AT_ONCE):
        some = part.take(np.arange(start, min(start + _AT_ONCE, len(part))))
        digest.update(np.ascontiguousarray(some.images).data)
        digest.update(some.labels.astype("<i8").data)
    return digest.hexdigest()


@dataclass(eq=False)
class OfficialSet(Provider):
    """Where a set of ``official.yaml`` comes from, what identifies it, and the recipes' normalisation."""

    name: str
    description: str
    files: Mapping[str, str]  # the archive's files below the folder that they are in, and their MD5
    unpacked: str  # the folder that the archive unpacks to
    mean: tuple[float, ...]  # of each channel, for pixels in [0, 1]
    std: tuple[float, ...]  # of each channel, likewise
    torchvision: str = ""  # the class that downloads, verifies and reads it; empty for TinyImageNet
    address: str = ""  # of the archive where torchvision has no such class
    sizes: tuple[int, int, int, int, int] | None = None
    recipe: str = "cifar"
    # the content hashes of the training and the test images, where the official pixels have been at hand
    contents: tuple[str, ...] = ()

    def place(self, root: Path) -> Place | None:
        """Return where the set is, None for nowhere: its official files, packed or unpacked, or a tree of image files.

        The former are in ``<root>`` or ``<root>/<name>``, or the root folder is the unpacked one; the latter is
        ``<root>/<name>/{train,test}/<class>/*``.
        """
        nested = [root.parent] if root.name and root.name == self.unpacked else []
        for where in (root, root / self.name, *nested):
            packed = self.torchvision and all(paths.is_file(where / file) for file in self.files)
            if packed or paths.is_folder(where / self.unpacked):
                return where, True
        tree = root / self.name
        return (tree, False) if paths.is_folder(tree / "train") else None

    def present(self, name: str, root: Path) -> bool:
        """Return whether its official files, packed or unpacked, or a folder of its images are there."""
        return self.place(root) is not None

    def fetch(self, name: str, root: Path) -> None:
        """Download the set if it is not there and only its content, which is not known before, can identify it."""
        if not self.contents and not self.place(root):
            self._download(root)

    def shape(self, name: str, config: DataConfig, root: Path) -> Shape:
        """Return the official shape if the set is not there, or is the official one as far as is known."""
        usual = not self.place(root) or (self.contents and self.checksum(name, config, root) == self._expected(config))
        return Shape(*self.sizes).part(config) if self.sizes and usual else super().shape(name, config, root)

    def checksum(self, name: str, config: DataConfig, root: Path) -> str:
        """Return the hash of the images, from whatever they are read; for a set that is not there what is expected.

        The parts in use are hashed whole: subsets are part of a run's identity by themselves. Of a set whose official
        content has not been seen, what is expected is its archive's MD5.
        """
        expected, place = self._expected(config), self.place(root)
        if place is None:
            return expected
        found = sha256("\n".join(self.content(place, part, root) for part in used(config)).encode()).hexdigest()
        if self.contents and found != expected:
            note_once(
                f"{name} in {place[0]} is not the official content: its runs have a checksum of their own, "
                f"{found[:12]}, and are not those of the official set, {expected[:12]}"
            )
        return found

    def _expected(self, config: DataConfig) -> str:
        contents = self.contents[: len(used(config))]
        return sha256("\n".join(contents).encode()).hexdigest() if contents else next(iter(self.files.values()))

    def parts(self, name: str, config: DataConfig, root: Path) -> Parts:
        """Return the set in its one order, downloaded into the root folder first if it is not there."""
        place = self.place(root) or self._download(root)
        images, classes = zip(*(self._part(place, part, root) for part in used(config)), strict=True)
        check_same_classes(classes[0], classes[-1], name)
        return Parts(classes[0], images, (self.mean, self.std))

    def _part(self, place: Place, part: str, root: Path) -> tuple[LabelledImages, tuple[str, ...]]:
        """Return the images of ``train`` or ``test`` and their classes :func:`in_order`."""
        if listed := self._image_files(place, part):
            files, classes = listed
            # some of TinyImageNet's photographs are grey
            [images], _ = decoded_parts([files], root, None, f"{files.base}, {part}", colour=len(self.mean) == 3)
            return in_order(images, classes)
        where, _ = place
        try:
            # nothing is written where everything is unpacked: the folder may be read-only
            loaded = self._open(where, part)
        except RuntimeError:
            self._download(where)
            loaded = self._open(where, part)
        pixels = np.asarray(loaded.data, dtype=np.uint8)
        pixels = pixels.transpose(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None]
        labels = np.asarray(loaded.targets, dtype=np.int64)
        return in_order(LabelledImages(np.ascontiguousarray(pixels), labels), loaded.classes)

    def content(self, place: Place, part: str, root: Path) -> str:
        """Return a part's :func:`content_hash`, which is computed once while the files stay the same."""
        where, _ = place
        if listed := self._image_files(place, part):
            files, classes = listed
            where, names, also = files.base or where, files.names, f"{self.name} {classes} {files.labels.tolist()}"
        else:
            stored = {*(where / file for file in self.files), *(where / self.unpacked).glob("*")}
            names, also = sorted(str(path.relative_to(where)) for path in stored if paths.is_file(path)), part
        return remembered(root, where, names, also, lambda: content_hash(*self._part(place, part, root)))

    def _image_files(self, place: Place, part: str) -> Listed | None:
        """Return the image files of a part; None for official files that torchvision reads."""
        where, official = place
        if not official:
            usual = (split for split in SPLITS[part] if paths.is_folder(where / split))
            return _listed(where, next(usual, part))
        return None if self.torchvision else _tiny_layout(where / self.unpacked, part)

    def _download(self, root: Path) -> Place:
        sums = {root / file: md5 for file, md5 in self.files.items()}
        first, *_ = sums
        wanted = ", ".join(f"{path.name} (MD5 {md5})" for path, md5 in sums.items())

        def download() -> None:
            if self.torchvision:
                self._open(root, "train", download=True)
            elif not (root / self.unpacked).is_dir():
                _unpack(first, sums[first], root / self.unpacked, self.address)

        downloaded(self.name, root, download, f"put {wanted} into {first.parent}")
        return root, True

    def _open(self, root: Path, part: str, download: bool = False) -> Any:
        import torchvision.datasets

        return getattr(torchvision.datasets, self.torchvision)(str(root), train=part == "train", download=download)


def _unpack(zipped: Path, md5: str, target: Path, address: str) -> None:
    """Unpack TinyImageNet, which is downloaded first if the archive is not there."""
    from torchvision.datasets.utils import check_integrity, download_url

    unfinished = zipped.with_name(f".{zipped.name}.unfinished")
    # what a killed process has left
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        if not zipped.is_file():
            download_url(address, str(unfinished), zipped.name, md5)
            (unfinished / zipped.name).rename(zipped)
        elif not check_integrity(str(zipped), md5):
            raise RuntimeError(f"{zipped} is damaged or another file")
        shutil.unpack_archive(zipped, unfinished)
        (unfinished / target.name).rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _tiny_layout(base: Path, part: str) -> Listed:
    """Return the files of a part of TinyImageNet, of which the validation images are the test set, as is usual.

    ``wnids.txt`` names the classes in their order, ``train/<wnid>/images/`` holds their training images,
    ``val/val_annotations.txt`` the classes of ``val/images/``. The test images have no known classes and are not used.
    """
    names, annotations, images = base / "wnids.txt", base / "val/val_annotations.txt", base / "val/images"
    classes = tuple(line.strip() for line in _lines(names))
    if part == "train":
        if sorted(classes) != _entries(base / "train", os.DirEntry.is_dir) or len(classes) < 2:
            raise InputError(f"{names} must name each folder in {base / 'train'} once, one per line, at least 2")
        return _listed_classes(base, {wnid: f"train/{wnid}/images" for wnid in classes})
    files, labels = [], []
    for number, line in enumerate(_lines(annotations), 1):
        file, wnid = [*map(str.strip, line.split("\t")), ""][:2]
        if wnid not in classes:
            raise InputError(f"{annotations}, line {number}: class {wnid!r} is not in wnids.txt")
        files.append(file)
        labels.append(classes.index(wnid))
    # a file that is cut short would otherwise make a smaller test set
    if sorted(files) != sorted(there := _images(images)):
        differing = sorted(set(files) ^ set(there)) or [file for file in there if files.count(file) > 1]
        raise InputError(f"{images} and {annotations} do not name the same files, each once: {differing[0]}")
    return EncodedImages.of_files(base, [f"val/images/{file}" for file in files], np.array(labels)), classes


def _lines(path: Path) -> Sequence[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', 'it is no text file')}") from None


def _official() -> Iterator[OfficialSet]:
    text = resources.files("benchmark.datasets").joinpath("official.yaml").read_text(encoding="utf-8")
    for name, fields in parse_yaml(text, "official.yaml").items():
        of_tuples: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
        }
        yield OfficialSet(name=name, **of_tuples)


OFFICIAL = {own.name: own for own in _official()}
