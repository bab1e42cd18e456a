"""Stored runs as the data of a page: groups of seeds, their curves and costs, rounded and small enough for a page."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import store, tables
from benchmark.metrics import COSTS, DECLARED, HEADLINE, RECORDED, Section, own_names
from benchmark.reports import run_text
from benchmark.reports.palette import LINES, ON_DARK
from benchmark.store import Found, Record, Results, Runs, Scores, Status, StoredRun
from benchmark.tables import Plan, TableFilter, TableStyle, layout
from methods.metrics import Role

MAX_NUMBERS = 400_000  # in the curves of a page, which is then a few megabytes; longer curves show fewer epochs

MIN_POINTS, MAX_POINTS = 24, 120
MIN_RUN_POINTS, MAX_RUN_POINTS = 12, 60
AT_ONCE = 500  # about how many runs have their curves in memory together

PREDICTORS = tuple(one.name for one in RECORDED.values() if one.of_predictors)
"""Metrics that every predictor has: a page shows their means over students and peers."""

STUDENTS = RECORDED[HEADLINE].labels[""]  # what the curve of the reported metric is called

_AVERAGED = (Status.FINISHED, Status.UNFINISHED, Status.BUSY, Status.STOPPED)

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """The runs of a table's cell, which differ only in their seeds: its column, row, method and the runs' names."""

    panel: str
    row: str
    method: str
    runs: Sequence[str]


@dataclass(frozen=True)
class Content:
    """The runs of results folders."""

    frame: pd.DataFrame  # of the last epochs, see load
    stored: Runs  # the same runs with their curves
    runs: dict[str, StoredRun]  # by name
    groups: Sequence[Group]  # in the order of the tables
    choice: TableFilter = field(default_factory=TableFilter)  # which of them are shown
    showing: TableStyle = field(default_factory=TableStyle)  # what rows and columns are called
    left_out: Sequence[str] = ()  # a line on the runs that are left out by default
    plans: Sequence[Plan] = ()  # the sequential plans that are stored with them

    @classmethod
    def read(
        cls,
        results: Results,
        prefer: str | Path | None = None,
        choice: TableFilter | None = None,
        showing: TableStyle | None = None,
        claims: Mapping[Path, str] | None = None,
    ) -> "Content":
        """Read results folders.

        Args:
            prefer: The folder to use where folders disagree about a run.
            claims: Those that other people have submitted, with the submissions' names; unless it is None, nothing is
                taken from an index.

        Raises:
            InputError: If one does not exist.
        """
        stored = store.read(results, prefer, by_index=claims is None, claims=claims)
        choice, showing = choice or TableFilter(), showing or TableStyle()
        frame, left_out = choice.runs(store.last_epochs(stored))
        groups = _groups(frame, choice, showing)
        shown = {name for group in groups for name in group.runs}
        runs = {found.record.name: found.stored() for found in stored.found if found.record.name in shown}
        plans = tables.stored_plans(store.folders(results))
        return cls(frame, stored, runs, groups, choice, showing, left_out, plans)

    @property
    def damaged(self) -> list[str]:
        """A line for each run that is left out."""
        return [str(one) for one in self.stored.left_out]

    @property
    def panels(self) -> list[str]:
        """The tables' columns: in the order that was asked for, else by the numbers in their names."""
        order = [self.showing.word(column) for column in self.choice.columns]
        return sorted(
            dict.fromkeys(group.panel for group in self.groups),
            key=lambda panel: (order.index(panel) if panel in order else len(order), tables.natural(panel)),
        )

    @property
    def rows(self) -> list[str]:
        """The tables' rows, in order."""
        return list(dict.fromkeys(group.row for group in self.groups))


