"""A table as plain text in rows and columns, before it takes the form of a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.escaping import PLAIN, Markup
from benchmark.tables.significance import Gain
from benchmark.tables.table import Heading, Table

BEST, SECOND = "best", "second"
RANK = "average rank"


@dataclass(frozen=True)
class Grid:
    """A table of plain text.

    Attributes:
        header: Of every column.
        rows: As long as the header.
        marks: :data:`BEST` or :data:`SECOND` by row and column number.
        notes: What stands below.
        data: The same for a program, as JSON has it.
        marked: How much of a cell's beginning a mark goes around, by row and column number.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    marks: Mapping[tuple[int, int], str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    data: object = None
    marked: Mapping[tuple[int, int], int] = field(default_factory=dict)


def grid(table: Table, reasons: bool = True, data: object = None, form: Markup = PLAIN) -> Grid:
    """Return the table as text: cells, gains where its showing wants them, the average rank, verdicts and aggregates.

    Args:
        table: Of runs.
        reasons: Whether cells say why runs did not finish; if not, the notes do.
        data: What JSON has of it.
        form: Of the document, in which the header and the rows' names are to be as they are.
    """
    showing = table.showing
    every = lines(table)
    header = [form.text(table.corner)]
    texts = [[_first(table, row, of_gain, form)] for row, of_gain in every]
    marks: dict[tuple[int, int], str] = {}
    marked: dict[tuple[int, int], int] = {}
    notes = table.notes()
    for heading in table.headings:
        best, second = table.leaders(heading)
        for index, (row, of_gain) in enumerate(every):
            cell = table.cells.get((row, heading))
            if of_gain:
                texts[index].append(gain_text(table, row, heading))
                continue
            if row in best | second and cell:
                marks[index, len(header)] = BEST if row in best else SECOND
                marked[index, len(header)] = len(cell.numbers(showing.n))
            text = cell.text(reasons, showing.n) if cell else ""
            beside = gain_text(table, row, heading) if showing.gains == "cell" and row != table.baseline else ""
            texts[index].append("; ".join(part for part in (text, beside) if part))
            if cell and not reasons:
                notes += [f"{showing.word(row)}, {heading.shown(showing)}: {end.text}" for end in cell.endings]
        header.append(heading.shown(showing, form))
        for title, own in beside_column(table, heading).items():
            for index, (row, of_gain) in enumerate(every):
                texts[index].append("" if of_gain else own.get(row, ""))
            header.append(f"{heading.shown(showing, form)} {form.text(title)}")
    for title, own in beside_table(table).items():
        for index, (row, of_gain) in enumerate(every):
            texts[index].append("" if of_gain else own.get(row, ""))
        header.append(form.text(title))
    if marks:
        notes.append("in each column the best is bold and the second underlined")
    return Grid(header, texts, marks, notes, data, marked)


def lines(table: Table) -> list[tuple[str, bool]]:
    """Return the lines of a table: its rows, and below each the line of its gains where they have one of their own."""
    own = table.baseline is not None and table.showing.gains == "rows"
    return [
        line for row in table.rows for line in [(row, False), *([(row, True)] if own and row != table.baseline else [])]
    ]


def beside_column(table: Table, heading: Heading) -> dict[str, dict[str, str]]:
    """Return the columns that stand beside a column, by title and row: the gains and what they come to."""
    found: dict[str, dict[str, str]] = {}
    if table.baseline is not None and table.showing.gains == "columns":
        found["gain"] = {row: gain_text(table, row, heading) for row in table.rows}
    if table.judgement is not None:
        digits = heading.metric.decimals
        texts = {row: table.judgement.cells(row, heading, digits) for row in table.rows}
        for place, title in enumerate(table.judgement.titles):
            found[title] = {row: text[place] for row, text in texts.items()}
    return found


def beside_table(table: Table) -> dict[str, dict[str, str]]:
    """Return the last columns, by title and row: the average rank, and what several columns say together."""
    ranks = table.ranks()[0] if table.showing.rank else {}
    found = {RANK: {row: f"{rank:.2f}" for row, rank in ranks.items()}} if ranks else {}
    if table.aggregates and table.showing.aggregates:
        texts = {row: _aggregate_texts(table, row) for row in table.rows}
        for place, title in enumerate(("gain over columns", "probability of improvement")):
            found[title] = {row: text[place] for row, text in texts.items()}
    return found


def gain_text(table: Table, row: str, heading: Heading) -> str:
    """Return the gain of a row in a column, or why there is none."""
    if row == table.baseline:
        return "baseline"
    gain = table.gains.get((row, heading))
    if gain is None:
        return no_gain(table, row, heading)
    digits = table.cells[row, heading].digits
    interval = ""
    if table.showing.interval and gain.low is not None and gain.high is not None:
        interval = f" [{gain.low:+.{digits}f}, {gain.high:+.{digits}f}]"
    return ", ".join([f"{gain.mean:+.{digits}f}{interval}", *gain_details(table, gain)])


def gain_details(table: Table, gain: Gain) -> list[str]:
    """Return what stands behind a gain: its number of pairs and its p value, as far as they are shown."""
    n = [f"n={gain.n}"] if table.showing.n else []
    if gain.adjusted is None or not table.showing.p:
        return n
    return [*n, f"p={gain.adjusted:.2g}" + (" *" if gain.significant else "")]


def no_gain(table: Table, row: str, heading: Heading) -> str:
    """Return why a row has no gain in a column; nothing if it has no run there."""
    cell = table.cells.get((row, heading))
    if not cell or not cell.values:
        return ""
    reference = table.cells.get((table.baseline or "", heading))
    return "no seed in common" if reference and reference.values else "no run here of the baseline"


def _first(table: Table, row: str, of_gain: bool, form: Markup) -> str:
    called = table.showing.word(row, form)
    group = table.showing.groups.get(row)
    return f"{called}: gain" if of_gain else f"{form.chosen(group)}: {called}" if group else called


def _aggregate_texts(table: Table, row: str) -> tuple[str, str]:
    found = table.aggregates.get(row)
    if found is None:
        return ("baseline", "baseline") if row == table.baseline else ("", "")
    digits = table.complete()[0][0].metric.decimals
    return found.gain.text(f"+.{digits}f"), found.improvement.text(".2f")
