"""CIFAR-10, CIFAR-100 and Fashion-MNIST: official files, downloaded and verified by torchvision, or image files.

An official set is its content, not its container: the official archive, its unpacked form and a folder of lossless
image files give the same images in the same order, and so the same mini-batches and the same identity of a run.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from filelock import FileLock

from benchmark import paths
from benchmark.configuration import DataConfig
from benchmark.console import note_once
from benchmark.datasets import folder, image_cache
from benchmark.datasets.decoding import check_range, squared
from benchmark.datasets.images import Dataset, LabelledImages, subset
from benchmark.datasets.labels import check_same_classes
from benchmark.datasets.listing import Listing, identity_of, remembered, remembered_of_files
from methods.errors import InputError, message_of

PARTS = ("train", "test")

_AT_ONCE = 4096


class Container(Protocol):
    """What an official set was stored in."""

    @property
    def where(self) -> Path:
        """The folder."""

    def part(self, part: str) -> tuple[LabelledImages, tuple[str, ...]]:
        """Return the images of ``train`` or ``test`` in any order, and the classes' names in that of the labels."""

    def content(self, part: str) -> str:
        """Return the part's :func:`content_hash`; what takes long may be remembered."""


@dataclass(frozen=True)
class ImageFiles:
    """A set whose images are files."""

    listings: Callable[[str], Listing]
    root: Path  # where datasets are stored, with the cache
    colour: bool  # whether the images are coloured even if every one is grey

    @property
    def where(self) -> Path:
        """The folder of the training images."""
        return self.listings("train").base

    def part(self, part: str) -> tuple[LabelledImages, tuple[str, ...]]:
        """Return the images, decoded at the first call and mapped from the cache ever after."""
        listing = self.listings(part)
        found = image_cache.images(listing, self.root, None, self.colour)
        check_range(found.highest, f"{listing.base}, {part}")
        return LabelledImages(found.pixels, listing.labels), listing.classes

    def content(self, part: str) -> str:
        """Return the content hash, which is computed once while the files stay the same."""
        folder = image_cache.folder(self.root)
        key = f"{identity_of(self.listings(part), folder)} {self.colour}"
        return remembered(folder, key, lambda: content_hash(*self.part(part)))


def container_checksum(container: Container, config: DataConfig) -> str:
    """Return what identifies the images that a run uses: all for training and, unless some are held out, for testing.

    The subsets that a configuration takes of them are part of a run's identity by themselves.
    """
    return sha256("\n".join(container.content(part) for part in _used(config)).encode()).hexdigest()


def dataset_in_order(
    name: str, container: Container, config: DataConfig, mean: tuple[float, ...], std: tuple[float, ...]
) -> Dataset:
    """Return a set in its one order, with the subset and in the size that the configuration asks for.

    Mean and standard deviation are of each channel, for pixels in [0, 1]. The test images are not looked at if some
    training images are held out.
    """
    found = [container.part(part) for part in _used(config)]
    # their order is that of the names, whatever the labels are in the files
    check_same_classes(sorted(found[0][1]), sorted(found[-1][1]), name)
    parts = []
    for part, (images, classes) in zip(PARTS, found, strict=False):
        ordered = in_order(images, classes)
        taken = ordered.take(subset(ordered.labels, config, part, name))
        if config.image_size not in (None, taken.shape[-1]) or taken.shape[1] != taken.shape[2]:
            taken = LabelledImages(squared(taken.images, config.image_size, f"{name}, {part}"), taken.labels)
        parts.append(taken)
    if len({part.shape for part in parts}) > 1:
        raise InputError(f"{name}: train and test have images of different sizes: data.image_size=N resizes them")
    test = parts[1] if len(parts) > 1 else parts[0].take(np.arange(0))
    return Dataset(name, parts[0], test, tuple(sorted(found[0][1])), mean, std)


