"""Stored runs as the data of a page: groups of seeds, their curves and costs, rounded and small enough for a page."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import store, tables
from benchmark.metrics import COSTS, DECLARED, HEADLINE, RECORDED, Section, own_names
from benchmark.reports import run_text
from benchmark.reports.palette import LINES, ON_DARK
from benchmark.store import Results, Runs, Status, StoredRun
from benchmark.tables import Plan, TableFilter, TableStyle, layout
from methods.metrics import Role

MAX_NUMBERS = 400_000  # in the curves of a page, which is then a few megabytes; longer curves show fewer epochs
AT_ONCE = 100  # groups whose curves are in memory together

PREDICTORS = tuple(one.name for one in RECORDED.values() if one.of_predictors)
"""Metrics that every predictor has: a page shows their means over students and peers."""

STUDENTS = RECORDED[HEADLINE].labels[""]  # what the curve of the reported metric is called

AVERAGED = (Status.FINISHED, Status.UNFINISHED, Status.BUSY, Status.STOPPED)

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
        groups: list[Group] = []
        if not frame.empty:
            table = tables.build(frame, [HEADLINE], choice=choice, showing=showing)
            arranged = layout.arranged(frame).runs
            by_cell = dict(iter(arranged.groupby(["row", "column"], sort=False)))
            columns, word = dict.fromkeys(heading.column for heading in table.headings), table.style.word
            groups = [
                Group(word(column), word(row), str(own["method"].iloc[0]), list(map(str, own["run"])))
                for row in table.rows
                for column in columns
                if (own := by_cell.get((row, column))) is not None
            ]
        shown = {name for group in groups for name in group.runs}
        runs = {run.name: run for run in stored.found if run.name in shown}
        return cls(frame, stored, runs, groups, choice, showing, left_out, tables.stored_plans(store.folders(results)))

    @property
    def damaged(self) -> list[str]:
        """A line for each run that is left out."""
        return [*self.stored.left_out.values()]

    @property
    def panels(self) -> list[str]:
        """The tables' columns: in the order that was asked for, else by the numbers in their names."""
        order = {self.showing.word(column): place for place, column in enumerate(self.choice.columns)}
        found = dict.fromkeys(group.panel for group in self.groups)
        return sorted(found, key=lambda panel: (order.get(panel, len(order)), tables.natural(panel)))

    @property
    def rows(self) -> list[str]:
        """The tables' rows, in order."""
        return list(dict.fromkeys(group.row for group in self.groups))


class GroupCurves(NamedTuple):
    """Curves by metric over E epochs (0-based): mean and sample standard deviation ``[E]``, nan without enough runs."""

    epochs: Sequence[int]
    means: Mapping[str, Numbers]
    deviations: Mapping[str, Numbers]


def group_curves(
    curves: Sequence[pd.DataFrame], students: Sequence[str], roles: Mapping[str, Role], own: Mapping[str, str]
) -> GroupCurves:
    """Average the curves of several runs, one per run, over the runs that have the epoch."""
    curves = [curve for curve in curves if "epoch" in curve]
    epochs_of = [curve["epoch"].to_numpy().astype(int) for curve in curves]
    epochs = np.unique(np.concatenate([*epochs_of, np.empty(0, int)]))
    by_name: dict[str, Numbers] = {}
    for number, (curve, present) in enumerate(zip(curves, epochs_of, strict=True)):
        for name, columns in joined([*map(str, curve)], students, roles, own).items():
            values = by_name.setdefault(name, np.full((len(curves), len(epochs)), np.nan))
            values[number, np.searchsorted(epochs, present)] = mean_of(curve.to_numpy()[:, columns].T)[0]
    found = {name: mean_of(values) for name, values in by_name.items() if np.isfinite(values).any()}
    means, deviations = ({name: pair[part] for name, pair in found.items()} for part in (0, 1))
    return GroupCurves(epochs.tolist(), means, deviations)


def joined(
    names: Sequence[str], students: Sequence[str], roles: Mapping[str, Role], own: Mapping[str, str]
) -> dict[str, list[int]]:
    """Return the positions of the metrics that each curve averages."""
    found: dict[str, list[int]] = {STUDENTS: []}
    for place, name in enumerate(names):
        family, _, predictor = name.partition("/")
        if family in PREDICTORS:
            kinds = {
                "students": predictor in students and family != "top1",
                "peers": roles.get(predictor) == "peer",
                "ensemble": roles.get(predictor) == "ensemble",
            }
            curves = [f"{family}: {kind}" for kind, whether in kinds.items() if whether]
        elif name in ("seconds", "epoch"):
            curves = []
        else:
            curves = [STUDENTS if name == HEADLINE else own.get(name, name.replace("/", ": ", 1))]
        for curve in curves:
            found.setdefault(curve, []).append(place)
    return {curve: places for curve, places in found.items() if places}


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


