"""A table as text: Markdown, LaTeX, CSV, HTML or JSON; or as the bytes of a Parquet file."""

import csv
import html
import io
import json
from collections.abc import Callable, Mapping, Sequence

from benchmark.tables import latex
from benchmark.tables.grids import BEST, RANK, SECOND, Grid, grid
from benchmark.tables.table import Table
from benchmark.tables.tidy import structured, tidy
from methods.errors import InputError, unknown


def markdown(content: Grid) -> str:
    """Return a GitHub table; the columns are padded where that fits a screen."""
    marked = {BEST: "**{}**", SECOND: "<u>{}</u>"}
    rows = _marked(content, lambda text: text.replace("|", "\\|").replace("*", "\\*"), marked)
    header = [text.replace("|", "\\|") for text in content.header]
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]
    if sum(widths) > 400:
        widths = [3] * len(header)

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join(f":{'-' * (width + 1)}" for width in widths) + "|"
    return _with_notes("\n".join([line(header), rule, *map(line, rows)]), content.notes, "- {}", "\n\n")


def comma_separated(content: Grid) -> str:
    """Return CSV without marks and notes."""
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([content.header, *content.rows])
    return lines.getvalue().rstrip("\n")


def hypertext(content: Grid) -> str:
    """Return an HTML table, for pasting into a page, with the notes as a list."""
    rows = _marked(content, html.escape, {BEST: "<b>{}</b>", SECOND: "<u>{}</u>"})
    header = "".join(f"<th>{html.escape(text)}</th>" for text in content.header)
    body = ["<tr>" + f"<th>{row[0]}</th>" + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows]
    notes = [f"<li>{html.escape(note)}</li>" for note in content.notes]
    return "\n".join(
        [
            "<table>",
            f"<thead><tr>{header}</tr></thead>",
            "<tbody>",
            *body,
            "</tbody>",
            "</table>",
            *(["<ul>", *notes, "</ul>"] if notes else []),
        ]
    )


def as_json(data: object) -> str:
    """Return JSON without what is no number."""
    return json.dumps(data, indent=2, allow_nan=False)


def _marked(content: Grid, escape: Callable[[str], str], marks: Mapping[str, str]) -> list[list[str]]:
    """Return the escaped rows; a mark goes around a cell's numbers and leaves out runs that did not finish."""
    rows = [[escape(text) for text in row] for row in content.rows]
    for (row, column), mark in content.marks.items():
        text, end = content.rows[row][column], content.marked[row, column]
        rows[row][column] = marks[mark].format(escape(text[:end])) + escape(text[end:])
    return rows


def _with_notes(text: str, notes: Sequence[str], form: str, between: str) -> str:
    return text + (between + "\n".join(form.format(note) for note in notes) if notes else "")


GRID_FORMATS: Mapping[str, Callable[[Grid], str]] = {
    "md": markdown,
    "latex": latex.of_grid,
    "csv": comma_separated,
    "html": hypertext,
    "json": lambda content: as_json(content.data),
}
"""The forms of what is text already, such as published numbers."""

FORMATS: Mapping[str, Callable[[Table], str]] = {
    "md": lambda table: markdown(grid(table)),
    "latex": latex.of_table,
    "csv": lambda table: tidy(table).to_csv(index=False, lineterminator="\n").rstrip("\n"),
    "csv-wide": lambda table: comma_separated(grid(table)),
    "html": lambda table: hypertext(grid(table)),
    "json": lambda table: as_json(structured(table)),
}
"""The forms of a table of runs that are text."""

PARQUET = "parquet"


def check_format(form: str, published: bool = False) -> str:
    """Return the name of a format, or raise an InputError that lists them."""
    valid = [*GRID_FORMATS] if published else [*FORMATS, PARQUET]
    if form not in valid:
        raise unknown("format", form, valid)
    return form


def rendered(table: Table, form: str = "md") -> str:
    """Return the table in one of :data:`FORMATS`."""
    return FORMATS[check_format(form)](table)


def parquet(table: Table) -> bytes:
    """Return the numbers of :func:`benchmark.tables.tidy.tidy` as a Parquet file.

    Raises:
        InputError: If pandas finds no package that writes it.
    """
    try:
        return bytes(tidy(table).to_parquet(index=False))
    except ImportError:
        raise InputError("--format parquet needs the package pyarrow: pip install pyarrow") from None


def plain(table: Table) -> str:
    """Return the cells alone as a Markdown table without marks and notes, as a terminal shows it."""
    full = grid(table)
    keep = [index for index, text in enumerate(full.header) if text != RANK]
    return markdown(Grid([full.header[index] for index in keep], [[row[index] for index in keep] for row in full.rows]))
