"""What the report shows, gathered from the stored runs: plain data, rounded, small enough for a page."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import store, tables
from benchmark.reports import repeat
from benchmark.store import Status, StoredRun, stored_runs
from benchmark.tables import Choice, Showing, layout, summaries

MAX_NUMBERS = 400_000
"""In the curves of a page, which is then a few megabytes; longer curves are drawn at fewer epochs."""

MIN_POINTS, MAX_POINTS = 24, 120
RUN_POINTS = 60

_PREDICTORS = ("top1", "top5", "nll", "ece")
_AVERAGED = (Status.FINISHED, Status.UNFINISHED, Status.BUSY, Status.STOPPED)
_NO_METRICS = ("run", "method", "dataset", "backbone", "seed", "epoch", "status", "reason", "students", "split")


@dataclass(frozen=True)
class Group:
    """The runs of a table's cell: they differ in their seeds alone.

    Attributes:
        panel: The table's column: the data set, the backbone and the settings that differ between columns.
        row: The table's row: the method and the settings that differ between rows.
        method: The method's name.
        runs: The runs' names.
        frame: Their rows, an epoch each.
    """

    panel: str
    row: str
    method: str
    runs: Sequence[str]
    frame: pd.DataFrame


@dataclass(frozen=True)
class Content:
    """A results folder, read.

    Attributes:
        frame: Of :func:`benchmark.store.load`.
        runs: By name.
        groups: In the order of the tables.
        choice: Which of them are shown.
        showing: What rows and columns are called.
        left_out: A line on the runs that are left out without being asked for.
    """

    frame: pd.DataFrame
    runs: dict[str, StoredRun]
    groups: Sequence[Group]
    choice: Choice = field(default_factory=Choice)
    showing: Showing = field(default_factory=Showing)
    left_out: Sequence[str] = ()

    @classmethod
    def read(cls, results: Path, choice: Choice | None = None, showing: Showing | None = None) -> "Content":
        """Read a results folder.

        Args:
            results: The folder.
            choice: Which runs, rows and columns are shown.
            showing: What they are called.

        Raises:
            InputError: If there is none, or a run in it is damaged.
        """
        frame = store.load(results)
        # a run may have been added since
        runs = {run.name: run for run in stored_runs(results)} if len(frame) else {}
        choice, showing = choice or Choice(), showing or Showing()
        frame, left_out = choice.runs(frame[frame["run"].isin(runs)])
        groups = _groups(frame, choice, showing)
        shown = {name for group in groups for name in group.runs}
        return cls(frame, {n: run for n, run in runs.items() if n in shown}, groups, choice, showing, left_out)

    @property
    def panels(self) -> list[str]:
        """The tables' columns, in order."""
        return list(dict.fromkeys(sorted((group.panel for group in self.groups), key=self._place)))

    def _place(self, panel: str) -> tuple[int, list[str | float]]:
        """Return a key that sorts panels as they were asked for, else by the numbers in their names."""
        order = [self.showing.word(column) for column in self.choice.columns]
        return order.index(panel) if panel in order else len(order), tables.natural(panel)

    @property
    def rows(self) -> list[str]:
        """The tables' rows, in order."""
        return list(dict.fromkeys(group.row for group in self.groups))


def _groups(frame: pd.DataFrame, choice: Choice, showing: Showing) -> list[Group]:
    if frame.empty:
        return []
    table = tables.build(frame, [tables.HEADLINE], choice=choice, showing=showing)
    order = {row: index for index, row in enumerate(table.rows)}
    columns = {heading.column: index for index, heading in enumerate(table.headings)}
    word = table.showing.word
    by_run = dict(tuple(frame.groupby("run", sort=False)))
    found = []
    for (panel, row), runs in layout.labelled(summaries(frame)).groupby(["column", "row"], sort=False):
        if row not in order or panel not in columns:
            continue
        names = [str(name) for name in runs["run"]]
        rows = pd.concat([by_run[name] for name in names])
        group = Group(word(str(panel)), word(str(row)), str(runs["method"].iloc[0]), names, rows)
        found.append((order[row], columns[panel], group))
    return [group for _, _, group in sorted(found, key=lambda item: item[:2])]


def page_data(content: Content) -> dict[str, Any]:
    """Return what the page's script draws."""
    curves, names = _curves(content)
    return {
        "panels": content.panels,
        "rows": content.rows,
        "metrics": names,
        "groups": [
            {
                "panel": content.panels.index(group.panel),
                "row": content.rows.index(group.row),
                "n": len(group.runs),
                "curves": curves[index],
                "cost": costs(content, group),
                "student": _rounded(_last_student(group)),
            }
            for index, group in enumerate(content.groups)
        ],
        "runs": {group_run: details for group in content.groups for group_run, details in _details(content, group)},
    }


def _last_student(group: Group) -> float:
    finished = group.frame[group.frame["status"] == Status.FINISHED]
    last = finished.groupby("run")["student"].last() if "student" in finished else pd.Series(dtype=float)
    return float(last.mean()) if len(last) else float("nan")