def in_order(part: LabelledImages, classes: Sequence[str]) -> LabelledImages:
    """Return the images sorted by the names of their classes and then by their pixels; labels follow the names."""
    names = sorted(classes)
    labels = np.array([names.index(name) for name in classes], dtype=np.int64)[part.labels]
    order: list[int] = []
    for label in range(len(names)):
        members = np.flatnonzero(labels == label)
        images = zip(members.tolist(), part.take(members).images, strict=True)
        pixels: dict[int, bytes] = {index: image.tobytes() for index, image in images}
        order += sorted(pixels, key=pixels.__getitem__)
    return LabelledImages(part.pixels, labels, part.rows).take(np.array(order, dtype=np.int64))


def content_hash(part: LabelledImages, classes: Sequence[str]) -> str:
    """Return the hash of a part's classes, labels and pixels in canonical order."""
    ordered = in_order(part, classes)
    digest = sha256("\n".join([*sorted(classes), f"{len(part)} {part.shape}"]).encode())
    for start in range(0, len(ordered), _AT_ONCE):
        some = ordered.take(np.arange(start, min(start + _AT_ONCE, len(ordered))))
        digest.update(np.ascontiguousarray(some.images).data)
        digest.update(some.labels.astype("<i8").data)
    return digest.hexdigest()


def _used(config: DataConfig) -> Sequence[str]:
    return PARTS[:1] if config.holdout else PARTS


@dataclass(frozen=True)
class _Official:
    """Where a set comes from, what identifies it, and the normalisation that the published recipes use."""

    torchvision: str  # its class there
    files: Mapping[str, str]  # the archive's files and their MD5
    folder: str  # where torchvision puts them
    mean: tuple[float, ...]  # of each channel
    std: tuple[float, ...]  # of each channel
    unpacked: str = ""  # the folder that the archive unpacks to
    # the content hashes of the training and the test images, where the official pixels have been at hand
    contents: tuple[str, ...] = ()

    def checksum(self, config: DataConfig) -> str:
        """Return what identifies the official images that are in use; empty if it is not known."""
        known = self.contents[: len(_used(config))]
        return sha256("\n".join(known).encode()).hexdigest() if known else ""


