"""The typed table as text: Markdown, LaTeX, CSV, HTML or JSON."""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark import escaping
from benchmark.escaping import LATEX, MARKDOWN, latex as tex, visible
from benchmark.tables.comparison import templates
from benchmark.tables.selection import TableStyle
from benchmark.tables.table import Table
from benchmark.tables.view import BEST, SECOND, Cell, Kind, TypedTable, structured, tidy, typed
from methods.errors import unknown

Escape = Callable[[str], str]  # from text to what prints it as it is in a kind of document
MARKS: Mapping[str, str] = {BEST: "**{}**", SECOND: "<u>{}</u>"}  # of Markdown


def _grid(content: TypedTable, escape: Escape, name: Escape, marks: Mapping[str, str]) -> list[list[str]]:
    """Return titles and lines; ``name`` escapes titles and rows' labels, a mark goes around the numbers of a cell."""

    def marked(cell: Cell) -> str:
        numbers, rest = escape(cell.text[: cell.numbers]), escape(cell.text[cell.numbers :])
        return marks.get(cell.mark, "{}").format(numbers) + rest

    lines = [[name(first.text), *map(marked, rest)] for first, *rest in content.lines]
    return [[name(column.title) for column in content.columns], *lines]


def markdown(content: TypedTable, name: Escape = escaping.markdown, marks: Mapping[str, str] = MARKS) -> str:
    """Return a GitHub table, padded where that fits a screen; ``name`` makes Markdown of titles and rows' labels."""
    rows = _grid(content, escaping.markdown, name, marks)
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
    # what is no name is a number with its sign, or begins with a number or a word of ours
    header, *lines = _grid(content, visible, escaping.csv_text, {})
    return str(pd.DataFrame(lines, columns=header).to_csv(index=False, lineterminator="\n")).rstrip("\n")


def frame_csv(frame: pd.DataFrame, float_format: str | None = None) -> str:
    """Return a frame as CSV, in which names from data are text."""
    return str(_safe(frame, escaping.csv_text).to_csv(index=False, lineterminator="\n", float_format=float_format))


def frame_markdown(frame: pd.DataFrame, **how: Any) -> str:
    """Return a frame as a Markdown table, in which names from data are text."""
    return str(_safe(frame, escaping.markdown).to_markdown(**how))


def _safe(frame: pd.DataFrame, escape: Escape) -> pd.DataFrame:
    safe = frame.map(lambda value: escape(value) if isinstance(value, str) else value)
    return safe.rename(columns=lambda name: escape(str(name)))


def hypertext(content: TypedTable) -> str:
    """Return an HTML table, for pasting into a page, with the notes as a list."""
    lines = [(first, cells) for first, *cells in content.lines]
    return templates().get_template("table.html").render(content=content, lines=lines)


# LaTeX: booktabs, headings of several levels


def latex(content: TypedTable, style: TableStyle | None = None, name: Escape = tex) -> str:
    """Return a booktabs tabular below what it needs and the notes as comments.

    Args:
        style: It may want the tabular in an environment with caption and notes, and has labels of headings.
        name: Makes LaTeX of titles and rows' labels.
    """
    style, columns = style or TableStyle(), content.columns[1:]
    # headings from above: dataset, network and settings, metric or what is beside it
    levels = {
        one.id: (
            *style.levels(one.heading.column, LATEX),
            one.heading.below(style, LATEX) if one.kind == "value" else tex(one.kind),
        )
        for one in columns
        if one.heading
    }
    used = [level for level in range(3) if any(own[level] for own in levels.values())] or [2]
    # a column of the whole table has its title in the lowest level that there is
    whole = ("",) * (len(used) - 1)
    headings = [
        tuple(levels[one.id][level] for level in used) if one.heading else (*whole, name(one.title)) for one in columns
    ]
    kinds = ["l" if one.kind in ("gain", "verdict", "text") else "r" for one in columns]
    # braces are LaTeX's
    environment = templates().overlay("<%", "%>", "<<", ">>", finalize=None)
    body = environment.get_template("table.tex").render(
        style=style,
        caption=LATEX.chosen(style.caption),
        kinds=kinds,
        corner=name(content.columns[0].title),
        levels=_latex_spans(headings),
        rows=content.rows,
        name=name,
        columns=[[_latex_cell(cell, one.kind) for cell in one.cells] for one in columns],
        notes=[*map(tex, content.notes)],
    )
    comments = [" ".join(visible(note).replace("±", "+-").split()) for note in content.notes]
    needs = [r"% needs \usepackage{booktabs}", *escaping.latex_needs([body])]
    return "\n".join([*needs, *(f"% {note}" for note in comments), body])


def _latex_spans(headings: Sequence[tuple[str, ...]]) -> list[list[tuple[str, range]]]:
    """Return for each level of the headings its words with the places of their columns: equal neighbours are one."""
    levels = []
    for level in range(1, 1 + max(map(len, headings), default=1)):
        spans, place = list[tuple[str, range]](), 0
        for key, group in itertools.groupby(headings, key=lambda own: own[:level]):
            spans.append((key[-1], range(place, place + len(list(group)))))
            place = spans[-1][1].stop
        levels.append(spans)
    return levels


_NUMBERS = re.compile(r"( \[[^]]*\]|, [np]=[^;]+|[+-]\d[\d.]*)")
"""The parts of a gain: its interval, n and p, and its mean."""


def _latex_cell(cell: Cell, kind: Kind) -> str:
    """Return a cell: of numbers a mark around mean and deviation, gains as formulas, what belongs to either small."""
    if kind == "text":
        return tex(cell.text)
    mean, bracket, n = cell.text[: cell.numbers].partition(" (")
    mark = {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}"}.get(cell.mark, "{}")
    numbers = mark.format(tex(mean)) + (rf" {{\scriptsize ({n}}}" if bracket else "")
    parts = _NUMBERS.split(cell.text[cell.numbers :])
    return numbers + "".join(_latex_number(part) if place % 2 else tex(part) for place, part in enumerate(parts))


def _latex_number(part: str) -> str:
    """Return one of :data:`_NUMBERS`; a small p value as LaTeX writes powers."""
    if part.startswith(" ["):
        return rf" {{\scriptsize [${part[2:-1]}$]}}"
    if part.startswith(", "):
        formulas = re.sub(r"e([+-]\d+)", lambda found: rf"\cdot 10^{{{int(found[1])}}}", part[2:])
        return rf" {{\scriptsize ${formulas.replace(', ', '$, $')}$}}"
    return f"${part}$"


# by name


def as_json(data: object) -> str:
    """Return JSON without what is no number."""
    # the one control character that JSON leaves alone
    return json.dumps(data, indent=2, allow_nan=False).replace("\x7f", "\\u007f")


TEXT_FORMATS: Mapping[str, Callable[[TypedTable], str]] = {
    "md": markdown,
    "latex": latex,
    "csv": comma_separated,
    "html": hypertext,
    "json": lambda content: as_json(content.data),
}
"""The forms of what is text already, such as published numbers."""

FORMATS: Mapping[str, Callable[[Table], str]] = {
    "md": lambda table: markdown(typed(table, form=MARKDOWN), str),
    "latex": lambda table: latex(typed(table, reasons=False, form=LATEX), table.style, str),
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
    return markdown(typed(table, form=MARKDOWN).only("row", "value", "gain", "verdict"), str, marks={})
