"""``bench site``: all pages, written into a folder."""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment

from benchmark.exchange import Mark, Submission
from benchmark.reports import Content, as_page_data, facts, run_row, script_json, templates
from benchmark.site import bundles
from benchmark.site.boards import Board, boards, of_method
from benchmark.site.gathering import Place, gather
from benchmark.site.method_pages import About, about
from benchmark.site.run_sets import RunSet, repeating, run_sets, within
from benchmark.store import environment, put, writing
from benchmark.tables import published_table
from methods import registry
from methods.errors import InputError

MANIFEST = "site.json"
"""Lies in a folder that is a site, and names all of its files."""

LIMIT = 20_000_000
"""Bytes that a site may have, bundles included."""

BUNDLES = 6_000_000
"""Bytes of them that bundles may take."""

NUMBERS = 40_000
"""In the curves of a method's page."""


@dataclass(frozen=True)
class Built:
    """What was written.

    Attributes:
        boards: How many leaderboards.
        methods: How many pages of methods.
        run_sets: How many pages of runs.
        runs: How many runs.
        size: Of all files, in bytes.
        notes: What was left out, a line each.
    """

    boards: int
    methods: int
    run_sets: int
    runs: int
    size: int
    notes: Sequence[str] = ()


@dataclass
class _Site:
    """A site while it is written: its folder, and the files so far."""

    out: Path
    environment: Environment
    common: Mapping[str, Any]
    written: list[str] = field(default_factory=list)

    def put(self, name: str, content: str | bytes) -> None:
        path = self.out / name
        with writing(path):
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.written.append(name)

    def page(self, name: str, template: str, **values: Any) -> None:
        root = "../" * name.count("/")
        self.put(name, self.environment.get_template(template).render(**self.common, root=root, **values))


def build(
    results: Sequence[Path],
    out: Path,
    submissions: Path | None = None,
    baseline: str = "independent",
    resolve: float = 0.5,
    plugins: Sequence[str] = (),
    prefer: Path | None = None,
) -> Built:
    """Write the site and return what is in it.

    Args:
        results: Results folders, folders that have some or bundles below them, or bundles.
        out: The folder; what an earlier site has left there and this one has not is removed, nothing else.
        submissions: The folder with one folder per submission; None for none.
        baseline: The row that gains refer to.
        resolve: The difference that matters, in points.
        plugins: Python files that define further methods.
        prefer: The results folder whose runs count where the same run has other numbers.

    Raises:
        InputError: If there are no runs, or ``out`` is something else, or cannot be written.
    """
    earlier = _earlier(out)
    with tempfile.TemporaryDirectory(prefix="okdbench-site-") as workplace:
        places, notes = gather(results, submissions, Path(workplace), prefer)
        content = Content.read([place.root for place in places], prefer)
        with writing(out):
            return _built(content, places, out, earlier, baseline, resolve, plugins, notes)


def _earlier(out: Path) -> list[str]:
    """Return the files of an earlier site in a folder, or raise an InputError if it holds something else."""
    manifest = out / MANIFEST
    if manifest.is_file():
        try:
            named = json.loads(manifest.read_text(encoding="utf-8"))["files"]
            return [name for name in named if isinstance(name, str)]
        except (ValueError, TypeError, KeyError, OSError):
            raise InputError(f"{manifest} is damaged: move {out} away, or name another folder") from None
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty and no site: --out names another folder")
    return []


def _built(
    content: Content,
    places: Sequence[Place],
    out: Path,
    earlier: Sequence[str],
    baseline: str,
    resolve: float,
    plugins: Sequence[str],
    notes: Sequence[str],
) -> Built:
    # from here on the folder is known as a site, whatever ends this
    _name_files(out, earlier)
    sets = run_sets(content, places)
    packed = bundles.write(content, sets, out / "bundles", BUNDLES)
    found = boards(content, sets, baseline, resolve)
    listed = registry.catalogue(plugins)
    names = list(dict.fromkeys([*listed, *(one.group.method for one in sets)]))
    comparisons = published_table.compare(content.frame)
    usable = [name for name in names if name not in listed or not listed[name].broken]
    introduced = [about(name, plugins, comparisons, _source(name, content, places)) for name in usable]
    site = _Site(
        out,
        templates("benchmark.site"),
        {
            "today": datetime.now(UTC).strftime("%Y-%m-%d"),
            "by": environment.versions(),
            "method_names": usable,
        },
    )
    site.written += [f"bundles/{path.name}" for path in packed.values()]
    for name in ("site.css", "leaderboard.js", "page.js", "report.js"):
        site.put(f"assets/{name}", site.environment.get_template(name).render())
    site.page(
        "index.html",
        "index.html.j2",
        boards=found,
        choices={
            "data": list(dict.fromkeys(board.dataset for board in found)),
            "network": list(dict.fromkeys(board.network for board in found)),
            "budget": list(dict.fromkeys(board.budget for board in found)),
            "checked": [str(mark) for mark in Mark],
        },
        introduced=introduced,
        facts=facts(content.runs.values()),
        runs=len(content.runs),
    )
    for one in introduced:
        _method_page(site, one, content, sets, found, packed, baseline)
    accuracies = {one.record.name: one.record.last_metrics().get("student") for one in content.stored.found}
    for own in sets:
        _run_set_page(site, own, content, accuracies, packed, places)
    lost = len(sets) - len(packed)
    every = [*notes, *content.damaged, *content.left_out]
    if lost:
        every.append(f"{lost} of {len(sets)} run sets have no bundle, which would make the site too large")
    size = _finish(site, earlier)
    if size > LIMIT:
        every.append(f"the site has {size / 1e6:.1f} MB, more than {LIMIT / 1e6:.0f}")
    return Built(len(found), len(introduced), len(sets), len(content.runs), size, every)


