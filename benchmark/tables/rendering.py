"""A table as text: Markdown, LaTeX, CSV, HTML or JSON; or as the bytes of a Parquet file."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark import escaping
from benchmark.tables import latex
from benchmark.tables.grids import BEST, RANK, SECOND, Grid, grid
from benchmark.tables.table import Table
from benchmark.tables.tidy import structured, tidy
from methods.errors import InputError, unknown


def markdown(content: Grid, name: Callable[[str], str] = escaping.markdown) -> str:
    """Return a GitHub table; the columns are padded where that fits a screen.

    Args:
        content: The table.
        name: From the header's words and the first of each row to Markdown.
    """
    rows = _marked(content, _cell, {BEST: "**{}**", SECOND: "<u>{}</u>"})
    rows = [[name(own[0]), *row[1:]] for own, row in zip(content.rows, rows, strict=True)]
    header = [name(text) for text in content.header]
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]
    if sum(widths) > 400:
        widths = [3] * len(header)

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join(f":{'-' * (width + 1)}" for width in widths) + "|"
    notes = "".join(f"\n- {_note(note)}" for note in content.notes)
    return "\n".join([line(header), rule, *map(line, rows)]) + (f"\n{notes}" if notes else "")


def _cell(text: str) -> str:
    """Return a cell as Markdown; the star behind a p value is one even where the cell's end is cut off."""
    return re.sub(r"(?<!\S)\*(?!\S)", r"\\*", escaping.markdown(text))


def _note(text: str) -> str:
    """Return an item of a list, which begins neither a heading, nor a quotation, nor another list."""
    return re.sub(r"^(?=[#>+=-])", r"\\", escaping.markdown(text))


def comma_separated(content: Grid) -> str:
    """Return CSV without marks and notes."""
    lines = io.StringIO()
    # what is no name is a number with its sign, or begins with a number or a word of ours
    rows = [[escaping.csv_text(row[0]), *map(escaping.visible, row[1:])] for row in content.rows]
    csv.writer(lines, lineterminator="\n").writerows([map(escaping.csv_text, content.header), *rows])
    return lines.getvalue().rstrip("\n")


def frame_csv(frame: pd.DataFrame, float_format: str | None = None) -> str:
    """Return a frame as CSV, in which names from data are text.

    Args:
        frame: Its index is left out.
        float_format: As pandas takes it.
    """
    safe = frame.map(lambda value: escaping.csv_text(value) if isinstance(value, str) else value)
    safe.columns = [escaping.csv_text(str(name)) for name in frame.columns]
    return str(safe.to_csv(index=False, lineterminator="\n", float_format=float_format))


def frame_markdown(frame: pd.DataFrame, **how: Any) -> str:
    """Return a frame as a Markdown table, in which names from data are text.

    Args:
        frame: Its index is shown if ``how`` says so.
        how: As tabulate takes it.
    """
    safe = frame.map(lambda value: escaping.markdown(value) if isinstance(value, str) else value)
    safe.columns = [escaping.markdown(str(name)) for name in frame.columns]
    return str(safe.to_markdown(**how))


def hypertext(content: Grid) -> str:
    """Return an HTML table, for pasting into a page, with the notes as a list."""
    rows = _marked(content, escaping.hypertext, {BEST: "<b>{}</b>", SECOND: "<u>{}</u>"})
    header = "".join(f"<th>{escaping.hypertext(text)}</th>" for text in content.header)
    body = ["<tr>" + f"<th>{row[0]}</th>" + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows]
    notes = [f"<li>{escaping.hypertext(note)}</li>" for note in content.notes]
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
    # the one control character that JSON leaves alone
    return json.dumps(data, indent=2, allow_nan=False).replace("\x7f", "\\u007f")


def _marked(content: Grid, escape: Callable[[str], str], marks: Mapping[str, str]) -> list[list[str]]:
    """Return the escaped rows; a mark goes around a cell's numbers and leaves out runs that did not finish."""
    rows = [[escape(text) for text in row] for row in content.rows]
    for (row, column), mark in content.marks.items():
        text, end = content.rows[row][column], content.marked[row, column]
        rows[row][column] = marks[mark].format(escape(text[:end])) + escape(text[end:])
    return rows


GRID_FORMATS: Mapping[str, Callable[[Grid], str]] = {
    "md": markdown,
    "latex": latex.of_grid,
    "csv": comma_separated,
    "html": hypertext,
    "json": lambda content: as_json(content.data),
}
"""The forms of what is text already, such as published numbers."""

FORMATS: Mapping[str, Callable[[Table], str]] = {
    "md": lambda table: markdown(grid(table, form=escaping.MARKDOWN), str),
    "latex": latex.of_table,
    "csv": lambda table: frame_csv(tidy(table)).rstrip("\n"),
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
    full = grid(table, form=escaping.MARKDOWN)
    keep = [index for index, text in enumerate(full.header) if text != RANK]
    rows = [[row[index] for index in keep] for row in full.rows]
    return markdown(Grid([full.header[index] for index in keep], rows), str)
