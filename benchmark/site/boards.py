"""The leaderboards: one table per dataset, network and budget."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import mode
from typing import NamedTuple

import pandas as pd
from pydantic import BaseModel, Field

from benchmark import tables
from benchmark.configuration import EQUAL_EPOCHS, suites as declared_suites
from benchmark.metrics import HEADLINE, METRICS
from benchmark.reports import Content
from benchmark.site.sources import Provenance, RunSet
from benchmark.tables import declaration, layout, plan_notes, plan_of, selection, suite_runs
from methods.errors import InputError

COSTS = {
    "training_macs": METRICS["training-multiply-adds"],
    "run_seconds": METRICS["seconds"],
    "memory": METRICS["memory"],
}
"""By the name that a leaderboard's file has for them."""


class BoardRow(BaseModel):
    """One row of a leaderboard's file. Its schema is part of the site."""

    method: str = Field(description="as on the command line")
    row: str = Field(description="the method, and the settings that differ between rows")
    accuracy: float | None = Field(description="student accuracy after the last epoch, in %, mean over seeds")
    std: float | None = Field(description="sample standard deviation over seeds")
    seeds: int | None = Field(description="finished seeds")
    gain: float | None = Field(description="mean paired difference to the baseline, in points")
    gain_low: float | None = Field(description="lower end of its confidence interval")
    gain_high: float | None = Field(description="upper end")
    confidence: float | None = Field(description="level of the interval, such as 0.95")
    verdict: str = Field(description="empty where none was declared")
    training_macs: float | None = Field(description="training MACs per image, in millions, mean over seeds")
    run_seconds: float | None = Field(description="wall time of a run in seconds, mean over seeds")
    memory: float | None = Field(description="peak memory in MiB, mean over seeds")
    checked: str = Field(description="identical, reproduced, claimed and the like")
    repeated: int = Field(description="runs that were repeated")
    runs: int = Field(description="runs of the row")
    provenance: Provenance
    page: str = Field(description="of the runs, relative to the site")


class BoardFile(BaseModel):
    """A leaderboard as a file."""

    format: int = Field(2, description="of the file; a change of meaning increases it")
    dataset: str
    network: str
    budget: str = Field(description="what the runs have in common: equal epochs, or a cost")
    baseline: str = Field(description="the row that gains refer to; empty where there is none")
    rows: list[BoardRow]


class BoardCell(NamedTuple):
    """A cell of a leaderboard on a page."""

    text: str = ""  # what it shows
    mark: str = ""  # a CSS class, such as `best`
    href: str = ""  # the target of a link, seen from the site's folder; empty for none
    value: float | None = None  # what it is sorted by; None for its text


@dataclass(frozen=True)
class Board:
    """A leaderboard."""

    anchor: str  # its place on the page
    column: str  # the tables' column
    titles: Sequence[str]  # above the columns of cells
    cells: Mapping[str, Mapping[str, BoardCell]]  # by row and title
    notes: Sequence[str]  # what is below, a line each
    file: BoardFile  # the same for programs, with who measured it, when, with what and how long


def usual_baseline() -> str:
    """Return the baseline of most of the suites that are declared."""
    return mode(suite.baseline for suite in declared_suites.available().values())


def boards(content: Content, sets: Sequence[RunSet], baseline: str) -> list[Board]:
    """Return the leaderboards, those with most rows first, else in the order of the tables' columns.

    Those whose runs a suite or a stored plan declares have verdicts at its level, others are exploratory.

    Args:
        baseline: A row's label or a method; where a leaderboard has none of it, it has no gains.
    """
    showing = content.showing.model_copy(update=dict.fromkeys(("rank", "aggregates", "n", "p"), False))
    names = [HEADLINE, *(metric.name for metric in COSTS.values())]
    table = tables.build(content.frame, names, choice=content.choice, showing=showing)
    arranged = layout.arranged(content.frame).runs
    by_cell = {(one.group.row, one.group.panel): one for one in sets}
    suites = {}
    for name, suite in () if content.choice.suite else declared_suites.available().items():
        with suppress(InputError):  # none of the runs belongs to it
            suites[name] = (suite, frozenset(suite_runs(content.frame, suite)["run"]))
    found: list[Board] = []
    for column in dict.fromkeys(heading.column for heading in table.headings):
        kept = [one for row in table.rows if (one := by_cell.get((row, column)))]
        if not kept:
            continue
        runs = arranged[arranged["column"] == column]
        there = set(runs["run"])
        budgets = {str(budget) or EQUAL_EPOCHS for budget in runs["budget"]}
        # all runs of the suite's methods and seeds must belong to it; of several the most complete one is first
        fitting: dict[tuple[int, int, str], tables.Declaration] = {}
        for name, (suite, its) in suites.items():
            own = set(runs.loc[runs["method"].isin(suite.methods) & (runs["seed"] < suite.seeds), "run"])
            if own and own <= its and budgets <= set(suite.budgets):
                missing = len(suite.methods) * suite.seeds - len(own)
                fitting[missing, -len(own), name] = declaration(name, suite)
        ranked = [fitting[key] for key in sorted(fitting)]
        declared = content.choice.declared or next(iter(ranked), None) or plan_of(there, content.plans, None)
        others = [one for one in ranked[1:] if not set(one.methods) <= set(ranked[0].methods)]
        remarks = [*plan_notes(there, content.plans, declared), *(x for one in others for x in tables.statement(one))]
        part = replace(table, others=others, remarks=[*table.remarks, *remarks])
        # columns may differ only in characters that anchors do not have
        anchor = re.sub(r"[^A-Za-z0-9.+]+", "-", column).strip("-")
        anchor += f"-{len(found)}" if anchor in [board.anchor for board in found] else ""
        found.append(_board(part, anchor, column, runs, kept, declared.baseline if declared else baseline, declared))
    return sorted(found, key=lambda board: -len(board.cells))


