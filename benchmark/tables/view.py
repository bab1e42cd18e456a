"""The typed table: rows, columns with ids, and cells with value, interval, verdict and note; every form renders it."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pandas as pd

from benchmark.escaping import PLAIN, Markup
from benchmark.tables.gains import Gain
from benchmark.tables.style import TableStyle
from benchmark.tables.table import Heading, Table

Kind = Literal[
    "row", "value", "gain", "paired sd", "seeds for equivalence", "seeds for power", "verdict", "average rank",
    "gain over tasks", "probability of improvement", "text",
]  # fmt: skip
BEST, SECOND = "best", "second"


@dataclass(frozen=True)
class Column:
    """A column of the typed table."""

    id: str  # what programs select it by, such as `digits/resnet8:student:gain`
    kind: Kind  # what its cells hold
    title: str  # what a reader sees above it, in the words of the document
    heading: Heading | None = None  # the values that it is of; None for columns of the table as a whole


@dataclass(frozen=True)
class Row:
    """A row of the typed table."""

    id: str  # the row's label in the words of the runs
    label: str  # what a reader sees
    of_gains: bool = False  # whether it holds the gains of the row above it
    group: str = ""  # the heading that it is below; may be empty


@dataclass(frozen=True)
class Cell:
    """A cell of the typed table."""

    text: str = ""  # what a reader sees, as plain text
    value: float | None = None  # its number: a mean, a difference, a rank; None for none
    decimals: int = 2  # places of the number
    std: float | None = None  # the sample's standard deviation over the seeds, of a mean
    n: int | None = None  # seeds
    note: str = ""  # why there is no number, or what did not finish
    mark: str = ""  # BEST, SECOND or nothing
    marked: int = 0  # how much of the text's beginning the mark goes around
    # runs that did not finish, by status: count and first reason
    unfinished: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gain: Gain | None = None  # the difference to the baseline

    @property
    def verdict(self) -> str:
        """The verdict in words; empty for none."""
        return self.gain.text if self.gain else ""


@dataclass(frozen=True)
class TypedTable:
    """Rows, columns and cells."""

    columns: Sequence[Column]  # the first one holds the rows' labels
    rows: Sequence[Row]  # in order
    cells: Mapping[tuple[int, str], Cell]  # by the row's place and the column's id; one that is not there is empty
    notes: Sequence[str] = ()  # what is below, a line each
    data: Any = None  # what JSON has of it

    def cell(self, place: int, column: Column) -> Cell:
        """Return a row's cell in a column; the first column's is the row's label."""
        if column.kind == "row":
            row = self.rows[place]
            return Cell(f"{row.group}: {row.label}" if row.group and not row.of_gains else row.label)
        return self.cells.get((place, column.id), Cell())

    @property
    def lines(self) -> list[list[Cell]]:
        """All cells, row by row."""
        return [[self.cell(place, column) for column in self.columns] for place in range(len(self.rows))]

    def column(self, id: str) -> Column:
        """Return the column of an id."""
        return next(column for column in self.columns if column.id == id)

    def only(self, *kinds: Kind) -> "TypedTable":
        """Return the table with the columns of some kinds alone, without notes."""
        return TypedTable([one for one in self.columns if one.kind in kinds], self.rows, self.cells)


def typed(table: Table, reasons: bool = True, form: Markup = PLAIN) -> TypedTable:
    """Return the typed table of runs: values, and gains, verdicts, ranks and aggregates where its style wants them.

    Args:
        reasons: Whether cells say why runs did not finish; if not, the notes do.
        form: Of the document, in which labels and titles are to be as they are.
    """
    style = table.style
    rows = []
    for name in table.rows:
        label, group = style.word(name, form), form.chosen(style.groups.get(name, ""))
        rows.append(Row(name, label, group=group))
        if style.gains == "rows" and table.baseline not in (None, name):
            rows.append(Row(name, f"{label}: gain", True, group))
    columns = [Column("row", "row", form.text(table.corner))]
    cells: dict[tuple[int, str], Cell] = {}
    notes = table.notes()
    for heading in table.headings:
        title, (best, second) = heading.shown(style, form), table.leaders(heading)
        columns.append(Column(heading.id, "value", title, heading))
        kinds: dict[Kind, None] = {}
        for place, row in enumerate(rows):
            if row.of_gains:
                cells[place, heading.id] = gain_cell(table, row.id, heading)
                continue
            if own := table.replicates.get((row.id, heading)):
                text, gain = own.text(reasons, style.n), table.gains.get((row.id, heading))
                if style.gains == "cell" and table.baseline not in (None, row.id):
                    text = "; ".join(part for part in (text, gain_cell(table, row.id, heading).text) if part)
                mark = BEST if row.id in best else SECOND if row.id in second else ""
                note, marked = ", ".join(one.text for one in own.unfinished), len(own.numbers(style.n))
                numbers = own.mean, own.decimals, own.std, len(own.values)
                cells[place, heading.id] = Cell(text, *numbers, note, mark, marked, own.not_finished, gain)
                if not reasons:
                    notes += [f"{style.word(row.id)}, {heading.shown(style)}: {one.text}" for one in own.unfinished]
            beside = _beside(table, row.id, heading)
            kinds |= dict.fromkeys(beside)
            cells |= {(place, f"{heading.id}:{kind}"): cell for kind, cell in beside.items()}
        columns += [Column(f"{heading.id}:{kind}", kind, f"{title} {form.text(kind)}", heading) for kind in kinds]
    for column, found in _of_the_table(table, form):
        columns.append(column)
        whole = [place for place, row in enumerate(rows) if not row.of_gains and row.id in found]
        cells |= {(place, column.id): found[rows[place].id] for place in whole}
    if any(cell.mark for cell in cells.values()):
        notes.append("in each column the best is bold and the second underlined")
    return TypedTable(columns, rows, cells, notes)


