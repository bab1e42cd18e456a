"""The recipes: YAML files in ``configs/`` whose keys are the flags' names."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmark import paths
from benchmark.configuration import yaml_files
from methods.errors import InputError, unknown

STUDIES = "studies"
"""The folder of files that compare cases, for ``bench study``: no recipes."""


def folder() -> Path:
    """Return where the recipes lie: inside the installed package, or at the root of the repository."""
    packaged = Path(str(files("benchmark"))) / "configs"
    return packaged if packaged.is_dir() else packaged.parents[1] / "configs"


def available() -> dict[str, str]:
    """Return every recipe's name (with its folder, for those in one) and its description."""
    root = folder()
    found = sorted(path for path in root.rglob("*.yaml") if path.relative_to(root).parts[0] != STUDIES)
    return {path.relative_to(root).with_suffix("").as_posix(): str(read(path)["description"]) for path in found}


def read(path: Path) -> dict[str, Any]:
    """Return a configuration file's keys and values; a hyphen in a key counts as an underscore.

    Raises:
        InputError: If it cannot be read or is not a mapping.
    """
    content = yaml_files.read(path)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path} must hold keys and values, as in 'methods: [pcl, dkel]'")
    keys = [key.replace("-", "_") for key in content]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise InputError(f"{path}: the key {twice!r} stands twice")
    return dict(zip(keys, content.values(), strict=True))


def find(name: str) -> Path:
    """Return the file that ``--config`` names: a path, or a recipe's name.

    Raises:
        InputError: If it is neither.
    """
    path = paths.written(name, "config")
    if paths.is_file(path):
        return path
    packaged = folder() / f"{name}.yaml"
    # ./demo is a file here, whatever recipes are called
    inside = name == path.as_posix() and ".." not in path.parts and not path.is_absolute()
    if inside and paths.is_file(packaged):
        return packaged
    names = available()
    # a word with a slash or a suffix is a path, and means no recipe that happens to be called like its end
    within = inside and paths.is_folder(packaged.parent)
    if path.suffix in (".yaml", ".yml") or (("/" in name or os.sep in name) and not within):
        raise InputError(f"no such configuration file: {name} (recipes: {', '.join(names)})")
    raise unknown("configuration", name, names)