_OFFICIAL: Mapping[str, _Official] = {
    "cifar10": _Official(
        "CIFAR10",
        {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
        "",
        (0.4914, 0.4822, 0.4465),
        (0.2470, 0.2435, 0.2616),
        "cifar-10-batches-py",
    ),
    "cifar100": _Official(
        "CIFAR100",
        {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
        "",
        (0.5071, 0.4866, 0.4409),
        (0.2675, 0.2565, 0.2761),
        "cifar-100-python",
        (
            "859956f3b1d0f91a8024ff8de75d135312c8c8b0528bf095f227e0adb3491872",
            "b7e8905ee5938baed20915ff9e6f180e659f0791fdd68c8306feee104cc03106",
        ),
    ),
    "fashion-mnist": _Official(
        "FashionMNIST",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        "FashionMNIST/raw",
        (0.2860,),
        (0.3530,),
    ),
}


def checksum(name: str, config: DataConfig, root: Path) -> str:
    """Return the hash of the images, from whatever they are read; for a set that is not there what is expected of it.

    Of a set whose official content has not been seen that is its archive's MD5.
    """
    official, container = _OFFICIAL[name], _container(name, root)
    known = official.checksum(config)
    if container is None:
        return known or next(iter(official.files.values()))
    found = container_checksum(container, config)
    if known and found != known:
        note_once(
            f"{name} in {container.where} is not the official content: its runs have a checksum of their own, "
            f"{found[:12]}, and are not those of the official set, {known[:12]}"
        )
    return found


def present(name: str, root: Path) -> bool:
    """Return whether its official files, packed or unpacked, or a folder of its images are there."""
    return _container(name, root) is not None


def fetch(name: str, root: Path) -> None:
    """Download the set if it is not there and only its content, which is not known before, can identify it."""
    if not present(name, root) and not _OFFICIAL[name].contents:
        _open(name, _OFFICIAL[name], root, train=True)


def usual(name: str, config: DataConfig, root: Path) -> bool:
    """Return whether the set has the official sizes, as far as that can be told: it is not there, or is official."""
    return not present(name, root) or checksum(name, config, root) == _OFFICIAL[name].checksum(config)


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return the set, downloading it into the root folder first if it is not there.

    Its files are looked for in the root folder and in ``<root>/<name>``, and the root folder may be the unpacked one
    too; a folder of images is ``<root>/<name>/{train,test}/<class>/*``.
    """
    official = _OFFICIAL[name]
    container = _container(name, root) or _Archive(name, _home(name, root), root)
    return dataset_in_order(name, container, config, official.mean, official.std)


@dataclass(frozen=True)
class _Archive:
    """The official files, packed or unpacked."""

    name: str
    where: Path
    root: Path

    def part(self, part: str) -> tuple[LabelledImages, tuple[str, ...]]:
        loaded = _open(self.name, _OFFICIAL[self.name], self.where, part == "train")
        pixels = np.asarray(loaded.data, dtype=np.uint8)
        images = pixels.transpose(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None]
        labels = np.asarray(loaded.targets, dtype=np.int64)
        return LabelledImages(np.ascontiguousarray(images), labels), tuple(loaded.classes)

    def content(self, part: str) -> str:
        official = _OFFICIAL[self.name]
        found = [self.where / official.folder / file for file in official.files]
        if official.unpacked:
            found += (self.where / official.unpacked).glob("*")
        names = sorted(str(path.relative_to(self.where)) for path in found if paths.is_file(path))
        # the files hold both parts
        cache = image_cache.folder(self.root) / part
        return remembered_of_files(cache, self.where, names, lambda: content_hash(*self.part(part)))


def _container(name: str, root: Path) -> Container | None:
    if _found(name, home := _home(name, root)):
        return _Archive(name, home, root)
    if paths.is_folder(root / name / "train"):
        return ImageFiles(partial(folder.listing, root / name), root, colour=len(_OFFICIAL[name].mean) == 3)
    return None


def _home(name: str, root: Path) -> Path:
    """Return the folder that torchvision calls the root."""
    nested = [root.parent] if root.name and root.name == _OFFICIAL[name].unpacked else []
    return next((folder for folder in (root, root / name, *nested) if _found(name, folder)), root)


def _found(name: str, root: Path) -> bool:
    official = _OFFICIAL[name]
    packed = all(paths.is_file(root / official.folder / file) for file in official.files)
    return packed or bool(official.unpacked and paths.is_folder(root / official.unpacked))


def _open(name: str, official: _Official, root: Path, train: bool) -> Any:
    import torchvision.datasets

    factory: Callable[..., Any] = getattr(torchvision.datasets, official.torchvision)
    where = root / official.folder
    try:
        with suppress(RuntimeError):
            # nothing is written where everything is unpacked: the folder may be read-only
            return _verified(factory(str(root), train=train, download=False), factory, where)
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock"):
            return _verified(factory(str(root), train=train, download=True), factory, where)
    except (OSError, RuntimeError) as error:
        wanted = ", ".join(f"{file} (MD5 {md5})" for file, md5 in official.files.items())
        raise InputError(
            f"{name} is not in {root} and cannot be downloaded ({message_of(error)}): put {wanted} into {where}"
        ) from None


def _verified(loaded: Any, factory: Any, folder: Path) -> Any:
    # torchvision checks CIFAR's unpacked files at every start, but of Fashion-MNIST's only that they exist
    from torchvision.datasets.utils import check_integrity

    for file, md5 in getattr(factory, "resources", ()):
        if not check_integrity(str(folder / file), md5):
            raise RuntimeError(f"{folder / file} is missing or damaged")
    return loaded
