"""The content of a method's page beside its results: from the registry, its docstring and published numbers."""

import ast
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmark.reports import (
    FIDELITY,
    MethodSchedules,
    PageCell,
    PageTable,
    default_schedules,
    described,
    differences,
    networks,
)
from benchmark.site.docstrings import paragraphs
from benchmark.tables import Comparison, published
from methods import registry
from methods.interface import Method

_LONG = frozenset(("backbone", "protocol of the source", "ours differs"))
"""Columns of published numbers with long text."""
_CURVE = (320, 120)
"""Width and height of a schedule's curve, in SVG units."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 22


@dataclass(frozen=True)
class About:
    """The introduction of a method."""

    name: str  # as on the command line
    description: str = ""  # one line
    year: int = 0  # of publication; 0 if unknown
    text: Sequence[Markup] = ()  # the rest of the docstring as HTML, one item per paragraph
    facts: Mapping[str, str] = field(default_factory=dict)  # version, networks and the like, by name
    tables: Sequence[PageTable] = ()  # hyperparameters, schedules, differences to released code, published numbers
    curves: Sequence[Mapping[str, Any]] = ()  # one per loss term with a schedule, for the template
    missing: str = ""  # why there is no more; empty if there is


def about(name: str, plugins: Sequence[str], comparisons: Iterable[Comparison], source: str = "") -> About:
    """Return everything that is known about a method.

    Args:
        source: The code of a plug-in that is not among ``plugins``; it is read and not run.
    """
    listing = registry.catalogue(plugins).get(name)
    if listing is None or listing.broken:
        return _from_source(name, source)
    cls = registry.load(name, plugins)
    schedules = default_schedules(cls)
    tables = [
        _hyperparameters(cls),
        _schedules(schedules) if schedules else None,
        _differences(name),
        _published([one for one in comparisons if one.number.method == name]),
    ]
    return About(
        name=name,
        description=listing.description,
        year=listing.year,
        text=paragraphs(inspect.getdoc(cls) or "", cls.Hyperparameters.model_fields),
        facts={
            "version": str(cls.version),
            "networks": networks(cls),
            "defined in": listing.origin if listing.own else Path(listing.origin).name,
            "command": f"bench run --methods {name}",
        },
        tables=[table for table in tables if table],
        curves=_curves(schedules) if schedules else (),
    )


def _from_source(name: str, source: str) -> About:
    """Return the docstring of a plug-in's method; none of its code is run."""
    missing = "A plug-in, whose code is not run here: bench site --plugin FILE.py adds its hyperparameters."
    try:
        classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        classes = []
    for node in classes:
        values = [ast.unparse(line.value) for line in node.body if isinstance(line, ast.Assign)]
        text = ast.get_docstring(node) or ""
        if repr(name) in values and text:
            return About(name, text.splitlines()[0], text=paragraphs(text), missing=missing)
    return About(name, missing=missing)


def _hyperparameters(cls: type[Method]) -> PageTable | None:
    rows = [
        [PageCell(name), *(PageCell(text.removeprefix("default "), "wrap") for text in rest)]
        for name, *rest in (described(key, info) for key, info in cls.Hyperparameters.model_fields.items())
    ]
    notes = [f"set with --set {cls.name}.KEY=VALUE, in YAML or in methods.build(...)"]
    header = ("name", "values", "default", "description")
    return PageTable("Hyperparameters", header, rows, notes) if rows else None


def _schedules(found: MethodSchedules) -> PageTable:
    summary = found.summary()
    rows = [[PageCell(str(value)) for value in row] for row in summary.itertuples(index=False)]
    notes = [f"at the defaults, in a run of {found.epochs} epochs", *found.remarks]
    return PageTable("Schedules", [str(name) for name in summary.columns], rows, notes)


def _curves(found: MethodSchedules) -> list[dict[str, Any]]:
    """Return the weight of each loss term over the epochs as points of an SVG path, with what its labels say."""
    width, height = _CURVE
    base, high = height - _BOTTOM, height - _BOTTOM - _TOP
    box = {"width": width, "height": height, "left": _LEFT, "right": width - _RIGHT, "top": _TOP, "base": base}
    curves = []
    for term, schedule in found.schedules.items():
        values = [value / schedule.weight if schedule.weight else 0.0 for value in schedule.values]
        across = (width - _LEFT - _RIGHT) / max(1, len(values) - 1)
        heights = [f"{base - high * value:.1f}" for value in values]
        # the inner points of a level stretch are left out
        kept = [
            epoch
            for epoch in range(len(values))
            if epoch in (0, len(values) - 1) or not heights[epoch - 1] == heights[epoch] == heights[epoch + 1]
        ]
        curves.append(
            {
                "term": term,
                "state": "" if schedule.active else "switched off" if schedule.switched_off else "inactive",
                "epochs": len(values),
                "weight": f"{schedule.weight:g}",
                "most": f"{max(schedule.values):.3g}",
                "points": "L".join(f"{_LEFT + epoch * across:.1f} {heights[epoch]}" for epoch in kept),
                "box": box,
            }
        )
    return curves


def _differences(name: str) -> PageTable | None:
    rows = [
        [
            PageCell(text.replace("`", "").replace("see below", f"see {FIDELITY}"), mark="wrap")
            for text in (one.released, one.here, one.why, one.test)
        ]
        for one in differences(name)
    ]
    header = ("the released code", "here", "why", "test")
    return PageTable("Where released code and paper differ", header, rows) if rows else None


def _published(comparisons: Sequence[Comparison]) -> PageTable | None:
    if not comparisons:
        return None
    content = published.typed_comparison(comparisons)
    lines = content.lines
    # without the method's own name, and without columns that are empty in all rows
    kept = [place for place in range(1, len(content.columns)) if any(line[place].text for line in lines)]
    titles = [column.title for column in content.columns]
    marks = ["wrap" if title in _LONG else "" for title in titles]
    rows = [[PageCell(line[place].text, marks[place]) for place in kept] for line in lines]
    return PageTable("Published numbers", [titles[place] for place in kept], rows, content.notes)
