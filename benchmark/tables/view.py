"""The typed table: rows, columns with ids, and cells with value, interval, verdict and note; every form renders it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from benchmark.escaping import PLAIN, Markup
from benchmark.tables.gains import Gain
from benchmark.tables.table import Heading, Table

Kind = Literal[
    "row", "value", "gain", "paired sd", "seeds for equivalence", "seeds for power", "verdict", "average rank",
    "gain over tasks", "probability of improvement", "text",
]  # fmt: skip
BEST, SECOND = "best", "second"


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
    std: float | None = None  # the sample's standard deviation over the seeds, of a mean
    n: int | None = None  # seeds
    note: str = ""  # why there is no number, or what did not finish
    mark: str = ""  # BEST, SECOND or nothing
    numbers: int = 0  # how much of the text's beginning is mean, deviation and seeds, which a mark goes around
    gain: Gain | None = None  # the difference to the baseline


@dataclass(frozen=True)
class Column:
    """A column of the typed table."""

    id: str  # what programs select it by, such as `digits/resnet8:student:gain`
    kind: Kind  # what its cells hold
    title: str  # what a reader sees above it, in the words of the document
    cells: Sequence[Cell]  # one for each row; those of the first column are the rows' labels
    heading: Heading | None = None  # the values that it is of; None for columns of the table as a whole


@dataclass(frozen=True)
class TypedTable:
    """Rows, and columns with their cells."""

    columns: Sequence[Column]  # the first one holds the rows' labels
    rows: Sequence[Row]  # in order
    notes: Sequence[str] = ()  # what is below, a line each
    data: Any = None  # what JSON has of it

    @property
    def lines(self) -> list[tuple[Cell, ...]]:
        """All cells, row by row."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    def column(self, id: str) -> Column:
        """Return the column of an id."""
        return next(column for column in self.columns if column.id == id)

    def only(self, *kinds: Kind) -> "TypedTable":
        """Return the table with the columns of some kinds alone, without notes."""
        return TypedTable([one for one in self.columns if one.kind in kinds], self.rows)


def typed(table: Table, reasons: bool = True, form: Markup = PLAIN) -> TypedTable:
    """Return the typed table of runs: values, and gains, verdicts, ranks and aggregates where its style wants them.

    Args:
        reasons: Whether cells say why runs did not finish; if not, the notes do.
        form: Of the document, in which labels and titles are to be as they are.
    """
    style, notes, rows = table.style, table.notes(), list[Row]()
    for name in table.rows:
        label, group = style.word(name, form), form.chosen(table.groups.get(name, ""))
        rows.append(Row(name, label, group=group))
        if style.gains == "rows" and table.baseline not in (None, name):
            rows.append(Row(name, f"{label}: gain", True, group))

    def column(kind: Kind, of: str, title: str, cells: Mapping[str, Cell], heading: Heading | None = None) -> Column:
        found = [Cell() if row.of_gains else cells.get(row.id, Cell()) for row in rows]
        return Column(of, kind, title, found, heading)

    labels = [Cell(f"{row.group}: {row.label}" if row.group and not row.of_gains else row.label) for row in rows]
    columns = [Column("row", "row", form.text(table.corner), labels)]
    for heading in table.headings:
        title, values = heading.shown(style, form), _values(table, heading, reasons)
        cells = [gain_cell(table, row.id, heading) if row.of_gains else values.get(row.id, Cell()) for row in rows]
        columns.append(Column(heading.id, "value", title, cells, heading))
        for kind, found in _beside(table, heading):
            columns.append(column(kind, f"{heading.id}:{kind}", f"{title} {form.text(kind)}", found, heading))
    for budget in table.budgets:
        after = f" {budget}" if budget and len(table.budgets) > 1 else ""
        for kind, found in _of_budget(table, budget):
            columns.append(column(kind, f"{kind}:{budget}".rstrip(":"), form.text(f"{kind}{after}"), found))
    if not reasons:
        lost = ((key, one) for key, own in table.replicates.items() for one in own.unfinished)
        notes += [f"{style.word(row)}, {heading.shown(style)}: {one.text}" for (row, heading), one in lost]
    if any(cell.mark for one in columns for cell in one.cells):
        notes.append("in each column the best is bold and the second underlined")
    return TypedTable(columns, rows, notes)


