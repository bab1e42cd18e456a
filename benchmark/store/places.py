"""Which results folders a person means."""

import glob
from collections.abc import Sequence
from pathlib import Path

from benchmark import paths
from methods.errors import InputError

Results = str | Path | Sequence[str | Path]


def folders(results: Results) -> list[Path]:
    """Return the results folders that are meant, each once, in the order given; a pattern means all that it fits.

    Args:
        results: One or several; patterns such as ``lab*/results`` too.

    Raises:
        InputError: If one is not there, or a pattern fits none.
    """
    given = [results] if isinstance(results, str | Path) else list(results)
    if not given:
        raise InputError("no results folder is named")
    found: dict[Path, Path] = {}
    for one in given:
        path = paths.written(one, "results")
        try:
            places = [path] if path.is_dir() else [Path(place) for place in sorted(glob.glob(str(path)))]  # noqa: PTH207
            there = [place for place in places if place.is_dir()]
        except (OSError, ValueError):
            there = []
        if not there:
            raise InputError(f"no such results folder: {path}")
        for place in there:
            found.setdefault(place.resolve(), place)
    return list(found.values())
