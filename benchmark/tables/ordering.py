"""In which order rows and columns stand."""

import re

from methods import registry


def method_order(name: str) -> tuple[int, str]:
    """Return a key that sorts methods as they are listed: by their publication, unknown ones last."""
    known = list(registry.catalogue())
    return known.index(name) if name in known else len(known), name


def natural(label: str) -> list[str | float]:
    """Return a key that sorts labels by the numbers in them: ``resnet8`` before ``resnet14``."""
    # words and numbers take turns, so that like is compared with like
    return [float(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+(?:\.\d+)?)", label))]
