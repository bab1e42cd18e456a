"""All stored runs as one HTML page that needs no network, and what it shares with a site's pages."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from benchmark import metrics, tables
from benchmark.escaping import lines, markdown, markdown_code
from benchmark.formatting import duration
from benchmark.reports.page_data import Content, as_page_data
from benchmark.reports.run_text import facts, limitations
from benchmark.store import Results, Status, environment, folders, put, scan


class PageCell(NamedTuple):
    """A cell of a table on a page."""

    text: str  # what it shows
    mark: str = ""  # A CSS class, such as `best`; may be empty
    href: str = ""  # the target of a link; empty for none
    value: float | None = None  # what it is sorted by; None for its text


@dataclass(frozen=True)
class PageTable:
    """A table on a page."""

    title: str  # the heading above it
    header: Sequence[str]  # the columns' headings
    rows: Sequence[Sequence[PageCell]]  # the cells; the first of a row names it
    notes: Sequence[str] = ()  # the footnotes
    # data attributes of each row for a script; none, or as many as there are rows
    data: Sequence[Mapping[str, str]] = ()


def page_table(title: str, table: tables.Table) -> PageTable | None:
    """Return a table for a page without the columns that are empty in all rows; None if none is left."""
    # a table of runs that all failed shows that in the first section
    filled = {
        key
        for (_, key), one in table.replicates.items()
        if one.values or (one.unfinished and key.metric.name == metrics.HEADLINE)
    }
    headings = [heading for heading in table.headings if heading in filled]
    if not headings:
        return None
    content = tables.typed(replace(table, headings=headings))
    rows = [[PageCell(cell.text, cell.mark) for cell in line] for line in content.lines]
    return PageTable(title, [column.title for column in content.columns], rows, list(content.notes))


def templates(*packages: str) -> Environment:
    """Return the templates of the report after those of other packages, with all text escaped."""
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, "benchmark.reports")]),
        autoescape=True,
        # control characters of text become visible before it is escaped
        finalize=lambda value: lines(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    found.filters["duration"] = duration
    found.globals["by"] = environment.versions()
    return found


def markdown_templates(package: str) -> Environment:
    """Return a package's templates of Markdown: text from data goes through the filters ``markdown`` or ``code``."""
    found = Environment(
        loader=PackageLoader(package),
        autoescape=False,  # noqa: S701 - nothing is HTML here
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"markdown": markdown, "code": markdown_code}
    return found


def script_json(data: Any) -> Markup:
    """Return JSON for a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def write(content: Content, out: Path, baseline: str | None = None, watched: bool = False) -> int:
    """Write the page and return its size in bytes, or raise an InputError if that is not possible."""
    page = render(content, baseline, watched).encode()
    put(out, page)
    return len(page)


def state(results: Results) -> str:
    """Return a text that changes when a run begins, progresses or ends, or raise an InputError for no folder."""
    return repr([scan(root) for root in folders(results)])


def render(content: Content, baseline: str | None = None, watched: bool = False) -> str:
    """Return the page; one that is ``watched`` loads itself again from time to time."""
    data = as_page_data(content)
    warnings = [*content.left_out]
    if content.damaged:
        warnings.append(f"{len(content.damaged)} damaged runs are left out")
    panels: dict[str, dict[str, list[Any]]] = {panel: {} for panel in content.panels}
    for group in content.groups:
        panels[group.panel][group.row] = [content.runs[name] for name in group.runs]
    shown: list[PageTable | None] = []
    if content.runs:
        how: dict[str, Any] = {"choice": content.choice, "showing": content.showing}
        headline = tables.build(content.frame, baseline=baseline, plans=content.plans, **how)
        sections = metrics.sections(metrics.of_frame(content.frame))
        every = tables.build(content.frame, [name for names in sections.values() for name in names], **how)
        shown = [page_table("Students", headline)]
        for title, names in sections.items():
            headings = [heading for heading in every.headings if heading.metric.name in names]
            shown.append(page_table(title, replace(every, headings=headings, baseline=None, reference={})))
    return templates().get_template("report.html.j2").render(
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        facts=facts(content.runs.values()),
        warnings=[*warnings, *limitations(panels)],
        headline=shown[0] if shown else None,
        tables=[table for table in shown[1:] if table],
        lost=[run for run in content.runs.values() if run.status not in (Status.FINISHED, Status.UNFINISHED)],
        runs=[(group, content.runs[name], data["runs"][name]) for group in content.groups for name in group.runs],
        data=script_json(data),
        watched=watched,
    )  # fmt: skip
