"""What a method's page says beside its results: from the registry, its docstring and what others have published."""

import ast
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from benchmark.reports import (
    Drawn,
    PageCell,
    PageTable,
    described,
    differences,
)
from benchmark.site.docstrings import paragraphs
from benchmark.site.schedules import drawing
from benchmark.tables import published_table
from benchmark.tables.published_table import Comparison
from methods import registry
from methods.hyperparameters import REFERENCE_EPOCHS
from methods.interface import Method

_LONG = frozenset(("backbone", "protocol of the source", "ours differs"))
"""Columns of published numbers whose words take several lines."""


@dataclass(frozen=True)
class About:
    """A method, as its page introduces it.

    Attributes:
        name: As on the command line.
        description: One line.
        year: Of publication; 0 if none is given.
        text: The rest of the docstring as HTML, a paragraph each.
        facts: Version, networks and the like, by what they are.
        tables: Hyperparameters, schedules, differences to released code, published numbers.
        figure: The drawn schedules as HTML; empty if it has none.
        missing: Why there is no more of this; empty if there is.
    """

    name: str
    description: str = ""
    year: int = 0
    text: Sequence[Markup] = ()
    facts: Mapping[str, str] | None = None
    tables: Sequence[PageTable] = ()
    figure: str = ""
    missing: str = ""


def about(name: str, plugins: Sequence[str], comparisons: Iterable[Comparison], source: str = "") -> About:
    """Return what there is to say of a method; its schedules are drawn.

    Args:
        name: As on the command line.
        plugins: Python files that define further methods.
        comparisons: All published numbers, see :func:`benchmark.tables.published_table.compare`.
        source: The code that its runs had, where it is a plug-in that is not named; it is read and not run.
    """
    listing = registry.catalogue(plugins).get(name)
    if listing is None or listing.broken:
        return _unread(name, source)
    cls = registry.load(name, plugins)
    text = inspect.getdoc(cls) or ""
    drawn = _schedules(cls)
    found = [
        _hyperparameters(cls),
        _of_schedules(drawn) if drawn else None,
        _differences(name),
        _published([one for one in comparisons if one.number.method == name]),
    ]
    return About(
        name=name,
        description=listing.description,
        year=listing.year,
        text=paragraphs(text, cls.Hyperparameters.model_fields),
        facts={
            "version": str(cls.version),
            "networks": "any, or several joined by +" if cls.mixed_backbones else "one for all peers",
            "defined in": listing.origin if listing.own else Path(listing.origin).name,
            "use it": f"bench run --methods {name}",
        },
        tables=[table for table in found if table],
        figure=drawing(drawn) if drawn else "",
    )


def _unread(name: str, source: str) -> About:
    """Return what a plug-in's source says of its method; nothing of it is run."""
    missing = "Its code is a plug-in, which is not run here: bench site --plugin FILE.py shows its hyperparameters too."
    try:
        classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        classes = []
    for node in classes:
        named = [ast.unparse(line.value) for line in node.body if isinstance(line, ast.Assign)]
        text = ast.get_docstring(node) or ""
        if repr(name) in named and text:
            return About(name, text.splitlines()[0], text=paragraphs(text), missing=missing)
    return About(name, missing=missing)


def _hyperparameters(cls: type[Method]) -> PageTable | None:
    rows = [
        [
            PageCell(text.removeprefix("default "), "wrap" if place else "")
            for place, text in enumerate(described(key, info))
        ]
        for key, info in cls.Hyperparameters.model_fields.items()
    ]
    notes = [f"set with --set {cls.name}.KEY=VALUE, in YAML or in methods.build(...)"]
    return PageTable("Hyperparameters", ("name", "values", "default", "what it is"), rows, notes) if rows else None


def _schedules(cls: type[Method]) -> Drawn | None:
    if any(info.is_required() for info in cls.Hyperparameters.model_fields.values()):
        return None
    chosen = cls.Hyperparameters.resolve({}, owner=cls.name)
    schedules = chosen.schedules(REFERENCE_EPOCHS)
    return Drawn(cls.name, REFERENCE_EPOCHS, schedules) if schedules else None


def _of_schedules(drawn: Drawn) -> PageTable:
    summary = drawn.summary()
    rows = [[PageCell(str(value)) for value in row] for row in summary.itertuples(index=False)]
    notes = [f"at the defaults, in a run of {drawn.epochs} epochs", *drawn.remarks]
    return PageTable("Schedules", [str(name) for name in summary.columns], rows, notes)


def _differences(name: str) -> PageTable | None:
    rows = [
        [PageCell(text.replace("`", ""), mark="wrap") for text in (one.released, one.here, one.why, one.test)]
        for one in differences(name)
    ]
    header = ("the released code", "here", "why", "held by the test")
    return PageTable("Where released code and paper differ", header, rows) if rows else None


def _published(comparisons: Sequence[Comparison]) -> PageTable | None:
    if not comparisons:
        return None
    grid = published_table.grid(comparisons)
    # the method's own name goes without saying, and so does what no row has
    kept = [place for place in range(1, len(grid.header)) if any(row[place] for row in grid.rows)]
    marks = ["wrap" if title in _LONG else "" for title in grid.header]
    rows = [[PageCell(row[place], marks[place]) for place in kept] for row in grid.rows]
    return PageTable("Published numbers", [grid.header[place] for place in kept], rows, grid.notes)
