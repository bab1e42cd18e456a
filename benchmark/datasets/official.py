"""CIFAR-10, CIFAR-100 and Fashion-MNIST from their official files, downloaded and verified by torchvision."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from benchmark.configuration import DataConfig
from benchmark.datasets.arrays import Parts, assembled
from benchmark.datasets.images import Dataset, LabelledImages
from methods import paths
from methods.errors import InputError


@dataclass(frozen=True)
class _Official:
    """Where a set comes from, what identifies it, and the normalisation that the published recipes use."""

    torchvision: str
    checksum: str
    files: Mapping[str, str]
    folder: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    unpacked: str = ""


_OFFICIAL: Mapping[str, _Official] = {
    "cifar10": _Official(
        "CIFAR10",
        "c58f30108f718f92721af3b95e74349a",
        {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
        "",
        (0.4914, 0.4822, 0.4465),
        (0.2470, 0.2435, 0.2616),
        "cifar-10-batches-py",
    ),
    "cifar100": _Official(
        "CIFAR100",
        "eb9058c3a382ffc7106e4002c42a8d85",
        {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
        "",
        (0.5071, 0.4866, 0.4409),
        (0.2675, 0.2565, 0.2761),
        "cifar-100-python",
    ),
    "fashion-mnist": _Official(
        "FashionMNIST",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
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
    """Return the official archive's MD5; files with another are refused when the set is loaded."""
    return _OFFICIAL[name].checksum


def present(name: str, root: Path) -> bool:
    """Return whether its official files are there, packed or unpacked; they are verified when the set is loaded."""
    return _found(name, _home(name, root))


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return the set, downloading it into the root folder first if it is not there.

    Its files are looked for in the root folder and in ``<root>/<name>``; the root folder may be the unpacked one too.

    Raises:
        InputError: If it is neither there nor can be downloaded, or a file is not the official one.
    """
    official, home = _OFFICIAL[name], _home(name, root)
    train, classes = _part(name, official, home, train=True)
    test = None if config.holdout else _part(name, official, home, train=False)[0]
    return assembled(name, Parts(train, test, classes), config, name, (official.mean, official.std))


def _home(name: str, root: Path) -> Path:
    """Return the folder that torchvision calls the root."""
    nested = [root.parent] if root.name and root.name == _OFFICIAL[name].unpacked else []
    return next((folder for folder in (root, root / name, *nested) if _found(name, folder)), root)


def _found(name: str, root: Path) -> bool:
    official = _OFFICIAL[name]
    packed = all(paths.is_file(root / official.folder / file) for file in official.files)
    return packed or bool(official.unpacked and paths.is_folder(root / official.unpacked))


def _part(name: str, official: _Official, root: Path, train: bool) -> tuple[LabelledImages, tuple[str, ...]]:
    loaded = _open(name, official, root, train)
    pixels = np.asarray(loaded.data, dtype=np.uint8)
    images = pixels.transpose(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None]
    labels = np.asarray(loaded.targets, dtype=np.int64)
    return LabelledImages(np.ascontiguousarray(images), labels), tuple(loaded.classes)


def _open(name: str, official: _Official, root: Path, train: bool) -> Any:
    import torchvision.datasets

    factory: Callable[..., Any] = getattr(torchvision.datasets, official.torchvision)
    folder = root / official.folder
    try:
        with suppress(RuntimeError):
            # nothing is written where everything is unpacked: the folder may be read-only
            return _verified(factory(str(root), train=train, download=False), factory, folder)
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock"):
            return _verified(factory(str(root), train=train, download=True), factory, folder)
    except (OSError, RuntimeError) as error:
        wanted = ", ".join(f"{file} (MD5 {md5})" for file, md5 in official.files.items())
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{name} is not in {root} and cannot be downloaded ({reason}): put {wanted} into {folder}"
        ) from None


def _verified(loaded: Any, factory: Any, folder: Path) -> Any:
    # torchvision checks CIFAR's unpacked files at every start, but of Fashion-MNIST's only that they exist
    from torchvision.datasets.utils import check_integrity

    for file, md5 in getattr(factory, "resources", ()):
        if not check_integrity(str(folder / file), md5):
            raise RuntimeError(f"{folder / file} is missing or damaged")
    return loaded
