"""The typed table as text: Markdown, LaTeX, CSV, HTML or JSON; or as the bytes of a Parquet file."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from benchmark import escaping
from benchmark.tables import latex
from benchmark.tables.table import Table
from benchmark.tables.view import BEST, SECOND, Cell, TypedTable, structured, tidy, typed
from methods.errors import InputError, unknown


def markdown(content: TypedTable, name: Callable[[str], str] = escaping.markdown) -> str:
    """Return a GitHub table, padded where that fits a screen; ``name`` makes Markdown of titles and rows' labels."""
    marks = {BEST: "**{}**", SECOND: "<u>{}</u>"}
    rows = [
        [name(first.text), *(_marked(cell, escaping.markdown, marks) for cell in rest)]
        for first, *rest in content.lines
    ]
    header = [name(column.title) for column in content.columns]
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]
    if sum(widths) > 400:
        widths = [3] * len(header)

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join(f":{'-' * (width + 1)}" for width in widths) + "|"
    # a note begins neither a heading, nor a quotation, nor another list
    notes = "".join("\n- " + re.sub(r"^(?=[#>+=-])", r"\\", escaping.markdown(note)) for note in content.notes)
    return "\n".join([line(header), rule, *map(line, rows)]) + (f"\n{notes}" if notes else "")


def _marked(cell: Cell, escape: Callable[[str], str], marks: Mapping[str, str]) -> str:
    """Return an escaped cell; a mark goes around its numbers and leaves out runs that did not finish."""
    if not cell.mark:
        return escape(cell.text)
    return marks[cell.mark].format(escape(cell.text[: cell.marked])) + escape(cell.text[cell.marked :])


def comma_separated(content: TypedTable) -> str:
    """Return CSV of texts without marks and notes."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([escaping.csv_text(column.title) for column in content.columns])
    for first, *rest in content.lines:
        # what is no name is a number with its sign, or begins with a number or a word of ours
        writer.writerow([escaping.csv_text(first.text), *(escaping.visible(cell.text) for cell in rest)])
    return lines.getvalue().rstrip("\n")


def frame_csv(frame: pd.DataFrame, float_format: str | None = None) -> str:
    """Return a frame as CSV, in which names from data are text."""
    safe = frame.map(lambda value: escaping.csv_text(value) if isinstance(value, str) else value)
    safe.columns = [escaping.csv_text(str(name)) for name in frame.columns]
    return str(safe.to_csv(index=False, lineterminator="\n", float_format=float_format))


def frame_markdown(frame: pd.DataFrame, **how: Any) -> str:
    """Return a frame as a Markdown table, in which names from data are text."""
    safe = frame.map(lambda value: escaping.markdown(value) if isinstance(value, str) else value)
    safe.columns = [escaping.markdown(str(name)) for name in frame.columns]
    return str(safe.to_markdown(**how))


def hypertext(content: TypedTable) -> str:
    """Return an HTML table, for pasting into a page, with the notes as a list."""
    marks, text = {BEST: "<b>{}</b>", SECOND: "<u>{}</u>"}, escaping.hypertext
    header = "".join(f"<th>{text(column.title)}</th>" for column in content.columns)
    body = []
    for first, *rest in content.lines:
        cells = "".join(f"<td>{_marked(cell, text, marks)}</td>" for cell in rest)
        body.append(f"<tr><th>{text(first.text)}</th>{cells}</tr>")
    notes = [f"<li>{text(note)}</li>" for note in content.notes]
    table = ["<table>", f"<thead><tr>{header}</tr></thead>", "<tbody>", *body, "</tbody>", "</table>"]
    return "\n".join([*table, *(["<ul>", *notes, "</ul>"] if notes else [])])


def as_json(data: object) -> str:
    """Return JSON without what is no number."""
    # the one control character that JSON leaves alone
    return json.dumps(data, indent=2, allow_nan=False).replace("\x7f", "\\u007f")


TEXT_FORMATS: Mapping[str, Callable[[TypedTable], str]] = {
    "md": markdown,
    "latex": latex.of_texts,
    "csv": comma_separated,
    "html": hypertext,
    "json": lambda content: as_json(content.data),
}
"""The forms of what is text already, such as published numbers."""

FORMATS: Mapping[str, Callable[[Table], str]] = {
    "md": lambda table: markdown(typed(table, form=escaping.MARKDOWN), str),
    "latex": latex.of_table,
    "csv": lambda table: frame_csv(tidy(table)).rstrip("\n"),
    "html": lambda table: hypertext(typed(table)),
    "json": lambda table: as_json(structured(table)),
}
"""The forms of a table of runs that are text."""

PARQUET = "parquet"


def check_format(form: str, published: bool = False) -> str:
    """Return the name of a format, or raise an InputError that lists them."""
    valid = [*TEXT_FORMATS] if published else [*FORMATS, PARQUET]
    if form not in valid:
        raise unknown("format", form, valid)
    return form


def rendered(table: Table, form: str = "md") -> str:
    """Return the table in one of :data:`FORMATS`."""
    return FORMATS[check_format(form)](table)


def parquet(table: Table) -> bytes:
    """Return the numbers of :func:`tidy` as a Parquet file, or raise an InputError without a package that writes it."""
    try:
        return bytes(tidy(table).to_parquet(index=False))
    except ImportError:
        raise InputError("--format parquet needs the package pyarrow: pip install pyarrow") from None


def plain(table: Table) -> str:
    """Return the cells alone as a Markdown table without marks and notes, as a terminal shows it."""
    content = typed(table, form=escaping.MARKDOWN).only("row", "value", "gain", "verdict")
    unmarked = {key: replace(cell, mark="") for key, cell in content.cells.items()}
    return markdown(replace(content, cells=unmarked), str)
