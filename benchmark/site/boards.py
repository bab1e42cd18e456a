"""The leaderboards: one table per dataset, network and budget."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

import pandas as pd
from pydantic import BaseModel, Field

from benchmark import tables
from benchmark.configuration import EQUAL_EPOCHS, Suite, suites as declared_suites
from benchmark.escaping import file_name
from benchmark.metrics import HEADLINE
from benchmark.reports import Content, PageCell, PageTable
from benchmark.site.sources import Provenance, RunSet, css_class
from benchmark.tables import declaration, layout, plan_notes, plan_of, selection, suite_runs
from methods.errors import InputError

COSTS = ("training-multiply-adds", "seconds", "memory")


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
    provenance: PageTable  # the same rows: who measured them, when, with what and how long
    file: BoardFile  # the same for programs

    @property
    def view(self) -> str:
        """The fragment of an address that shows this leaderboard alone."""
        return f"board={self.anchor}"


def boards(content: Content, sets: Sequence[RunSet], baseline: str) -> list[Board]:
    """Return the leaderboards, those with most rows first, else in the order of the tables' columns.

    Those whose runs a suite or a stored plan declares have verdicts at its level, others are exploratory.

    Args:
        baseline: A row's label or a method; where a leaderboard has none of it, it has no gains.
    """
    showing = content.showing.model_copy(update={"rank": False, "aggregates": False, "n": False, "p": False})
    table = tables.build(content.frame, [HEADLINE, *COSTS], choice=content.choice, showing=showing)
    baseline = content.choice.suite.baseline if content.choice.suite else baseline
    runs = layout.arranged(content.frame).runs
    by_cell = {(one.group.row, one.group.panel): one for one in sets}
    suites = [] if content.choice.suite else _suites(content.frame)
    found: list[Board] = []
    for column in dict.fromkeys(heading.column for heading in table.headings):
        own = runs[runs["column"] == column]
        kept = [by_cell[row, column] for row in table.rows if (row, column) in by_cell]
        if kept:
            names = set(own["run"])
            declared = content.choice.declared or _declared(own, suites) or plan_of(names, content.plans, None)
            part = replace(table, remarks=[*table.remarks, *plan_notes(names, content.plans, declared)])
            found.append(_board(part, column, own, kept, declared.baseline if declared else baseline, declared))
    found.sort(key=lambda board: -len(board.table.rows))
    # columns may differ only in characters that anchors do not have
    anchors = [board.anchor for board in found]
    return [
        replace(board, anchor=f"{board.anchor}-{place}") if board.anchor in anchors[:place] else board
        for place, board in enumerate(found)
    ]


def _suites(frame: pd.DataFrame) -> list[tuple[Suite, tables.Declaration, frozenset[str]]]:
    """Return the suites that some of the runs belong to, with the names of these runs."""
    found = []
    for name, suite in declared_suites.available().items():
        try:
            runs = suite_runs(frame, suite)
        except InputError:
            continue
        found.append((suite, declaration(name, suite), frozenset(runs["run"])))
    return found


def _declared(
    runs: pd.DataFrame, suites: Sequence[tuple[Suite, tables.Declaration, frozenset[str]]]
) -> tables.Declaration | None:
    """Return the declaration of the suite that all runs of a leaderboard of its methods and seeds belong to.

    Of several suites it is the one of which fewest runs are missing.
    """
    found = []
    for suite, declared, names in suites:
        own = runs[runs["method"].isin(suite.methods) & (runs["seed"] < suite.seeds)]
        budgets = {str(budget) or EQUAL_EPOCHS for budget in runs["budget"]}
        if len(own) and set(own["run"]) <= names and budgets <= set(suite.budgets):
            found.append((len(suite.methods) * suite.seeds - own["run"].nunique(), declared))
    return min(found, key=lambda one: one[0])[1] if found else None


def _board(
    table: tables.Table,
    column: str,
    runs: pd.DataFrame,
    sets: Sequence[RunSet],
    baseline: str,
    declared: tables.Declaration | None,
) -> Board:
    rows = [one.group.row for one in sets]
    headings = [key for key in table.headings if key.column == column]
    reported = [key for key in headings if key.metric.name == HEADLINE]
    measured = {key: one for key, one in table.replicates.items() if key[0] in rows and key[1] in reported}
    headline = replace(table, rows=rows, headings=reported, replicates=measured)
    reference = selection.matching(baseline, runs, rows)
    if len(reference) == 1 and len(rows) > 1:
        headline = tables.compared(headline, reference[0], declaration=declared)
    shown = tables.typed(headline)
    kept = [one for one in shown.columns if one.kind in ("value", "gain", "verdict")]
    costs = [key for key in headings if key.metric.name in COSTS]
    costs = [key for key in costs if any(own.values for (row, one), own in table.replicates.items() if one == key)]
    if declared:
        of_suite = {"suite": declared.name}
        sets = [
            replace(own, provenance=own.provenance.model_copy(update=of_suite))
            if own.group.method in declared.methods
            else own
            for own in sets
        ]
    lines = [
        [
            PageCell(own.group.row, href=f"methods/{quote(file_name(own.group.method, '.html'))}"),
            *(PageCell(cell.text, cell.mark) for cell in (shown.cell(place, one) for one in kept)),
            *(_mean(table, own.group.row, key) for key in costs),
            PageCell(
                f"{len(own.group.runs)} seed{'s' if len(own.group.runs) > 1 else ''}", href=f"runs/{own.slug}.html"
            ),
            PageCell(str(own.checked), f"mark {css_class(own.mark)}"),
        ]
        for place, own in enumerate(sets)
    ]
    notes = [*shown.notes, *(f"{key.metric.title}: {key.metric.description}, mean over seeds" for key in costs)]
    if len(reference) != 1 and len(rows) > 1:
        notes.append(f"no gains: {len(reference) or 'no'} rows are {baseline}")
    data = [{"mark": str(one.mark), "method": one.group.method} for one in sets]
    titles = [one.heading.metric.title if one.heading and one.kind == "value" else one.kind for one in kept]
    header = ["method", *titles, *(key.metric.title for key in costs), "seeds", "checked"]
    first = runs.iloc[0]
    file = BoardFile(
        dataset=str(first["dataset"]),
        network=str(first["backbone"]),
        budget=str(first["budget"]) or EQUAL_EPOCHS,
        baseline=headline.baseline or "",
        rows=[
            _row(own, {one.kind: shown.cell(place, one) for one in kept}, table, costs)
            for place, own in enumerate(sets)
        ],
    )
    anchor = re.sub(r"[^A-Za-z0-9.+]+", "-", column).strip("-")
    return Board(anchor, column, PageTable(column, header, lines, notes, data), _provenance(sets, data), file)


def _row(
    own: RunSet, cells: Mapping[str, tables.Cell], table: tables.Table, costs: Sequence[tables.Heading]
) -> BoardRow:
    value, gain = cells.get("value", tables.Cell()), cells["gain"].gain if "gain" in cells else None
    found = {key.metric.name: table.replicates.get((own.group.row, key)) for key in costs}
    means = {name: one.mean if one else None for name, one in found.items()}
    return BoardRow(
        method=own.group.method, row=own.group.row, accuracy=value.value, std=value.std, seeds=value.n,
        gain=gain and gain.mean, gain_low=gain and gain.low, gain_high=gain and gain.high,
        confidence=gain and gain.confidence, verdict=cells["verdict"].verdict if "verdict" in cells else "",
        training_macs=means.get("training-multiply-adds"), run_seconds=means.get("seconds"), memory=means.get("memory"),
        checked=str(own.mark), repeated=own.checked.repeated, runs=len(own.group.runs),
        provenance=own.provenance, page=f"runs/{own.slug}.html",
    )  # fmt: skip


def _provenance(sets: Sequence[RunSet], data: Sequence[Mapping[str, str]]) -> PageTable:
    texts = [own.provenance.texts() for own in sets]
    kept = [name for name in texts[0] if any(text[name] for text in texts)]
    rows = [
        [
            PageCell(own.group.row),
            *(PageCell(text[name], "wrap", text[name] if name == "paper" else "") for name in kept),
        ]
        for own, text in zip(sets, texts, strict=True)
    ]
    return PageTable("Provenance", ["method", *kept], rows, data=data)


def as_csv(board: Board) -> str:
    """Return a leaderboard as CSV, one row per method, the provenance in columns of its own."""
    rows = board.file.model_dump()["rows"]
    flat = [{key: one for key, one in row.items() if key != "provenance"} | row["provenance"] for row in rows]
    return tables.frame_csv(pd.DataFrame(flat).astype({"trials": "Int64"}).astype({"trials": object}))


def _mean(table: tables.Table, row: str, heading: tables.Heading) -> PageCell:
    own = table.replicates.get((row, heading))
    if own is None or own.mean is None:
        return PageCell("")
    return PageCell(f"{own.mean:,.{own.decimals}f}", value=own.mean)


def of_method(found: Sequence[Board], method: str) -> PageTable | None:
    """Return a method's rows of all leaderboards as one table; None if it has none."""
    lines = []
    for board in found:
        for cells, row in zip(board.table.rows, board.file.rows, strict=True):
            if row.method == method:
                # a row with settings of its own is told apart from the plain method's
                place = board.column if cells[0].text == method else f"{board.column}: {cells[0].text}"
                by_title = dict(zip(board.table.header[1:], cells[1:], strict=True))
                lines.append((PageCell(place, href=f"index.html#{board.view}"), by_title))
    if not lines:
        return None
    header = list(dict.fromkeys(title for _, by_title in lines for title in by_title))
    rows = [[first, *(by_title.get(title, PageCell("")) for title in header)] for first, by_title in lines]
    # the leaderboards' links are seen from a folder further up
    rows = [[replace(cell, href=cell.href and f"../{cell.href}") for cell in row] for row in rows]
    return PageTable("Results", ["data and network", *header], rows)
