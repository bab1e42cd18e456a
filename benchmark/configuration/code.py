"""The code of plug-ins: no version tells a change of it, so that its hash is part of a run's identity."""

import ast
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from benchmark.configuration.run_config import DataConfig
from methods import backbones, registry
from methods.errors import InputError
from methods.plugins import OWN_PACKAGES, full_name, import_plugin, is_installed, own_name

DIGITS = 32

_HEAD = "# okdbench module: "
"""Begins the line above each module of a source: the distribution that it was installed with, and its name."""


@dataclass(frozen=True)
class SourceCode:
    """The code behind a name."""

    hash: str  # equal for programs that differ in comments, docstrings and formatting alone
    # all of it; the module itself first, then what it imports, each below a comment that names it. The hash can be
    # made from it, see hash_of
    text: str


class Datasets(Protocol):
    """What has to be known of datasets here; :mod:`benchmark.datasets` knows it."""

    def source(self, name: str, plugins: Sequence[str] = ()) -> SourceCode | None:
        """Return the code of a plug-in's dataset; None for an own one."""

    def recipe(self, name: str, plugins: Sequence[str] = ()) -> str:
        """Return the file in ``configs/`` with a dataset's defaults, or raise an InputError."""

    def checksum(self, name: str, config: DataConfig, root: Path, plugins: Sequence[str] = ()) -> str:
        """Return what identifies the images that a configuration uses."""


def sources(
    method: str, dataset: str, backbone: str, plugins: Sequence[str], datasets: Datasets
) -> dict[str, SourceCode]:
    """Return the code of what comes from a plug-in, by what it is: ``method``, ``dataset``, ``backbone``.

    Args:
        backbone: A backbone's name, or several joined by ``+``; then each has an entry ``backbone.<name>``.

    Raises:
        InputError: For an unknown name, or a plug-in that is broken.
    """
    found = {"method": source_of_method(method, plugins), "dataset": datasets.source(dataset, plugins)}
    parts = backbone.split("+")
    for part in parts:
        entry = backbones.describe(part, plugins)
        if entry.plugin:
            role = "backbone" if len(parts) == 1 else f"backbone.{part}"
            found[role] = source_of(import_plugin(entry.module), entry.distribution)
    return {role: source for role, source in found.items() if source is not None}


def source_of_method(name: str, plugins: Sequence[str | Path] = ()) -> SourceCode | None:
    """Return a plug-in method's code, None for an own one, or raise an InputError if it is unknown or broken."""
    item = registry.find(name, plugins)
    return None if item.own else source_of(import_plugin(item.origin), item.distribution)


def source_of(module: ModuleType, distribution: str = "") -> SourceCode:
    """Return the code of a plug-in's module and of the modules that it imports and that belong to it.

    Those are the modules of the same package, and modules next to it rather than in a folder of installed
    packages. A module that was imported counts as it was at its first look, since this process uses that.

    Args:
        distribution: Name and version of the installed package; it is a part of the hash.

    Raises:
        InputError: If it loads code in a way that cannot be followed, or a file in ``Method.sources`` is not there.
    """
    main, package = module.__name__, getattr(module.__loader__, "package", "")
    declared = _declared(module)
    found: dict[str, str] = {}
    waiting = [main]
    while waiting:
        name = waiting.pop()
        if name in found or (text := _text(full_name(name, package))) is None:
            continue
        found[name] = text
        tree = ast.parse(text)
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        loaders = [loader for call in calls if (loader := getattr(call, "attr", getattr(call, "id", ""))) in _LOADERS]
        if declared is None and loaders:
            raise InputError(
                f"{own_name(name)} loads code by {loaders[0]}, which nothing tells a change of: name the files in "
                "Method.sources, a tuple of paths beside the plug-in (empty if there are none)"
            )
        waiting += [other for other in _imported(name, tree, package) if _belongs(other, main, package)]
    # the name of a file's module carries its path, which does not count
    modules = [("", found.pop(main, "")), *sorted(found.items())]
    parts = [(f"{distribution} {name}".strip(), program) for name, program in modules]
    parts += [(f"file {name} {content}", "") for name, content in sorted((declared or {}).items())]
    return SourceCode(_hash(parts), "".join(f"{_HEAD}{head}\n{program}\n" for head, program in parts))


