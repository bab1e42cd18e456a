"""All stored runs as one HTML page that needs no network."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark import metrics, tables
from benchmark.reports.cautions import cautions
from benchmark.reports.page_data import Content, Group, as_page_data
from benchmark.reports.recipe import recipe
from benchmark.reports.templating import PageTable, page_table, script_json, templates
from benchmark.store import Results, Status, StoredRun, environment, folders, put
from benchmark.tables import Choice, Showing
from benchmark.words import duration
from methods.errors import InputError


def write(
    results: Results,
    out: Path,
    baseline: str | None = None,
    prefer: str | Path | None = None,
    choice: Choice | None = None,
    showing: Showing | None = None,
) -> tuple[int, int, list[str]]:
    """Write the page and return how many runs it shows, its size in bytes, and a line for each run that is left out.

    Args:
        results: The results folder, or several.
        out: The file.
        baseline: The row that the others are compared with.
        prefer: The results folder whose runs count where the same run has other numbers.
        choice: Which runs, rows and columns are shown.
        showing: What they are called.

    Raises:
        InputError: If there are no runs, or the file cannot be written.
    """
    content = Content.read(results, prefer, choice, showing)
    if not content.runs:
        raise InputError(f"no runs in {', '.join(map(str, folders(results)))} yet: bench run makes some")
    page = render(content, baseline).encode()
    put(out, page)
    return len(content.runs), len(page), content.damaged


def render(content: Content, baseline: str | None = None, watched: str = "") -> str:
    """Return the page.

    Args:
        content: The runs.
        baseline: A method that the others are compared with.
        watched: What a page that is served polls for: it loads itself anew when that changes.
    """
    data = as_page_data(content)
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            by=environment.versions(),
            facts=facts(content.runs.values()),
            warnings=[*content.left_out, *_damaged(content), *cautions(_columns(content))],
            headline=page_table("Students", _built(content, None, baseline)) if content.runs else None,
            tables=_sections(content),
            lost=[run for run in content.runs.values() if run.status not in (Status.FINISHED, Status.UNFINISHED)],
            runs=[run_row(content, group, name, data["runs"][name]) for group in content.groups for name in group.runs],
            data=script_json(data),
            watched=watched,
        )
    )


def _built(content: Content, scores: Sequence[str] | None, baseline: str | None = None) -> tables.Table:
    return tables.build(content.frame, scores, baseline=baseline, choice=content.choice, showing=content.showing)


def _damaged(content: Content) -> list[str]:
    count = len(content.damaged)
    return [f"{count} damaged {'run is' if count == 1 else 'runs are'} left out"] if count else []


def _sections(content: Content) -> list[PageTable]:
    if not content.runs:
        return []
    sections = metrics.sections(metrics.of_frame(content.frame))
    scores = [score for names in sections.values() for score in names]
    every = _built(content, scores)
    parts = {
        title: replace(every, headings=[heading for heading in every.headings if heading.score in names])
        for title, names in sections.items()
    }
    return [table for title, part in parts.items() if (table := page_table(title, part))]


def _columns(content: Content) -> dict[str, dict[str, list[StoredRun]]]:
    columns: dict[str, dict[str, list[StoredRun]]] = {panel: {} for panel in content.panels}
    for group in content.groups:
        columns[group.panel][group.row] = [content.runs[name] for name in group.runs]
    return columns


def facts(runs: Collection[StoredRun]) -> dict[str, str]:
    """Return what was run and on what."""
    found = [run.result.environment or {} for run in runs if run.result]
    seconds = sum(run.result.seconds for run in runs if run.result)
    statuses = Counter(str(run.status) for run in runs)
    said = {
        "runs": f"{len(runs)}: " + ", ".join(f"{count} {status}" for status, count in statuses.most_common()),
        "methods": _names(sorted({run.config.method for run in runs}, key=tables.method_order)),
        "data sets": _names(run.config.dataset for run in runs),
        "backbones": _names(run.config.backbone for run in runs),
        "seeds": _names(str(run.config.seed) for run in sorted(runs, key=lambda run: run.config.seed)),
        "epochs": _names(str(length) for length in sorted({run.config.train.epochs for run in runs})),
        "recipe": _names(recipe(run.config) for run in runs),
        "scored on": _names(run.config.split for run in runs),
        "hardware": _names(env.get("hardware", "") for env in found),
        "precision": _names(env.get("precision", "") for env in found),
        "torch": _names(env.get("torch", "") for env in found),
        "okdbench": _names(f"{env.get('okdbench', '')} {env.get('commit', '')}".strip() for env in found),
        "time": f"{duration(seconds)} of runs in all" if seconds else "",
    }
    return {key: value for key, value in said.items() if value}


def _names(words: Iterable[str]) -> str:
    found = [word for word in dict.fromkeys(words) if word]
    return ", ".join(found[:20]) + (f" and {len(found) - 20} more" if len(found) > 20 else "")


def run_row(content: Content, group: Group, name: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table of single runs says of one.

    Args:
        content: The runs.
        group: The run's own.
        name: The run's.
        details: Of :func:`benchmark.reports.page_data.as_page_data`.
    """
    run = content.runs[name]
    return {
        "name": name,
        "row": group.row,
        "panel": group.panel,
        "seed": run.config.seed,
        "status": str(run.status),
        "accuracy": details["metrics"].get("student"),
        "epochs": f"{details['epochs']}/{run.config.train.epochs}",
        "seconds": run.result.seconds if run.result else None,
        "time": duration(run.result.seconds) if run.result else "",
    }
