"""What the report shows, gathered from the stored runs: plain data, rounded, small enough for a page."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import store, tables
from benchmark.metrics import DECLARED, HEADLINE, own_names
from benchmark.reports import repeat
from benchmark.reports.group_curves import GroupCurves, group_curves
from benchmark.store import Found, Results, Runs, Scores, Status, StoredRun
from benchmark.tables import Choice, Showing, layout

MAX_NUMBERS = 400_000
"""In the curves of a page, which is then a few megabytes; longer curves are drawn at fewer epochs."""

MIN_POINTS, MAX_POINTS = 24, 120
MIN_RUN_POINTS, MAX_RUN_POINTS = 12, 60
AT_ONCE = 500
"""Runs whose curves are held in memory together."""

_AVERAGED = (Status.FINISHED, Status.UNFINISHED, Status.BUSY, Status.STOPPED)


@dataclass(frozen=True)
class Group:
    """The runs of a table's cell: they differ in their seeds alone.

    Attributes:
        panel: The table's column: the data set, the backbone and the settings that differ between columns.
        row: The table's row: the method and the settings that differ between rows.
        method: The method's name.
        runs: The runs' names.
    """

    panel: str
    row: str
    method: str
    runs: Sequence[str]


@dataclass(frozen=True)
class Content:
    """Results folders, read.

    Attributes:
        frame: Of the last epochs, see :func:`benchmark.store.load`.
        stored: The same runs in brief, with their curves.
        runs: By name.
        groups: In the order of the tables.
        choice: Which of them are shown.
        showing: What rows and columns are called.
        left_out: A line on the runs that are left out without being asked for.
    """

    frame: pd.DataFrame
    stored: Runs
    runs: dict[str, StoredRun]
    groups: Sequence[Group]
    choice: Choice = field(default_factory=Choice)
    showing: Showing = field(default_factory=Showing)
    left_out: Sequence[str] = ()

    @classmethod
    def read(
        cls,
        results: Results,
        prefer: str | Path | None = None,
        choice: Choice | None = None,
        showing: Showing | None = None,
    ) -> "Content":
        """Read results folders.

        Args:
            results: One or several, as :func:`benchmark.store.read` takes them.
            prefer: The one whose runs count where the same run has other numbers.
            choice: Which runs, rows and columns are shown.
            showing: What they are called.

        Raises:
            InputError: If one is not there, or they disagree.
        """
        stored = store.read(results, prefer)
        choice, showing = choice or Choice(), showing or Showing()
        frame, left_out = choice.runs(store.last_epochs(stored))
        groups = _groups(frame, choice, showing)
        shown = {name for group in groups for name in group.runs}
        runs = {found.record.name: found.stored() for found in stored.found if found.record.name in shown}
        return cls(frame, stored, runs, groups, choice, showing, left_out)

    @property
    def damaged(self) -> list[str]:
        """A line for each run that is left out."""
        return [str(one) for one in self.stored.damaged]

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
    table = tables.build(frame, [HEADLINE], choice=choice, showing=showing)
    order = {row: index for index, row in enumerate(table.rows)}
    columns = {heading.column: index for index, heading in enumerate(table.headings)}
    word = table.showing.word
    found = []
    for (panel, row), runs in layout.labelled(frame).groupby(["column", "row"], sort=False):
        if row not in order or panel not in columns:
            continue
        names = [str(name) for name in runs["run"]]
        group = Group(word(str(panel)), word(str(row)), str(runs["method"].iloc[0]), names)
        found.append((order[row], columns[panel], group))
    return [group for _, _, group in sorted(found, key=lambda item: item[:2])]


def as_page_data(
    content: Content, numbers: int = MAX_NUMBERS, command: Callable[[StoredRun], str] | None = None
) -> dict[str, Any]:
    """Return what the page's script draws.

    Args:
        content: The runs.
        numbers: How many the curves may have, above 0; longer curves are drawn at fewer epochs.
        command: Returns the line that repeats a run; None for the one that does it where the run lies.
    """
    command = command or _repeated_there
    records = {found.record.name: found for found in content.stored.found}
    means: list[GroupCurves] = []
    details: dict[str, dict[str, Any]] = {}
    run_points = min(MAX_RUN_POINTS, max(MIN_RUN_POINTS, numbers // (4 * max(1, len(records)))))
    for groups in _together(content.groups):
        curves = dict(content.stored.curves([name for group in groups for name in group.runs]))
        for group in groups:
            means.append(_of_group(content, group, curves))
            for name in group.runs:
                details[name] = _details(content, group, records[name], curves.get(name), run_points, command)
    curves_of, names = _drawn(means, numbers)
    panels = {panel: index for index, panel in enumerate(content.panels)}
    rows = {row: index for index, row in enumerate(content.rows)}
    return {
        "panels": [*panels],
        "rows": [*rows],
        "metrics": names,
        "groups": [
            {
                "panel": panels[group.panel],
                "row": rows[group.row],
                "n": len(group.runs),
                "curves": curves_of[index],
                "cost": costs(content, group),
                "student": _rounded(_last_student(records, group)),
            }
            for index, group in enumerate(content.groups)
        ],
        "runs": details,
    }


def _together(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Yield the groups in order, a few at a time."""
    part: list[Group] = []
    for group in groups:
        part.append(group)
        if sum(len(one.runs) for one in part) >= AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _last_student(records: Mapping[str, Found], group: Group) -> float:
    runs = [records[name].record for name in group.runs]
    last = [run.last_metrics().get("student") for run in runs if run.status is Status.FINISHED]
    numbers = [value for value in last if value is not None]
    return float(np.mean(numbers)) if numbers else float("nan")


