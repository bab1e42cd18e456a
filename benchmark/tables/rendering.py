"""The typed table as text: Markdown, LaTeX, CSV, HTML or JSON; or as the bytes of a Parquet file."""

import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from benchmark import escaping
from benchmark.escaping import LATEX, latex as tex, latex_needs, visible
from benchmark.tables.style import TableStyle
from benchmark.tables.table import Heading, Table
from benchmark.tables.view import BEST, SECOND, Cell, Row, TypedTable, gain_cell, structured, tidy, typed
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


# LaTeX: booktabs, headings of several levels, siunitx where it is wanted

_SEPARATION = "4pt"


@dataclass
class _LatexColumn:
    """A column: headings from above (dataset, network and settings, metric), alignment and cells, all as LaTeX.

    Its span is 2 where siunitx aligns the mean and the deviation is beside it.
    """

    levels: tuple[str, str, str]
    kind: str
    cells: list[str]
    span: int = 1


def latex_texts(content: TypedTable) -> str:
    """Return a tabular of plain text, its notes as comments."""
    header = " & ".join(tex(column.title) for column in content.columns) + r" \\"
    lines = [" & ".join(tex(cell.text) for cell in line) + r" \\" for line in content.lines]
    tabular = _tabular(f"l{'r' * (len(content.columns) - 1)}", [header], lines)
    return _document([r"\usepackage{booktabs}"], content.notes, tabular)


def latex_table(table: Table) -> str:
    """Return the tabular, in its environment with caption and notes where the table's style wants one."""
    style, content = table.style, typed(table, reasons=False)
    columns = _columns(table, content)
    kinds = f"@{{}}l{''.join(column.kind for column in columns)}@{{}}"
    tabular = _tabular(kinds, _header(table, columns), _body(table, content, columns))
    needs = [r"\usepackage{booktabs}", *([r"\usepackage{siunitx}"] if style.siunitx else [])]
    aligned = any(column.span > 1 for column in columns)
    # a mean that siunitx aligns is not underlined
    notes = [note.replace(" and the second underlined", "") if aligned else note for note in content.notes]
    return _document(needs, notes, _placed(style, tabular, notes))


def _tabular(kinds: str, header: Sequence[str], body: Sequence[str]) -> list[str]:
    ends = [r"\bottomrule", r"\end{tabular}"]
    return [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", *header, r"\midrule", *body, *ends]


def _document(packages: Sequence[str], notes: Sequence[str], body: Sequence[str]) -> str:
    """Return the lines with what they need and the notes as comments above them."""
    comments = [" ".join(visible(note).replace("±", "+-").split()) for note in notes]
    return "\n".join([f"% needs {' '.join(packages)}", *latex_needs(body), *(f"% {note}" for note in comments), *body])


def _placed(style: TableStyle, tabular: Sequence[str], notes: Sequence[str]) -> list[str]:
    if style.environment == "none":
        return list(tabular)
    said = "; ".join(tex(note) for note in notes)
    return [
        rf"\begin{{{style.environment}}}[t]",
        r"\centering",
        *([rf"\caption{{{LATEX.chosen(style.caption)}}}"] if style.caption else []),
        *([rf"\label{{{style.anchor}}}"] if style.anchor else []),
        rf"\{style.size}",
        rf"\setlength{{\tabcolsep}}{{{_SEPARATION}}}",
        *tabular,
        rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize {said}.}}",
        rf"\end{{{style.environment}}}",
    ]


def _columns(table: Table, content: TypedTable) -> list[_LatexColumn]:
    """Return all columns but the first, with their cells."""
    found: list[_LatexColumn] = []
    last: list[_LatexColumn] = []
    for column, *cells in list(zip(content.columns, *content.lines, strict=True))[1:]:
        if column.heading is None:
            # a column of the whole table has its title in the lowest level that there is
            last.append(_LatexColumn(("", "", tex(column.title)), "r", [tex(cell.text) for cell in cells]))
            continue
        levels = table.style.levels(column.heading.column, LATEX)
        if column.kind == "value":
            found.append(_of_values(table, content.rows, column.heading, cells, levels))
            continue
        left = column.kind in ("gain", "verdict")
        texts = [_gain(table, cell) if column.kind == "gain" else tex(cell.text) for cell in cells]
        found.append(_LatexColumn((*levels, tex(column.kind)), "l" if left else "r", texts))
    lowest = max((level for column in found for level in range(3) if column.levels[level]), default=2)
    for one in last:
        title = one.levels[2]
        one.levels = ("", "", title) if lowest == 2 else ("", title, "") if lowest else (title, "", "")
    return [*found, *last]


