"""How values are written for a person, everywhere alike."""

import json
from typing import Any


def duration(seconds: float | None) -> str:
    """Return a time as text: ``45 s``, ``12 min``, ``3 h 05 min``, ``4 d 02 h``; ``?`` for None."""
    if seconds is None:
        return "?"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24:02d} h"


def counted(number: int, what: str) -> str:
    """Return a number of things as text: ``1 run``, ``3 runs``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def shown(value: Any) -> str:
    """Return a setting's value as a person writes it in YAML: ``true``, ``null``, ``0.5``."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


OTHER_WORDS = {"acc": "student", "accuracy": "student", "top1": "student"}  # other names of the reported metric


def short_name(dataset: str) -> str:
    """Return a dataset's short name: ``folder:cifar10`` for ``folder:/long/path/cifar10``."""
    kind, separator, place = dataset.partition(":")
    last = place.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    return f"{kind}{separator}{last or place}"
