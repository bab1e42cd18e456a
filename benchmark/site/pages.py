"""``bench site``: all pages, written into a folder."""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment

from benchmark.escaping import file_name
from benchmark.exchange import Mark
from benchmark.reports import Content, as_page_data, facts, run_row, script_json, templates
from benchmark.site.boards import Board, BoardFile, as_csv, boards, of_method
from benchmark.site.method_pages import About, about
from benchmark.site.sources import Gathering, Place, RunSet, plugin_source, portable_command, run_sets, write_bundles
from benchmark.store import environment, put, writing
from benchmark.tables import TableFilter, published
from methods import registry
from methods.errors import InputError

MANIFEST = "site.json"  # in a folder that is a site; lists all of its files
LIMIT = 20_000_000  # bytes that a site should not exceed, bundles included
BUNDLES = 6_000_000  # bytes for the bundles
NUMBERS = 40_000  # in the curves of a method's page


@dataclass(frozen=True)
class Built:
    """The number of each kind of page, of runs and of bytes, and a line for everything that was left out."""

    boards: int
    methods: int
    run_sets: int
    runs: int
    size: int
    notes: Sequence[str] = ()


def build(
    results: Sequence[Path],
    out: Path,
    submissions: Path | None = None,
    baseline: str = "independent",
    resolve: float = 0.5,
    choice: TableFilter | None = None,
    plugins: Sequence[str] = (),
    prefer: Path | None = None,
) -> Built:
    """Write the site and return what is in it.

    Args:
        results: Results folders, folders with some or bundles below them, or bundles.
        out: The folder; files of an earlier site that this one does not have are removed, others stay.
        submissions: The folder with one folder per submission; None for none.
        baseline: The row that gains refer to.
        resolve: The difference within which a submission is reproduced, in points.
        choice: Which runs are shown, such as those of a suite, whose leaderboards have verdicts; None for all.
        plugins: Python files that define further methods.
        prefer: The results folder to use where others disagree about a run.

    Raises:
        InputError: If there are no runs, or ``out`` is not a site, or cannot be written.
    """
    earlier = _earlier(out)
    with tempfile.TemporaryDirectory(prefix="okdbench-site-") as workplace:
        found = Gathering(results, submissions, Path(workplace))
        content = Content.read(
            [place.root for place in found.places],
            prefer,
            choice,
            claims={p.root: p.submission.name for p in found.places if p.submission},
        )
        with writing(out):
            # from here on the folder is known as a site, even if this is interrupted
            _write_manifest(out, earlier)
            site = _Site(out, content, found.places, plugins, resolve)
            return site.write(baseline, earlier, found.notes)


def _earlier(out: Path) -> list[str]:
    """Return the files of an earlier site in a folder, or raise an InputError if it contains something else."""
    manifest = out / MANIFEST
    if manifest.is_file():
        try:
            names = json.loads(manifest.read_text(encoding="utf-8"))["files"]
            return [name for name in names if isinstance(name, str)]
        except (ValueError, TypeError, KeyError, OSError):
            raise InputError(f"{manifest} is damaged: move {out} away, or choose another folder") from None
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty and not a site: --out chooses another folder")
    return []


def _write_manifest(out: Path, names: Sequence[str]) -> None:
    put(out / MANIFEST, json.dumps({"files": sorted(names)}, indent=0) + "\n")


