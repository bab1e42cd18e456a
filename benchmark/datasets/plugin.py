"""Data sets of other people: functions in files that are named on the command line, and in installed packages.

Such a function takes the folder where data sets lie and is annotated to return :class:`.Arrays`; its name is the data
set's.
"""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from inspect import getsourcefile
from pathlib import Path
from typing import Any

from benchmark.configuration import DataConfig, Source, source_of
from benchmark.datasets.arrays import Arrays, Parts, as_arrays, assembled, checked
from benchmark.datasets.images import Dataset
from methods.errors import InputError
from methods.plugins import ARRAYS, first_line, found, import_plugin, makers, reason_of

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
    listed: dict[str, Plugin] = {}
    for item in found(ENTRY_POINT_GROUP, plugins, lambda module: makers(module, ARRAYS)):
        listed.setdefault(item.name, Plugin(item.name, item.origin, item.value, item.broken, item.distribution))
    return listed


@lru_cache(maxsize=2)
def _made(make: Maker, root: Path) -> Any:
    # planning and loading ask for it one after the other, and it may take minutes
    return make(root)


def _line(error: BaseException, make: Maker) -> str:
    """Return where in the plug-in's file an error was raised."""
    try:
        file = getsourcefile(make)
    except TypeError:
        file = None
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(file).name}, line {lines[-1]})" if file and lines else ""