def _of_values(
    table: Table, rows: Sequence[Row], heading: Heading, cells: Sequence[Cell], levels: tuple[str, str]
) -> _LatexColumn:
    style = table.style
    measured = [cell for row, cell in zip(rows, cells, strict=True) if not row.of_gains and cell.value is not None]
    aligned = style.siunitx and bool(measured)
    found = []
    for row, cell in zip(rows, cells, strict=True):
        if aligned and not row.of_gains and cell.value is not None and not cell.unfinished:
            weight = r"\bfseries " if cell.mark == BEST else ""
            spread = "" if cell.std is None else rf"{weight}$\pm$ {cell.std:.{cell.decimals}f}"
            found.append(f"{weight}{cell.value:.{cell.decimals}f} & {spread}")
            continue
        said = _gain(table, cell) if row.of_gains else _values(table, cell)
        if style.gains == "cell" and cell.gain and (gain := _gain(table, gain_cell(table, row.id, heading))):
            said = f"{said} {gain}"
        found.append(rf"\multicolumn{{2}}{{c}}{{{said}}}" if aligned else said)
    kind = _number_format(measured) if aligned else "r"
    return _LatexColumn((*levels, heading.below(style, LATEX)), kind, found, 2 if aligned else 1)


def _values(table: Table, cell: Cell) -> str:
    mark = {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}"}.get(cell.mark, "{}")
    numbers = ""
    if cell.value is not None:
        spread = "" if cell.std is None else f" ± {cell.std:.{cell.decimals}f}"
        numbers = mark.format(tex(f"{cell.value:.{cell.decimals}f}{spread}"))
        numbers += rf" {{\scriptsize ({cell.n})}}" if table.style.n else ""
    ends = ", ".join(f"{own['count']} {status}" for status, own in cell.unfinished.items())
    return ", ".join(part for part in (numbers, tex(ends)) if part)


def _number_format(cells: Sequence[Cell]) -> str:
    """Return siunitx's column for the means below a heading, as wide as the widest, and the one for the deviations."""
    means = [cell.value for cell in cells if cell.value is not None]
    decimals = max(cell.decimals for cell in cells)
    before = max(len(f"{abs(value):.{decimals}f}".partition(".")[0]) for value in means)
    sign = "-" if any(value < 0 for value in means) else ""
    return rf"S[table-format={sign}{before}.{decimals}, detect-weight=true]@{{\,}}l"


def _gain(table: Table, cell: Cell) -> str:
    """Return a gain; nothing for the baseline's own."""
    gain, style, places = cell.gain, table.style, cell.decimals
    if gain is None:
        return "" if cell.note == "baseline" else tex(cell.note)
    parts = [f"${gain.mean:+.{places}f}$"]
    if style.interval and gain.low is not None and gain.high is not None:
        parts.append(rf"{{\scriptsize [${gain.low:+.{places}f}, {gain.high:+.{places}f}$]}}")
    details = [f"$n={gain.n}$"] if style.n else []
    if style.p and gain.p is not None and gain.verdict is None:
        details.append(f"$p={_power(gain.p)}$")
    return " ".join([*parts, *([rf"{{\scriptsize {', '.join(details)}}}"] if details else [])])


def _power(p: float) -> str:
    """Return a p value with two digits, as LaTeX writes powers."""
    number, e, power = f"{p:.2g}".partition("e")
    return rf"{number}\cdot 10^{{{int(power)}}}" if e else number


def _header(table: Table, columns: Sequence[_LatexColumn]) -> list[str]:
    """Return the lines of the headings: equal neighbours are printed once over their columns, with a rule below."""
    levels = [level for level in range(3) if any(column.levels[level] for column in columns)]
    found = []
    for place, level in enumerate(levels):
        last = place == len(levels) - 1
        cells, rules = [tex(table.corner) if last else ""], []
        position = 2
        for key, group in itertools.groupby(columns, key=lambda column: column.levels[: level + 1]):
            members = list(group)
            width = sum(column.span for column in members)
            if key[-1] and len(members) > 1 and not last:
                cells.append(rf"\multicolumn{{{width}}}{{c}}{{{key[-1]}}}")
                rules.append(rf"\cmidrule(lr){{{position}-{position + width - 1}}}")
            else:
                # what is told apart by nothing still has a heading each
                cells += [_heading(key[-1], member) for member in members]
            position += width
        found.append(" & ".join(cells) + r" \\" + (" " + " ".join(rules) if rules else ""))
    return found


def _heading(words: str, column: _LatexColumn) -> str:
    if column.kind == "l":
        return words
    return rf"\multicolumn{{{column.span}}}{{c}}{{{words}}}" if words or column.span > 1 else ""


def _body(table: Table, content: TypedTable, columns: Sequence[_LatexColumn]) -> list[str]:
    found: list[str] = []
    style = table.style
    width = sum(column.span for column in columns)
    group = ""
    for index, row in enumerate(content.rows):
        own = style.groups.get(row.id, "")
        if own != group:
            found += [r"\midrule"] if index else []
            found += [rf"\multicolumn{{{width + 1}}}{{@{{}}l}}{{\emph{{{LATEX.chosen(own)}}}}} \\"] if own else []
            group = own
        first = r"\quad gain" if row.of_gains else (r"\quad " if own else "") + style.word(row.id, LATEX)
        if row.of_gains and own:
            first = r"\quad " + first
        found.append(" & ".join([first, *(column.cells[index] for column in columns)]) + r" \\")
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
