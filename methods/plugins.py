"""Imports the code of other people: a Python file that is named on the command line, or an installed module."""

import importlib.util
import sys
import traceback
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

from methods.beside import Loader, package_of
from methods.errors import InputError

_PREFIX = "okdbench_plugin_"

BACKBONE, ARRAYS = "Backbone", "Arrays"
"""What a function of a plug-in returns, by its annotation, if it is a network or a data set of its own."""


def import_plugin(origin: str) -> ModuleType:
    """Return a module, imported at the first call; a file that has changed since then is imported anew.

    A file may import the modules beside it by their names, see :mod:`methods.beside`.

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
    name = f"{_PREFIX}{key}"
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


def installed(group: str) -> tuple[EntryPoint, ...]:
    """Return what the installed packages declare in a group of entry points, sorted by name."""
    return _declared(group, tuple(sys.path))


@cache
def _declared(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    # all packages are looked through, which takes longer than most that is asked of a catalogue
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
    # with ``from __future__ import annotations`` it is the text as it stands in the file
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
    return f"{kind}{where}: {str(error).splitlines()[0] if str(error) else 'no message'}"


def first_line(docstring: str | None) -> str:
    """Return a docstring's first line; nothing if there is none."""
    return docstring.strip().splitlines()[0] if docstring and docstring.strip() else ""


def plugin_file_of(module: str) -> tuple[Path, ...]:
    """Return the file of a plug-in's module; nothing for a module that is found without naming a file."""
    file = sys.modules[module].__file__
    return (Path(file),) if module.startswith(_PREFIX) and file else ()