def _groups(frame: pd.DataFrame, choice: TableFilter, showing: TableStyle) -> list[Group]:
    if frame.empty:
        return []
    table = tables.build(frame, [HEADLINE], choice=choice, showing=showing)
    order = {row: index for index, row in enumerate(table.rows)}
    columns = {heading.column: index for index, heading in enumerate(table.headings)}
    word = table.style.word
    found = []
    for (panel, row), runs in layout.arranged(frame).runs.groupby(["column", "row"], sort=False):
        if row not in order or panel not in columns:
            continue
        names = [str(name) for name in runs["run"]]
        group = Group(word(str(panel)), word(str(row)), str(runs["method"].iloc[0]), names)
        found.append((order[row], columns[panel], group))
    return [group for _, _, group in sorted(found, key=lambda item: item[:2])]


@dataclass(frozen=True)
class GroupCurves:
    """Curves by metric over E epochs (0-based): mean and sample standard deviation ``[E]``, nan without enough runs."""

    epochs: Sequence[int]
    means: Mapping[str, Numbers]
    deviations: Mapping[str, Numbers]


def group_curves(
    curves: Sequence[Scores],
    students: Sequence[str],
    roles: Mapping[str, Role],
    own: Mapping[str, str],
) -> GroupCurves:
    """Average the curves of several runs, one per run, over the runs that have the epoch."""
    epochs = sorted({int(epoch) for curve in curves for epoch in _epochs(curve)})
    place = {epoch: index for index, epoch in enumerate(epochs)}
    by_name: dict[str, Numbers] = {}
    for number, curve in enumerate(curves):
        rows = [place[int(epoch)] for epoch in _epochs(curve)]
        for name, columns in joined(curve.names, students, roles, own).items():
            if name not in by_name:
                by_name[name] = np.full((len(curves), len(epochs)), np.nan)
            part = curve.values[:, columns]
            by_name[name][number, rows] = part[:, 0] if len(columns) == 1 else mean_of(part.T)[0]
    means, deviations = {}, {}
    for name, values in by_name.items():
        mean, deviation = mean_of(values)
        if np.isfinite(mean).any():
            means[name], deviations[name] = mean, deviation
    return GroupCurves(epochs, means, deviations)


def joined(
    names: Sequence[str],
    students: Sequence[str],
    roles: Mapping[str, Role],
    own: Mapping[str, str],
) -> dict[str, list[int]]:
    """Return the positions of the metrics that each curve averages."""
    position = {name: index for index, name in enumerate(names)}
    found: dict[str, list[int]] = {}
    if HEADLINE in position:
        found[STUDENTS] = [position[HEADLINE]]
    for family in PREDICTORS:
        predictors = {name: name.partition("/")[2] for name in names if name.startswith(f"{family}/")}
        kinds = {
            "students": [name for name, predictor in predictors.items() if predictor in students],
            "peers": [name for name, predictor in predictors.items() if roles.get(predictor) == "peer"],
            "ensemble": [name for name, predictor in predictors.items() if roles.get(predictor) == "ensemble"],
        }
        for kind, members in kinds.items():
            if members and not (family == "top1" and kind == "students"):
                found[f"{family}: {kind}"] = [position[name] for name in members]
    for name in names:
        if name not in (HEADLINE, "seconds", "epoch") and name.partition("/")[0] not in PREDICTORS:
            found[own.get(name, name.replace("/", ": ", 1))] = [position[name]]
    return found


