"""How runs are carried out, and when no further epoch is begun: the limit of ``--stop-after``."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.configuration import LogitsType
from benchmark.store import Result, Status
from methods.errors import InputError

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
ENDING_S = 5.0  # of the time, for what comes after the last epoch: Ray's end and the table; of short times a tenth
NOT_BEGUN = Result(Status.UNFINISHED, "time was up before it began")

_WORDS = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+(?:\.[0-9]+)?){unit})?" for unit in UNITS))


@dataclass(frozen=True)
class TimeLimit:
    """A moment by which training has to have ended, in seconds on a clock: the time of day, which machines share."""

    end: float
    clock: Callable[[], float] = time.time

    @classmethod
    def after(cls, text: Any, begun: float | None = None) -> "TimeLimit":
        """Return the limit that words such as ``9m``, ``2h``, ``90s`` or ``1h30m`` mean, with time to end.

        The time began to run at ``begun``, as ``time.time()`` gives it; now for None.

        Raises:
            InputError: If they have another form, or mean no time at all.
        """
        found = _WORDS.fullmatch(text.strip()) if isinstance(text, str) else None
        parts = found.groupdict() if found else {}
        seconds = sum(float(number) * UNITS[unit] for unit, number in parts.items() if number)
        if not seconds:
            raise InputError(f"stop_after takes a time such as 9m, 2h, 90s or 1h30m (given: {text!r})")
        return cls((time.time() if begun is None else begun) + seconds - min(ENDING_S, seconds / 10))

    @property
    def left(self) -> float:
        """The seconds until then; below 0 afterwards."""
        return self.end - self.clock()


@dataclass(frozen=True)
class Job:
    """How runs are carried out; nothing here changes their numbers on a given device."""

    results: Path  # the folder
    device: str = "auto"  # `auto`, `cpu`, `cuda` or `cuda:N`
    save_students: bool = False  # whether the students' weights are kept
    plugins: tuple[str, ...] = ()  # Python files that define further methods and datasets
    force: bool = False  # whether runs begin anew even if they have ended or can be resumed
    # what the predictors' logits on the scored images are kept as; None if they are not
    predictions: LogitsType | None = None
    limit: TimeLimit | None = None  # by when runs have to have ended, or to be ready to be resumed
    # the hash of the command's own code, which the process that carries a run out must have too; empty: any
    code: str = ""


class EpochTimer:
    """Whether a process has time for another epoch, by what its epochs have taken so far.

    An epoch of a kind that the process has not trained yet is begun while any time is left. Once there was none for an
    epoch, there is none for any other: what begins late would end late.
    """

    def __init__(self, limit: TimeLimit | None) -> None:
        self.limit = limit
        self.over = False
        self._seconds: dict[str, list[float]] = {}

    def allows(self, kind: str, besides: float = 0.0) -> bool:
        """Return whether an epoch of a kind that begins now would end in time, with so many seconds beside it."""
        if self.limit is not None and not self.over:
            first, *others = self._seconds.get(kind, [0.0])
            # the first one, which also warms the device up, counts until there is another
            left, expected = self.limit.left, max(others, default=first)
            self.over = left <= 0 or expected + besides > left
        return not self.over

    @contextmanager
    def epoch(self, kind: str) -> Iterator[None]:
        """Remember how long an epoch takes, with all that belongs to it."""
        begin = self.limit.clock() if self.limit else 0.0
        yield
        if self.limit:
            self._seconds.setdefault(kind, []).append(self.limit.clock() - begin)