def _source(name: str, content: Content, places: Sequence[Place]) -> str:
    """Return the code of a plug-in's method as its runs kept it; nothing where they did not, or have none."""
    configs = (run.config for run in content.runs.values())
    hashes = {config.sources["method"] for config in configs if config.method == name and "method" in config.sources}
    for place in places:
        for path in (place.root / "sources" / f"{one}.py" for one in sorted(hashes)):
            if path.is_file():
                return path.read_text(encoding="utf-8", errors="replace")
    return ""


def _method_page(
    site: _Site,
    method: About,
    content: Content,
    sets: Sequence[RunSet],
    found: Sequence[Board],
    packed: Mapping[str, Path],
    baseline: str,
) -> None:
    own = [one for one in sets if one.group.method == method.name]
    panels = {one.group.panel for one in own}
    beside = [one.group for one in sets if one.group.row == baseline and one.group.panel in panels]
    groups = [one.group for one in sets if one in own or one.group in beside]
    part = within(content, groups)
    submitted = {name: one.submissions for one in sets for name in one.group.runs}
    data = as_page_data(part, NUMBERS, lambda run: repeating(run, submitted[run.name])) if own else None
    rows: list[dict[str, Any]] = []
    if data:
        details = data["runs"]
        data["runs"] = {name: details[name] for one in own for name in one.group.runs}
        for one in own:
            links = [["all runs of this set, machine and versions", f"../runs/{one.slug}.html"]]
            if one.slug in packed:
                links.append(["download the bundle", f"../bundles/{packed[one.slug].name}"])
            for name in one.group.runs:
                data["runs"][name]["links"] = links
                rows.append(run_row(part, one.group, name, details[name]))
    site.page(
        f"methods/{method.name}.html",
        "method.html.j2",
        method=method,
        results=of_method(found, method.name),
        runs=rows,
        data=script_json(data) if data else None,
    )


def _run_set_page(
    site: _Site,
    own: RunSet,
    content: Content,
    accuracies: Mapping[str, float | None],
    packed: Mapping[str, Path],
    places: Sequence[Place],
) -> None:
    runs = [content.runs[name] for name in own.group.runs]
    config = runs[0].config
    made = Counter(json.dumps(run.result.environment or {}) for run in runs if run.result)
    site.page(
        f"runs/{own.slug}.html",
        "run_set.html.j2",
        own=own,
        facts=facts(runs),
        settings={"training": config.train.model_dump(), "data": config.data.model_dump()}
        | {config.method: config.hyperparameters}
        | ({"code": config.sources} if config.sources else {}),
        checksum=config.dataset_checksum,
        version=config.method_version,
        made=[(json.loads(text), count) for text, count in made.items()],
        runs=[
            (run, accuracies[run.name], own.outcomes.get(run.name, ""), repeating(run, own.submissions)) for run in runs
        ],
        bundle=packed[own.slug].name if own.slug in packed else "",
        size=packed[own.slug].stat().st_size if own.slug in packed else 0,
        handed_in=[_handed_in(one, places) for one in own.submissions],
    )


def _handed_in(submission: Submission, places: Sequence[Place]) -> tuple[dict[str, str], list[str]]:
    """Return what a submission says of itself, and what checking it came to."""
    form = submission.form
    said = {
        "submission": submission.name,
        "by": form.who,
        "machine, as they say": form.machine,
        "licence of the results": form.licence,
        "recipe": form.recipe,
        "about": form.about or "",
    }
    reasons = [line for place in places if place.submission is submission for line in place.record.reasons]
    return {key: value for key, value in said.items() if value}, reasons


def _finish(site: _Site, earlier: Sequence[str]) -> int:
    """Remove what an earlier site has left, write the manifest, and return the size of all files."""
    inside = site.out.resolve()
    for name in set(earlier) - set(site.written):
        path = site.out / name
        if path.resolve().is_relative_to(inside) and path.is_file():
            path.unlink()
    _name_files(site.out, site.written)
    return sum((site.out / name).stat().st_size for name in [*site.written, MANIFEST])


def _name_files(out: Path, names: Sequence[str]) -> None:
    put(out / MANIFEST, json.dumps({"files": sorted(names)}, indent=0) + "\n")