def _values(table: Table, heading: Heading, reasons: bool) -> dict[str, Cell]:
    """Return the cells of values of a column, by row."""
    style, (best, second) = table.style, table.leaders(heading)
    found = {}
    for row in table.rows:
        if own := table.replicates.get((row, heading)):
            text, numbers = own.text(reasons, style.n), len(own.numbers(style.n))
            if style.gains == "cell" and table.baseline not in (None, row):
                text = "; ".join(part for part in (text, gain_cell(table, row, heading).text) if part)
            mark = BEST if row in best else SECOND if row in second else ""
            note, gain = ", ".join(one.text for one in own.unfinished), table.gains.get((row, heading))
            found[row] = Cell(text, own.mean, own.std, len(own.values), note, mark, numbers, gain)
    return found


def gain_cell(table: Table, row: str, heading: Heading) -> Cell:
    """Return the gain of a row in a column, or why there is none."""
    if row == table.baseline:
        return Cell("baseline", note="baseline")
    gain, style, own = table.gains.get((row, heading)), table.style, table.replicates.get((row, heading))
    if gain is None or own is None:
        reference = table.reference.get(heading)
        there = "no seed in common" if reference and reference.values else "no run here of the baseline"
        why = there if own and own.values else ""
        return Cell(why, note=why)
    text = f"{gain.mean:+.{own.decimals}f}"
    if style.interval and gain.low is not None and gain.high is not None:
        text += f" [{gain.low:+.{own.decimals}f}, {gain.high:+.{own.decimals}f}]"
    text += f", n={gain.n}" if style.n else ""
    text += f", p={gain.p:.2g}" if style.p and gain.p is not None and gain.verdict is None else ""
    return Cell(text, gain.mean, n=gain.n, gain=gain)


def _beside(table: Table, heading: Heading) -> Iterator[tuple[Kind, dict[str, Cell]]]:
    """Yield the columns beside one of values: their kinds, and their cells by row."""
    if table.baseline is None:
        return
    if table.style.gains == "columns":
        yield "gain", {row: gain_cell(table, row, heading) for row in table.rows}
    if table.bound(heading) is None:
        return
    gains = {row: gain for row in table.rows if (gain := table.gains.get((row, heading)))}
    if table.style.planning:
        form = f".{heading.metric.decimals}f"
        deviations = {row: gain.sd for row, gain in gains.items() if gain.sd is not None}
        yield "paired sd", {row: Cell(f"{sd:{form}}", sd) for row, sd in deviations.items()}
        planned = {row: _planned(table, heading, gain) for row, gain in gains.items()}
        kinds: tuple[Kind, ...] = ("seeds for equivalence", "seeds for power")
        for kind in kinds:
            yield kind, {row: Cell(str(seeds[kind]), seeds[kind]) for row, seeds in planned.items() if kind in seeds}
    if table.declaration:
        yield "verdict", {row: Cell(gain.text, gain=gain) for row, gain in gains.items()}


def _planned(table: Table, heading: Heading, gain: Gain) -> dict[Kind, int]:
    """Return the planned seeds, at the level of the comparison, as far as there are some."""
    bound = table.bound(heading)
    if bound is None or gain.p is None or gain.sd is None:
        return {}
    from benchmark.tables.statistics import seeds_for_equivalence, seeds_needed

    equivalence, power = (seeds(bound, gain.sd, table.alpha) for seeds in (seeds_for_equivalence, seeds_needed))
    found: dict[Kind, int | None] = {"seeds for equivalence": equivalence, "seeds for power": power}
    return {kind: n for kind, n in found.items() if n is not None}


