"""What stands in a table's cell: the scores of runs that differ in nothing but the seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev

import pandas as pd

from benchmark.metrics import CLASSES, EACH, Metric, Run
from benchmark.store import Status

MAX_REASON = 60


@dataclass(frozen=True)
class Ending:
    """Runs of a cell that did not finish: how many, and the first one's reason.

    Attributes:
        status: How they ended.
        count: How many.
        reason: The first one's; may be empty.
        more: The file with the first one's traceback; empty if there is none.
    """

    status: Status
    count: int
    reason: str
    more: str = ""

    @property
    def text(self) -> str:
        """The count, the status and, if there are some, the reason and where more is said, on one line."""
        reason = " ".join(self.reason.split())
        shortened = reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}..."
        more = f" ({self.more})" if self.more else ""
        return f"{self.count} {self.status}" + (f": {shortened}" if shortened else "") + more


@dataclass(frozen=True)
class Cell:
    """Runs that differ in nothing but the seed.

    Attributes:
        values: Of the finished ones, by seed.
        endings: Of the others.
        digits: Decimal places.
    """

    values: Mapping[int, float]
    endings: Sequence[Ending] = ()
    digits: int = 2

    @cached_property
    def mean(self) -> float | None:
        """Over the seeds; None if no run finished."""
        return mean(self.values.values()) if self.values else None

    def numbers(self, n: bool = True) -> str:
        """Return ``mean ± std (n)`` of the finished runs, with their number or without; nothing if there is none."""
        return mean_and_deviation([*self.values.values()], self.digits, n) if self.values else ""

    def text(self, reasons: bool = True, n: bool = True) -> str:
        """Return ``mean ± std (n)`` and how many runs did not finish, with the reason or without."""
        numbers = [self.numbers(n)] if self.values else []
        return ", ".join([*numbers, *(end.text if reasons else f"{end.count} {end.status}" for end in self.endings)])


_UNSCORED = ("train.", "data.", "hyperparameters.", "files.", "environment.", "method.", "dataset.", "own.")
"""Beginnings of the columns that no score is made of."""


def records(runs: pd.DataFrame) -> list[Run]:
    """Return the runs one by one, as ``to_dict`` does several times slower; without their settings.

    Args:
        runs: One row per run.
    """
    names = [name for name in runs.columns if not str(name).startswith(_UNSCORED)]
    return [dict(zip(names, run, strict=True)) for run in zip(*(runs[name].tolist() for name in names), strict=True)]


def cells_of(records: Sequence[Run], metric: Metric) -> dict[str, Cell]:
    """Return the cells of runs that differ in nothing but the seed, by part of the metric.

    Args:
        records: The runs.
        metric: What is shown of them.
    """
    values: dict[str, dict[int, float]] = {}
    reasons: dict[Status, list[tuple[str, str]]] = {status: [] for status in Status}
    # the same run may lie there twice, as when its images have been moved; it still counts once
    finished = {int(run["seed"]): run for run in records if Status(run["status"]) is Status.FINISHED}
    for run in records:
        status = Status(run["status"])
        if status is not Status.FINISHED and int(run["seed"]) not in finished:
            more = run.get("error")
            reasons[status].append((str(run["reason"]), more if isinstance(more, str) else ""))
    for seed, run in finished.items():
        for part, value in metric.of(run).items():
            values.setdefault(part, {})[seed] = value
    endings = [
        Ending(status, len(given), *given[0])
        for status, given in reasons.items()
        if given and status is not Status.FINISHED
    ]
    if not values and metric.name in (EACH, CLASSES):
        return {}
    return {
        part: Cell(dict(sorted(found.items())), endings, metric.decimals)
        for part, found in (values or {"": {}}).items()
    }


def mean_and_deviation(values: Sequence[float], digits: int = 2, n: bool = True) -> str:
    """Return ``mean ± std (n)`` with the sample's standard deviation; one value has no ±.

    Args:
        values: At least one.
        digits: Decimal places.
        n: Whether their number stands behind.
    """
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}" + (f" ({len(values)})" if n else "")
