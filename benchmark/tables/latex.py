r"""A table as LaTeX for a paper: booktabs, headings of several levels, siunitx where it is wanted."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmark.escaping import LATEX, latex as text, latex_needs, visible
from benchmark.tables import grids
from benchmark.tables.cells import Cell
from benchmark.tables.grids import Grid
from benchmark.tables.showing import Showing
from benchmark.tables.significance import Gain
from benchmark.tables.table import Heading, Table

_SEPARATION = "4pt"


@dataclass
class _Column:
    """One column of the LaTeX table.

    Attributes:
        levels: Its headings from above, as LaTeX: data set, network and settings, score.
        kind: How it is aligned.
        cells: As LaTeX, one a line.
        span: How many columns of LaTeX it is: siunitx aligns the mean, and the deviation stands beside it.
    """

    levels: tuple[str, str, str]
    kind: str = "r"
    cells: list[str] = field(default_factory=list)
    span: int = 1


def of_grid(content: Grid) -> str:
    """Return a tabular of plain text, its notes as comments."""
    tabular = [
        rf"\begin{{tabular}}{{l{'r' * (len(content.header) - 1)}}}",
        r"\toprule",
        " & ".join(map(text, content.header)) + r" \\",
        r"\midrule",
        *(" & ".join(map(text, row)) + r" \\" for row in content.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return _document([r"\usepackage{booktabs}"], content.notes, tabular)


def of_table(table: Table) -> str:
    """Return the tabular, in its environment with caption and notes where the table's showing wants one."""
    showing = table.showing
    columns = _columns(table)
    tabular = [
        rf"\begin{{tabular}}{{@{{}}l{''.join(column.kind for column in columns)}@{{}}}}",
        r"\toprule",
        *_header(table, columns),
        r"\midrule",
        *_body(table, columns),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    needs = [r"\usepackage{booktabs}", *([r"\usepackage{siunitx}"] if showing.siunitx else [])]
    notes = _notes(table, any(column.span > 1 for column in columns))
    return _document(needs, notes, _placed(showing, tabular, notes))


def _document(packages: Sequence[str], notes: Sequence[str], body: Sequence[str]) -> str:
    """Return the lines with what they need and the notes as comments above them."""
    comments = [" ".join(visible(note).replace("±", "+-").split()) for note in notes]
    return "\n".join([f"% needs {' '.join(packages)}", *latex_needs(body), *(f"% {note}" for note in comments), *body])


def _placed(showing: Showing, tabular: Sequence[str], notes: Sequence[str]) -> list[str]:
    if showing.environment == "none":
        return list(tabular)
    said = "; ".join(text(note) for note in notes)
    return [
        rf"\begin{{{showing.environment}}}[t]",
        r"\centering",
        *([rf"\caption{{{LATEX.chosen(showing.caption)}}}"] if showing.caption else []),
        *([rf"\label{{{showing.anchor}}}"] if showing.anchor else []),
        rf"\{showing.size}",
        rf"\setlength{{\tabcolsep}}{{{_SEPARATION}}}",
        *tabular,
        rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize {said}.}}",
        rf"\end{{{showing.environment}}}",
    ]


def _columns(table: Table) -> list[_Column]:
    """Return all columns but the first, with their cells."""
    showing = table.showing
    every = grids.lines(table)
    found: list[_Column] = []
    for heading in table.headings:
        levels = showing.levels(heading.column, LATEX)
        found.append(_of_scores(table, heading, (*levels, heading.below(showing, LATEX))))
        for title, own in grids.beside_column(table, heading).items():
            cells = [own.get(row, "") for row, _ in every]
            gains = [_gain(table, row, heading) for row, _ in every] if title == "gain" else list(map(text, cells))
            found.append(_Column((*levels, text(title)), "l" if title in ("gain", "verdict") else "r", gains))
    lowest = max((level for column in found for level in range(3) if column.levels[level]), default=2)
    for title, own in grids.beside_table(table).items():
        last = text(title)
        at_last = ("", "", last) if lowest == 2 else ("", last, "") if lowest else (last, "", "")
        cells = ["" if of_gain else text(own.get(row, "")) for row, of_gain in every]
        found.append(_Column(at_last, "r", cells))
    return found


