"""Runs that differ in nothing but the seed: their values, what did not finish, and what they were made with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev

import pandas as pd

from benchmark.metrics import CLASSES, EACH, Metric, Run
from benchmark.store import DAMAGED, ERROR, Status

MAX_REASON = 60


@dataclass(frozen=True)
class Unfinished:
    """Runs that did not finish: how many, and the first one's reason.

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
class Replicates:
    """A metric of runs that differ in nothing but the seed.

    Attributes:
        values: Of the finished ones, by seed.
        unfinished: The others.
        decimals: Places that they are shown with.
        ended: The seeds whose runs have ended for good, finished or not.
    """

    values: Mapping[int, float]
    unfinished: Sequence[Unfinished] = ()
    decimals: int = 2
    ended: frozenset[int] = frozenset()

    @cached_property
    def mean(self) -> float | None:
        """Over the seeds; None if no run finished."""
        return mean(self.values.values()) if self.values else None

    def numbers(self, n: bool = True) -> str:
        """Return ``mean ± std (n)`` of the finished runs, with their number or without; nothing if there is none."""
        return mean_and_deviation([*self.values.values()], self.decimals, n) if self.values else ""

    def text(self, reasons: bool = True, n: bool = True) -> str:
        """Return ``mean ± std (n)`` and how many runs did not finish, with the reason or without."""
        numbers = [self.numbers(n)] if self.values else []
        return ", ".join([*numbers, *(end.text if reasons else f"{end.count} {end.status}" for end in self.unfinished)])


_UNSCORED = ("train.", "data.", "hyperparameters.", "files.", "environment.", "method.", "dataset.", "own.")
"""Beginnings of the columns that no score is made of."""


def records(runs: pd.DataFrame) -> list[Run]:
    """Return the runs one by one, as ``to_dict`` does several times slower; without their settings.

    Args:
        runs: One row per run.
    """
    names = [name for name in runs.columns if not str(name).startswith(_UNSCORED)]
    return [dict(zip(names, run, strict=True)) for run in zip(*(runs[name].tolist() for name in names), strict=True)]


def replicates(records: Sequence[Run], metric: Metric) -> dict[str, Replicates]:
    """Return the values of runs that differ in nothing but the seed, by part of the metric.

    Args:
        records: The runs.
        metric: What is shown of them.
    """
    values: dict[str, dict[int, float]] = {}
    reasons: dict[Status, list[tuple[str, str]]] = {status: [] for status in Status}
    # the same run may be stored twice, as when its images have been moved; it still counts once
    finished = {int(run["seed"]): run for run in records if Status(run["status"]) is Status.FINISHED}
    for run in records:
        status = Status(run["status"])
        if status is not Status.FINISHED and int(run["seed"]) not in finished:
            more = run.get("error")
            reasons[status].append((str(run["reason"]), more if isinstance(more, str) else ""))
    for seed, run in finished.items():
        for part, value in metric.of(run).items():
            values.setdefault(part, {})[seed] = value
    unfinished = [
        Unfinished(status, len(given), *given[0])
        for status, given in reasons.items()
        if given and status is not Status.FINISHED
    ]
    if not values and metric.name in (EACH, CLASSES):
        return {}
    ended = frozenset(int(run["seed"]) for run in records if Status(run["status"]).final)
    return {
        part: Replicates(dict(sorted(found.items())), unfinished, metric.decimals, ended)
        for part, found in (values or {"": {}}).items()
    }


def mean_and_deviation(values: Sequence[float], decimals: int = 2, n: bool = True) -> str:
    """Return ``mean ± std (n)`` with the sample's standard deviation; one value has no ±.

    Args:
        values: At least one.
        decimals: Places.
        n: Whether their number follows.
    """
    spread = f" ± {stdev(values):.{decimals}f}" if len(values) > 1 else ""
    return f"{mean(values):.{decimals}f}{spread}" + (f" ({len(values)})" if n else "")


def located(frame: pd.DataFrame, results: Sequence[Path]) -> pd.DataFrame:
    """Return the runs with ``error``, the path of a failed run's traceback where there is one.

    Args:
        frame: From :func:`benchmark.store.load`.
        results: The results folders that it was loaded from.
    """
    failed = frame.loc[frame["status"] == str(Status.FAILED), "run"].unique()
    paths = ((str(run), root / "runs" / str(run) / ERROR) for root in results for run in failed)
    there = {run: str(path) for run, path in paths if path.is_file()}
    return frame.copy().assign(error=frame["run"].map(there)) if there else frame


MIXED = {
    "hardware": "devices",
    "precision": "arithmetic",
    "deterministic": "repeatable and free kernels (deterministic)",
    "torch": "versions of torch",
    "torchvision": "versions of torchvision",
    "cuda": "versions of CUDA",
    "numpy": "versions of numpy",
    "okdbench": "versions of okdbench",
    "commit": "commits of okdbench",
    "source": "source trees of okdbench (the same commit, changed)",
}
"""What a run's environment says, and what the runs of a table mix if they differ in it."""

MAX_SHOWN = 4


def footnotes(frame: pd.DataFrame) -> list[str]:
    """Return one line for each thing that the finished runs of a table mix, and one for the runs that are left out.

    Args:
        frame: From :func:`benchmark.store.load`; a run that says nothing of a thing does not count for it.
    """
    finished = frame[frame["status"] == "finished"].drop_duplicates("run")
    damaged = len(frame.attrs.get(DAMAGED, ()))
    lines = [f"note: {damaged} damaged {'run is' if damaged == 1 else 'runs are'} left out"] if damaged else []
    for key, called in MIXED.items():
        column = f"environment.{key}"
        if column not in finished.columns:
            continue
        # a commit tells its source tree, unless that was changed since
        same = finished if key != "source" else finished[~_told_by_commit(finished)]
        given = same[column].dropna()
        counts = given[given != ""].value_counts()
        if len(counts) > 1:
            named = [f"{value} ({count} runs)" for value, count in counts.head(MAX_SHOWN).items()]
            others = [f"{len(counts) - MAX_SHOWN} more"] if len(counts) > MAX_SHOWN else []
            lines.append(
                f"note: this table mixes {called}: {', '.join([*named, *others])}".replace("(1 runs)", "(1 run)")
            )
    return lines


def _told_by_commit(runs: pd.DataFrame) -> "pd.Series[bool]":
    commits = runs.get("environment.commit", pd.Series("", index=runs.index)).fillna("").astype(str)
    return (commits != "") & ~commits.str.endswith("+")