def _declared(module: ModuleType) -> dict[str, str] | None:
    """Return the hashes of the files that a module's classes declare as their sources; None if none declares any."""
    classes = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    # a plug-in of networks or datasets has functions alone
    declared = [vars(one)["sources"] for one in (*classes, module) if "sources" in vars(one)]
    if not declared or not module.__file__:
        return None
    found = {}
    for name in dict.fromkeys(name for names in declared for name in names):
        try:
            found[str(name)] = sha256((Path(module.__file__).parent / name).read_bytes()).hexdigest()
        except OSError as error:
            fault = f"{module.__file__}: sources names {name}, which cannot be read: {error.strerror}"
            raise InputError(fault) from None
    return found


_LOADERS = frozenset(
    ("import_module", "__import__", "exec_module", "load_module", "run_path", "run_module", "exec", "execfile")
)
"""By what a program loads code that no ``import`` names."""


def hash_of(text: str) -> str:
    """Return the hash of a :attr:`SourceCode.text`: of each module's name and syntax tree, and of the distribution.

    Raises:
        SyntaxError: If a module in it is no program, or it is no such text.
    """
    first, *parts = f"\n{text}".split(f"\n{_HEAD}")
    if first or not parts:
        raise SyntaxError("it does not begin with a module")
    return _hash([(head, program) for head, _, program in (part.partition("\n") for part in parts)])


def _hash(parts: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"{head}\n{code_hash(program)}\n" for head, program in parts)
    return sha256(lines.encode()).hexdigest()[:DIGITS]


def code_hash(text: str) -> str:
    """Return the hash of a program's syntax tree without docstrings and comments, or raise a SyntaxError."""
    words = "".join(f"{word}\n" for word in _words(ast.parse(text)))
    return sha256(words.encode("utf-8", "surrogatepass")).hexdigest()


def _words(tree: ast.AST) -> Iterator[str]:
    """Yield the tree in words, without a recursion, which deep trees have no room for.

    Fields that are empty, as those that newer versions of Python add, are left out; and string statements.
    """
    waiting: list[Any] = [tree]
    while waiting:
        match waiting.pop():
            case str(word):
                yield word
            case ast.Constant(value=value):
                yield f"{type(value).__name__} {value!r}"
            case ast.AST() as node:
                yield f"({type(node).__name__}"
                waiting.append(")")
                fields = dict(ast.iter_fields(node))
                if isinstance(node, ast.JoinedStr):
                    # some releases of Python 3.12 see an empty text behind a format, others do not
                    fields["values"] = [one for one in node.values if getattr(one, "value", None) != ""]
                for name, value in reversed(fields.items()):
                    waiting += [] if value is None or value == [] else [value, f".{name}"]
            case list(items):
                yield "["
                waiting += ["]", *(item for item in reversed(items) if not _is_text(item))]
            case other:
                yield f"{type(other).__name__} {other!r}"


def _is_text(item: Any) -> bool:
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)


def _imported(name: str, tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the modules that a module's source may import, wherever in it; names that are no module are among them."""
    spec = _spec(full_name(name, package))
    parent = own_name(spec.parent) if spec and spec.parent else ""
    for node in ast.walk(tree):
        bases = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and (parent or not node.level):
            base = resolve_name("." * node.level + (node.module or ""), parent or None)
            bases.append(base)
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
        for base in bases:
            parts = base.split(".")
            yield from (".".join(parts[: count + 1]) for count in range(len(parts)))


def _belongs(name: str, main: str, package: str) -> bool:
    top, own = name.partition(".")[0], main.partition(".")[0]
    if top in OWN_PACKAGES:
        # what this project's packages compute is told by the methods' versions
        return False
    if full_name(name, package) != name:
        return True
    # asked of the package first: looking for a module in a package imports the package
    found = _spec(top)
    # a folder without an __init__.py has places alone
    if found is None or not (found.submodule_search_locations or (found.has_location and found.origin)):
        return False
    return top == own or not is_installed(found)


@cache
def _text(name: str) -> str | None:
    spec = _spec(name)
    reader = getattr(spec.loader, "get_source", None) if spec else None
    return None if reader is None else reader(name)


def _spec(name: str) -> ModuleSpec | None:
    # there may be none for a name in a module that is no package, for example
    with suppress(ImportError, ValueError, AttributeError):
        return find_spec(name)
    return None
