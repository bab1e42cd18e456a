"""Datasets that come as whole arrays: scikit-learn's digits, ``npz:FILE``, and those of plug-ins.

A plug-in's dataset is a function that takes the folder of datasets and is annotated to return :class:`Arrays`; its name
is the dataset's.
"""

import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark import optional_imports, paths
from benchmark.configuration import DataConfig, SourceCode, source_of
from benchmark.datasets.images import Indices, LabelledImages, Pixels
from benchmark.datasets.provider import Parts, Provider, checked_labels, path_of
from methods.errors import InputError, message_of
from methods.plugins import ARRAYS, Plugin, first_line, found, import_plugin, makers, place_of, reason_of

CHANNELS = (1, 3)


@dataclass(frozen=True)
class Arrays:
    """A dataset as its author has it.

    Attributes:
        x_train: uint8 images ``[N, H, W, C]`` with 1 or 3 channels, or ``[N, H, W]``.
        y_train: Their class indices ``[N]``, from 0; every class has a training image.
        x_test: The test images, likewise.
        y_test: Their class indices.
        classes: The classes' names in the order of their indices; None: ``0``, ``1`` and so on.
    """

    x_train: npt.ArrayLike
    y_train: npt.ArrayLike
    x_test: npt.ArrayLike
    y_test: npt.ArrayLike
    classes: Sequence[str] | None = None


def checked(arrays: Arrays, where: str, holdout: bool = False) -> Parts:
    """Return arrays in their one form, the test images unseen if a part is held out, or raise an InputError."""
    parts: list[LabelledImages] = []
    names: tuple[str, ...] = ()
    given = (("train", arrays.x_train, arrays.y_train), ("test", arrays.x_test, arrays.y_test))
    for part, x, y in given[:1] if holdout else given:
        pixels = pixels_of(x, f"{where}: x_{part}")
        labels, names = checked_labels(y, len(pixels), f"{where}: y_{part}", None if names else arrays.classes, names)
        parts.append(LabelledImages(pixels, labels))
    channels = [part.shape[0] for part in parts]
    if channels[0] != channels[-1]:
        raise InputError(f"{where}: x_train has {channels[0]} channels, x_test {channels[1]}")
    return Parts(names, parts)


def pixels_of(value: npt.ArrayLike, where: str) -> Pixels:
    """Return images ``[N, C, H, W]`` for ``[N, H, W, C]`` or ``[N, H, W]`` of uint8, or raise an InputError."""
    pixels = np.asarray(value)
    if pixels.dtype != np.uint8:
        raise InputError(f"{where} has the type {pixels.dtype}: images must be uint8, from 0 to 255")
    shape = f"{where} has the shape {pixels.shape}: it"
    if pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[-1] not in CHANNELS):
        hint = "; channels come last" if pixels.ndim == 4 and pixels.shape[1] in CHANNELS else ""
        raise InputError(f"{shape} must be [N, H, W] or [N, H, W, C] with C 1 or 3{hint}")
    if 0 in pixels.shape:
        raise InputError(f"{shape} holds no image")
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None])


KEYS = ("x_train", "y_train", "x_test", "y_test")


class Npz(Provider):
    """``npz:FILE``: one file of arrays, ``x_train``, ``y_train``, ``x_test``, ``y_test`` and maybe ``classes``."""

    name = "npz:FILE"
    description = "a file of arrays: x_train, y_train, x_test, y_test; uint8 images [N, H, W, C] or [N, H, W]"

    def parts(self, name: str, config: DataConfig, root: Path) -> Parts:
        """Return the arrays, however the file is compressed."""
        path, keys = path_of(name), KEYS[:2] if config.holdout else KEYS
        if not paths.is_file(path):
            raise InputError(f"no such file: {path} (a dataset is named npz:FILE, with {', '.join(KEYS)} in it)")
        try:
            _check_shapes(path)
            with np.load(path, allow_pickle=False) as stored:
                found, listed = {key: stored[key] for key in (*keys, "classes") if key in stored}, [*stored]
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from None
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise InputError(f"{path} is not a readable .npz file: {message_of(error)}") from None
        if missing := [key for key in keys if key not in found]:
            wanted = f"it must hold {', '.join(keys)}; found: {', '.join(listed) or 'nothing'}"
            raise InputError(f"{path} has no {' and no '.join(missing)} ({wanted})")
        if "classes" in found and (found["classes"].dtype.kind != "U" or found["classes"].ndim != 1):
            raise InputError(f"{path}: classes must be the classes' names, one per class")
        classes = found["classes"].tolist() if "classes" in found else None
        x_train, y_train, x_test, y_test = (found.get(key, ()) for key in KEYS)
        return checked(Arrays(x_train, y_train, x_test, y_test, classes), str(path), bool(config.holdout))


