"""The leaderboards: one table per dataset, network and budget."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mode
from urllib.parse import quote

import pandas as pd
from pydantic import BaseModel, Field

from benchmark import tables
from benchmark.configuration import EQUAL_EPOCHS, suites as declared_suites
from benchmark.escaping import file_name
from benchmark.metrics import HEADLINE
from benchmark.reports import Content, PageCell, PageTable
from benchmark.site.sources import Provenance, RunSet
from benchmark.tables import declaration, layout, plan_notes, plan_of, selection, suite_runs
from methods.errors import InputError

# by the name that a leaderboard's file has for them
COSTS = {"training_macs": "training-multiply-adds", "run_seconds": "seconds", "memory": "memory"}


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


@dataclass(frozen=True)
class Board:
    """A leaderboard."""

    anchor: str  # its place on the page
    column: str  # the tables' column
    table: PageTable  # one row per method
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
    table = tables.build(content.frame, [HEADLINE, *COSTS.values()], choice=content.choice, showing=showing)
    arranged = layout.arranged(content.frame).runs
    by_cell = {(one.group.row, one.group.panel): one for one in sets}
    suites = {}
    for name, suite in () if content.choice.suite else declared_suites.available().items():
        try:
            suites[name] = (suite, frozenset(suite_runs(content.frame, suite)["run"]))
        except InputError:
            # none of the runs belongs to it
            continue
    found: list[Board] = []
    for column in dict.fromkeys(heading.column for heading in table.headings):
        kept = [one for row in table.rows if (one := by_cell.get((row, column)))]
        if not kept:
            continue
        runs = arranged[arranged["column"] == column]
        names = set(runs["run"])
        budgets = {str(budget) or EQUAL_EPOCHS for budget in runs["budget"]}
        # all runs of the suite's methods and seeds must belong to it; of several suites the most complete one counts
        missing: dict[str, tuple[int, int]] = {}
        for name, (suite, its) in suites.items():
            own = set(runs.loc[runs["method"].isin(suite.methods) & (runs["seed"] < suite.seeds), "run"])
            if own and own <= its and budgets <= set(suite.budgets):
                missing[name] = (len(suite.methods) * suite.seeds - len(own), -len(own))
        declared = content.choice.declared
        if declared is None and missing:
            best = min(missing, key=missing.__getitem__)
            declared = declaration(best, suites[best][0])
        declared = declared or plan_of(names, content.plans, None)
        part = replace(table, remarks=[*table.remarks, *plan_notes(names, content.plans, declared)])
        # columns may differ only in characters that anchors do not have
        anchor = re.sub(r"[^A-Za-z0-9.+]+", "-", column).strip("-")
        anchor += f"-{len(found)}" if anchor in [board.anchor for board in found] else ""
        found.append(_board(part, anchor, column, runs, kept, declared.baseline if declared else baseline, declared))
    return sorted(found, key=lambda board: -len(board.table.rows))


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
    headings = {key.metric.name: key for key in table.headings if key.column == column}
    reported = [key for key in table.headings if key.column == column and key.metric.name == HEADLINE]
    measured = {key: one for key, one in table.replicates.items() if key[0] in rows and key[1] in reported}
    headline = replace(table, rows=rows, headings=reported, replicates=measured)
    reference = selection.matching(baseline, runs, rows)
    if len(reference) == 1 and len(rows) > 1:
        headline = tables.compared(headline, reference[0], declaration=declared)
    shown = tables.typed(headline)
    kept = [one for one in shown.columns if one.kind in ("value", "gain", "verdict")]
    costs = {key: headings[name] for key, name in COSTS.items() if name in headings}
    measured_costs = {key for (_, key), one in table.replicates.items() if one.values}
    costs = {key: heading for key, heading in costs.items() if heading in measured_costs}
    lines, content = [], []
    for place, own in enumerate(sets):
        name, seeds, page = own.group.method, len(own.group.runs), f"runs/{own.slug}.html"
        of_suite = {"suite": declared.name} if declared and name in declared.methods else {}
        means = {key: table.replicates.get((own.group.row, heading)) for key, heading in costs.items()}
        took = {key: (one.mean, one.decimals) for key, one in means.items() if one and one.mean is not None}
        cells = {one.kind: one.cells[place] for one in kept}
        lines.append(
            [
                PageCell(own.group.row, href=f"methods/{quote(file_name(name, '.html'))}"),
                *(PageCell(cell.text, cell.mark) for cell in cells.values()),
                *(PageCell(f"{took[key][0]:,.{took[key][1]}f}", value=took[key][0]) if key in took else PageCell("")
                  for key in costs),
                PageCell(f"{seeds} seed{'s' if seeds > 1 else ''}", href=page),
                PageCell(str(own.checked), f"mark {own.checked.mark.replace(' ', '-')}"),
            ]
        )  # fmt: skip
        value, gain = cells.get("value", tables.Cell()), cells["gain"].gain if "gain" in cells else None
        row = BoardRow(
            method=name, row=own.group.row, accuracy=value.value, std=value.std, seeds=value.n,
            gain=gain and gain.mean, gain_low=gain and gain.low, gain_high=gain and gain.high,
            confidence=gain and gain.confidence, verdict=cells["verdict"].text if "verdict" in cells else "",
            **{key: took[key][0] if key in took else None for key in COSTS},
            checked=str(own.checked.mark), repeated=own.checked.repeated, runs=seeds,
            provenance=own.provenance.model_copy(update=of_suite), page=page,
        )  # fmt: skip
        content.append(row)
    metrics = [heading.metric for heading in costs.values()]
    notes = [*shown.notes, *(f"{metric.title}: {metric.description}, mean over seeds" for metric in metrics)]
    if len(reference) != 1 and len(rows) > 1:
        notes.append(f"no gains: {len(reference) or 'no'} rows are {baseline}")
    data = [{"mark": row.checked, "method": row.method} for row in content]
    titles = [one.heading.metric.title if one.heading and one.kind == "value" else one.kind for one in kept]
    header = ["method", *titles, *(metric.title for metric in metrics), "seeds", "checked"]
    dataset, network, budget = map(str, runs[["dataset", "backbone", "budget"]].iloc[0])
    of_file = {"dataset": dataset, "network": network, "budget": budget or EQUAL_EPOCHS}
    file = BoardFile(**of_file, baseline=headline.baseline or "", rows=content)
    return Board(anchor, column, PageTable(column, header, lines, notes, data), file)


def as_csv(board: Board) -> str:
    """Return a leaderboard as CSV, one row per method, the provenance in columns of its own."""
    rows = board.file.model_dump()["rows"]
    flat = [{key: one for key, one in row.items() if key != "provenance"} | row["provenance"] for row in rows]
    return tables.frame_csv(pd.DataFrame(flat).astype({"trials": "Int64"}).astype({"trials": object}))


def of_method(found: Sequence[Board], method: str) -> PageTable | None:
    """Return a method's rows of all leaderboards as one table; None if it has none."""
    lines: list[tuple[PageCell, Mapping[str, PageCell]]] = []
    for board in found:
        for cells, row in zip(board.table.rows, board.file.rows, strict=True):
            if row.method == method:
                # a row with settings of its own is told apart from the plain method's
                place = board.column if row.row == method else f"{board.column}: {row.row}"
                # the leaderboards' links are seen from a folder further up
                others = [cell._replace(href=cell.href and f"../{cell.href}") for cell in cells[1:]]
                first = PageCell(place, href=f"../index.html#board={board.anchor}")
                lines.append((first, dict(zip(board.table.header[1:], others, strict=True))))
    header = list(dict.fromkeys(title for _, by_title in lines for title in by_title))
    rows = [[first, *(by_title.get(title, PageCell("")) for title in header)] for first, by_title in lines]
    return PageTable("Results", ["data and network", *header], rows) if rows else None
