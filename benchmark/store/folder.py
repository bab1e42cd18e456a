"""A run's three files as they lie in its folder, read at one moment while others may be writing them."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.store.files import CONFIG, LIMITS, METRICS, RESULT, Contents, DamagedError, Stamp, parse

_MISSING = (-1, -1)


def stamp(folder: Path) -> Stamp:
    """Return what changes when one of a run's files does."""
    found: list[int] = []
    for name in (CONFIG, METRICS, RESULT):
        try:
            state = (folder / name).stat()
        except OSError:
            found += _MISSING
        else:
            found += (state.st_size, state.st_mtime_ns)
    return tuple(found)


def content_of(folder: Path, name: str) -> bytes | None:
    """Return one of a run's files; None if it is not there.

    Raises:
        DamagedError: If it cannot be read, is no file, or is larger than any run's.
    """
    path = folder / name
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise DamagedError(f"{name} is no file")
        if state.st_size > LIMITS[name]:
            raise DamagedError(f"{name} has {state.st_size:,} bytes, more than the {LIMITS[name]:,} of any run")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedError(f"{name} cannot be read: {error.strerror}") from None


_TRIES = 5


@dataclass(frozen=True)
class Files:
    """A run's files at one moment.

    Attributes:
        contents: What they say.
        raw: Their bytes by name; a file that is not there is left out.
        stamp: Of that moment.
    """

    contents: Contents
    raw: Mapping[str, bytes]
    stamp: Stamp


def read_files(folder: Path) -> Files:
    """Return a run's files as they are at one moment, while others may be writing them.

    Raises:
        DamagedError: If they are damaged; its ``stamp`` is set.
    """
    for _ in range(_TRIES):
        before = stamp(folder)
        damage = None
        try:
            contents, raw = _read_once(folder)
        except DamagedError as error:
            damage = error
        if before == stamp(folder):
            break
    if damage is not None:
        damage.stamp = before
        raise damage
    return Files(contents, raw, before)


def _read_once(folder: Path) -> tuple[Contents, dict[str, bytes]]:
    config = content_of(folder, CONFIG)
    if config is None:
        raise DamagedError(f"there is no {CONFIG}")
    # the result is written last: whoever reads it first finds all metrics after it
    result = content_of(folder, RESULT)
    metrics = content_of(folder, METRICS)
    found = {CONFIG: config, METRICS: metrics, RESULT: result}
    raw = {name: content for name, content in found.items() if content is not None}
    return parse(config, result, metrics), raw


def read(folder: Path) -> Contents:
    """Return what a run's files say; see :func:`read_files`."""
    return read_files(folder).contents
