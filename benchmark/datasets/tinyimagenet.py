"""TinyImageNet in its official layout or as a tree of images; its validation images are the test set, as is usual.

``wnids.txt`` names the classes in their order, ``train/<wnid>/images/`` holds their training images,
``val/val_annotations.txt`` the classes of ``val/images/``. The test images, whose classes are unknown, are not used.
"""

import hashlib
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from http.client import HTTPException
from pathlib import Path

import numpy as np
from filelock import FileLock

from benchmark.configuration import DataConfig
from benchmark.datasets import folder
from benchmark.datasets.images import Dataset
from benchmark.datasets.listing import Listing, files, folders, listing_of_classes
from benchmark.datasets.official import PARTS, ImageFiles, container_checksum, dataset_in_order
from methods.errors import InputError

ADDRESS = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
FOLDER = "tiny-imagenet-200"

# of PCL's and DKEL's released code
MEAN = (0.4802, 0.4481, 0.3975)
STD = (0.2302, 0.2265, 0.2262)

NAME = "tinyimagenet"


def checksum(name: str, config: DataConfig, root: Path) -> str:
    """Return the hash of the decoded images that are there; the official archive's MD5 if it is to be fetched."""
    return container_checksum(_files(root), config) if present(name, root) else MD5


def present(name: str, root: Path) -> bool:
    """Return whether its folder is there."""
    return (root / FOLDER).is_dir() or (root / NAME / "train").is_dir()


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return the set, fetching it into the root folder first if it is not there.

    It is ``<root>/tiny-imagenet-200`` in the official layout, or ``<root>/tinyimagenet/{train,test}/<class>/*``.
    """
    fetch(name, root)
    return dataset_in_order(name, _files(root), config, MEAN, STD)


def _files(root: Path) -> ImageFiles:
    official = root / FOLDER
    listings = partial(_listing, official) if official.is_dir() else partial(folder.listing, root / NAME)
    # some of its photographs are grey
    return ImageFiles(listings, root, colour=True)


def _listing(base: Path, part: str) -> Listing:
    return _train(base) if part == "train" else _val(base)


def _train(folder: Path) -> Listing:
    classes = _classes(folder)
    base = folder / "train"
    if not base.is_dir():
        raise InputError(f"{folder} has no folder 'train': the official layout has train/<wnid>/images/*")
    if differing := sorted(set(classes) ^ set(folders(base))):
        raise InputError(f"{folder}: wnids.txt and train/ name different classes: {', '.join(differing[:5])}")
    return listing_of_classes(folder, {wnid: f"train/{wnid}/images" for wnid in classes})


def _val(folder: Path) -> Listing:
    classes = _classes(folder)
    index = {wnid: label for label, wnid in enumerate(classes)}
    annotations = folder / "val" / "val_annotations.txt"
    labels: dict[str, int] = {}
    for number, line in enumerate(_lines(annotations), 1):
        file, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0].strip()
        if wnid not in index:
            raise InputError(f"{annotations}, line {number}: class {wnid!r} is not in wnids.txt")
        if file in labels:
            raise InputError(f"{annotations}, line {number}: {file} has a line already")
        labels[file] = index[wnid]
    base = folder / "val" / "images"
    # a file that is cut short would otherwise make a smaller test set
    if differing := sorted(set(labels) ^ set(files(base))):
        missing = "is not there" if differing[0] in labels else f"has no line in {annotations}"
        raise InputError(f"{base / differing[0]} {missing}")
    if empty := sorted(set(classes) - {classes[label] for label in labels.values()}):
        raise InputError(f"{annotations}: class {empty[0]} has no image")
    names = [f"val/images/{file}" for file in labels]
    return Listing(folder, names, np.array([*labels.values()], dtype=np.int64), classes)


def _classes(folder: Path) -> tuple[str, ...]:
    path = folder / "wnids.txt"
    classes = tuple(line.strip() for line in _lines(path))
    strange = [name for name in classes if name.startswith(".") or "/" in name]
    if strange or len(set(classes)) != len(classes) or len(classes) < 2:
        what = repr(strange[0]) if strange else f"{len(classes)} lines, {len(set(classes))} of them different"
        raise InputError(f"{path} must hold one class name per line, at least 2, each once (found: {what})")
    return classes


def _lines(path: Path) -> Sequence[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text file") from None
    return [line for line in text.splitlines() if line.strip()]


def fetch(name: str, root: Path) -> None:
    """Unpack the archive that is in the root folder, or download that first, if the set is not there.

    Raises:
        InputError: If it cannot be fetched, or has not the official layout.
    """
    if present(name, root):
        return
    target, zipped = root / FOLDER, root / f"{FOLDER}.zip"
    unfinished = root / f".{zipped.name}.unfinished"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".tinyimagenet.lock"):
            if target.is_dir():
                return
            # what a killed process has left
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            try:
                _unpack(zipped, unfinished)
                # before it has its name: what is there is read as it is
                for part in PARTS:
                    _listing(unfinished / FOLDER, part)
                (unfinished / FOLDER).rename(target)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except (OSError, HTTPException) as error:
        reason = str(getattr(error, "strerror", "") or getattr(error, "reason", "") or error)
        raise InputError(
            f"tinyimagenet is not in {root} and cannot be fetched from {ADDRESS} ({reason}): "
            f"put {zipped.name} (MD5 {MD5}) or its folder {FOLDER} into {root}"
        ) from None


def _unpack(zipped: Path, folder: Path) -> None:
    """Unpack the archive into a folder on the same file system, downloaded first if it is not there."""
    fetched = folder / zipped.name
    if not zipped.is_file():
        from torch.hub import download_url_to_file

        download_url_to_file(ADDRESS, str(fetched), progress=sys.stderr.isatty())
        _verify(fetched, f"what {ADDRESS} sent")
        fetched.rename(zipped)
    else:
        _verify(zipped, str(zipped))
    shutil.unpack_archive(zipped, folder)


def _verify(path: Path, what: str) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != MD5:
        raise InputError(f"{what} has the MD5 {found}, not {MD5}: it is damaged or another file")
