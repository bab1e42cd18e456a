"""The contents of a site: results folders, bundles and submissions, the sets of seeds in them, and what was checked."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from benchmark import exchange, store
from benchmark.configuration import RunConfig
from benchmark.configuration.run_config import Origin
from benchmark.escaping import file_name
from benchmark.exchange import Mark, Outcome, Record, Submission, is_bundle, records, submission
from benchmark.reports import Content, Group, command
from benchmark.store import CONFIG, METRICS, RESULT, Found, StoredRun
from methods.errors import InputError

_SKIPPED = frozenset(("runs", "sources"))
_COMPRESSED = 0.3
"""A generous estimate of a bundle's size relative to the files of its runs."""


@dataclass(frozen=True)
class Place:
    """A results folder.

    Attributes:
        root: The folder itself, or one that a bundle was unpacked into.
        record: Which of its runs were repeated.
        submission: That it belongs to; None for one's own results.
        disputed: Whether a run of the submission has other numbers elsewhere.
    """

    root: Path
    record: Record = field(default_factory=Record)
    submission: Submission | None = None
    disputed: bool = False


class Gathering:
    """Everything that a site shows; what is damaged is left out and named in ``notes``.

    Attributes:
        places: One's own first.
        notes: A line for everything that is left out.
    """

    def __init__(self, results: Sequence[Path], submissions: Path | None, workplace: Path, prefer: Path | None) -> None:
        """Read results and submissions.

        Args:
            results: Results folders, folders with some or bundles below them, bundles, or patterns.
            submissions: The folder with one folder per submission; None for none.
            workplace: An empty folder, for unpacked bundles.
            prefer: The results folder to use where others disagree about a run.

        Raises:
            InputError: If there are no runs, or the results folders disagree.
        """
        self.notes: list[str] = []
        self._workplace = workplace
        self.places = [place for given in results for place in self._below(given)]
        if submissions is not None:
            self._add_submissions(submissions, prefer)
        if not any(store.scan(place.root) for place in self.places):
            damaged = f" ({'; '.join(self.notes)})" if self.notes else ""
            where = ", ".join(map(str, results))
            raise InputError(f"no runs and no bundles below {where} yet: bench run makes some{damaged}")

    def _below(self, given: Path) -> Iterator[Place]:
        if given.is_file() and is_bundle(given.name):
            yield from self._unpacked(given)
            return
        for folder in store.folders(given):
            yield from self._inside(folder)

    def _inside(self, folder: Path) -> Iterator[Place]:
        """Yield the folder's own runs, those of its bundles, and those of its folders."""
        if (folder / "runs").is_dir():
            yield Place(folder, self._record(folder))
        for path in sorted(folder.iterdir()):
            if path.is_file() and is_bundle(path.name):
                yield from self._unpacked(path)
            elif path.is_dir() and path.name not in _SKIPPED and not path.name.startswith("."):
                yield from self._inside(path)

    def _unpacked(self, bundle: Path, own: Submission | None = None) -> Iterator[Place]:
        root = self._workplace / f"{len(list(self._workplace.iterdir()))}"
        root.mkdir()
        try:
            exchange.merge([bundle], root)
        except InputError as error:
            self.notes.append(f"left out: {error}")
        else:
            yield Place(root, self._record(bundle.parent), own)

    def _record(self, folder: Path) -> Record:
        try:
            return records.read(folder)
        except InputError as error:
            self.notes.append(f"left out: {error}")
            return Record()

    def _add_submissions(self, folder: Path, prefer: Path | None) -> None:
        roots = [place.root for place in self.places]
        known = {one.record.identity: one for one in store.read(roots, prefer).found} if roots else {}
        for form in sorted(folder.glob(f"*/{submission.FORM}")):
            try:
                own = submission.read(form.parent)
            except InputError as error:
                self.notes.append(f"left out: {error}")
                continue
            self.places += [self._undisputed(place, own.name, known) for place in self._unpacked(own.bundle, own)]

    def _undisputed(self, place: Place, name: str, known: dict[str, Found]) -> Place:
        """Take out of a submission the runs that have other numbers elsewhere."""
        for found in store.read(place.root).found:
            other = known.setdefault(found.record.identity, found)
            if other is not found and store.better(other, found) is None:
                self.notes.append(f"{name}: {found.record.name} has other numbers than the same run elsewhere")
                shutil.rmtree(found.folder)
                place = replace(place, disputed=True)
        return place


