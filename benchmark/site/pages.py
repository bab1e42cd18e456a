"""``bench site``: all pages, written into a folder."""

import ast
import inspect
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmark import reports
from benchmark.escaping import file_name
from benchmark.exchange import Mark
from benchmark.reports import Content
from benchmark.site import sources
from benchmark.site.boards import Board, BoardFile, as_csv, boards, of_method, usual_baseline
from benchmark.site.formulas import paragraphs
from benchmark.site.sources import Gathering, Place, RunSet
from benchmark.store import put, writing
from benchmark.tables import Comparison, TableFilter, published
from methods import registry
from methods.errors import InputError
from methods.interface import Method

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


@dataclass(frozen=True)
class About:
    """The introduction of a method."""

    name: str  # as on the command line
    description: str = ""  # one line
    year: int = 0  # of publication; 0 if unknown
    text: Sequence[Markup] = ()  # the rest of the docstring as HTML, one item per paragraph
    cls: type[Method] | None = None  # None for a plug-in whose code is not run here
    origin: str = ""  # where it is defined
    published: reports.PageTable | None = None  # numbers of its paper and others, beside ours
    missing: str = ""  # why there is no more; empty if there is


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
            names = json.loads(manifest.read_text(encoding="utf-8"))["files"]
            earlier = [name for name in names if isinstance(name, str)]
        except (ValueError, TypeError, KeyError, OSError):
            raise InputError(f"{manifest} is damaged: move {out} away, or choose another folder") from None
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty and not a site: --out chooses another folder")
    with tempfile.TemporaryDirectory(prefix="okdbench-site-") as workplace:
        found = Gathering(results, submissions, Path(workplace))
        claims = {place.root: place.submission.name for place in found.places if place.submission}
        content = Content.read([place.root for place in found.places], prefer, choice, claims=claims)
        with writing(out):
            # from here on the folder is known as a site, even if this is interrupted
            _write_manifest(out, earlier)
            return _Site(out, content, found.places, plugins, resolve, baseline).write(earlier, found.notes)


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
        names = dict.fromkeys([*listed, *(one.group.method for one in self.sets)])
        self.methods = [name for name in names if name not in listed or not listed[name].broken]
        self.templates = reports.templates("benchmark.site")
        self.templates.filters["file_name"] = file_name
        self.templates.globals |= {"reports": reports, "portable_command": sources.portable_command}
        self.templates.globals |= {"today": datetime.now(UTC).strftime("%Y-%m-%d"), "method_names": self.methods}

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
        bundles = sources.write_bundles(self.content, self.sets, self.out / "bundles", BUNDLES)
        self.written += [f"bundles/{path.name}" for path in bundles.values()]
        for name in ("site.css", "leaderboard.js", "page.js", "report.js"):
            self.put(f"assets/{name}", self.templates.get_template(name).render())
        found = boards(self.content, self.sets, self.baseline)
        for board in found:
            self.put(f"boards/{file_name(board.anchor, '.json')}", board.file.model_dump_json(indent=1) + "\n")
            self.put(f"boards/{file_name(board.anchor, '.csv')}", as_csv(board))
        self.put("boards/schema.json", json.dumps(BoardFile.model_json_schema(), indent=1) + "\n")
        comparisons = published.compare(self.content.frame)
        introduced = [self._about(name, comparisons) for name in self.methods]
        facts = reports.facts(self.content.runs.values())
        self.page("index.html", "index.html.j2", boards=found, marks=list(Mark), introduced=introduced, facts=facts)
        for method in introduced:
            self._method_page(method, found, bundles)
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

    def _about(self, name: str, comparisons: Sequence[Comparison]) -> About:
        """Return everything that is known about a method; the source of an unknown plug-in is read and not run."""
        listing = registry.catalogue(self.plugins).get(name)
        if listing is None or listing.broken:
            return _from_source(name, sources.plugin_source(name, self.content, self.places))
        cls = registry.load(name, self.plugins)
        numbers = published.typed_comparison([one for one in comparisons if one.number.method == name])
        # without the method's own name, and without columns that are empty in all rows
        titles = [column.title for column in numbers.columns]
        kept = [place for place in range(1, len(titles)) if any(line[place].text for line in numbers.lines)]
        marks = ["wrap" if title in ("backbone", "protocol of the source", "ours differs") else "" for title in titles]
        rows = [[reports.PageCell(line[one].text, marks[one]) for one in kept] for line in numbers.lines]
        return About(
            name=name,
            description=listing.description,
            year=listing.year,
            text=paragraphs(inspect.getdoc(cls) or "", cls.Hyperparameters.model_fields),
            cls=cls,
            origin=listing.origin if listing.own else Path(listing.origin).name,
            published=reports.PageTable("", [titles[one] for one in kept], rows, numbers.notes) if rows else None,
        )

    def _method_page(self, method: About, found: Sequence[Board], bundles: Mapping[str, Path]) -> None:
        own = [one for one in self.sets if one.group.method == method.name]
        panels = {one.group.panel for one in own}
        compared = [one for one in self.sets if one.group.row == self.baseline and one.group.panel in panels]
        groups = [one.group for one in self.sets if one in own or one in compared]
        submitted = {name: one.submissions for one in self.sets for name in one.group.runs}
        runs = {name: self.content.runs[name] for group in groups for name in group.runs}
        data = reports.as_page_data(
            replace(self.content, groups=groups, runs=runs),
            NUMBERS,
            lambda run: sources.portable_command(run, submitted[run.name]),
        )
        # those that it is compared with have curves and no runs on the page
        details = {name: data["runs"][name] for one in own for name in one.group.runs}
        for one in own:
            links = [["all runs of this set, machine and versions", f"../runs/{one.slug}.html"]]
            if one.slug in bundles:
                links.append(["download the bundle", f"../bundles/{bundles[one.slug].name}"])
            for name in one.group.runs:
                details[name]["links"] = links
        self.page(
            f"methods/{file_name(method.name, '.html')}",
            "method.html.j2",
            method=method,
            results=of_method(found, method.name),
            runs=[(one.group, runs[name], details[name]) for one in own for name in one.group.runs],
            data=reports.script_json({**data, "runs": details}),
        )

    def _run_set_page(self, own: RunSet, bundle: Path | None) -> None:
        runs = [self.content.runs[name] for name in own.group.runs]
        # the provenance has the days
        made_with = [{**(run.result.environment or {}), "date": ""} for run in runs if run.result]
        self.page(
            f"runs/{own.slug}.html",
            "run_set.html.j2",
            own=own,
            environments=[(json.loads(text), count) for text, count in Counter(map(json.dumps, made_with)).items()],
            runs=runs,
            bundle=bundle,
            places=self.places,
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