def mean_of(values: Numbers) -> tuple[Numbers, Numbers]:
    """Return the mean and standard deviation ``[E]`` of each column of ``[R, E]`` without its nan."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    # relative to one of the numbers: the mean of equal numbers is exactly that number, and their deviation 0
    base = np.where(there, values, -np.inf).max(axis=0, initial=-np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = base + np.where(there, values - base, 0.0).sum(axis=0) / count
        squares = (np.where(there, values - mean, 0.0) ** 2).sum(axis=0)
        deviation = np.sqrt(squares / (count - 1))
    return mean, np.where(count > 1, deviation, np.nan)


def _epochs(curve: Scores) -> Numbers:
    return curve.values[:, curve.names.index("epoch")] if "epoch" in curve.names else np.empty(0)


def as_page_data(
    content: Content, numbers: int = MAX_NUMBERS, command: Callable[[StoredRun], str] | None = None
) -> dict[str, Any]:
    """Return the data that the page's script plots.

    Args:
        numbers: The most numbers in the curves, above 0; longer curves show fewer epochs.
        command: Returns the command that repeats a run; by default on the machine and in the folder of the run.
    """
    command = command or (lambda run: run_text.command(run.config, run.result, run.folder.parents[1]))
    records = {found.record.name: found for found in content.stored.found}
    means: list[GroupCurves] = []
    details: dict[str, dict[str, Any]] = {}
    run_points = min(MAX_RUN_POINTS, max(MIN_RUN_POINTS, numbers // (4 * max(1, len(records)))))
    own = own_names(content.frame.attrs.get(DECLARED, ()))
    counts = accumulate(len(group.runs) for group in content.groups)
    for _, part in groupby(zip(counts, content.groups, strict=True), lambda pair: pair[0] // AT_ONCE):
        groups = [group for _, group in part]
        curves = dict(content.stored.curves([name for group in groups for name in group.runs]))
        for group in groups:
            runs = [content.runs[name] for name in group.runs]
            ended = [run.result for run in runs if run.result]
            students = dict.fromkeys(name for result in ended for name in result.students)
            roles = {name: role for result in ended for name, role in result.roles.items()}
            fit = [curves[run.name] for run in runs if run.status in _AVERAGED and run.name in curves]
            means.append(group_curves(fit, list(students), roles, own))
            for name in group.runs:
                details[name] = _details(content, group, records[name], curves.get(name), run_points, command)
    curves_of, names = _thinned(means, numbers)
    panels = {panel: index for index, panel in enumerate(content.panels)}
    rows = {row: index for index, row in enumerate(content.rows)}
    return {
        "panels": [*panels],
        "rows": [*rows],
        "metrics": names,
        "sections": _by_section(names),
        "costs": {name: metric.short for name, metric in COSTS.items()},
        "colours": [line.color for line in LINES],
        "on_dark": [ON_DARK.get(line.color, line.color) for line in LINES],
        "groups": [
            {
                "panel": panels[group.panel],
                "row": rows[group.row],
                "n": len(group.runs),
                "curves": curves_of[index],
                **_means([records[name].record for name in group.runs]),
            }
            for index, group in enumerate(content.groups)
        ],
        "runs": details,
    }


def _means(runs: Sequence[Record]) -> dict[str, Any]:
    """Return the mean student accuracy and the mean of each cost over the finished runs."""
    finished = [run for run in runs if run.status is Status.FINISHED]
    students = [value for run in finished if (value := run.last_metrics().get("student")) is not None]
    last = [run.last.named() for run in finished]
    costs = {name: [value for run in last for value in one.of(run).values()] for name, one in COSTS.items()}
    return {
        "cost": {name: _rounded(float(np.mean(values))) for name, values in costs.items() if values},
        "student": _rounded(float(np.mean(students))) if students else None,
    }


def _thinned(groups: Sequence[GroupCurves], numbers: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return each group's curves by metric, at as many epochs as fit the page, and all metrics' names."""
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


def _by_section(names: Sequence[str]) -> dict[Section, list[int]]:
    """Return the positions of curves by the section that a page lists them in; what is not ours is the method's."""
    ours = {one.name: one.section for one in RECORDED.values()} | {STUDENTS: RECORDED[HEADLINE].section}
    sections: list[Section] = [ours.get(name.partition(": ")[0], "Method") for name in names]
    places = {one: [place for place, own in enumerate(sections) if own == one] for one in get_args(Section)}
    return {section: own for section, own in places.items() if own}


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


def _rounded(value: Any) -> float | None:
    """Return a number with as many digits as a curve can show; None for none."""
    if value is None or not math.isfinite(value):
        return None
    number = float(f"{float(value):.5g}")
    return int(number) if number.is_integer() else number
