"""YAML as people write it, and the recipes: YAML files in ``configs/`` whose keys are the flags' names."""

import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import yaml

from benchmark import paths
from methods.errors import InputError, unknown

MAX_BYTES = 1_000_000


class DistinctKeys(yaml.constructor.SafeConstructor):
    """A mapping has no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping, or raise a YAMLError that names the key."""
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            keys = [self.construct_object(key) for key, _ in node.value]
            twice = next(key for place, key in enumerate(keys) if key in keys[:place])
            raise yaml.YAMLError(f"duplicate key {twice!r} in the mapping at line {node.start_mark.line + 1}")
        return mapping


class _Loader(DistinctKeys, yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}  # type: ignore[misc]

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # aliases are what a "YAML bomb" is made of, and configurations have no use for them
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)


_CORE_SCHEMA = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)|[-+]?(\.[0-9]+|[0-9]+\.?[0-9]*)[eE][-+]?[0-9]+", list("-+.0123456789")),
)


def resolve_core_schema(*classes: Any) -> None:
    """Let loaders and dumpers of PyYAML resolve the finite numbers and the words of YAML 1.2, not 1:30 or ``on``."""
    for tag, pattern, first in _CORE_SCHEMA:
        for one in classes:
            one.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), first)


resolve_core_schema(_Loader)
# where they are no valid value, the message is to say so
_NOT_FINITE = re.compile(r"^(?:[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NOT_FINITE, list("-+."))


def parse_yaml(text: str, source: str) -> Any:
    """Return the plain data of YAML text, or raise an InputError if it is none or uses what is not allowed here."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML raises LookupError and AttributeError for a tag that does not fit its value, such as !!bool maybe
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{source}{where}: not valid YAML: {problem}") from None


def read_yaml(path: Path) -> Any:
    """Return the plain data of a YAML file, or raise an InputError if it is missing, too large or no YAML."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES:,} bytes: is it a configuration?")
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file") from None


STUDIES, SUITES = "studies", "suites"
"""The folders of files that compare cases, for ``bench study``, and of declared comparisons: no recipes."""


def folder() -> Path:
    """Return the folder of the recipes: inside the installed package, or at the root of the repository."""
    packaged = Path(str(files("benchmark"))) / "configs"
    return packaged if packaged.is_dir() else packaged.parents[1] / "configs"


def names() -> list[str]:
    """Return every recipe's name (with its folder, for those in one), read from the files' names alone."""
    root = folder()
    found = [path.relative_to(root) for path in root.rglob("*.yaml")]
    return sorted(path.with_suffix("").as_posix() for path in found if path.parts[0] not in (STUDIES, SUITES))


def available() -> dict[str, str]:
    """Return every recipe's name and its description."""
    return {name: str(read(folder() / f"{name}.yaml")["description"]) for name in names()}


def read(path: Path) -> dict[str, Any]:
    """Return a file's keys and values, hyphens in keys as underscores, or raise an InputError if it has none."""
    content = read_yaml(path)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path} must hold keys and values, as in 'methods: [pcl, dkel]'")
    keys = [key.replace("-", "_") for key in content]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise InputError(f"{path}: duplicate key {twice!r}")
    return dict(zip(keys, content.values(), strict=True))


def find(name: str) -> Path:
    """Return the file that ``--config`` names, a path or a recipe's name, or raise an InputError if it is neither."""
    path = paths.written(name, "config")
    if paths.is_file(path):
        return path
    packaged = folder() / f"{name}.yaml"
    # ./demo is a file here, whatever recipes are called
    inside = name == path.as_posix() and ".." not in path.parts and not path.is_absolute()
    if inside and paths.is_file(packaged):
        return packaged
    # a word with a slash or a suffix is a path, and means no recipe that happens to be called like its end
    if path.suffix in (".yaml", ".yml") or (os.sep in name and not (inside and paths.is_folder(packaged.parent))):
        raise InputError(f"no such configuration file: {name} (recipes: {', '.join(names())})")
    raise unknown("configuration", name, names())