def _of_scores(table: Table, heading: Heading, levels: tuple[str, str, str]) -> _Column:
    showing = table.showing
    best, second = table.leaders(heading)
    aligned = showing.siunitx and any(cell.values for (_, key), cell in table.cells.items() if key == heading)
    column = _Column(levels, _number_format(table, heading), [], 2) if aligned else _Column(levels)
    for row, of_gain in grids.lines(table):
        cell = table.cells.get((row, heading))
        if of_gain:
            said = _gain(table, row, heading)
        elif cell is None:
            said = ""
        elif aligned and cell.values and not cell.endings:
            mean, _, spread = cell.numbers(n=False).partition(" ± ")
            weight = r"\bfseries " if row in best else ""
            column.cells.append(f"{weight}{mean} & " + (rf"{weight}$\pm$ {spread}" if spread else ""))
            continue
        else:
            mark = r"\textbf{{{}}}" if row in best else r"\underline{{{}}}" if row in second else "{}"
            said = _cell(table, cell, mark)
            if showing.gains == "cell" and row != table.baseline and (gain := _gain(table, row, heading)):
                said = f"{said} {gain}"
        column.cells.append(rf"\multicolumn{{2}}{{c}}{{{said}}}" if aligned else said)
    return column


def _cell(table: Table, cell: Cell, mark: str) -> str:
    ends = ", ".join(f"{end.count} {end.status}" for end in cell.endings)
    numbers = text(cell.numbers(n=False))
    number = mark.format(numbers) if numbers else ""
    if numbers and table.showing.n:
        number += rf" {{\scriptsize ({len(cell.values)})}}"
    return ", ".join(part for part in (number, text(ends)) if part)


def _number_format(table: Table, heading: Heading) -> str:
    """Return siunitx's column for the means below a heading, as wide as the widest, and the one for the deviations."""
    cells = [cell for (_, key), cell in table.cells.items() if key == heading and cell.values]
    digits = max(cell.digits for cell in cells)
    before = max(len(f"{abs(cell.mean or 0.0):.{digits}f}".partition(".")[0]) for cell in cells)
    sign = "-" if any((cell.mean or 0.0) < 0 for cell in cells) else ""
    return rf"S[table-format={sign}{before}.{digits}, detect-weight=true]@{{\,}}l"


def _gain(table: Table, row: str, heading: Heading) -> str:
    if row == table.baseline:
        return ""
    gain = table.gains.get((row, heading))
    if gain is None:
        return text(grids.no_gain(table, row, heading))
    digits = table.cells[row, heading].digits
    parts = [f"${gain.mean:+.{digits}f}$"]
    if table.showing.interval and gain.low is not None and gain.high is not None:
        parts.append(rf"{{\scriptsize [${gain.low:+.{digits}f}, {gain.high:+.{digits}f}$]}}")
    if details := _details(table, gain):
        parts.append(rf"{{\scriptsize {details}}}")
    return " ".join(parts)


def _details(table: Table, gain: Gain) -> str:
    parts = [f"$n={gain.n}$"] if table.showing.n else []
    if table.showing.p and gain.adjusted is not None:
        parts.append(f"$p={_power(gain.adjusted)}{'^{*}' if gain.significant else ''}$")
    return ", ".join(parts)


def _power(p: float) -> str:
    """Return a p value with two digits, as LaTeX writes powers."""
    number, e, power = f"{p:.2g}".partition("e")
    return rf"{number}\cdot 10^{{{int(power)}}}" if e else number


def _header(table: Table, columns: Sequence[_Column]) -> list[str]:
    """Return the headings' lines: equal ones side by side stand once over all their columns, with a rule below."""
    levels = [level for level in range(3) if any(column.levels[level] for column in columns)]
    found = []
    for place, level in enumerate(levels):
        last = place == len(levels) - 1
        cells, rules = [text(table.corner) if last else ""], []
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


def _heading(words: str, column: _Column) -> str:
    if column.kind == "l":
        return words
    return rf"\multicolumn{{{column.span}}}{{c}}{{{words}}}" if words or column.span > 1 else ""


def _body(table: Table, columns: Sequence[_Column]) -> list[str]:
    found: list[str] = []
    showing = table.showing
    width = sum(column.span for column in columns)
    group = ""
    for index, (row, of_gain) in enumerate(grids.lines(table)):
        own = showing.groups.get(row, "")
        if own != group:
            found += [r"\midrule"] if index else []
            found += [rf"\multicolumn{{{width + 1}}}{{@{{}}l}}{{\emph{{{LATEX.chosen(own)}}}}} \\"] if own else []
            group = own
        first = r"\quad gain" if of_gain else (r"\quad " if own else "") + showing.word(row, LATEX)
        if of_gain and own:
            first = r"\quad " + first
        found.append(" & ".join([first, *(column.cells[index] for column in columns)]) + r" \\")
    return found


def _notes(table: Table, aligned: bool) -> list[str]:
    notes = table.notes()
    marks = [table.leaders(heading) for heading in table.headings]
    if any(best for best, _ in marks):
        second = "" if aligned else " and the second underlined"
        notes.append(f"in each column the best is bold{second}")
    for (row, heading), cell in table.cells.items():
        called = f"{table.showing.word(row)}, {heading.shown(table.showing)}"
        notes += [f"{called}: {end.text}" for end in cell.endings]
    return notes
