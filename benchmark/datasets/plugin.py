"""Data sets of other people: functions in files that are named on the command line, and in installed packages.

Such a function takes the folder where data sets lie and is annotated to return :class:`.Arrays`; its name is the data
set's.
"""

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint
from inspect import getsourcefile
from pathlib import Path
from typing import Any

from benchmark.configuration import DataConfig
from benchmark.datasets.arrays import Arrays, Parts, as_arrays, assembled, checked
from benchmark.datasets.images import Dataset
from methods import paths
from methods.errors import InputError
from methods.plugins import ARRAYS, first_line, import_plugin, installed, makers, reason_of
from methods.sources import Source, source_of

ENTRY_POINT_GROUP = "okdbench.datasets"

Maker = Callable[[Path], Arrays]


@dataclass(frozen=True)
class Plugin:
    """One data set that was found; ``checksum``, ``present`` and ``load`` are as of the modules of this folder.

    Attributes:
        name: As on the command line.
        origin: What was imported: a module's name, or a file's path.
        make: Gives its arrays; None if it cannot be used.
        broken: Why it cannot be used, or None.
        distribution: Name and version of the package that it was installed with; empty for a file.
    """

    name: str
    origin: str
    make: Maker | None
    broken: str | None = None
    distribution: str = ""

    @property
    def description(self) -> str:
        """One line."""
        return f"broken: {self.broken}" if self.broken else first_line(self.make.__doc__ if self.make else "")

    @property
    def source(self) -> Source:
        """Its code."""
        return source_of(import_plugin(self.origin), self.distribution)

    def checksum(self, name: str, config: DataConfig, root: Path) -> str:
        """Return the hash of its arrays."""
        return self._parts(config, root).checksum

    def present(self, name: str, root: Path) -> bool:
        """Return that it is there: nobody but its author knows what it reads."""
        return True

    def load(self, name: str, config: DataConfig, root: Path) -> Dataset:
        """Return its images."""
        return assembled(name, self._parts(config, root), config, self._where)

    @property
    def _where(self) -> str:
        return f"data set {self.name!r}"

    def _parts(self, config: DataConfig, root: Path) -> Parts:
        if self.make is None:
            raise InputError(f"the data set {self.name!r} is broken: {self.broken}")
        try:
            made = _made(self.make, root)
        except (Exception, SystemExit) as error:
            raise InputError(
                f"the data set {self.name!r} failed: {reason_of(error)}{_line(error, self.make)}"
            ) from None
        return checked(as_arrays(made, self._where), self._where, bool(config.holdout))


def catalogue(plugins: Iterable[str | Path] = ()) -> dict[str, Plugin]:
    """Return every data set of a plug-in by name; of two with one name the first found counts.

    Raises:
        InputError: If there is no such file.
    """
    found: dict[str, Plugin] = {}
    for item in (*_installed(), *(item for plugin in plugins for item in _from_file(plugin))):
        found.setdefault(item.name, item)
    return found


@lru_cache(maxsize=2)
def _made(make: Maker, root: Path) -> Any:
    # planning and loading ask for it one after the other, and it may take minutes
    return make(root)


def _installed() -> Iterator[Plugin]:
    for point in installed(ENTRY_POINT_GROUP):
        yield _from_entry_point(point)


def _from_entry_point(point: EntryPoint) -> Plugin:
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist else ""
    try:
        make = point.load()
        if not callable(make):
            raise InputError(f"{point.value} is no function")
    except (Exception, SystemExit) as error:  # whatever a plug-in raises, the other data sets stay usable
        return Plugin(point.name, point.module, None, reason_of(error), distribution)
    return Plugin(point.name, point.module, make, None, distribution)


def _from_file(plugin: str | Path) -> list[Plugin]:
    path = paths.plugin_file(plugin)
    if not paths.is_file(path):
        raise InputError(f"no such plugin file: {plugin}")
    origin = str(path)
    try:
        return [Plugin(name, origin, make) for name, make in makers(import_plugin(origin), ARRAYS).items()]
    except (Exception, SystemExit) as error:  # whatever a plug-in raises, the other data sets stay usable
        return [Plugin(path.stem, origin, None, reason_of(error))]


def _line(error: BaseException, make: Maker) -> str:
    """Return where in the plug-in's file an error was raised."""
    try:
        file = getsourcefile(make)
    except TypeError:
        file = None
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(file).name}, line {lines[-1]})" if file and lines else ""
