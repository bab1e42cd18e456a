"""The typed table as text: Markdown, LaTeX, CSV, HTML or JSON."""

import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd

from benchmark import escaping
from benchmark.escaping import LATEX, latex as tex, visible
from benchmark.tables.table import Table
from benchmark.tables.view import BEST, SECOND, Cell, TypedTable, gain_parts, structured, tidy, typed
from methods.errors import unknown


def _grid(
    content: TypedTable,
    escape: Callable[[str], str],
    name: Callable[[str], str] | None = None,
    marks: Mapping[str, str] | None = None,
) -> list[list[str]]:
    """Return titles and lines; ``name`` escapes titles and rows' labels, a mark goes around the numbers of a cell."""

    def marked(cell: Cell) -> str:
        if marks is None or not cell.mark:
            return escape(cell.text)
        return marks[cell.mark].format(escape(cell.text[: cell.marked])) + escape(cell.text[cell.marked :])

    name = name or escape
    lines = [[name(first.text), *map(marked, rest)] for first, *rest in content.lines]
    return [[name(column.title) for column in content.columns], *lines]


def markdown(content: TypedTable, name: Callable[[str], str] = escaping.markdown) -> str:
    """Return a GitHub table, padded where that fits a screen; ``name`` makes Markdown of titles and rows' labels."""
    rows = _grid(content, escaping.markdown, name, {BEST: "**{}**", SECOND: "<u>{}</u>"})
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) > 400:
        widths = [3] * len(widths)
    header, *lines = ("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)
    rule = "|" + "|".join(f":{'-' * (width + 1)}" for width in widths) + "|"
    # a note begins neither a heading, nor a quotation, nor another list
    notes = "".join("\n- " + re.sub(r"^(?=[#>+=-])", r"\\", escaping.markdown(note)) for note in content.notes)
    return "\n".join([header, rule, *lines]) + (f"\n{notes}" if notes else "")


def comma_separated(content: TypedTable) -> str:
    """Return CSV of texts without marks and notes."""
    lines = io.StringIO()
    # what is no name is a number with its sign, or begins with a number or a word of ours
    csv.writer(lines, lineterminator="\n").writerows(_grid(content, visible, escaping.csv_text))
    return lines.getvalue().rstrip("\n")


def frame_csv(frame: pd.DataFrame, float_format: str | None = None) -> str:
    """Return a frame as CSV, in which names from data are text."""
    return str(_safe(frame, escaping.csv_text).to_csv(index=False, lineterminator="\n", float_format=float_format))


def frame_markdown(frame: pd.DataFrame, **how: Any) -> str:
    """Return a frame as a Markdown table, in which names from data are text."""
    return str(_safe(frame, escaping.markdown).to_markdown(**how))


def _safe(frame: pd.DataFrame, escape: Callable[[str], str]) -> pd.DataFrame:
    safe = frame.map(lambda value: escape(value) if isinstance(value, str) else value)
    safe.columns = [escape(str(name)) for name in frame.columns]
    return safe


def hypertext(content: TypedTable) -> str:
    """Return an HTML table, for pasting into a page, with the notes as a list."""
    header, *lines = _grid(content, escaping.hypertext, None, {BEST: "<b>{}</b>", SECOND: "<u>{}</u>"})
    head = "".join(f"<th>{title}</th>" for title in header)
    body = [f"<tr><th>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>" for first, *rest in lines]
    table = ["<table>", f"<thead><tr>{head}</tr></thead>", "<tbody>", *body, "</tbody>", "</table>"]
    notes = [f"<li>{escaping.hypertext(note)}</li>" for note in content.notes]
    return "\n".join([*table, *(["<ul>", *notes, "</ul>"] if notes else [])])


# LaTeX: booktabs, headings of several levels


def latex_texts(content: TypedTable) -> str:
    """Return a tabular of plain text, its notes as comments."""
    header, *lines = (" & ".join(row) + r" \\" for row in _grid(content, tex))
    return _document(content.notes, _tabular("l" + "r" * (len(content.columns) - 1), [header], lines))


def latex_table(table: Table) -> str:
    """Return the tabular, in its environment with caption and notes where the table's style wants one."""
    style, content = table.style, typed(table, reasons=False)
    columns = _latex_columns(table, content)
    body: list[str] = []
    group = ""
    for place, row in enumerate(content.rows):
        own = style.groups.get(row.id, "")
        if own != group:
            body += [r"\midrule"] if place else []
            body += [rf"\multicolumn{{{len(columns) + 1}}}{{@{{}}l}}{{\emph{{{LATEX.chosen(own)}}}}} \\"] if own else []
            group = own
        first = r"\quad gain" if row.of_gains else style.word(row.id, LATEX)
        cells = [(r"\quad " if own else "") + first, *(column.cells[place] for column in columns)]
        body.append(" & ".join(cells) + r" \\")
    kinds = f"@{{}}l{''.join(column.alignment for column in columns)}@{{}}"
    lines = _tabular(kinds, _latex_header(table.corner, columns), body)
    if style.environment != "none":
        lines = [
            rf"\begin{{{style.environment}}}[t]",
            r"\centering",
            *([rf"\caption{{{LATEX.chosen(style.caption)}}}"] if style.caption else []),
            *([rf"\label{{{style.anchor}}}"] if style.anchor else []),
            r"\footnotesize\setlength{\tabcolsep}{4pt}",
            *lines,
            rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize {'; '.join(map(tex, content.notes))}.}}",
            rf"\end{{{style.environment}}}",
        ]
    return _document(content.notes, lines)


