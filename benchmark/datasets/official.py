"""CIFAR-10, CIFAR-100 and Fashion-MNIST from their official files, downloaded and verified by torchvision."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from benchmark.configuration import DataConfig
from benchmark.datasets.images import Dataset, LabelledImages, stratified
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


_OFFICIAL: Mapping[str, _Official] = {
    "cifar10": _Official(
        "CIFAR10",
        "c58f30108f718f92721af3b95e74349a",
        {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
        "",
        (0.4914, 0.4822, 0.4465),
        (0.2470, 0.2435, 0.2616),
    ),
    "cifar100": _Official(
        "CIFAR100",
        "eb9058c3a382ffc7106e4002c42a8d85",
        {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
        "",
        (0.5071, 0.4866, 0.4409),
        (0.2675, 0.2565, 0.2761),
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
    """Return whether its official files are there; they are verified when the set is loaded."""
    official = _OFFICIAL[name]
    return all((root / official.folder / file).is_file() for file in official.files)


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return the set, downloading it into the root folder first if it is not there."""
    official = _OFFICIAL[name]
    train, classes = _part(name, official, root, train=True)
    chosen = stratified(train.labels, config.train_per_class, "train")
    train = train.take(chosen)
    if config.holdout:
        test = train.take(np.arange(0))
    else:
        test, _ = _part(name, official, root, train=False)
        test = test.take(stratified(test.labels, config.test_per_class, "test"))
    return Dataset(name, train, test, classes, official.mean, official.std)


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
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock"):
            loaded = factory(str(root), train=train, download=True)
            _verify_archives(factory, folder)
            return loaded
    except (OSError, RuntimeError) as error:
        wanted = ", ".join(f"{file} (MD5 {md5})" for file, md5 in official.files.items())
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{name} is not in {root} and cannot be downloaded ({reason}): put {wanted} into {folder}"
        ) from None


def _verify_archives(factory: Any, folder: Path) -> None:
    # torchvision checks CIFAR's unpacked files at every start, but of Fashion-MNIST's only that they exist
    from torchvision.datasets.utils import check_integrity

    for file, md5 in getattr(factory, "resources", ()):
        if not check_integrity(str(folder / file), md5):
            raise RuntimeError(f"{folder / file} is missing or damaged")
