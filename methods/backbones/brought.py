"""Finds backbones that other people bring: functions in a file that is named, or in an installed package.

Such a function has the name by which the backbone is called, and says that it returns a ``Backbone``. Methods are found
in the same files by :mod:`methods.registry`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

from methods.errors import InputError
from methods.paths import is_file, plugin_file
from methods.plugins import BACKBONE, first_line, import_plugin, installed, makers, reason_of

if TYPE_CHECKING:
    from methods.backbones.base import Backbone

ENTRY_POINT_GROUP = "okdbench.backbones"


@dataclass(frozen=True)
class Brought:
    """One backbone that was found.

    Attributes:
        name: As on the command line.
        description: One line.
        origin: What to import: a module's name, or a file's path.
        broken: Why it cannot be used, or None.
        distribution: Name and version of the package that it was installed with; empty for a file.
    """

    name: str
    description: str
    origin: str
    broken: str | None = None
    distribution: str = ""


def found(plugins: Iterable[str | Path] = ()) -> Iterator[Brought]:
    """Yield the backbones of installed packages and of files; a broken one with its reason."""
    for point in installed(ENTRY_POINT_GROUP):
        yield _from_entry_point(point)
    for plugin in plugins:
        yield from _from_file(plugin)


def function(origin: str, name: str) -> "Callable[..., Backbone]":
    """Return the function of a backbone.

    Raises:
        InputError: If its module defines none of that name.
    """
    functions = makers(import_plugin(origin), BACKBONE)
    if name not in functions:
        raise InputError(f"{origin} defines no backbone named {name!r}: a function '{name}(...) -> Backbone'")
    return functions[name]


def _from_entry_point(point: EntryPoint) -> Brought:
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist else ""
    try:
        description = first_line(function(point.module, point.name).__doc__)
    except (Exception, SystemExit) as error:  # whatever a plugin raises, the other backbones stay usable
        return Brought(point.name, "", point.module, reason_of(error), distribution)
    return Brought(point.name, description, point.module, distribution=distribution)


def _from_file(plugin: str | Path) -> list[Brought]:
    path = plugin_file(plugin)
    if not is_file(path):
        raise InputError(f"no such plugin file: {plugin}")
    origin = str(path)
    try:
        module = import_plugin(origin)
    except (Exception, SystemExit) as error:  # whatever a plugin raises, the other backbones stay usable
        return [Brought(path.stem, "", origin, reason_of(error))]
    return [Brought(name, first_line(value.__doc__), origin) for name, value in makers(module, BACKBONE).items()]
