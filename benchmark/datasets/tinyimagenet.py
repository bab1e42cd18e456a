"""TinyImageNet in its official layout; its validation images are the test set, as everybody uses it.

``wnids.txt`` names the classes in their order, ``train/<wnid>/images/`` holds their training images,
``val/val_annotations.txt`` the classes of ``val/images/``. The test images, whose classes are unknown, are not used.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock

from benchmark.configuration import DataConfig
from benchmark.datasets import archive, image_cache
from benchmark.datasets.images import Dataset, LabelledImages, stratified
from benchmark.datasets.listing import Listing, files, folders, identity, identity_of
from benchmark.store import atomic
from methods.errors import InputError

ADDRESS = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
FOLDER = "tiny-imagenet-200"

# of PCL's and DKEL's released code
MEAN = (0.4802, 0.4481, 0.3975)
STD = (0.2302, 0.2265, 0.2262)

# what was unpacked from the official archive; hidden, so that no listing counts it
ORIGIN = ".official.json"
PARTS = ("train", "val")


def checksum(name: str, config: DataConfig, root: Path) -> str:
    """Return the official archive's MD5 for its images, or for those that are to be fetched; else a hash of contents.

    Raises:
        InputError: If the folder is there but has another layout.
    """
    folder = root / FOLDER
    if not folder.is_dir():
        return MD5
    cache = image_cache.folder(root)
    listed = {part: _listing(folder, part) for part in (PARTS[:1] if config.holdout else PARTS)}
    origin = _origin(folder)
    if origin and all(origin.get(part) == identity_of(listing, cache) for part, listing in listed.items()):
        return MD5
    return identity([_chosen(listing, part, config) for part, listing in listed.items()], cache)


def present(name: str, root: Path) -> bool:
    """Return whether its folder is there."""
    return (root / FOLDER).is_dir()


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return the set, fetching it into the root folder first if it is not there.

    Raises:
        InputError: If it is neither there nor can be fetched, or a file is not what it should be; it is named.
    """
    folder = _present(root)
    train = _part(folder, "train", config, root)
    test = train.take(np.arange(0)) if config.holdout else _part(folder, "val", config, root)
    if test.shape != train.shape:
        raise InputError(f"{folder}: train and val have images of different sizes: data.image_size=N resizes them")
    return Dataset(name, train, test, _classes(folder), MEAN, STD)


def _part(folder: Path, part: str, config: DataConfig, root: Path) -> LabelledImages:
    listing = _chosen(_listing(folder, part), part, config)
    # some of its photographs are grey
    return LabelledImages(image_cache.images(listing, root, config.image_size, colour=True).pixels, listing.labels)


def _chosen(listing: Listing, part: str, config: DataConfig) -> Listing:
    train = part == "train"
    per_class = config.train_per_class if train else config.test_per_class
    return listing.take(stratified(listing.labels, per_class, "train" if train else "test"))


def _listing(folder: Path, part: str) -> Listing:
    return _train(folder) if part == "train" else _val(folder)


def _train(folder: Path) -> Listing:
    classes = _classes(folder)
    base = folder / "train"
    if not base.is_dir():
        raise InputError(f"{folder} has no folder 'train': the official layout has train/<wnid>/images/*")
    if differing := sorted(set(classes) ^ set(folders(base))):
        raise InputError(f"{folder}: wnids.txt and train/ name different classes: {', '.join(differing[:5])}")
    members = [files(base / wnid / "images") for wnid in classes]
    names = [f"train/{wnid}/images/{file}" for wnid, listed in zip(classes, members, strict=True) for file in listed]
    labels = np.repeat(np.arange(len(classes)), [len(listed) for listed in members])
    return Listing(folder, names, labels, classes)


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
    return Listing(
        folder, [f"val/images/{file}" for file in labels], np.array([*labels.values()], dtype=np.int64), classes
    )


def _classes(folder: Path) -> tuple[str, ...]:
    path = folder / "wnids.txt"
    classes = tuple(line.strip() for line in _lines(path))
    strange = [name for name in classes if name.startswith(".") or "/" in name]
    if strange or len(set(classes)) != len(classes) or len(classes) < 2:
        what = repr(strange[0]) if strange else f"{len(classes)} lines, {len(set(classes))} of them different"
        raise InputError(f"{path} must hold one class name a line, at least 2, each once (found: {what})")
    return classes


def _lines(path: Path) -> Sequence[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text file") from None
    return [line for line in text.splitlines() if line.strip()]


def _present(root: Path) -> Path:
    """Return the data set's folder; unpack the archive that lies beside it, or fetch that first, if it is not there."""
    folder, zipped = root / FOLDER, root / f"{FOLDER}.zip"
    if folder.is_dir():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".tinyimagenet.lock"):
            if folder.is_dir():
                return folder
            if zipped.is_file():
                archive.verify(zipped, MD5)
            else:
                archive.download(ADDRESS, zipped, MD5)
            with archive.unpacked(zipped, FOLDER) as unpacked:
                _note_origin(unpacked, root)
                return unpacked.rename(folder)
    except OSError as error:
        reason = str(error.strerror or getattr(error, "reason", "") or error)
        raise InputError(
            f"tinyimagenet is not in {root} and cannot be fetched from {ADDRESS} ({reason}): "
            f"put {zipped.name} (MD5 {MD5}) or its folder {FOLDER} into {root}"
        ) from None


def _note_origin(folder: Path, root: Path) -> None:
    cache = image_cache.folder(root)
    identities = {part: identity_of(_listing(folder, part), cache) for part in PARTS}
    atomic.write_text(folder / ORIGIN, json.dumps({"archive": MD5, **identities}) + "\n")


def _origin(folder: Path) -> dict[str, str]:
    try:
        content = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("archive") == MD5 else {}