def _check_shapes(path: Path) -> None:
    """Raise a ValueError if an array's header claims another size than it has: numpy allocates what is claimed."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            with archive.open(info) as member:
                first = np.lib.format.read_magic(member) == (1, 0)
                header = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
                shape, _, dtype = header(member)
                if not dtype.hasobject and math.prod(shape) * dtype.itemsize != info.file_size - member.tell():
                    raise ValueError(f"{info.filename} claims the shape {shape}, which its bytes do not fill")


DIGITS_FILE = "datasets/data/digits.csv.gz"
"""Where scikit-learn has them: one line per image, 64 values of 0 to 16 and the label."""

TEST_DIGITS = (
    "000004883524104000064100934205001a00080100240028062c12001000940a009019120420f8a0028110a000080a882044"
    "1524494240a00a0000004004d80000818020004805c400104008a0100005404800301000020ec409000224840083a8013c20"
    "a6980a0000000b08400804a0184802024041c1008004404684376a810216004480004042a0a4180a5000840b8561c6081080"
    "08004c80c02004068e00010882008100380803c008190000100e01008410a0210033282904c044c080680e01028300820088"
    "22a6402c24042108a860809081a00c02820242120138a41500"
)
"""Which images are the test set, a bit each: ``train_test_split`` of a fifth, stratified, seed 0, of one version."""


@cache
def digits_pixels_and_labels() -> tuple[Pixels, Indices]:
    """Return the digits, ``[N, 1, 8, 8]`` and ``[N]``, from the file that scikit-learn ships."""
    optional_imports.need("the dataset digits", "sklearn")
    # read without scikit-learn, which takes a second to import: of a short run nearly a quarter
    path = Path(str(getattr(find_spec("sklearn"), "origin", None))).parent / DIGITS_FILE
    if path.is_file():
        table = np.loadtxt(path, delimiter=",")
    else:
        from sklearn.datasets import load_digits

        table = np.column_stack(load_digits(return_X_y=True))
    return np.rint(table[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8), table[:, -1].astype(np.int64)


class Digits(Provider):
    """The scanned digits that ship with scikit-learn, 8x8 and grey; a fifth of them is the test set."""

    name = recipe = "digits"
    description = "1,797 scanned digits, 8x8 grey, 10 classes; ships with scikit-learn"

    def parts(self, name: str, config: DataConfig, root: Path) -> Parts:
        """Return the digits; nothing is read from the root folder."""
        everything = LabelledImages(*digits_pixels_and_labels())
        bits = np.frombuffer(bytes.fromhex(TEST_DIGITS), dtype=np.uint8)
        test = np.unpackbits(bits, count=len(everything)).astype(bool)
        train, scored = (everything.take(np.flatnonzero(chosen)) for chosen in (~test, test))
        return Parts(tuple("0123456789"), [train] if config.holdout else [train, scored])

    def present(self, name: str, root: Path) -> bool:
        """Return whether scikit-learn is there: they come with it."""
        return find_spec("sklearn") is not None

    def checksum(self, name: str, config: DataConfig, root: Path) -> str:
        """Return the hash of all pixels and labels."""
        pixels, numbers = digits_pixels_and_labels()
        return sha256(pixels.tobytes() + numbers.tobytes()).hexdigest()


ENTRY_POINT_GROUP = "okdbench.datasets"


class PluginDataset(Provider):
    """One dataset that was found."""

    def __init__(self, plugin: Plugin) -> None:
        """Keep the plug-in, whose value gives the arrays."""
        self.plugin = plugin
        self.name = plugin.name
        self.description = f"broken: {plugin.broken}" if plugin.broken else first_line(plugin.value.__doc__)

    def source(self) -> SourceCode:
        """Return its code."""
        return source_of(import_plugin(self.plugin.origin), self.plugin.distribution)

    def present(self, name: str, root: Path) -> bool:
        """Return that it is there: nobody but its author knows what it reads."""
        return True

    def parts(self, name: str, config: DataConfig, root: Path) -> Parts:
        """Return its arrays."""
        where, make = f"dataset {name!r}", self.plugin.value
        if self.plugin.broken:
            raise InputError(f"the {where} is broken: {self.plugin.broken}")
        try:
            made = _made(make, root)
        except (Exception, SystemExit) as error:
            raise InputError(f"the {where} failed: {reason_of(error)}{place_of(error, make)}") from None
        if not isinstance(made, Arrays):
            raise InputError(f"{where} returned {type(made).__name__}: it must return benchmark.datasets.Arrays")
        return checked(made, where, bool(config.holdout))


def plugin_datasets(plugins: Iterable[str | Path] = ()) -> dict[str, PluginDataset]:
    """Return every dataset of a plug-in, the first of a name, or raise an InputError for a file that is not there."""
    listed: dict[str, PluginDataset] = {}
    for item in found(ENTRY_POINT_GROUP, plugins, lambda module: makers(module, ARRAYS)):
        listed.setdefault(item.name, PluginDataset(item))
    return listed


@lru_cache(maxsize=2)
def _made(make: Callable[[Path], Any], root: Path) -> Any:
    # planning and loading ask for it one after the other, and it may take minutes
    return make(root)
