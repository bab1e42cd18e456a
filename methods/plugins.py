"""Plug-ins: Python files that a user names, and modules that installed packages declare, imported and listed.

A file may import the modules beside it by their names, as a program does in its folder. Each folder has a package of
its own, so that two plug-ins may have a ``utils`` each. What is installed is found first: a plug-in's ``torch.py``
never hides torch.
"""

import builtins
import importlib.util
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from inspect import getsourcefile, isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

from methods.errors import InputError, message_of

_PLUGIN, _BESIDE = "okdbench_plugin_", "okdbench_beside_"
"""Beginnings of the names of a file's module, and of the package of the modules beside it."""

OWN_PACKAGES = ("benchmark", "methods")
"""The packages of this distribution, which nothing beside a plug-in hides."""

BACKBONE, ARRAYS = "Backbone", "Arrays"
"""What a function of a plug-in returns, by its annotation, if it is a network or a dataset."""


@dataclass(frozen=True)
class Plugin:
    """What a plug-in defines.

    Attributes:
        name: As on the command line.
        value: What was defined; None if it cannot be used.
        origin: What to import: a module's name, or a file's path.
        broken: Why it cannot be used, or None.
        distribution: Name and version of the package that it was installed with; empty for a file.
    """

    name: str
    value: Any
    origin: str
    broken: str | None = None
    distribution: str = ""


def found(
    group: str, files: Iterable[str | Path], members: Callable[[ModuleType], Mapping[str, Any]]
) -> Iterator[Plugin]:
    """Yield what installed packages declare in a group of entry points and what files define; a broken one says why.

    Args:
        group: Of entry points; each has the name of a member of its module.
        files: Python files.
        members: Returns what a module defines, by name.

    Raises:
        InputError: If there is no such file.
    """
    for point in _declared(group, tuple(sys.path)):
        distribution = f"{point.dist.name} {point.dist.version}" if point.dist else ""
        try:
            defined = members(import_plugin(point.module))
            if point.name not in defined:
                kind = group.rpartition(".")[2].removesuffix("s")
                raise InputError(f"{point.module} defines no {kind} named {point.name!r}")
        except (Exception, SystemExit) as error:  # whatever a plug-in raises, the others stay usable
            yield Plugin(point.name, None, point.module, reason_of(error), distribution)
        else:
            yield Plugin(point.name, defined[point.name], point.module, distribution=distribution)
    yield from in_files(files, members)


def in_files(files: Iterable[str | Path], members: Callable[[ModuleType], Mapping[str, Any]]) -> Iterator[Plugin]:
    """Yield what files define, as :func:`found` does."""
    for file in files:
        origin = str(plugin_file(file))
        try:
            defined = members(import_plugin(origin))
        except (Exception, SystemExit) as error:  # likewise
            yield Plugin(Path(origin).stem, None, origin, reason_of(error, origin))
        else:
            yield from (Plugin(name, value, origin) for name, value in defined.items())


def plugin_file(plugin: str | Path) -> Path:
    """Return the absolute path of a plug-in's file.

    Raises:
        InputError: If there is none.
    """
    try:
        path = Path(plugin).expanduser().resolve()
        if path.is_file():
            return path
    except (OSError, RuntimeError, ValueError):
        # a name that no file can have, or the home folder of nobody
        pass
    raise InputError(f"no such plugin file: {plugin}")


def import_plugin(origin: str) -> ModuleType:
    """Return a module, imported at the first call; a file that has changed since then is imported anew.

    Args:
        origin: A module's name, or the path of a ``.py`` file.

    Raises:
        InputError: If the file cannot be read.
        Exception: Whatever the module raises while it is imported.
    """
    if not origin.endswith(".py"):
        return import_module(origin)
    try:
        content = Path(origin).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {origin}: {error.strerror}") from None
    # the name carries the path, so that two files of one name do not meet, and the content; pickles find it again
    key = sha256(origin.encode() + b"\0" + content).hexdigest()[:12]
    name = f"{_PLUGIN}{key}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, origin, loader=Loader(origin, content, package_of(origin)))
    if spec is None or spec.loader is None:
        raise InputError(f"cannot import {origin}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@cache
def _declared(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    # all packages are searched, which takes longer than most that is asked of a catalogue
    return tuple(sorted(entry_points(group=group), key=lambda point: point.name))


def makers(module: ModuleType, *results: str) -> dict[str, Callable[..., Any]]:
    """Return a module's own public functions that are annotated to return one of these classes, by name.

    Args:
        module: A plug-in.
        results: Names of classes, such as :data:`ARRAYS`.
    """
    return {
        name: value
        for name, value in vars(module).items()
        if isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
        if _class_name(value.__annotations__.get("return")) in results
    }


def _class_name(annotation: Any) -> str:
    # with ``from __future__ import annotations`` it is the text of the file
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return text.rpartition(".")[2]


def reason_of(error: BaseException, file: str = "") -> str:
    """Return an error's kind, the line of the file where it came up, and the first line of its message.

    Args:
        error: What was raised.
        file: The plug-in; without it no line is named.
    """
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{kind}, line {error.lineno}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if file and frame.filename == file]
    where = f", line {lines[-1]}" if lines else ""
    return f"{kind}{where}: {message_of(error)}"


def place_of(error: BaseException, definition: Callable[..., Any]) -> str:
    """Return the line of a class's or function's file where an error came up, such as (mine.py, line 3), or nothing."""
    try:
        file = getsourcefile(definition)
    except TypeError:
        file = None
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(file).name}, line {lines[-1]})" if file and lines else ""


