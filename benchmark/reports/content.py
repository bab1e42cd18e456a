"""Stored runs as the data of a page: groups of seeds, their curves and costs, rounded and small enough for a page."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import store, tables
from benchmark.metrics import COSTS, DECLARED, HEADLINE, RECORDED, Section, own_names
from benchmark.reports import run_text
from benchmark.reports.palette import LINES, ON_DARK
from benchmark.store import Results, Row, Runs, Status, StoredRun
from benchmark.tables import Plan, TableFilter, TableStyle, layout
from methods.metrics import Role

MAX_NUMBERS = 400_000  # in the curves of a page, which is then a few megabytes; longer curves show fewer epochs
AT_ONCE = 10  # groups whose curves are in memory together

PREDICTORS = tuple(one.name for one in RECORDED.values() if one.of_predictors)
"""Metrics that every predictor has: a page shows their means over students and peers."""

STUDENTS = RECORDED[HEADLINE].labels[""]  # what the curve of the reported metric is called

AVERAGED = (Status.FINISHED, Status.UNFINISHED, Status.BUSY, Status.STOPPED)


@dataclass(frozen=True)
class Group:
    """The runs of a table's cell, which differ only in their seeds, and its column, row and method."""

    panel: str
    row: str
    method: str
    runs: Sequence[StoredRun]


@dataclass(frozen=True)
class Content:
    """The runs of results folders."""

    frame: pd.DataFrame  # of the last epochs, see load
    stored: Runs  # the same runs with their curves
    groups: Sequence[Group]  # in the order of the tables
    panels: Sequence[str]  # the tables' columns
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
        panels: list[str] = []
        if not frame.empty:
            table = tables.build(frame, [HEADLINE], choice=choice, showing=showing)
            by_cell = dict(iter(layout.arranged(frame).runs.groupby(["row", "column"], sort=False)))
            by_name = {run.name: run for run in stored.found}
            columns, word = dict.fromkeys(heading.column for heading in table.headings), table.style.word
            groups = [
                Group(word(column), word(row), str(own["method"].iloc[0]), [by_name[str(name)] for name in own["run"]])
                for row in table.rows
                for column in columns
                if (own := by_cell.get((row, column))) is not None
            ]
            shown = {group.panel for group in groups}
            panels = [panel for panel in map(word, columns) if panel in shown]
        plans = tables.stored_plans(store.folders(results))
        return cls(frame, stored, groups, panels, choice, showing, left_out, plans)

    @cached_property
    def runs(self) -> dict[str, StoredRun]:
        """The groups' runs by name, in the order of the folders."""
        shown = {run.name for group in self.groups for run in group.runs}
        return {run.name: run for run in self.stored.found if run.name in shown}

    @property
    def damaged(self) -> list[str]:
        """A line for each run that is left out."""
        return [*self.stored.left_out.values()]