def _of_group(content: Content, group: Group, curves: Mapping[str, Scores]) -> GroupCurves:
    runs = [content.runs[name] for name in group.runs]
    fit = [run for run in runs if run.status in _AVERAGED and run.name in curves]
    ended = [run.result for run in runs if run.result]
    students = dict.fromkeys(name for result in ended for name in result.students)
    roles = {name: role for result in ended for name, role in result.roles.items()}
    own = own_names(content.frame.attrs.get(DECLARED, ()))
    return group_curves([curves[run.name] for run in fit], list(students), roles, own)


def _drawn(groups: Sequence[GroupCurves], numbers: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the curves of each group by metric, at so many epochs as fit the page, and all metrics' names."""
    names = list(dict.fromkeys(name for group in groups for name in group.means))
    position = {name: str(index) for index, name in enumerate(names)}
    count = sum(len(group.means) for group in groups)
    points = min(MAX_POINTS, max(MIN_POINTS, numbers // (2 * max(1, count))))
    curves = []
    for group in groups:
        own: dict[str, Any] = {}
        # epochs are counted from one where people read them
        epochs = np.array(group.epochs, dtype=int) + 1
        for name, line in group.means.items():
            band = group.deviations[name]
            there = np.flatnonzero(np.isfinite(line))
            chosen = there[_spread(len(there), points)]
            own[position[name]] = [
                epochs[chosen].tolist(),
                [_rounded(value) for value in line[chosen].tolist()],
                *([[_rounded(value) for value in band[chosen].tolist()]] if np.isfinite(band[chosen]).any() else []),
            ]
        curves.append(own)
    return curves, names


def _spread(length: int, points: int) -> list[int]:
    """Return at most so many indices, evenly spread, with the first and the last."""
    return np.unique(np.linspace(0, length - 1, min(length, points)).round()).astype(int).tolist() if length else []


def _details(
    content: Content, group: Group, found: Found, curve: Scores | None, points: int, command: Callable[[StoredRun], str]
) -> dict[str, Any]:
    run = content.runs[found.record.name]
    result = run.result
    metrics = {key: _rounded(value) for key, value in found.record.last_metrics().items() if key != "epoch"}
    line = np.empty((0, 2))
    if curve is not None and "student" in curve.names:
        line = curve.values[:, [curve.names.index("epoch"), curve.names.index("student")]]
        line = line[np.isfinite(line[:, 1])]
        line = line[_spread(len(line), points)]
    return {
        "status": str(run.status),
        "reason": result.reason if result else "",
        "seconds": _rounded(result.seconds) if result else None,
        "environment": (result.environment or {}) if result else {},
        "cost": {key: _rounded(value) for key, value in ((result.cost or {}) if result else {}).items()},
        "metrics": {key: value for key, value in metrics.items() if value is not None},
        "curve": [[int(epoch) + 1, _rounded(value)] for epoch, value in line.tolist()],
        "epochs": found.record.epochs,
        "command": command(run),
        "label": f"{group.row}, {group.panel}, seed {run.config.seed}",
    }


def _repeated_there(run: StoredRun) -> str:
    return repeat.command(run.config, run.result, run.folder.parents[1])


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
