"""The modules beside a plug-in's file, which imports them by their names as a program does in its folder.

Each folder has a package of its own, so that two plug-ins may have a ``utils`` each. What is installed is found first:
a plug-in's ``torch.py`` is nobody's torch.
"""

import builtins
import importlib
import site
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_PREFIX = "okdbench_beside_"
OWN_PACKAGES = ("benchmark", "methods")
"""This project's packages, which nothing beside a plug-in hides."""


class Loader(SourceLoader):
    """Runs the bytes that were read, so that they are what is hashed; no stale bytecode stands in between.

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
        importlib.import_module(found)
        if fromlist:
            return builtins.__import__(found, globals, locals, fromlist, 0)
        return sys.modules[f"{self.package}.{name.partition('.')[0]}"]


class _Finder(MetaPathFinder):
    """Finds the modules of the folders' packages, and no others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of a module of such a package."""
        if not fullname.startswith(_PREFIX) or path is None:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            content = Path(spec.loader.path).read_bytes()
            spec.loader = Loader(spec.loader.path, content, fullname.partition(".")[0])
        return spec


def package_of(file: str) -> str:
    """Return the name of the package that holds the modules beside a file, each read when it is imported."""
    folder = str(Path(file).resolve().parent)
    name = f"{_PREFIX}{sha256(folder.encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        package = ModuleType(name, "The modules beside a plug-in's file.")
        package.__path__ = [folder]
        sys.modules[name] = package
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    return name


def full_name(name: str, package: str) -> str:
    """Return the name under which a module is imported: its own, or that in the package if it lies beside.

    Args:
        name: As it stands behind ``import``.
        package: Of :func:`package_of`; empty for code that has none.
    """
    top = name.partition(".")[0]
    return f"{package}.{name}" if package and _lies_beside(top, package) else name


def own_name(full: str) -> str:
    """Return the name that :func:`full_name` was given."""
    return full.partition(".")[2] if full.startswith(_PREFIX) else full


def is_installed(spec: ModuleSpec) -> bool:
    """Return whether a module is a part of Python or lies in a folder of installed packages."""
    places = [spec.origin] if spec.has_location and spec.origin else spec.submodule_search_locations
    if places is None:
        return True
    return any(Path(place).is_relative_to(folder) for place in places for folder in _installed_folders())


def _lies_beside(top: str, package: str) -> bool:
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
