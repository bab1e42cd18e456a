"""Finds methods: the files of this folder, installed plugins, and files named by the user.

A method is a class that sets ``name``. The methods of this folder are found by reading their source, so that listing
them loads neither torch nor the method; plugins are code of other people and have to be imported.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from methods import backbones
from methods.errors import InputError, unknown
from methods.hyperparameters import REFERENCE_EPOCHS, BaseHyperparameters, epochs_field
from methods.metrics import MethodMetric
from methods.plugins import ARRAYS, BACKBONE, Plugin, first_line, found, import_plugin, in_files, makers

if TYPE_CHECKING:
    from methods.interface import Method

ENTRY_POINT_GROUP = "okdbench.methods"


@dataclass(frozen=True)
class MethodInfo:
    """One method that was found.

    Attributes:
        name: As on the command line.
        description: One line.
        year: Of publication, 0 if none is given; methods are listed in this order.
        origin: What to import: a module's name, or a file's path.
        broken: Why it cannot be used, or None.
        distribution: Name and version of the package that it was installed with; empty for others.
        own: Whether it is a file of this folder.
        version: Of its numbers.
        metrics: What it records beside its losses.
    """

    name: str
    description: str
    year: int
    origin: str
    broken: str | None = None
    distribution: str = ""
    own: bool = False
    version: int = 1
    metrics: tuple[MethodMetric, ...] = ()


def available(plugins: Iterable[str | Path] = ()) -> dict[str, str]:
    """Return every method's name and one-line description; a broken plugin is described by its reason.

    Args:
        plugins: Python files that define further methods.
    """
    listed = catalogue(plugins)
    return {name: f"broken: {item.broken}" if item.broken else item.description for name, item in listed.items()}


def catalogue(plugins: Iterable[str | Path] = ()) -> dict[str, MethodInfo]:
    """Return everything found by name, in the order of publication; of two with one name the first found counts."""
    listings: dict[str, MethodInfo] = {}
    for item in (*_own(), *map(_listing, found(ENTRY_POINT_GROUP, plugins, _methods_of))):
        if item.name in listings:
            origin = listings[item.name].origin
            reason = f"the name {item.name!r} is taken by {origin}"
            listings[f"{item.name} ({item.origin})"] = MethodInfo(item.name, "", item.year, item.origin, reason)
        else:
            listings[item.name] = item
    return dict(sorted(listings.items(), key=lambda pair: (pair[1].year, pair[0])))


def known(name: str, plugins: Iterable[str | Path] = ()) -> bool:
    """Return whether there is such a method; the installed packages are asked only if it is none of this folder's."""
    return any(item.name == name for item in _own()) or name in catalogue(plugins)


def version(name: str) -> int | None:
    """Return the version of a method of this folder, without importing it; None for others."""
    return next((item.version for item in _own() if item.name == name), None)


def may_scale(method: str, hyperparameter: str) -> bool:
    """Return whether a hyperparameter's default grows with the run's length; of a plug-in, which is not asked, any."""
    return version(method) is None or hyperparameter in _epochs_fields()


def load(name: str, plugins: Iterable[str | Path] = ()) -> "type[Method]":
    """Return the class of a method.

    Raises:
        InputError: If there is no such method, or its plugin is broken.
    """
    return _method_class(import_plugin(find(name, plugins).origin), name)


def find(name: str, plugins: Iterable[str | Path] = ()) -> MethodInfo:
    """Return what is known of a method, without importing one of this folder.

    Raises:
        InputError: As :func:`load` does.
    """
    listed = {item.name: item for item in _own()}
    if name not in listed:
        listed = catalogue(plugins)
    if name not in listed:
        broken = broken_files(plugins)
        raise InputError("; ".join([str(unknown("method", name, listed)), *broken]))
    item = listed[name]
    if item.broken:
        raise InputError(f"the method {name!r} is broken: {item.broken}")
    return item


def build(
    name: str,
    *,
    backbone: str,
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    plugins: Iterable[str | Path] = (),
    **hyperparameters: Any,
) -> "Method":
    """Return a method with newly initialised networks.

    Args:
        name: One of :func:`available`.
        backbone: A name that ``methods.backbones.make`` takes, or several joined by ``+`` for peers that differ.
        num_classes: C, at least 2.
        in_channels: Channels of the images, 1 or more.
        image_size: Side of the square images in pixels.
        plugins: Python files that define further methods or backbones.
        **hyperparameters: The method's own, checked by its ``Hyperparameters``.

    Raises:
        InputError: For an unknown name or a value out of range.
    """
    method = load(name, plugins)
    architectures = backbone.split("+")
    chosen = resolve(method, hyperparameters, architectures)
    shape = num_classes, in_channels, image_size
    return method([backbones.make(part, *shape, plugins=plugins) for part in architectures], chosen)


