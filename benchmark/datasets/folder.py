"""Any tree of images: ``train/<class>/*`` and ``test/<class>/*``."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from benchmark.config import DataConfig
from benchmark.datasets.images import Dataset, LabelledImages, channel_statistics, stratified
from methods.errors import InputError

Pixels = npt.NDArray[np.uint8]


def checksum(name: str, config: DataConfig, root: Path) -> str:
    """Return the hash of the chosen files' names and bytes."""
    digest = sha256()
    folder = _folder(name)
    for part in _parts(config):
        paths, _, _ = _listing(folder, part, config)
        with ThreadPoolExecutor() as pool:
            for path, content in zip(paths, pool.map(_hash, paths), strict=True):
                digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return the tree's images; the root folder plays no part, the path stands in the name.

    The images must be square and of one size. Grey images among coloured ones count as coloured.

    Raises:
        InputError: If the tree has another form, or a file is no image; the file is named.
    """
    folder = _folder(name)
    parts = {part: _listing(folder, part, config) for part in _parts(config)}
    classes = parts["train"][2]
    if "test" in parts and parts["test"][2] != classes:
        differing = sorted(set(classes) ^ set(parts["test"][2]))
        raise InputError(f"{folder}: train and test have different classes: {', '.join(differing[:5])}")
    everything = _decode_all([path for paths, _, _ in parts.values() for path in paths])
    labels = np.concatenate([labels for _, labels, _ in parts.values()])
    count = len(parts["train"][0])
    train = LabelledImages(everything[:count], labels[:count])
    test = LabelledImages(everything[count:], labels[count:])
    mean, std = channel_statistics(train.images)
    return Dataset(name, train, test, classes, mean, std)


def _parts(config: DataConfig) -> Sequence[str]:
    return ("train",) if config.holdout else ("train", "test")


def _folder(name: str) -> Path:
    path = Path(name.removeprefix("folder:")).expanduser()
    if not path.is_dir():
        raise InputError(f"no such folder: {path} (a dataset is named folder:PATH, with PATH/train/<class>/*)")
    return path


def _listing(folder: Path, part: str, config: DataConfig) -> tuple[list[Path], npt.NDArray[np.int64], tuple[str, ...]]:
    base = folder / part
    if not base.is_dir():
        raise InputError(f"{folder} has no folder {part!r}: it must hold train/<class>/* and test/<class>/*")
    classes = sorted(path for path in base.iterdir() if path.is_dir())
    if len(classes) < 2:
        raise InputError(f"{base} has {len(classes)} class folders: at least 2 are needed")
    paths, labels = [], []
    for index, directory in enumerate(classes):
        members = sorted(path for path in directory.iterdir() if path.is_file() and not path.name.startswith("."))
        if not members:
            raise InputError(f"{directory} holds no image")
        paths += members
        labels += [index] * len(members)
    array = np.asarray(labels, dtype=np.int64)
    per_class = config.train_per_class if part == "train" else config.test_per_class
    chosen = stratified(array, per_class, part)
    return [paths[index] for index in chosen], array[chosen], tuple(path.name for path in classes)


def _hash(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _decode_all(paths: Sequence[Path]) -> Pixels:
    """Return the images as ``[N, C, H, W]``, with one channel if all of them are grey."""
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(_decode, paths))
    side = decoded[0].shape[0]
    for path, pixels in zip(paths, decoded, strict=True):
        if pixels.shape[:2] != (side, side):
            height, width = pixels.shape[:2]
            raise InputError(
                f"{path} is {width}x{height}, {paths[0]} is {side} high: all must be square and of one size"
            )
    if any(pixels.ndim == 3 for pixels in decoded):
        decoded = [pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2) for pixels in decoded]
        return np.ascontiguousarray(np.stack(decoded).transpose(0, 3, 1, 2))
    return np.stack(decoded)[:, None]


def _decode(path: Path) -> Pixels:
    try:
        with Image.open(path) as image:
            grey = image.mode in ("1", "L", "LA", "I", "I;16", "F")
            return np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is not a readable image: {reason}") from None