def metrics_of(group: Group) -> pd.DataFrame:
    """Return a group's metrics by run and epoch, those of many predictors joined to a few means."""
    frame = group.frame[group.frame["epoch"].notna()]
    if frame.empty:
        return pd.DataFrame(index=pd.MultiIndex.from_arrays([[], []], names=["run", "epoch"]))
    named = [name for names in frame["students"].unique() for name in str(names).split(",") if name]
    columns = [name for name in frame.columns if name not in _NO_METRICS and "." not in name]
    numbers = frame[columns].select_dtypes("number").dropna(axis="columns", how="all")
    found: dict[str, Any] = {}
    if "student" in numbers:
        found["student accuracy"] = numbers["student"]
    for family in _PREDICTORS:
        own = [name for name in numbers if str(name).startswith(f"{family}/")]
        kinds = {
            "students": [name for name in own if str(name).partition("/")[2] in named],
            "peers": [name for name in own if str(name).startswith(f"{family}/peer")],
            "ensemble": [name for name in own if name == f"{family}/ensemble"],
        }
        for kind, members in kinds.items():
            if members and not (family == "top1" and kind == "students"):
                found[f"{family}: {kind}"] = pd.DataFrame(numbers[members]).mean(axis="columns")
    for name in map(str, numbers.columns):
        if name not in ("student", "seconds") and name.partition("/")[0] not in _PREDICTORS:
            found[name.replace("/", ": ", 1)] = numbers[name]
    index = pd.MultiIndex.from_arrays([frame["run"], frame["epoch"].astype(int)], names=["run", "epoch"])
    return pd.DataFrame({name: values.to_numpy() for name, values in found.items()}, index=index)


def _curves(content: Content) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the curves of each group by metric, and all metrics' names."""
    means, deviations = [], []
    for group in content.groups:
        fit = group.frame["status"].isin([str(status) for status in _AVERAGED])
        metrics = metrics_of(Group(group.panel, group.row, group.method, group.runs, group.frame[fit]))
        by_epoch = metrics.groupby(level="epoch")
        means.append(by_epoch.mean())
        deviations.append(by_epoch.std(ddof=1))
    names = list(dict.fromkeys(str(name) for mean in means for name in mean.columns))
    count = sum(len(mean.columns) for mean in means)
    points = min(MAX_POINTS, max(MIN_POINTS, MAX_NUMBERS // (2 * max(1, count))))
    curves = []
    for mean, deviation in zip(means, deviations, strict=True):
        own: dict[str, Any] = {}
        # epochs are counted from one where people read them
        epochs = mean.index.to_numpy(dtype=int) + 1
        for name in mean.columns:
            line, band = mean[name].to_numpy(dtype=float), deviation[name].to_numpy(dtype=float)
            there = np.flatnonzero(np.isfinite(line))
            chosen = there[_spread(len(there), points)]
            own[str(names.index(str(name)))] = [
                epochs[chosen].tolist(),
                [_rounded(value) for value in line[chosen]],
                *([[_rounded(value) for value in band[chosen]]] if np.isfinite(band[chosen]).any() else []),
            ]
        curves.append(own)
    return curves, names


def _spread(length: int, points: int) -> list[int]:
    """Return at most so many indices, evenly spread, with the first and the last."""
    return np.unique(np.linspace(0, length - 1, min(length, points)).round()).astype(int).tolist() if length else []


def _details(content: Content, group: Group) -> Iterator[tuple[str, dict[str, Any]]]:
    columns = [name for name in group.frame.columns if name not in _NO_METRICS[:5] and "." not in name]
    numbers = group.frame[columns].select_dtypes("number")
    for name, indices in group.frame.groupby("run", sort=False).indices.items():
        run = content.runs[str(name)]
        result = run.result
        rows = numbers.iloc[indices]
        # the last epoch that was evaluated, or the last one
        scored = rows[rows["student"].notna()] if "student" in rows else rows.iloc[:0]
        last = (scored if len(scored) else rows).drop(columns="epoch").iloc[-1].to_dict()
        metrics = {str(column): _rounded(value) for column, value in last.items()}
        curve = scored[["epoch", "student"]].to_numpy(dtype=float) if len(scored) else np.empty((0, 2))
        curve = curve[_spread(len(curve), RUN_POINTS)]
        yield (
            str(name),
            {
                "status": str(run.status),
                "reason": result.reason if result else "",
                "seconds": _rounded(result.seconds) if result else None,
                "environment": (result.environment or {}) if result else {},
                "cost": {key: _rounded(value) for key, value in ((result.cost or {}) if result else {}).items()},
                "metrics": {key: value for key, value in metrics.items() if value is not None},
                "curve": [[int(epoch) + 1, _rounded(value)] for epoch, value in curve],
                "epochs": int(rows["epoch"].max()) + 1 if rows["epoch"].notna().any() else 0,
                "command": repeat.command(run.config, result, run.folder.parents[1]),
                "label": f"{group.row}, {group.panel}, seed {run.config.seed}",
            },
        )


def costs(content: Content, group: Group) -> dict[str, float]:
    """Return the mean of each kind of cost over a group's finished runs."""
    found: dict[str, list[float]] = {}
    for name in group.runs:
        run = content.runs[name]
        if run.result and run.status is Status.FINISHED:
            for key, value in {"seconds": run.result.seconds, **(run.result.cost or {})}.items():
                found.setdefault(key, []).append(float(value))
    means = {key: _rounded(float(np.mean(values))) for key, values in found.items()}
    return {key: mean for key, mean in means.items() if mean is not None}


def _rounded(value: Any) -> float | None:
    """Return a number with as many digits as a curve can show; None for none."""
    if value is None or not math.isfinite(value):
        return None
    number = float(f"{float(value):.5g}")
    return int(number) if number.is_integer() else number