def _of_budget(table: Table, budget: str) -> Iterator[tuple[Kind, dict[str, Cell]]]:
    """Yield the last columns of a budget: average rank, and what several tasks say together."""
    if ranks := table.ranks(budget)[0] if table.style.rank else {}:
        yield "average rank", {row: Cell(f"{rank:.2f}", rank) for row, rank in ranks.items()}
    found = {row: one for (row, own), one in table.aggregates.items() if own == budget}
    if found and table.style.aggregates:
        form, base = f"+.{table.complete(budget)[0][0].metric.decimals}f", Cell("baseline", note="baseline")
        gains = {row: Cell(one.gain.text(form), one.gain.value) for row, one in found.items()}
        yield "gain over tasks", {**gains, str(table.baseline): base}
        chances = {row: Cell(one.improvement.text(".2f"), one.improvement.value) for row, one in found.items()}
        yield "probability of improvement", {**chances, str(table.baseline): base}


def tidy(table: Table) -> pd.DataFrame:
    """Return one row per cell of values, in the order of the table.

    The columns are what the rows are, ``label``, ``column``, ``metric``, ``part``, then of the values ``mean``, ``std``
    (the sample's) and ``n`` (seeds); then, with a baseline, of the difference ``gain``, ``low``, ``high`` (its interval
    at ``confidence``), ``pairs`` and ``p``; where there is a bound ``paired_sd``, ``seeds_for_equivalence``,
    ``seeds_for_power``, and ``verdict`` where it was declared; and ``not_finished``, a number of runs.
    """
    flat = pd.json_normalize(structured(table)["cells"])
    flat["label"] = flat["row"].map(table.style.word)
    flat["not_finished"] = flat.filter(regex=r"^not_finished\..+\.count$").sum(axis=1)
    columns = {"row": table.corner} | {name: name for name in ("label", "column", "metric", "part", "mean", "std", "n")}
    if table.baseline is not None:
        columns |= {"gain.mean": "gain", "gain.low": "low", "gain.high": "high", "gain.confidence": "confidence"}
        columns |= {"gain.n": "pairs", "gain.p": "p"}
        if any(table.bound(heading) is not None for heading in table.headings):
            planned = {f"planned.{name}": name for name in ("seeds_for_equivalence", "seeds_for_power")}
            columns |= {"gain.sd": "paired_sd"} | planned | ({"verdict.text": "verdict"} if table.declaration else {})
    columns["not_finished"] = "not_finished"
    frame = flat.reindex(columns=list(columns)).rename(columns=columns)
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
        cell["not_finished"] = {end.status: {"count": end.count, "reason": end.reason} for end in own.unfinished}
        if (gain := table.gains.get((row, heading))) is not None:
            cell["gain"] = {key: value for key, value in asdict(gain).items() if key not in ("verdict", "note")}
            if gain.verdict is not None:
                cell["verdict"] = {"word": gain.verdict, "text": gain.text}
            if table.bound(heading) is not None:
                seeds = _planned(table, heading, gain)
                cell["planned"] = {kind.replace(" ", "_"): n for kind, n in seeds.items()}
        cells.append(cell)
    ranks = {budget: table.ranks(budget) for budget in table.budgets}
    return {
        "rows": list(table.rows),
        "columns": [
            {"id": key.id, "title": key.text, "column": key.column, "metric": key.metric.name, "part": key.part,
             "budget": key.budget, "unit": key.metric.unit, "better": key.metric.better}
            for key in table.headings
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
    columns = [
        Column(f"{place}:{title}", "text" if place else "row", title, [Cell(row[place]) for row in rows])
        for place, title in enumerate(header)
    ]
    return TypedTable(columns, [Row(row[0], row[0]) for row in rows], notes, data)