@dataclass
class _Site:
    """A site that is being written."""

    out: Path
    content: Content
    places: Sequence[Place]
    plugins: Sequence[str]
    resolve: float
    written: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        listed = registry.catalogue(self.plugins)
        self.sets = run_sets(self.content, self.places, self.resolve, self.plugins)
        names = dict.fromkeys([*listed, *(one.group.method for one in self.sets)])
        self.methods = [name for name in names if name not in listed or not listed[name].broken]
        self.templates: Environment = templates("benchmark.site")
        self.templates.filters["file_name"] = file_name
        self.templates.globals |= {
            "today": datetime.now(UTC).strftime("%Y-%m-%d"),
            "by": environment.versions(),
            "method_names": self.methods,
        }

    def put(self, name: str, content: str) -> None:
        """Write one file, or raise an InputError if it would be outside the site."""
        path = self.out / name
        if not path.resolve().is_relative_to(self.out.resolve()):
            raise InputError(f"{name} is outside {self.out}")
        with writing(path):
            path.write_bytes(content.encode())
        self.written.append(name)

    def page(self, name: str, template: str, **values: Any) -> None:
        """Write one page from a template."""
        self.put(name, self.templates.get_template(template).render(root="../" * name.count("/"), **values))

    def write(self, baseline: str, earlier: Sequence[str], notes: Sequence[str]) -> Built:
        """Write all files, remove those of an earlier site, and return what was written."""
        bundles = write_bundles(self.content, self.sets, self.out / "bundles", BUNDLES)
        self.written += [f"bundles/{path.name}" for path in bundles.values()]
        for name in ("site.css", "leaderboard.js", "page.js", "report.js"):
            self.put(f"assets/{name}", self.templates.get_template(name).render())
        found = boards(self.content, self.sets, baseline)
        for board in found:
            self.put(f"boards/{file_name(board.anchor, '.json')}", board.file.model_dump_json(indent=1) + "\n")
            self.put(f"boards/{file_name(board.anchor, '.csv')}", as_csv(board))
        self.put("boards/schema.json", json.dumps(BoardFile.model_json_schema(), indent=1) + "\n")
        comparisons = published.compare(self.content.frame)
        introduced = [
            about(name, self.plugins, comparisons, plugin_source(name, self.content, self.places))
            for name in self.methods
        ]
        self.page(
            "index.html",
            "index.html.j2",
            boards=found,
            choices={
                "data": list(dict.fromkeys(board.file.dataset for board in found)),
                "network": list(dict.fromkeys(board.file.network for board in found)),
                "budget": list(dict.fromkeys(board.file.budget for board in found)),
                "checked": [str(mark) for mark in Mark],
            },
            introduced=introduced,
            facts=facts(self.content.runs.values()),
        )
        for method in introduced:
            self._method_page(method, found, bundles, baseline)
        for own in self.sets:
            self._run_set_page(own, bundles.get(own.slug))
        every = [*notes, *self.content.damaged, *self.content.left_out]
        if lost := len(self.sets) - len(bundles):
            every.append(f"{lost} of {len(self.sets)} run sets have no bundle, which would make the site too large")
        inside = self.out.resolve()
        for path in (self.out / name for name in set(earlier) - set(self.written)):
            if path.resolve().is_relative_to(inside) and path.is_file():
                path.unlink()
        _write_manifest(self.out, self.written)
        size = sum((self.out / name).stat().st_size for name in [*self.written, MANIFEST])
        if size > LIMIT:
            every.append(f"the site has {size / 1e6:.1f} MB, more than {LIMIT / 1e6:.0f}")
        return Built(len(found), len(introduced), len(self.sets), len(self.content.runs), size, every)

    def _method_page(self, method: About, found: Sequence[Board], bundles: Mapping[str, Path], baseline: str) -> None:
        own = [one for one in self.sets if one.group.method == method.name]
        panels = {one.group.panel for one in own}
        compared = [one for one in self.sets if one.group.row == baseline and one.group.panel in panels]
        groups = [one.group for one in self.sets if one in own or one in compared]
        names = {name for group in groups for name in group.runs}
        runs = {name: run for name, run in self.content.runs.items() if name in names}
        part = replace(self.content, groups=groups, runs=runs)
        submitted = {name: one.submissions for one in self.sets for name in one.group.runs}
        data = as_page_data(part, NUMBERS, lambda run: portable_command(run, submitted[run.name])) if own else None
        rows: list[dict[str, Any]] = []
        if data:
            data["runs"] = {name: data["runs"][name] for one in own for name in one.group.runs}
            for one in own:
                links = [["all runs of this set, machine and versions", f"../runs/{one.slug}.html"]]
                if one.slug in bundles:
                    links.append(["download the bundle", f"../bundles/{bundles[one.slug].name}"])
                for name in one.group.runs:
                    data["runs"][name]["links"] = links
                    rows.append(run_row(part, one.group, name, data["runs"][name]))
        self.page(
            f"methods/{file_name(method.name, '.html')}",
            "method.html.j2",
            method=method,
            results=of_method(found, method.name),
            runs=rows,
            data=script_json(data) if data else None,
        )

    def _run_set_page(self, own: RunSet, bundle: Path | None) -> None:
        runs = [self.content.runs[name] for name in own.group.runs]
        config = runs[0].config
        # the provenance has the days
        made_with = [{**(run.result.environment or {}), "date": ""} for run in runs if run.result]
        environments = Counter(map(json.dumps, made_with))
        records = {one.record.name: one.record for one in self.content.stored.found}
        self.page(
            f"runs/{own.slug}.html",
            "run_set.html.j2",
            own=own,
            config=config,
            environments=[(json.loads(text), count) for text, count in environments.items()],
            runs=[
                (
                    run,
                    records[run.name].last_metrics().get("student"),
                    own.outcomes.get(run.name, ""),
                    portable_command(run, own.submissions),
                )
                for run in runs
            ],
            bundle=bundle.name if bundle else "",
            size=bundle.stat().st_size if bundle else 0,
            submissions=[
                (one, [line for place in self.places if place.submission is one for line in place.record.problems])
                for one in own.submissions
            ],
        )
