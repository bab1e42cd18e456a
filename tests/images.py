"""Trees of image files that tests write, and what is loaded from them."""

import io
import os
import pickle
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from benchmark import datasets
from benchmark.configuration.run_config import DataConfig
from benchmark.datasets.images import Dataset, LabelledImages

Pixels = npt.NDArray[np.uint8]


def random_pixels(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def pack(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a compressed archive with members of these names and contents."""
    with tarfile.open(path, "w:gz") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))


def cifar_archive(
    root: Path,
    patch: pytest.MonkeyPatch,
    cls: Any,
    parts: Mapping[str, tuple[Pixels, Sequence[int]]],
    names: Sequence[str],
    label_key: str = "labels",
) -> None:
    """Write images ``[N, H, W, C]`` in CIFAR's official format, one file per part, with its sums the expected ones."""
    members = {
        part: pickle.dumps({"data": pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1), label_key: list(labels)})
        for part, (pixels, labels) in parts.items()
    }
    members[cls.meta["filename"]] = pickle.dumps({cls.meta["key"]: list(names)})
    root.mkdir(parents=True, exist_ok=True)
    pack(root / cls.filename, {f"{cls.base_folder}/{name}": content for name, content in members.items()})
    sums = {name: md5(content).hexdigest() for name, content in members.items()}
    patch.setattr(cls, "tgz_md5", md5((root / cls.filename).read_bytes()).hexdigest())
    patch.setattr(cls, "train_list", [["train", sums["train"]]])
    patch.setattr(cls, "test_list", [["test", sums["test"]]])
    patch.setattr(cls, "meta", {**cls.meta, "md5": sums[cls.meta["filename"]]})


def tree(
    root: Path, *shape: int, train: int = 3, test: int = 2, classes: tuple[str, ...] = ("cat", "dog")
) -> dict[Path, Pixels]:
    """Write ``train/<class>/<n>.png`` and ``test/<class>/<n>.png`` with images of that shape; return their pixels."""
    counts = {"train": train, "test": test}
    names = [f"{part}/{name}/{index}.png" for name in classes for part in counts for index in range(counts[part])]
    pixels = {root / name: random_pixels(*shape, seed=seed) for seed, name in enumerate(names)}
    for path, image in pixels.items():
        save(path, image)
    return pixels


class Place:
    """A tree of images, and the folder with the cache."""

    def __init__(self, root: Path) -> None:
        self.photos = root / "photos"
        self.root = root / "data"
        self.images = self.root / ".cache" / "images"

    def load(self, **config: Any) -> Dataset:
        return datasets.load(f"folder:{self.photos}", DataConfig(**config), self.root)

    def checksum(self, **config: Any) -> str:
        return datasets.checksum(f"folder:{self.photos}", DataConfig(**config), self.root)

    def files(self) -> list[str]:
        return sorted(path.suffix for path in self.images.iterdir())

    def age(self) -> None:
        """Make every file look as if it had been there for an hour."""
        for path in self.photos.rglob("*.png"):
            written = path.stat().st_mtime_ns - 3600 * 10**9
            os.utime(path, ns=(written, written))


def same(first: Dataset, second: Dataset) -> bool:
    parts = [(getattr(first, part), getattr(second, part)) for part in ("train", "test")]
    equal = all(np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels) for a, b in parts)
    return equal and (first.classes, first.mean, first.std) == (second.classes, second.mean, second.std)


def in_memory(dataset: Dataset) -> Dataset:
    train, test = (LabelledImages(np.array(part.images), part.labels) for part in (dataset.train, dataset.test))
    return replace(dataset, train=train, test=test)


# not in alphabetical order, as the official file is not
WNIDS = ("n03", "n01", "n02")
TINY = "tiny-imagenet-200"


def tiny_tree(root: Path, side: int = 16) -> Path:
    """Write four training and two validation images of each class; the first training image of n01 is grey."""
    folder = root / TINY
    lines = []
    for label, wnid in enumerate(WNIDS):
        for index in range(4):
            grey = (wnid, index) == ("n01", 0)
            shape = (side, side) if grey else (side, side, 3)
            path = folder / "train" / wnid / "images" / f"{wnid}_{index}.JPEG"
            save(path, random_pixels(*shape, seed=10 * label + index))
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t9\t9\n")
    for index in range(6):
        save(folder / f"val/images/val_{index}.JPEG", random_pixels(side, side, 3, seed=100 + index))
        lines.append(f"val_{index}.JPEG\t{WNIDS[index % 3]}\t0\t32\t44\t62\n")
    save(folder / "test/images/test_0.JPEG", random_pixels(side, side, 3))
    (folder / "val/val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    (folder / "words.txt").write_text("n01\tgoldfish\n")
    return folder
