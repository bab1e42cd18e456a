"""All stored runs as one HTML page that needs no network, and what it shares with a site's pages."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from benchmark import metrics, tables
from benchmark.configuration import RunConfig
from benchmark.escaping import lines, markdown, markdown_code, visible
from benchmark.formatting import duration
from benchmark.reports.content import Content, as_page_data
from benchmark.reports.run_text import recipe_settings
from benchmark.store import Results, Status, StoredRun, environment, folders, put, scan


def page_table(table: tables.Table) -> tables.TypedTable | None:
    """Return a table for a page without the columns that are empty in all rows; None if none is left."""
    # a table of runs that all failed shows that in the first section
    filled = {
        key
        for (_, key), one in table.replicates.items()
        if one.values or (one.unfinished and key.metric.name == metrics.HEADLINE)
    }
    headings = [heading for heading in table.headings if heading in filled]
    return tables.typed(replace(table, headings=headings)) if headings else None


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
    found.filters |= {"duration": duration, "script_json": script_json}
    found.globals["by"] = environment.versions()
    return found


@cache
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
    warnings = [*content.left_out]
    if content.damaged:
        warnings.append(f"{len(content.damaged)} damaged runs are left out")
    panels: dict[str, dict[str, Sequence[StoredRun]]] = {panel: {} for panel in content.panels}
    for group in content.groups:
        panels[group.panel][group.row] = group.runs
    headline, sections = None, {}
    if content.groups:
        build = partial(tables.build, content.frame, choice=content.choice, showing=content.showing)
        headline = page_table(build(baseline=baseline, plans=content.plans))
        every = build([name for name, one in metrics.of_frame(content.frame).items() if one.section])
        for title in get_args(metrics.Section):
            headings = [heading for heading in every.headings if heading.metric.section == title]
            sections[title] = page_table(replace(every, headings=headings, baseline=None, reference={}))
    return templates().get_template("report.html.j2").render(
        content=content,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        facts=facts(content.runs.values()),
        warnings=[*warnings, *limitations(panels)],
        headline=headline,
        sections={title: table for title, table in sections.items() if table},
        data=as_page_data(content),
        watched=watched,
    )  # fmt: skip


# what several runs have in common, and what limits a comparison of them


def facts(runs: Collection[StoredRun]) -> dict[str, str]:
    """Return what was run, how, and on which machines."""
    seconds = sum(run.result.seconds for run in runs if run.result)
    statuses = Counter(str(run.status) for run in runs).most_common()
    machines = [run.made_with for run in runs]
    found = {
        "runs": f"{len(runs)}: " + ", ".join(f"{count} {status}" for status, count in statuses),
        "methods": _listed(sorted({run.config.method for run in runs}, key=tables.method_order)),
        "datasets": _listed(run.config.dataset for run in runs),
        "backbones": _listed(run.config.backbone for run in runs),
        "seeds": _numbers(run.config.seed for run in runs),
        "epochs": _numbers(run.config.train.epochs for run in runs),
        "recipe": _listed(recipe(run.config) for run in runs),
        "scored on": _listed(run.config.split for run in runs),
        **{key: _listed(own.get(key, "") for own in machines) for key in ("hardware", "precision", "torch")},
        "okdbench": _listed(f"{own.get('okdbench', '')} {own.get('commit', '')}".strip() for own in machines),
        "time": f"{duration(seconds)} for all runs together" if seconds else "",
    }
    return {key: value for key, value in found.items() if value}


def limitations(columns: Mapping[str, Mapping[str, Sequence[StoredRun]]]) -> Iterator[str]:
    """Yield a line for each thing that weakens a comparison of runs by column and row, once for all its columns."""
    every = [run for rows in columns.values() for runs in rows.values() for run in runs]
    unfinished = Counter(run.status for run in every if run.status is not Status.FINISHED)
    if unfinished:
        what = ", ".join(f"{count} {status}" for status, count in unfinished.items())
        yield f"{sum(unfinished.values())} of {len(every)} runs did not finish ({what}); no mean includes them"
    where: dict[str, list[str]] = {}
    for column, rows in columns.items():
        for line in _of_column(rows):
            where.setdefault(line, []).append(column)
    for line, own in where.items():
        yield f"{'everywhere' if len(own) == len(columns) > 1 else _listed(own, 6)}: {line}"


def _of_column(rows: Mapping[str, Sequence[StoredRun]]) -> list[str]:
    runs = [run for own in rows.values() for run in own]
    configs, machines = [run.config for run in runs], [run.made_with for run in runs]
    differing = {}
    for key in ("hardware", "precision", "torch", "okdbench", "commit"):
        counts = Counter(own[key] for own in machines if own.get(key)).most_common()
        differing[tables.MIXED[key]] = [f"{value} ({count})" for value, count in counts]
    finished = {row: [run.config.seed for run in own if run.status is Status.FINISHED] for row, own in rows.items()}
    lengths = {(one.train.epochs, own["train"].epochs) for one in configs if (own := recipe_settings(one.dataset))}
    settings = Counter(own[0].config.method for own in rows.values() if any(run.config.split == "test" for run in own))
    text = markdown_templates("benchmark.reports").get_template("limitations.j2").render(
        configs=configs,
        differing=differing,
        uncommitted=any(own.get("commit", "").endswith("+") for own in machines),
        seeds={row: frozenset(own) for row, own in finished.items()},
        least=tables.MIN_PAIRS,
        shorter=[(epochs, usual) for epochs, usual in lengths if epochs < usual],
        several=[f"{method} ({count})" for method, count in settings.items() if count > 1],
        listed=_listed,
        numbers=_numbers,
    )  # fmt: skip
    return [line for line in text.splitlines() if line]


def _numbers(found: Iterable[int], most: int = 20) -> str:
    return _listed(map(str, sorted(set(found))), most)


def _listed(words: Iterable[str], most: int = 20) -> str:
    """Join the distinct words with commas; beyond ``most`` of them, count the rest."""
    every = [visible(word) for word in dict.fromkeys(words) if word]
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def recipe(config: RunConfig) -> str:
    """Return the optimiser, augmentation and regularisation, such as ``adamw + randaugment + cutmix``."""
    train, data = config.train, config.data
    words = [train.optimizer, "no augmentation" if data.augment == "none" else f"{data.augment} augmentation"]
    if data.crop == "resized" and data.augment != "none":
        words.append(f"resized crop ({data.crop_scale:g} to 1 of the area)")
    if data.erase:
        words.append(f"erase {data.erase:g}")
    if data.mix != "none":
        words.append(data.mix if data.mix_alpha == 1 else f"{data.mix} (alpha {data.mix_alpha:g})")
    if train.label_smoothing:
        words.append(f"label smoothing {train.label_smoothing:g}")
    return " + ".join(words)