def gain_cell(table: Table, row: str, heading: Heading) -> Cell:
    """Return the gain of a row in a column, or why there is none."""
    if row == table.baseline:
        return Cell("baseline", note="baseline")
    gain, style, own = table.gains.get((row, heading)), table.style, table.replicates.get((row, heading))
    if gain is None or own is None:
        reference = table.replicates.get((table.baseline or "", heading))
        there = "no seed in common" if reference and reference.values else "no run here of the baseline"
        why = there if own and own.values else ""
        return Cell(why, note=why)
    mean, interval, details = gain_parts(gain, style, own.decimals)
    text = ", ".join([mean + (f" [{interval}]" if interval else ""), *details])
    return Cell(text, gain.mean, own.decimals, n=gain.n, gain=gain)


def gain_parts(gain: Gain, style: TableStyle, decimals: int) -> tuple[str, str, list[str]]:
    """Return the mean, the interval, which may be empty, and what else a style shows of a gain."""
    interval = ""
    if style.interval and gain.low is not None and gain.high is not None:
        interval = f"{gain.low:+.{decimals}f}, {gain.high:+.{decimals}f}"
    n = [f"n={gain.n}"] if style.n else []
    p = [f"p={gain.p:.2g}"] if style.p and gain.p is not None and gain.verdict is None else []
    return f"{gain.mean:+.{decimals}f}", interval, n + p


def _beside(table: Table, row: str, heading: Heading) -> dict[Kind, Cell]:
    """Return the cells beside one of values, by their kinds."""
    found: dict[Kind, Cell] = {}
    if table.baseline is None:
        return found
    if table.style.gains == "columns":
        found["gain"] = gain_cell(table, row, heading)
    if table.bound(heading) is None:
        return found
    gain = table.gains.get((row, heading))
    if table.style.planning:
        sd, decimals = gain.sd if gain else None, heading.metric.decimals
        found["paired sd"] = Cell() if sd is None else Cell(f"{sd:.{decimals}f}", sd, decimals)
        for kind, n in _planned(table, heading, gain).items():
            found[kind] = Cell() if n is None else Cell(str(n), n, 0)
    if table.declaration:
        found["verdict"] = Cell(gain.text if gain else "", gain=gain)
    return found


def _planned(table: Table, heading: Heading, gain: Gain | None) -> dict[Kind, int | None]:
    """Return the planned seeds, at the level of the comparison; None without a bound or a test."""
    bound, equivalence, power = table.bound(heading), None, None
    if bound is not None and gain is not None and gain.p is not None and gain.sd is not None:
        from benchmark.tables.statistics import seeds_for_equivalence, seeds_needed

        equivalence = seeds_for_equivalence(bound, gain.sd, table.alpha)
        power = seeds_needed(bound, gain.sd, table.alpha)
    return {"seeds for equivalence": equivalence, "seeds for power": power}


def _of_the_table(table: Table, form: Markup) -> Iterator[tuple[Column, dict[str, Cell]]]:
    """Yield the last columns: average rank, and what several tasks say together, for each budget."""
    for budget in table.budgets:
        end = f":{budget}" if budget else ""
        after = f" {budget}" if budget and len(table.budgets) > 1 else ""
        if ranks := table.ranks(budget)[0] if table.style.rank else {}:
            cells = {row: Cell(f"{rank:.2f}", rank) for row, rank in ranks.items()}
            yield Column(f"average rank{end}", "average rank", form.text(f"average rank{after}")), cells
        found = {row: one for (row, own), one in table.aggregates.items() if own == budget}
        if not found or not table.style.aggregates:
            continue
        decimals = table.complete(budget)[0][0].metric.decimals
        gains = {row: Cell(one.gain.text(f"+.{decimals}f"), one.gain.value, decimals) for row, one in found.items()}
        chances = {row: Cell(one.improvement.text(".2f"), one.improvement.value) for row, one in found.items()}
        columns: dict[Kind, dict[str, Cell]] = {"gain over tasks": gains, "probability of improvement": chances}
        for kind, cells in columns.items():
            cells[table.baseline or ""] = Cell("baseline", note="baseline")
            yield Column(f"{kind}{end}", kind, form.text(f"{kind}{after}")), cells


