"""One file of arrays: ``npz:FILE`` holds ``x_train``, ``y_train``, ``x_test``, ``y_test`` and maybe ``classes``."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmark import paths
from benchmark.configuration import DataConfig
from benchmark.datasets.arrays import Arrays, Parts, assembled, checked
from benchmark.datasets.images import Dataset
from methods.errors import InputError

KEYS = ("x_train", "y_train", "x_test", "y_test")


def checksum(name: str, config: DataConfig, root: Path) -> str:
    """Return the hash of the arrays, however the file is compressed."""
    return _parts(name, config).checksum


def present(name: str, root: Path) -> bool:
    """Return whether there is such a file."""
    return paths.is_file(_path(name))


def load(name: str, config: DataConfig, root: Path) -> Dataset:
    """Return the file's images; nothing is read from the root folder.

    Raises:
        InputError: If it is no such file, or an array is not what it should be.
    """
    return assembled(name, _parts(name, config), config, str(_path(name)))


def _parts(name: str, config: DataConfig) -> Parts:
    path, holdout = _path(name), bool(config.holdout)
    if not paths.is_file(path):
        raise InputError(f"no such file: {path} (a dataset is named npz:FILE, with {', '.join(KEYS)} in it)")
    found = _read(path, KEYS[:2] if holdout else KEYS)
    return checked(found, str(path), holdout)


def _path(name: str) -> Path:
    return paths.written(name.removeprefix("npz:"), "dataset")


def _read(path: Path, keys: tuple[str, ...]) -> Arrays:
    try:
        with path.open("rb") as stream:
            # a single array or a pickle would be read, or refused, in other ways
            if not zipfile.is_zipfile(stream):
                raise InputError(f"{path} is no .npz file, as numpy.savez writes it")
        with np.load(path, allow_pickle=False) as stored:
            if missing := [key for key in keys if key not in stored]:
                raise InputError(
                    f"{path} has no {' and no '.join(missing)} (it must hold {', '.join(keys)}; found: "
                    f"{', '.join(stored) or 'nothing'})"
                )
            nothing: npt.NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
            x_train, y_train, x_test, y_test = (stored[key] if key in keys else nothing for key in KEYS)
            classes = stored["classes"].tolist() if "classes" in stored else None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a readable .npz file: {str(error).splitlines()[0]}") from None
    if classes is not None and (not isinstance(classes, list) or not all(isinstance(word, str) for word in classes)):
        raise InputError(f"{path}: classes must be the classes' names, one a class")
    return Arrays(x_train, y_train, x_test, y_test, classes)