def resolve(
    method: "type[Method]",
    given: Mapping[str, Any],
    architectures: Sequence[str],
    epochs: int = REFERENCE_EPOCHS,
) -> BaseHyperparameters:
    """Return a method's hyperparameters with all defaults filled in; several architectures set the number of peers.

    Args:
        method: Its class.
        given: Values by name.
        architectures: The backbones' names, one for all peers or one per peer.
        epochs: The length of the run.

    Raises:
        InputError: For a value out of range, or several architectures where the peers share a stem.
    """
    if not issubclass(getattr(method, "Hyperparameters", object), BaseHyperparameters):
        raise InputError(f"{method.name!r} has no Hyperparameters that are a subclass of BaseHyperparameters")
    several = len(architectures) > 1
    if several and not method.mixed_backbones:
        raise method.one_backbone_only(architectures)
    peers = len(architectures) - method.extra_networks
    defaults = {"peers": peers} if several and "peers" in method.Hyperparameters.model_fields else {}
    chosen = method.Hyperparameters.resolve({**defaults, **given}, epochs, owner=method.name)
    method.check_architectures(architectures, chosen)
    return chosen


def restored(name: str, stored: Mapping[str, Any], plugins: Iterable[str | Path] = ()) -> dict[str, Any]:
    """Return the hyperparameters that a stored configuration means, also one that is older than some of them.

    Args:
        name: The method.
        stored: As ``BaseHyperparameters.stored`` wrote them.
        plugins: Python files that define further methods.

    Raises:
        InputError: As :func:`load` does.
    """
    return load(name, plugins).Hyperparameters.restored(stored)


@cache
def _own() -> tuple[MethodInfo, ...]:
    return tuple(_listed_in(Path(__file__).parent))


@cache
def _epochs_fields() -> frozenset[str]:
    """Return the names of hyperparameters of this folder that are made with ``epochs_field``."""
    return frozenset(
        name
        for name, value in _assigned()
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name)
        if value.func.id == epochs_field.__name__
    )


@cache
def read_with() -> Mapping[str, tuple[str, tuple[Any, ...]]]:
    """Return ``BaseHyperparameters.read_with`` of the methods of this folder, all together."""
    found: dict[str, tuple[str, tuple[Any, ...]]] = {}
    for name, value in _assigned():
        if name == "read_with" and isinstance(value, ast.Dict):
            # without a key: what a base class has said already
            pairs = zip(value.keys, value.values, strict=True)
            found |= {ast.literal_eval(key): ast.literal_eval(told) for key, told in pairs if key is not None}
    return found


def _assigned() -> Iterator[tuple[str, ast.expr | None]]:
    """Yield the annotated names of this folder's classes and what they are set to, by the source alone."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id, node.value


def _listed_in(folder: Path) -> Iterator[MethodInfo]:
    for path in sorted(folder.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                constants = _class_constants(node)
                if isinstance(name := constants.get("name"), str):
                    year = int(constants.get("year", 0))
                    said, version = first_line(ast.get_docstring(node)), int(constants.get("version", 1))
                    module, metrics = f"methods.{path.stem}", tuple(_declared_metrics(node))
                    yield MethodInfo(name, said, year, module, own=True, version=version, metrics=metrics)


def _declared_metrics(node: ast.ClassDef) -> Iterator[MethodMetric]:
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="metrics")], value=ast.Tuple(elts=calls)):
                for call in calls:
                    if isinstance(call, ast.Call):
                        named = {given.arg: ast.literal_eval(given.value) for given in call.keywords if given.arg}
                        yield MethodMetric(*map(ast.literal_eval, call.args), **named)


def _class_constants(node: ast.ClassDef) -> dict[str, Any]:
    constants = {}
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)], value=ast.Constant(value=value)):
                constants[target] = value
    return constants


def _listing(plugin: Plugin) -> MethodInfo:
    if plugin.broken:
        return MethodInfo(plugin.name, "", 0, plugin.origin, plugin.broken)
    method = plugin.value
    return MethodInfo(
        plugin.name,
        first_line(method.__doc__),
        method.year,
        plugin.origin,
        distribution=plugin.distribution,
        metrics=tuple(method.metrics),
    )


def broken_files(plugins: Iterable[str | Path]) -> list[str]:
    """Return a line for each plug-in file that cannot be used, with the reason.

    Raises:
        InputError: If one is no file.
    """
    every = ((plugin, item) for plugin in plugins for item in in_files([plugin], _methods_of))
    return [f"{plugin} is broken: {item.broken}" for plugin, item in every if item.broken]


def _method_class(module: ModuleType, name: str) -> "type[Method]":
    methods = _methods_of(module)
    if name not in methods:
        raise InputError(f"{module.__name__} defines no method named {name!r}")
    return methods[name]


def _methods_of(module: ModuleType) -> "dict[str, type[Method]]":
    """Return the methods that a module defines; none for a plug-in of networks or datasets alone."""
    classes = _classes(module)
    if not classes and not makers(module, BACKBONE, ARRAYS):
        raise InputError(f"{module.__name__} defines no method")
    for method in classes:
        if not isinstance(method.name, str) or type(method.year) is not int:
            raise InputError(f"{method.__name__}: name must be a word and year a whole number")
        if not all(isinstance(metric, MethodMetric) for metric in method.metrics):
            raise InputError(f"{method.__name__}: metrics must be a tuple of MethodMetric")
    return {method.name: method for method in classes}


def _classes(module: ModuleType) -> "list[type[Method]]":
    from methods.interface import Method

    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Method)
        and value.__module__ == module.__name__
        and "name" in vars(value)
    ]
