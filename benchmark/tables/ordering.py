"""In which order rows and columns stand."""

import re
import sys
from functools import cache

from methods import registry


def method_order(name: str) -> tuple[int, str]:
    """Return a key that sorts methods as they are listed: by their publication, unknown ones last."""
    known = _places(tuple(sys.path))
    return known.get(name, len(known)), name


@cache
def _places(path: tuple[str, ...]) -> dict[str, int]:
    # installed packages are looked for once: thousands of rows are sorted by this
    return {name: place for place, name in enumerate(registry.catalogue())}


def natural(label: str) -> list[str | float]:
    """Return a key that sorts labels by the numbers in them: ``resnet8`` before ``resnet14``."""
    # words and numbers take turns, so that like is compared with like
    return [float(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+(?:\.\d+)?)", label))]