def _tabular(kinds: str, header: Sequence[str], body: Sequence[str]) -> list[str]:
    ends = [r"\bottomrule", r"\end{tabular}"]
    return [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", *header, r"\midrule", *body, *ends]


def _document(notes: Sequence[str], body: Sequence[str]) -> str:
    """Return the lines with what they need and the notes as comments above them."""
    comments = [" ".join(visible(note).replace("±", "+-").split()) for note in notes]
    needs = [r"% needs \usepackage{booktabs}", *escaping.latex_needs(body)]
    return "\n".join([*needs, *(f"% {note}" for note in comments), *body])


class _LatexColumn(NamedTuple):
    """A column, all as LaTeX."""

    levels: tuple[str, ...]  # headings from above: dataset, network and settings, metric
    alignment: str
    cells: list[str]


def _latex_columns(table: Table, content: TypedTable) -> list[_LatexColumn]:
    """Return all columns but the first."""
    style, found = table.style, []
    for column, *cells in list(zip(content.columns, *content.lines, strict=True))[1:]:
        above = ("", "") if column.heading is None else style.levels(column.heading.column, LATEX)
        if column.kind == "value" and column.heading is not None:
            pairs = zip(content.rows, cells, strict=True)
            texts = [_latex_gain(table, cell) if row.of_gains else _latex_value(table, cell) for row, cell in pairs]
            found.append(_LatexColumn((*above, column.heading.below(style, LATEX)), "r", texts))
            continue
        texts = [_latex_gain(table, cell) if column.kind == "gain" else tex(cell.text) for cell in cells]
        title = tex(column.kind if column.heading else column.title)
        found.append(_LatexColumn((*above, title), "l" if column.kind in ("gain", "verdict") else "r", texts))
    # a column of the whole table has its title in the lowest level that there is
    of_values = [one for one, column in zip(found, content.columns[1:], strict=True) if column.heading]
    lowest = max((level for one in of_values for level in range(3) if one.levels[level]), default=2)
    return [
        one if column.heading else one._replace(levels=("",) * lowest + (one.levels[2],) + ("",) * (2 - lowest))
        for one, column in zip(found, content.columns[1:], strict=True)
    ]


def _latex_value(table: Table, cell: Cell) -> str:
    mark = {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}"}.get(cell.mark, "{}")
    numbers = ""
    if cell.value is not None:
        spread = "" if cell.std is None else f" ± {cell.std:.{cell.decimals}f}"
        numbers = mark.format(tex(f"{cell.value:.{cell.decimals}f}{spread}"))
        numbers += rf" {{\scriptsize ({cell.n})}}" if table.style.n else ""
    ends = ", ".join(f"{own['count']} {status}" for status, own in cell.unfinished.items())
    said = ", ".join(part for part in (numbers, tex(ends)) if part)
    return f"{said} {_latex_gain(table, cell)}" if table.style.gains == "cell" and cell.gain else said


def _latex_gain(table: Table, cell: Cell) -> str:
    """Return a gain; nothing for the baseline's own."""
    if cell.gain is None:
        return "" if cell.note == "baseline" else tex(cell.note)
    mean, interval, details = gain_parts(cell.gain, table.style, cell.decimals)
    small = [f"[${interval}$]"] if interval else []
    # a small p value as LaTeX writes powers
    small += [", ".join(f"${re.sub('e(.*)', _power, detail)}$" for detail in details)] if details else []
    return " ".join([f"${mean}$", *(rf"{{\scriptsize {words}}}" for words in small)])


def _power(found: re.Match[str]) -> str:
    return rf"\cdot 10^{{{int(found[1])}}}"


def _latex_header(corner: str, columns: Sequence[_LatexColumn]) -> list[str]:
    """Return the lines of the headings: equal neighbours are printed once over their columns, with a rule below."""
    levels = [level for level in range(3) if any(column.levels[level] for column in columns)]
    found = []
    for level in levels:
        last = level == levels[-1]
        cells, rules, place = [tex(corner) if last else ""], "", 2
        for key, group in itertools.groupby(columns, key=lambda column: column.levels[: level + 1]):
            members, words = list(group), key[-1]
            end = place + len(members) - 1
            if words and end > place and not last:
                cells.append(rf"\multicolumn{{{len(members)}}}{{c}}{{{words}}}")
                rules += rf" \cmidrule(lr){{{place}-{end}}}"
            else:
                # what is told apart by nothing still has a heading each
                centred = rf"\multicolumn{{1}}{{c}}{{{words}}}" if words else ""
                cells += [words if member.alignment == "l" else centred for member in members]
            place = end + 1
        found.append(" & ".join(cells) + r" \\" + rules)
    return found


# by name


def as_json(data: object) -> str:
    """Return JSON without what is no number."""
    # the one control character that JSON leaves alone
    return json.dumps(data, indent=2, allow_nan=False).replace("\x7f", "\\u007f")


TEXT_FORMATS: Mapping[str, Callable[[TypedTable], str]] = {
    "md": markdown,
    "latex": latex_texts,
    "csv": comma_separated,
    "html": hypertext,
    "json": lambda content: as_json(content.data),
}
"""The forms of what is text already, such as published numbers."""

FORMATS: Mapping[str, Callable[[Table], str]] = {
    "md": lambda table: markdown(typed(table, form=escaping.MARKDOWN), str),
    "latex": latex_table,
    "csv": lambda table: frame_csv(tidy(table)).rstrip("\n"),
    "html": lambda table: hypertext(typed(table)),
    "json": lambda table: as_json(structured(table)),
}
"""The forms of a table of runs that are text."""


def check_format(form: str) -> str:
    """Return the name of a format, or raise an InputError that lists them."""
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    return form


def rendered(table: Table, form: str = "md") -> str:
    """Return the table in one of :data:`FORMATS`."""
    return FORMATS[check_format(form)](table)


def plain(table: Table) -> str:
    """Return the cells alone as a Markdown table without marks and notes, as a terminal shows it."""
    content = typed(table, form=escaping.MARKDOWN).only("row", "value", "gain", "verdict")
    unmarked = {key: replace(cell, mark="") for key, cell in content.cells.items()}
    return markdown(replace(content, cells=unmarked), str)