def as_page_data(
    content: Content, numbers: int = MAX_NUMBERS, command: Callable[[StoredRun], str] | None = None
) -> dict[str, Any]:
    """Return the data that the page's script plots.

    Args:
        numbers: The most numbers in the curves, above 0; longer curves show fewer epochs.
        command: Returns the command that repeats a run; by default on the machine and in the folder of the run.
    """
    command = command or (lambda run: run_text.command(run.config, run.result, run.folder.parents[1]))
    averaged: list[GroupCurves] = []
    runs: dict[str, dict[str, Any]] = {}
    own = own_names(content.frame.attrs.get(DECLARED, ()))
    points = min(60, max(12, numbers // (4 * max(1, len(content.stored.found)))))
    for start in range(0, len(content.groups), AT_ONCE):
        part = content.groups[start : start + AT_ONCE]
        rows_of = content.stored.curves([name for group in part for name in group.runs])
        curves = {name: pd.DataFrame(rows, dtype=float) for name, rows in rows_of}
        for group in part:
            ended = [result for name in group.runs if (result := content.runs[name].result)]
            students = [name for result in ended for name in result.students]
            roles = {name: role for result in ended for name, role in result.roles.items()}
            kept = [curves[name] for name in group.runs if name in curves and content.runs[name].status in AVERAGED]
            averaged.append(group_curves(kept, students, roles, own))
            for name in group.runs:
                label = f"{group.row}, {group.panel}, seed {content.runs[name].config.seed}"
                runs[name] = {"label": label, "command": command(content.runs[name])}
                runs[name] |= _details(content.runs[name], curves.get(name), points)
    metrics = list(dict.fromkeys(name for group in averaged for name in group.means))
    points = min(120, max(24, numbers // (2 * max(1, sum(len(group.means) for group in averaged)))))
    panels, rows = content.panels, content.rows
    # what is not ours is the method's
    ours = {one.name: one.section for one in RECORDED.values()} | {STUDENTS: RECORDED[HEADLINE].section}
    sections: list[Section] = [ours.get(name.partition(": ")[0], "Method") for name in metrics]
    groups = []
    for group, lines in zip(content.groups, averaged, strict=True):
        finished = [content.runs[name] for name in group.runs if content.runs[name].status is Status.FINISHED]
        last = [run.numbers for run in finished]
        costs = {name: [value for row in last for value in one.of(row).values()] for name, one in COSTS.items()}
        accuracies = [value for one in finished if (value := one.last_metrics.get(HEADLINE)) is not None]
        groups.append(
            {
                "panel": panels.index(group.panel),
                "row": rows.index(group.row),
                "n": len(group.runs),
                "curves": {str(metrics.index(name)): _line(lines, name, points) for name in lines.means},
                "cost": {name: _rounded(float(np.mean(values))) for name, values in costs.items() if values},
                "student": _rounded(float(np.mean(accuracies))) if accuracies else None,
            }
        )
    return {
        "panels": panels,
        "rows": rows,
        "metrics": metrics,
        "sections": {
            section: [place for place, its in enumerate(sections) if its == section]
            for section in get_args(Section)
            if section in sections
        },
        "costs": {name: metric.short for name, metric in COSTS.items()},
        "colours": [line.color for line in LINES],
        "on_dark": [ON_DARK.get(line.color, line.color) for line in LINES],
        "groups": groups,
        "runs": runs,
    }


def _line(curves: GroupCurves, name: str, points: int) -> list[list[float | None]]:
    """Return a curve's epochs, counted from one where people read them, means and, if there are any, deviations."""
    there = np.flatnonzero(np.isfinite(curves.means[name]))
    chosen = there[_spread(len(there), points)]
    values = [part[name][chosen] for part in (curves.means, curves.deviations)]
    shown = [[_rounded(value) for value in line.tolist()] for line in values if np.isfinite(line).any()]
    return [[curves.epochs[place] + 1 for place in chosen], *shown]


def _spread(length: int, points: int) -> list[int]:
    """Return at most so many indices, evenly spread, with the first and the last."""
    return np.unique(np.linspace(0, length - 1, min(length, points)).round()).astype(int).tolist() if length else []


def _details(run: StoredRun, curve: pd.DataFrame | None, points: int) -> dict[str, Any]:
    result = run.result
    metrics = {key: _rounded(value) for key, value in run.last_metrics.items() if key != "epoch"}
    line = np.empty((0, 2))
    if curve is not None and HEADLINE in curve:
        line = curve[["epoch", HEADLINE]].dropna().to_numpy()
    return {
        "status": str(run.status),
        "reason": result.reason if result else "",
        "seconds": _rounded(result.seconds) if result else None,
        "environment": (result.environment or {}) if result else {},
        "cost": {key: _rounded(value) for key, value in ((result.cost or {}) if result else {}).items()},
        "metrics": {key: value for key, value in metrics.items() if value is not None},
        "curve": [[int(epoch) + 1, _rounded(value)] for epoch, value in line[_spread(len(line), points)].tolist()],
        "epochs": run.epochs,
    }


def _rounded(value: float | None) -> float | None:
    """Return a number with as many digits as a curve can show; None for none."""
    if value is None or not math.isfinite(value):
        return None
    number = float(f"{value:.5g}")
    return int(number) if number.is_integer() else number
