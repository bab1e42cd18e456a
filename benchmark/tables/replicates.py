"""Runs that differ in nothing but the seed: their values, what did not finish, and what they were made with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev

import pandas as pd

from benchmark.formatting import counted
from benchmark.metrics import CLASSES, EACH, Metric, Run
from benchmark.store import DAMAGED, ERROR, Status

MAX_REASON = 60


@dataclass(frozen=True)
class Unfinished:
    """Runs that did not finish: how many, and the first one's reason."""

    status: Status  # how they ended
    count: int  # how many
    reason: str  # the first one's; may be empty
    more: str = ""  # the file with the first one's traceback; empty if there is none

    @property
    def text(self) -> str:
        """The count, the status and, if there are some, the reason and where more is said, on one line."""
        reason = " ".join(self.reason.split())
        shortened = reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}..."
        more = f" ({self.more})" if self.more else ""
        return f"{self.count} {self.status}" + (f": {shortened}" if shortened else "") + more


@dataclass(frozen=True)
class Replicates:
    """A metric of runs that differ in nothing but the seed."""

    values: Mapping[int, float]  # of the finished ones, by seed
    unfinished: Sequence[Unfinished] = ()  # the others
    decimals: int = 2  # places that they are shown with
    ended: frozenset[int] = frozenset()  # the seeds whose runs have ended for good, finished or not

    @cached_property
    def mean(self) -> float | None:
        """Over the seeds; None if no run finished."""
        return mean(self.values.values()) if self.values else None

    @cached_property
    def std(self) -> float | None:
        """The sample's standard deviation over the seeds; None with fewer than two."""
        return stdev(self.values.values()) if len(self.values) > 1 else None

    def numbers(self, n: bool = True) -> str:
        """Return ``mean ± std (n)`` of the finished runs, with their number or without; nothing if there is none."""
        if self.mean is None:
            return ""
        spread = "" if self.std is None else f" ± {self.std:.{self.decimals}f}"
        return f"{self.mean:.{self.decimals}f}{spread}" + (f" ({len(self.values)})" if n else "")

    def text(self, reasons: bool = True, n: bool = True) -> str:
        """Return ``mean ± std (n)`` and how many runs did not finish, with the reason or without."""
        ends = [end.text if reasons else f"{end.count} {end.status}" for end in self.unfinished]
        return ", ".join(part for part in (self.numbers(n), *ends) if part)


_UNSCORED = ("train.", "data.", "hyperparameters.", "files.", "environment.", "method.", "dataset.", "own.")
"""Beginnings of the columns that no score is made of."""


def records(runs: pd.DataFrame) -> list[Run]:
    """Return the runs one by one, as ``to_dict`` does several times slower; without their settings."""
    names = [name for name in runs.columns if not str(name).startswith(_UNSCORED)]
    return [dict(zip(names, run, strict=True)) for run in zip(*(runs[name].tolist() for name in names), strict=True)]


def replicates(records: Sequence[Run], metric: Metric, digits: int | None = None) -> dict[str, Replicates]:
    """Return the values of runs that differ in nothing but the seed, by part of the metric."""
    values: dict[str, dict[int, float]] = {}
    # the same run may be stored twice, as when its images have been moved; it still counts once
    finished = {int(run["seed"]): run for run in records if Status(run["status"]) is Status.FINISHED}
    for seed, run in sorted(finished.items()):
        for part, value in metric.of(run).items():
            values.setdefault(part, {})[seed] = value
    if not values and metric.name in (EACH, CLASSES):
        return {}
    unfinished = []
    for status in Status:
        lost = [run for run in records if run["status"] == status and int(run["seed"]) not in finished]
        if lost:
            unfinished.append(Unfinished(status, len(lost), str(lost[0]["reason"]), str(lost[0].get("error", ""))))
    ended = frozenset(int(run["seed"]) for run in records if Status(run["status"]).final)
    decimals = metric.decimals if digits is None else digits
    return {part: Replicates(found, unfinished, decimals, ended) for part, found in (values or {"": {}}).items()}


def located(frame: pd.DataFrame, results: Sequence[Path]) -> pd.DataFrame:
    """Return the runs with ``error``, the path of a failed run's traceback where there is one."""
    failed = frame.loc[frame["status"] == str(Status.FAILED), "run"].unique()
    paths = ((str(run), root / "runs" / str(run) / ERROR) for root in results for run in failed)
    there = {run: str(path) for run, path in paths if path.is_file()}
    return frame.copy().assign(error=frame["run"].map(there).fillna("")) if there else frame


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
    """Return a line for each thing that finished runs mix, as far as they say it, and for runs that are left out."""
    finished = frame[frame["status"] == "finished"].drop_duplicates("run")
    damaged = len(frame.attrs.get(DAMAGED, ()))
    lines = [f"note: {damaged} damaged {'run is' if damaged == 1 else 'runs are'} left out"] if damaged else []
    for key, called in MIXED.items():
        given = finished.get(f"environment.{key}", pd.Series(dtype=object)).dropna()
        if key == "source":
            # a commit tells its source tree, unless that was changed since
            commits = finished.get("environment.commit", pd.Series("", index=finished.index)).fillna("").astype(str)
            given = given[((commits == "") | commits.str.endswith("+"))[given.index]]
        counts = given[given != ""].value_counts()
        if len(counts) > 1:
            named = [f"{value} ({counted(n, 'run')})" for value, n in counts.head(MAX_SHOWN).items()]
            others = [f"{len(counts) - MAX_SHOWN} more"] if len(counts) > MAX_SHOWN else []
            lines.append(f"note: this table mixes {called}: {', '.join([*named, *others])}")
    return lines