def first_line(docstring: str | None) -> str:
    """Return a docstring's first line; nothing if there is none."""
    return docstring.strip().splitlines()[0] if docstring and docstring.strip() else ""


def plugin_file_of(module: str) -> tuple[Path, ...]:
    """Return the file of a plug-in's module; nothing for a module that is found without naming a file."""
    file = sys.modules[module].__file__
    return (Path(file),) if module.startswith(_PLUGIN) and file else ()


class Loader(SourceLoader):
    """Runs the bytes that were read, so that they are what is hashed; stale bytecode is never used.

    Args:
        path: The file that tracebacks name.
        content: What it holds.
        package: Of the folder whose modules it imports by their names.
    """

    def __init__(self, path: str, content: bytes, package: str) -> None:
        self.path = path
        self.content = content
        self.package = package

    def get_filename(self, fullname: str) -> str:
        """Return the file that tracebacks name."""
        return self.path

    def get_data(self, path: str | bytes) -> bytes:
        """Return the source, whatever the file holds by now."""
        return self.content

    def exec_module(self, module: ModuleType) -> None:
        """Run it with an ``import`` that finds the modules beside it, also later, in its functions."""
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._import}
        super().exec_module(module)

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        found = name if level else full_name(name, self.package)
        if found == name:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        import_module(found)
        if fromlist:
            return builtins.__import__(found, globals, locals, fromlist, 0)
        return sys.modules[f"{self.package}.{name.partition('.')[0]}"]


class _Finder(MetaPathFinder):
    """Finds the modules of the folders' packages, and no others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of a module of such a package."""
        if not fullname.startswith(_BESIDE) or path is None:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            content = Path(spec.loader.path).read_bytes()
            spec.loader = Loader(spec.loader.path, content, fullname.partition(".")[0])
        return spec


def package_of(file: str) -> str:
    """Return the name of the package that holds the modules beside a file, each read when it is imported."""
    folder = str(Path(file).resolve().parent)
    name = f"{_BESIDE}{sha256(folder.encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        package = ModuleType(name, "The modules beside a plug-in's file.")
        package.__path__ = [folder]
        sys.modules[name] = package
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    return name


def full_name(name: str, package: str) -> str:
    """Return the name under which a module is imported: its own, or that in the package if it is next to the plug-in.

    Args:
        name: As in an ``import`` statement.
        package: Of :func:`package_of`; empty for code that has none.
    """
    top = name.partition(".")[0]
    return f"{package}.{name}" if package and _is_beside(top, package) else name


def own_name(full: str) -> str:
    """Return the name that :func:`full_name` was given."""
    return full.partition(".")[2] if full.startswith(_BESIDE) else full


def is_installed(spec: ModuleSpec) -> bool:
    """Return whether a module is a part of Python or in a folder of installed packages."""
    places = [spec.origin] if spec.has_location and spec.origin else spec.submodule_search_locations
    if places is None:
        return True
    return any(Path(place).is_relative_to(folder) for place in places for folder in _installed_folders())


def _is_beside(top: str, package: str) -> bool:
    # a look at the folder first, which is quick
    if (
        not top
        or top in OWN_PACKAGES
        or PathFinder.find_spec(f"{package}.{top}", sys.modules[package].__path__) is None
    ):
        return False
    found = _found_elsewhere(top)
    return found is None or not is_installed(found)


def _found_elsewhere(top: str) -> ModuleSpec | None:
    try:
        return find_spec(top)
    except (ImportError, ValueError):
        return None


@cache
def _installed_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    return (*(paths[kind] for kind in kinds), *site.getsitepackages(), site.getusersitepackages())
