"""``bench site``: all pages, written into a folder."""

import inspect
import json
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from markdown_it import MarkdownIt
from markupsafe import Markup

from benchmark import reports
from benchmark.escaping import file_name
from benchmark.exchange import Mark
from benchmark.reports import Content
from benchmark.site import sources
from benchmark.site.boards import Board, BoardFile, as_csv, boards, usual_baseline
from benchmark.site.sources import Place, RunSet
from benchmark.store import put, writing
from benchmark.tables import TableFilter, TypedTable, published
from methods import registry
from methods.errors import InputError

MANIFEST = "site.json"  # in a folder that is a site; lists all of its files
LIMIT = 20_000_000  # bytes that a site should not exceed, bundles included
BUNDLES = 6_000_000  # bytes for the bundles
NUMBERS = 40_000  # in the curves of a method's page
NOT_RUN = "A plug-in, whose code is not run here: bench site --plugin FILE.py adds its description and hyperparameters."


def described(docstring: str) -> Markup:
    """Return a docstring without its first paragraph as HTML: paragraphs, lists and code; all else of it is text."""
    rest = re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`", r"`\1`", docstring.partition("\n\n")[2])
    # a formula's line that begins with + is no item of a list
    rest = re.sub(r"(?<!\n)\n(?!\n|- )\s*", " ", rest)
    # the renderer escapes all that is no paragraph, list or code
    return Markup(MarkdownIt("zero").enable(["backticks", "list"]).render(rest))  # noqa: S704


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
    baseline: str | None = None,
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
        baseline: The row that gains refer to; None for that of most declared suites. A chosen suite has its own.
        resolve: The difference within which a submission is reproduced, in points.
        choice: Which runs are shown, such as those of a suite, whose leaderboards have verdicts; None for all.
        plugins: Python files that define further methods.
        prefer: The results folder to use where others disagree about a run.

    Raises:
        InputError: If there are no runs, or ``out`` is not a site, or cannot be written.
    """
    suite = choice.roster if choice else None
    baseline = suite.baseline if suite else baseline or usual_baseline()
    manifest = out / MANIFEST
    earlier: list[str] = []
    if manifest.is_file():
        try:
            earlier = [str(name) for name in json.loads(manifest.read_bytes())["files"]]
        except (ValueError, TypeError, KeyError, OSError):
            raise InputError(f"{manifest} is damaged: move {out} away, or choose another folder") from None
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty and not a site: --out chooses another folder")
    with tempfile.TemporaryDirectory(prefix="okdbench-site-") as workplace:
        places, notes = sources.gather(results, submissions, Path(workplace))
        claims = {place.root: place.submission.name for place in places if place.submission}
        content = Content.read([place.root for place in places], prefer, choice, claims=claims)
        with writing(out):
            # from here on the folder is known as a site, even if this is interrupted
            _write_manifest(out, earlier)
            return _Site(out, content, places, plugins, resolve, baseline).write(earlier, notes)


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
    baseline: str
    written: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        listed = registry.catalogue(self.plugins)
        self.sets = sources.run_sets(self.content, self.places, self.resolve, self.plugins)
        unknown = {one.group.method for one in self.sets if (it := listed.get(one.group.method)) is None or it.broken}
        self.methods = [one for one in listed.values() if not one.broken]
        self.methods += [registry.MethodInfo(name, "", 0, "", NOT_RUN) for name in sorted(unknown)]
        self.templates = reports.templates("benchmark.site")
        self.templates.filters["file_name"] = file_name
        self.templates.globals |= {"reports": reports, "portable_command": sources.portable_command}
        self.templates.globals |= {"today": datetime.now(UTC).strftime("%Y-%m-%d"), "methods": self.methods}

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

    def write(self, earlier: Sequence[str], notes: Sequence[str]) -> Built:
        """Write all files, remove those of an earlier site, and return what was written."""
        bundles = sources.write_bundles(self.sets, self.out / "bundles", BUNDLES)
        self.written += [f"bundles/{path.name}" for path in bundles.values()]
        for name in ("site.css", "leaderboard.js", "page.js", "report.js"):
            self.put(f"assets/{name}", self.templates.get_template(name).render())
        found = boards(self.content, self.sets, self.baseline)
        for board in found:
            self.put(f"boards/{file_name(board.anchor, '.json')}", board.file.model_dump_json(indent=1) + "\n")
            self.put(f"boards/{file_name(board.anchor, '.csv')}", as_csv(board))
        self.put("boards/schema.json", json.dumps(BoardFile.model_json_schema(), indent=1) + "\n")
        comparisons = published.compare(self.content.frame)
        facts = reports.facts(self.content.runs.values())
        self.page("index.html", "index.html.j2", boards=found, marks=list(Mark), facts=facts)
        for method in self.methods:
            numbers = published.typed_comparison([one for one in comparisons if one.number.method == method.name])
            self._method_page(method, found, numbers, bundles)
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
        return Built(len(found), len(self.methods), len(self.sets), len(self.content.runs), size, every)

    def _method_page(
        self, method: registry.MethodInfo, found: Sequence[Board], numbers: TypedTable, bundles: Mapping[str, Path]
    ) -> None:
        cls = None if method.broken else registry.load(method.name, self.plugins)
        # without the method's own name, and without columns that are empty in all rows
        titles = [column.title for column in numbers.columns]
        texts = pd.DataFrame([[cell.text for cell in line] for line in numbers.lines], columns=titles).iloc[:, 1:]
        own = [one for one in self.sets if one.group.method == method.name]
        panels = {one.group.panel for one in own}
        groups = [
            one.group
            for one in self.sets
            if one.group.method == method.name or (one.group.row == self.baseline and one.group.panel in panels)
        ]
        submitted = {run.name: one.submissions for one in self.sets for run in one.group.runs}
        data = reports.as_page_data(
            replace(self.content, groups=groups),
            NUMBERS,
            lambda run: sources.portable_command(run, submitted[run.name]),
        )
        # those that it is compared with have curves and no runs on the page
        details: dict[str, Any] = {}
        for one in own:
            links = [["all runs of this set, machine and versions", f"../runs/{one.slug}.html"]]
            if one.slug in bundles:
                links.append(["download the bundle", f"../bundles/{bundles[one.slug].name}"])
            details |= {run.name: data["runs"][run.name] | {"links": links} for run in one.group.runs}
        self.page(
            f"methods/{file_name(method.name, '.html')}",
            "method.html.j2",
            method=method,
            cls=cls,
            origin=method.origin if method.own else Path(method.origin).name,
            text=described(inspect.getdoc(cls) or "") if cls else "",
            published=texts.mask(texts == "").dropna(axis="columns", how="all").fillna(""),
            sources=numbers.notes,
            boards=found,
            groups=[one.group for one in own],
            data=data | {"runs": details},
        )

    def _run_set_page(self, own: RunSet, bundle: Path | None) -> None:
        # the provenance has the days
        made_with = [json.dumps({**run.made_with, "date": ""}) for run in own.group.runs if run.result]
        environments = [(json.loads(text), count) for text, count in Counter(made_with).items()]
        name = f"runs/{own.slug}.html"
        self.page(name, "run_set.html.j2", own=own, environments=environments, bundle=bundle, places=self.places)