@dataclass(frozen=True)
class RunSet:
    """The runs of a table's cell, which differ only in their seeds.

    Attributes:
        group: Their names, row and column.
        slug: The name of their page, which stays the same when others are added.
        mark: How far they are checked.
        outcomes: Of the runs that were repeated, by name.
        submissions: That they belong to.
    """

    group: Group
    slug: str
    mark: Mark
    outcomes: Mapping[str, Outcome]
    submissions: Sequence[Submission] = ()

    @property
    def checked(self) -> str:
        """The mark, and how many of the runs were repeated."""
        return f"{self.mark} ({len(self.outcomes)} of {len(self.group.runs)})" if self.outcomes else str(self.mark)


def run_sets(content: Content, places: Sequence[Place]) -> list[RunSet]:
    """Return all run sets in the order of the tables."""
    by_root = {place.root.resolve(): place for place in places}
    found = {one.record.name: one for one in content.stored.found}
    return [_run_set(content, group, [found[name] for name in group.runs], by_root) for group in content.groups]


def _run_set(content: Content, group: Group, found: Sequence[Found], by_root: Mapping[Path, Place]) -> RunSet:
    own = {one.record.name: by_root[one.root.resolve()] for one in found}
    outcomes = {}
    for one in found:
        outcome = own[one.record.name].record.outcome(one.record.name, one.record.digest)
        if outcome is not None and outcome is not Outcome.NOT_REPEATED:
            outcomes[one.record.name] = outcome
    submitted = {place.submission.name: place for place in own.values() if place.submission}
    mark = records.mark(outcomes.values())
    if any(place.record.verdict is Mark.DIFFERS or place.disputed for place in submitted.values()):
        mark = Mark.DIFFERS
    submissions = [place.submission for place in submitted.values() if place.submission]
    return RunSet(group, _slug(group, content.runs[group.runs[0]].config), mark, outcomes, submissions)


def _slug(group: Group, config: RunConfig) -> str:
    # the column tells apart what one run was requested as: equal epochs, equal cost, another name
    key = f"{config.model_copy(update={'seed': 0}).identity} {group.panel} {group.row}"
    words = re.sub(r"[^A-Za-z0-9+.]+", "-", f"{config.method}-{config.dataset.partition(':')[0]}-{config.backbone}")
    return f"{words[:80]}-{sha256(key.encode()).hexdigest()[:10]}"


def portable_command(run: StoredRun, submissions: Sequence[Submission]) -> str:
    """Return the command that repeats a run on any machine, without paths of the original one.

    Args:
        run: The run.
        submissions: That it may belong to: a plug-in's file is in their folders.
    """
    names = [(one.name, Path(plugin).name) for one in submissions for plugin in one.plugins]
    theirs = {plugin: f"submissions/{name}/{plugin}" for name, plugin in names}
    plugins = [theirs.get(Path(plugin).name, Path(plugin).name) for plugin in run.config.origin.plugins]
    return command(run.config.model_copy(update={"origin": Origin(plugins=plugins)}), run.result)


def plugin_source(method: str, content: Content, places: Sequence[Place]) -> str:
    """Return the code of a plug-in's method that its runs saved; empty where there is none."""
    configs = (run.config for run in content.runs.values() if run.config.method == method)
    hashes = sorted({config.sources["method"] for config in configs if "method" in config.sources})
    for path in (place.root / "sources" / file_name(one, ".py") for place in places for one in hashes):
        if path.is_file() and not path.is_symlink():
            return path.read_text(encoding="utf-8", errors="replace")
    return ""


def write_bundles(content: Content, sets: Sequence[RunSet], folder: Path, limit: int) -> dict[str, Path]:
    """Write the bundles of run sets into a folder, small ones first, and return them by slug.

    Args:
        content: The runs.
        sets: Of them.
        folder: It is made.
        limit: Bytes that all bundles together may have; a set that does not fit has none.
    """
    folders = {one.slug: [content.runs[name].folder for name in one.group.runs] for one in sets}
    sizes = {slug: sum(map(_size, own)) for slug, own in folders.items()}
    found: dict[str, Path] = {}
    for slug in sorted(folders, key=lambda slug: (sizes[slug], slug)):
        # every machine opens this format without a package
        path = folder / f"{slug}.tar.gz"
        if _COMPRESSED * sizes[slug] > limit:
            break
        packed = exchange.pack_runs(folders[slug], path)
        if packed.size > limit:
            path.unlink()
            break
        limit -= packed.size
        if packed.runs:
            found[slug] = path
    return found


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for name in (CONFIG, METRICS, RESULT) if (path := folder / name).is_file())