def group_curves(
    rows: Iterable[Row], students: Sequence[str], roles: Mapping[str, Role], own: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the runs' mean and sample standard deviation by 0-based epoch and metric; nan where too few have it.

    Args:
        rows: The metrics of all epochs of all runs.
    """
    known = pd.DataFrame([*rows], dtype=float)
    if known.empty:
        return known, known
    together = joined([*map(str, known)], students, roles, own).items()
    means = {name: known[[*names]].mean(axis=1) for name, names in together}
    by_epoch = pd.DataFrame(means, known.index).groupby(known["epoch"].astype(int))
    return by_epoch.mean(), by_epoch.std()


def joined(
    names: Sequence[str], students: Sequence[str], roles: Mapping[str, Role], own: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return the metrics that each curve averages."""
    found: dict[str, list[str]] = {}
    for name in names:
        family, _, predictor = name.partition("/")
        curves = []
        if family in PREDICTORS:
            kinds = {
                "students": predictor in students and family != "top1",
                "peers": roles.get(predictor) == "peer",
                "ensemble": roles.get(predictor) == "ensemble",
            }
            curves = [f"{family}: {kind}" for kind, whether in kinds.items() if whether]
        elif name not in ("seconds", "epoch"):
            curves = [STUDENTS if name == HEADLINE else own.get(name, name.replace("/", ": ", 1))]
        for curve in curves:
            found.setdefault(curve, []).append(name)
    return found


def as_page_data(
    content: Content, numbers: int = MAX_NUMBERS, command: Callable[[StoredRun], str] | None = None
) -> dict[str, Any]:
    """Return the data that the page's script plots.

    Args:
        numbers: The most numbers in the curves, above 0; longer curves show fewer epochs.
        command: Returns the command that repeats a run; by default on the machine and in the folder of the run.
    """
    command = command or (lambda run: run_text.command(run.config, run.result, run.folder.parents[1]))
    averaged: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    runs: dict[str, dict[str, Any]] = {}
    own = own_names(content.frame.attrs.get(DECLARED, ()))
    points = min(60, max(12, numbers // (4 * max(1, len(content.stored.found)))))
    for start in range(0, len(content.groups), AT_ONCE):
        part = content.groups[start : start + AT_ONCE]
        curves = dict(content.stored.curves({run.name for group in part for run in group.runs}))
        for group in part:
            ended = [run.result for run in group.runs if run.result]
            students = [name for result in ended for name in result.students]
            roles = {name: role for result in ended for name, role in result.roles.items()}
            kept = (row for run in group.runs if run.status in AVERAGED for row in curves.get(run.name, ()))
            averaged.append(group_curves(kept, students, roles, own))
            for run in group.runs:
                label = f"{group.row}, {group.panel}, seed {run.config.seed}"
                known = {"label": label, "command": command(run)}
                runs[run.name] = known | _details(run, curves.get(run.name, ()), points)
    points = min(120, max(24, numbers // (2 * max(1, sum(len(means.columns) for means, _ in averaged)))))
    # what is not ours is the method's
    ours = {one.name: one.section for one in RECORDED.values()} | {STUDENTS: RECORDED[HEADLINE].section}
    sections: dict[Section, list[str]] = {section: [] for section in get_args(Section)}
    for name in dict.fromkeys(str(name) for means, _ in averaged for name in means):
        sections[ours.get(name.partition(": ")[0], "Method")].append(name)
    groups = []
    panels, rows = list(content.panels), list(dict.fromkeys(group.row for group in content.groups))
    for group, (means, deviations) in zip(content.groups, averaged, strict=True):
        finished = [run for run in group.runs if run.status is Status.FINISHED]
        end = pd.DataFrame(map(_end, finished), dtype=float).mean().dropna()
        groups.append(
            {
                "panel": panels.index(group.panel),
                "row": rows.index(group.row),
                "n": len(group.runs),
                "curves": {name: _line(means[name], deviations[name], points) for name in means},
                "cost": end.drop(HEADLINE, errors="ignore").to_dict(),
                "student": end.get(HEADLINE),
            }
        )
    data = {
        "panels": panels,
        "rows": rows,
        "sections": {section: names for section, names in sections.items() if names},
        "costs": {name: metric.short for name, metric in COSTS.items()},
        "colours": [line.color for line in LINES],
        "on_dark": [ON_DARK.get(line.color, line.color) for line in LINES],
        "groups": groups,
        "runs": runs,
    }
    return dict(_rounded(data))


def _end(run: StoredRun) -> dict[str, float | None]:
    costs = {name: metric.of(run.numbers).get("") for name, metric in COSTS.items()}
    return {HEADLINE: run.last_metrics.get(HEADLINE), **costs}


def _line(means: "pd.Series[float]", deviations: "pd.Series[float]", points: int) -> list[list[float]]:
    """Return a curve's epochs, counted from one where people read them, means and, if there are any, deviations."""
    epochs, values = means.index.to_numpy(), np.array([means, deviations])
    there = np.flatnonzero(np.isfinite(values[0]))
    chosen = there[_spread(len(there), points)]
    return [(epochs[chosen] + 1).tolist(), *(line.tolist() for line in values[:, chosen] if np.isfinite(line).any())]


def _spread(length: int, points: int) -> NDArray[np.int64]:
    """Return at most so many indices, evenly spread, with the first and the last."""
    return np.unique(np.linspace(0, length - 1, min(length, points)).round().astype(int))


def _details(run: StoredRun, rows: Sequence[Row], points: int) -> dict[str, Any]:
    result = run.result
    line = [[int(row["epoch"]) + 1, row[HEADLINE]] for row in rows if HEADLINE in row]
    last = run.last_metrics.items()
    return {
        "status": str(run.status),
        "reason": result.reason if result else "",
        "seconds": result.seconds if result else None,
        "environment": run.made_with,
        "cost": (result.cost or {}) if result else {},
        "metrics": {key: value for key, value in last if key != "epoch" and math.isfinite(value)},
        "curve": [line[place] for place in _spread(len(line), points)],
    }


def _rounded(data: Any) -> Any:
    """Return data for JSON: numbers with as many digits as a curve can show, None for what is no number."""
    if isinstance(data, Mapping):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list):
        return [*map(_rounded, data)]
    if not isinstance(data, float):
        return data
    short = float(f"{data:.5g}") if math.isfinite(data) else None
    return int(short) if short is not None and short.is_integer() else short
