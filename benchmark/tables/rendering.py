"""A table as text: Markdown, LaTeX, CSV, HTML or JSON."""

import csv
import html
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import stdev

from benchmark.tables.significance import Gain
from benchmark.tables.table import Cell, Heading, Table
from methods.errors import unknown

BEST, SECOND = "best", "second"


@dataclass(frozen=True)
class Grid:
    """A table of plain text.

    Attributes:
        header: Of every column.
        rows: As long as the header.
        marks: :data:`BEST` or :data:`SECOND` by row and column number.
        notes: What stands below.
        data: The same for a program, as JSON has it.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    marks: Mapping[tuple[int, int], str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    data: object = None


def grid(table: Table, reasons: bool = True) -> Grid:
    """Return the table as text: the cells, the gains beside them if there is a baseline, and the average rank.

    Args:
        table: Of runs.
        reasons: Whether cells say why runs did not finish; if not, the notes do.
    """
    header = [table.corner]
    rows = [[row] for row in table.rows]
    marks: dict[tuple[int, int], str] = {}
    notes = table.notes()
    for heading in table.headings:
        best, second = table.leaders(heading)
        for index, row in enumerate(table.rows):
            if row in best | second:
                marks[index, len(header)] = BEST if row in best else SECOND
            cell = table.cells.get((row, heading))
            rows[index].append(cell.text(reasons) if cell else "")
            if cell and not reasons:
                notes += [f"{row}, {heading.text}: {end.text}" for end in cell.endings]
        header.append(heading.text)
        if table.baseline is not None:
            for index, row in enumerate(table.rows):
                rows[index].append(_gain_text(table, row, heading))
            header.append(f"{heading.text} gain")
    ranks = table.ranks()[0]
    if ranks:
        for index, row in enumerate(table.rows):
            rows[index].append(f"{ranks[row]:.2f}")
        header.append("average rank")
    if marks:
        notes.append("in each column the best is bold and the second underlined")
    return Grid(header, rows, marks, notes)


def _gain_text(table: Table, row: str, heading: Heading) -> str:
    if row == table.baseline:
        return "baseline"
    gain = table.gains.get((row, heading))
    if gain is None:
        cell = table.cells.get((row, heading))
        return "no seed in common" if cell and cell.values else ""
    digits = table.cells[row, heading].digits
    parts = [f"{gain.mean:+.{digits}f}"]
    if gain.low is not None and gain.high is not None:
        parts[0] += f" [{gain.low:+.{digits}f}, {gain.high:+.{digits}f}]"
    parts.append(f"n={gain.n}")
    if gain.adjusted is not None:
        parts.append(f"p={gain.adjusted:.2g}" + (" *" if gain.significant else ""))
    return ", ".join(parts)


def _data(table: Table) -> object:
    ranks, used, _ = table.ranks()
    return {
        "rows": list(table.rows),
        "columns": [heading.text for heading in table.headings],
        "cells": [
            {"row": row, "column": heading.column, "score": heading.score, "part": heading.part}
            | _cell_data(cell)
            | ({"gain": _gain_data(table.gains[row, heading])} if (row, heading) in table.gains else {})
            for (row, heading), cell in table.cells.items()
        ],
        "average_rank": ranks,
        "average_rank_columns": used,
        "baseline": table.baseline,
        "notes": table.notes(),
    }


def _cell_data(cell: Cell) -> dict[str, object]:
    values = [*cell.values.values()]
    return {
        "n": len(values),
        "mean": cell.mean,
        "std": stdev(values) if len(values) > 1 else None,
        "seeds": {str(seed): value for seed, value in cell.values.items()},
        "not_finished": {str(end.status): {"count": end.count, "reason": end.reason} for end in cell.endings},
    }


def _gain_data(gain: Gain) -> dict[str, object]:
    return vars(gain) | {"significant": gain.significant}


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


def latex(content: Grid) -> str:
    r"""Return a tabular for a document with ``\usepackage{booktabs}``; the notes are comments."""
    rows = _marked(content, latex_text, {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}"})
    lines = [
        "% needs \\usepackage{booktabs}",
        *(f"% {_ascii(note)}" for note in content.notes),
        rf"\begin{{tabular}}{{l{'r' * (len(content.header) - 1)}}}",
        r"\toprule",
        " & ".join(map(latex_text, content.header)) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # at the start of a row these would be read as an option of the line before
    "[": "{[}",
    "]": "{]}",
    "*": r"{*}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex_text(text: str) -> str:
    """Return text that LaTeX prints as it is; a character outside ASCII that it may not know becomes a ``?``."""
    return "".join(_LATEX.get(char, char if char.isascii() and char.isprintable() else "?") for char in text)


def _ascii(text: str) -> str:
    return " ".join(text.replace("±", "+-").encode("ascii", "replace").decode().split())


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


def structured(content: Grid) -> str:
    """Return JSON: every cell with the value of every seed."""
    return json.dumps(content.data, indent=2, allow_nan=False)


def _marked(content: Grid, escape: Callable[[str], str], marks: Mapping[str, str]) -> list[list[str]]:
    """Return the escaped rows; a mark goes around a cell's numbers and leaves out runs that did not finish."""
    rows = [[escape(text) for text in row] for row in content.rows]
    for (row, column), mark in content.marks.items():
        found = re.match(r"[^(]*\(\d+\)", content.rows[row][column])
        if found:
            number, rest = found[0], content.rows[row][column][found.end() :]
            rows[row][column] = marks[mark].format(escape(number)) + escape(rest)
    return rows


def _with_notes(text: str, notes: Sequence[str], form: str, between: str) -> str:
    return text + (between + "\n".join(form.format(note) for note in notes) if notes else "")


FORMATS: Mapping[str, Callable[[Grid], str]] = {
    "md": markdown,
    "latex": latex,
    "csv": comma_separated,
    "html": hypertext,
    "json": structured,
}


def check_format(form: str) -> str:
    """Return the name of a format, or raise an InputError that lists them."""
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    return form


def rendered(table: Table, form: str = "md") -> str:
    """Return the table in one of :data:`FORMATS`."""
    write = FORMATS[check_format(form)]
    content = grid(table, reasons=form != "latex")
    # every cell's seeds once more, which no other form shows
    return write(replace(content, data=_data(table)) if write is structured else content)


def plain(table: Table) -> str:
    """Return the cells alone as a Markdown table without marks and notes, as a terminal shows it."""
    full = grid(table)
    keep = [index for index, text in enumerate(full.header) if text != "average rank"]
    return markdown(Grid([full.header[index] for index in keep], [[row[index] for index in keep] for row in full.rows]))
