"""What pages are made of: templates, tables of cells that may be links, data for a script."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from benchmark import tables
from benchmark.escaping import lines, markdown, markdown_code
from benchmark.metrics import HEADLINE
from benchmark.tables.grids import grid as text_grid

OWN = "benchmark.reports"


@dataclass(frozen=True)
class PageCell:
    """A cell of a table on a page.

    Attributes:
        text: What it says.
        mark: A style of its own, such as ``best``; may be empty.
        href: Where it leads; empty if nowhere.
        value: What it is sorted by, where that is not its text.
    """

    text: str
    mark: str = ""
    href: str = ""
    value: float | None = None


@dataclass(frozen=True)
class PageTable:
    """A table on a page.

    Attributes:
        title: What stands above it.
        header: What stands above each column.
        rows: The cells; the first of a row names it.
        notes: What the numbers are, a line each.
        data: Attributes of each row for a script, by name; none, or as many as there are rows.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[PageCell]]
    notes: Sequence[str] = ()
    data: Sequence[Mapping[str, str]] = ()


def page_table(title: str, table: tables.Table) -> PageTable | None:
    """Return a table as a page shows it; None where no method has what it is about.

    Args:
        title: What stands above it.
        table: Columns that are empty in all rows are left out.
    """
    there = [heading for heading in table.headings if any(_filled(table, row, heading) for row in table.rows)]
    if not there:
        return None
    grid = text_grid(replace(table, headings=there))
    rows = [
        [PageCell(text, grid.marks.get((number, column), "")) for column, text in enumerate(row)]
        for number, row in enumerate(grid.rows)
    ]
    return PageTable(title, list(grid.header), rows, list(grid.notes))


def _filled(table: tables.Table, row: str, heading: tables.Heading) -> bool:
    cell = table.cells.get((row, heading))
    # a table of runs that all failed still says so, in the first section
    return cell is not None and bool(cell.values or (cell.endings and heading.score == HEADLINE))


def templates(*packages: str) -> Environment:
    """Return the templates of the report, and those of other packages, whose own come first."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, OWN)]),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def _shown(value: object) -> object:
    """Return what an expression prints: of text, which is escaped after this, the control characters too."""
    return lines(value) if type(value) is str else value


def script_json(data: Any) -> Markup:
    """Return JSON that may stand in a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def markdown_templates(package: str) -> Environment:
    """Return a package's templates of Markdown: text from data goes through the filters ``markdown`` or ``code``."""
    # nothing is HTML here
    found = Environment(
        loader=PackageLoader(package),
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"markdown": markdown, "code": markdown_code}
    return found
