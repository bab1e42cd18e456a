"""How values are said to a person, everywhere alike."""

import sys
from typing import TYPE_CHECKING

from benchmark.escaping import visible

if TYPE_CHECKING:
    from benchmark.consoles import Console


def duration(seconds: float | None) -> str:
    """Return a time as a person says it: ``45 s``, ``12 min``, ``3 h 05 min``, ``4 d 02 h``; ``?`` for None."""
    if seconds is None:
        return "?"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24:02d} h"


OTHER_WORDS = {"acc": "student", "accuracy": "student", "top1": "student"}
"""What people call the headline score, by word."""


def short_name(dataset: str) -> str:
    """Return what a data set is called: ``folder:cifar10`` for ``folder:/long/path/cifar10``."""
    kind, separator, place = dataset.partition(":")
    last = place.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    return f"{kind}{separator}{last or place}"


def say(console: "Console", *lines: str) -> None:
    """Print lines as they are, with their control characters made visible."""
    for line in lines:
        console.print(visible(line), highlight=False, markup=False, soft_wrap=True)


def tell(*lines: object, error: bool = False, flush: bool = False) -> None:
    """Print lines, what a command answers, with their control characters made visible.

    Args:
        lines: Each one line of the answer.
        error: Whether they go to the error stream.
        flush: Whether a reader is to have them at once, and not when there are more.
    """
    for line in lines:
        print(visible(str(line)), file=sys.stderr if error else sys.stdout, flush=flush)