def tidy(table: Table) -> pd.DataFrame:
    """Return one row per cell of values, in the order of the table.

    The columns are what the rows are, ``label``, ``column``, ``metric``, ``part``, then of the values ``mean``, ``std``
    (the sample's) and ``n`` (seeds); then, with a baseline, of the difference ``gain``, ``low``, ``high`` (its interval
    at ``confidence``), ``pairs`` and ``p``; where there is a bound ``paired_sd``, ``seeds_for_equivalence``,
    ``seeds_for_power``, and ``verdict`` where it was declared; and ``not_finished``, a number of runs.
    """
    rows = []
    planned = any(table.bound(heading) is not None for heading in table.headings)
    for row, heading in itertools.product(table.rows, table.headings):
        if (own := table.replicates.get((row, heading))) is None:
            continue
        found: dict[str, Any] = {table.corner: row, "label": table.style.word(row), "column": heading.column}
        found |= {"metric": heading.metric.name, "part": heading.part}
        found |= {"mean": own.mean, "std": own.std, "n": len(own.values)}
        if table.baseline is not None:
            gain = table.gains.get((row, heading)) or Gain(float("nan"), 0)
            found |= {"gain": gain.mean, "low": gain.low, "high": gain.high, "confidence": gain.confidence}
            found |= {"pairs": gain.n or None, "p": gain.p}
            if planned:
                seeds = _planned(table, heading, gain)
                found |= {"paired_sd": gain.sd} | {kind.replace(" ", "_"): n for kind, n in seeds.items()}
                found |= {"verdict": gain.text} if table.declaration else {}
        rows.append(found | {"not_finished": sum(one.count for one in own.unfinished)})
    frame = pd.DataFrame(rows)
    whole = {"n", "pairs", "seeds_for_equivalence", "seeds_for_power", "not_finished"}.intersection(frame.columns)
    return frame.astype(dict.fromkeys(whole, "Int64"))


def structured(table: Table) -> dict[str, Any]:
    """Return the table as JSON has it: declaration, every cell with its numbers, and the value of every seed."""
    style, declared = table.style, table.declaration
    cells = []
    for (row, heading), own in table.replicates.items():
        cell: dict[str, Any] = {"row": row, "column": heading.column, "metric": heading.metric.name}
        cell |= {"part": heading.part, "id": heading.id, "mean": own.mean, "std": own.std, "n": len(own.values)}
        cell["seeds"] = {str(seed): value for seed, value in own.values.items()}
        cell["not_finished"] = own.not_finished
        if (gain := table.gains.get((row, heading))) is not None:
            cell["gain"] = {key: value for key, value in asdict(gain).items() if key not in ("verdict", "note")}
            if gain.verdict is not None:
                cell["verdict"] = {"word": gain.verdict, "text": gain.text}
                seeds = _planned(table, heading, gain)
                cell["planned"] = {kind.replace(" ", "_"): n for kind, n in seeds.items() if n is not None}
        cells.append(cell)
    ranks = {budget: table.ranks(budget) for budget in table.budgets}
    return {
        "rows": list(table.rows),
        "columns": [
            {
                "id": heading.id, "title": heading.text, "column": heading.column, "metric": heading.metric.name,
                "part": heading.part, "budget": heading.budget, "unit": heading.metric.unit,
                "better": heading.metric.better,
            }
            for heading in table.headings
        ],
        "labels": {word: style.word(word) for word in (*table.rows, *(key.column for key in table.headings))},
        "declaration": asdict(declared) | {"alpha": declared.alpha, "levels": declared.levels()} if declared else None,
        "exploratory": table.baseline is not None and declared is None,
        "cells": cells,
        "average_rank": {budget: found[0] for budget, found in ranks.items()},
        "average_rank_columns": {budget: found[1] for budget, found in ranks.items()},
        "aggregates": [
            {"row": row, "budget": budget, **asdict(found)} for (row, budget), found in table.aggregates.items()
        ],
        "baseline": table.baseline,
        "resolve": table.resolve,
        "notes": table.notes(),
    }  # fmt: skip


def of_texts(
    header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = (), data: Any = None
) -> TypedTable:
    """Return a typed table of plain texts, whose first column names the rows; ids are places and titles."""
    columns = [Column(f"{place}:{title}", "text" if place else "row", title) for place, title in enumerate(header)]
    cells = {
        (place, column.id): Cell(text)
        for place, row in enumerate(rows)
        for column, text in zip(columns[1:], row[1:], strict=True)
    }
    return TypedTable(columns, [Row(row[0], row[0]) for row in rows], cells, notes, data)
