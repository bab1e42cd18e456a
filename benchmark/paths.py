"""Paths as people write them, of which some can be no file's on any machine."""

import os
from pathlib import Path

from methods.errors import InputError


def written(text: str | Path, what: str) -> Path:
    """Return the path that a person's text means, with ``~`` as the home folder.

    Raises:
        InputError: If it holds a NUL character or names the home of nobody; it begins with what the path is of.
    """
    text = str(text)
    if "\0" in text:
        raise InputError(f"{what}: a path holds no NUL character (given: {text!r})")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InputError(f"{what}: nobody here has the home folder of {text!r}") from None


def plugin_file(plugin: str | Path) -> Path:
    """Return the absolute path of a plug-in, whether it is there or not, or raise an InputError as :func:`written`."""
    return written(plugin, "plugin").resolve()


def possible(text: str) -> bool:
    """Return whether a text can be a path: a file's YAML may hold characters that no name has."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


is_file, is_folder = os.path.isfile, os.path.isdir
"""Whether there is such a file or folder: a name that is too long for the system is none's."""