def _board(
    table: tables.Table,
    anchor: str,
    column: str,
    runs: pd.DataFrame,
    sets: Sequence[RunSet],
    baseline: str,
    declared: tables.Declaration | None,
) -> Board:
    rows = [one.group.row for one in sets]
    reported = [key for key in table.headings if key.column == column and key.metric.name == HEADLINE]
    measured = {key: one for key, one in table.replicates.items() if key[0] in rows and key[1] in reported}
    headline = replace(table, rows=rows, headings=reported, replicates=measured)
    reference = selection.matching(baseline, runs, rows)
    if len(reference) == 1 and len(rows) > 1:
        headline = tables.compared(headline, reference[0], declaration=declared)
    shown = tables.typed(headline)
    kept = [one for one in shown.columns if one.kind in ("value", "gain", "verdict")]
    titles = [METRICS[HEADLINE].title if one.kind == "value" else str(one.kind) for one in kept]
    found = {
        (row, key.metric): one for (row, key), one in table.replicates.items() if key.column == column and one.values
    }
    costs = {key: metric for key, metric in COSTS.items() if any(own == metric for _, own in found)}
    cells: dict[str, dict[str, BoardCell]] = {}
    content = []
    for place, own in enumerate(sets):
        name, row, seeds, page = own.group.method, own.group.row, len(own.group.runs), f"runs/{own.slug}.html"
        by_kind = {one.kind: one.cells[place] for one in kept}
        took = {key: found[row, metric] for key, metric in costs.items() if (row, metric) in found}
        means = {key: one.mean for key, one in took.items()}
        cells[row] = {title: BoardCell(one.text, one.mark) for title, one in zip(titles, by_kind.values(), strict=True)}
        for key, one in took.items():
            cells[row][costs[key].title] = BoardCell(f"{one.mean:,.{one.decimals}f}", value=one.mean)
        cells[row]["seeds"] = BoardCell(f"{seeds} seed{'s' if seeds > 1 else ''}", href=page)
        cells[row]["checked"] = BoardCell(str(own.checked), f"mark {own.checked.mark.replace(' ', '-')}")
        value, verdict = by_kind.get("value", tables.Cell()), by_kind.get("verdict", tables.Cell())
        gain = by_kind.get("gain", tables.Cell()).gain
        of_suite = {"suite": its.name} if (its := headline.declared(name)) else {}
        content.append(BoardRow(
            method=name, row=row, accuracy=value.value, std=value.std, seeds=value.n,
            gain=gain and gain.mean, gain_low=gain and gain.low, gain_high=gain and gain.high,
            confidence=gain and gain.confidence, verdict=verdict.text,
            training_macs=means.get("training_macs"), run_seconds=means.get("run_seconds"), memory=means.get("memory"),
            checked=str(own.checked.mark), repeated=own.checked.repeated, runs=seeds,
            provenance=own.provenance.model_copy(update=of_suite), page=page,
        ))  # fmt: skip
    notes = [*shown.notes, *(f"{metric.title}: {metric.description}, mean over seeds" for metric in costs.values())]
    if len(reference) != 1 and len(rows) > 1:
        notes.append(f"no gains: {len(reference) or 'no'} rows are {baseline}")
    dataset, network, budget = map(str, runs[["dataset", "backbone", "budget"]].iloc[0])
    file = BoardFile(
        dataset=dataset, network=network, budget=budget or EQUAL_EPOCHS, baseline=headline.baseline or "", rows=content
    )
    titles += [*(metric.title for metric in costs.values()), "seeds", "checked"]
    return Board(anchor, column, titles, cells, notes, file)


def as_csv(board: Board) -> str:
    """Return a leaderboard as CSV, one row per method, the provenance in columns of its own."""
    rows = board.file.model_dump()["rows"]
    flat = [{key: one for key, one in row.items() if key != "provenance"} | row["provenance"] for row in rows]
    return tables.frame_csv(pd.DataFrame(flat).astype({"trials": "Int64"}).astype({"trials": object}))
