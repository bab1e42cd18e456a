"""The contents of a site: results folders, bundles and submissions, the sets of seeds in them, and what was checked."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from benchmark import exchange, store
from benchmark.configuration import Origin, RunConfig, source_of_method
from benchmark.escaping import file_name
from benchmark.exchange import Mark, Outcome, Record, Statement, Submission, is_bundle, submission
from benchmark.reports import Content, Group, command
from benchmark.store import CONFIG, METRICS, RESULT, Found, StoredRun
from benchmark.tables import PLANS
from methods import registry
from methods.errors import InputError

_SKIPPED = frozenset(("runs", "sources", PLANS))
_COMPRESSED = 0.3  # a generous estimate of a bundle's size relative to the files of its runs


@dataclass(frozen=True)
class Place:
    """A results folder."""

    root: Path  # the folder itself, or one that a bundle was unpacked into
    record: Record = field(default_factory=Record)  # which of its runs were repeated
    submission: Submission | None = None  # that it belongs to; None for one's own results


class Gathering:
    """Everything that a site shows; what is damaged is left out and named in ``notes``.

    Attributes:
        places: One's own first.
        notes: A line for everything that is left out.
    """

    def __init__(self, results: Sequence[Path], submissions: Path | None, workplace: Path) -> None:
        """Read results and submissions.

        Args:
            results: Results folders, folders with some or bundles below them, bundles, or patterns.
            submissions: The folder with one folder per submission; None for none.
            workplace: An empty folder, for unpacked bundles.

        Raises:
            InputError: If there are no runs.
        """
        self.notes: list[str] = []
        self._workplace = workplace
        self.places = [place for given in results for place in self._below(given)]
        if submissions is not None:
            found, faults = submission.below(submissions)
            self.notes += [f"left out: {fault}" for fault in faults]
            for one in found:
                self.places += self._unpacked(one.bundle, submissions, one)
        if not any(store.scan(place.root) for place in self.places):
            damaged = f" ({'; '.join(self.notes)})" if self.notes else ""
            where = ", ".join(map(str, results))
            raise InputError(f"no runs and no bundles below {where} yet: bench run makes some{damaged}")

    def _below(self, given: Path) -> Iterator[Place]:
        if given.is_file() and is_bundle(given.name):
            yield from self._unpacked(given, given.parent)
            return
        for folder in store.folders(given):
            yield from self._inside(folder, folder)

    def _inside(self, folder: Path, top: Path) -> Iterator[Place]:
        """Yield the folder's own runs, those of its bundles, and those of its folders."""
        if (folder / "runs").is_dir():
            yield Place(folder, self._record(top, folder))
        for path in sorted(folder.iterdir()):
            if path.is_symlink():
                continue
            if path.is_file() and is_bundle(path.name):
                yield from self._unpacked(path, top)
            elif path.is_dir() and path.name not in _SKIPPED and not path.name.startswith("."):
                yield from self._inside(path, top)

    def _unpacked(self, bundle: Path, top: Path, own: Submission | None = None) -> Iterator[Place]:
        root = self._workplace / f"{len(list(self._workplace.iterdir()))}"
        root.mkdir()
        try:
            self.notes += exchange.merge([bundle], root).contradictions
        except InputError as error:
            self.notes.append(f"left out: {error}")
        else:
            yield Place(root, self._record(top, bundle), own)

    def _record(self, top: Path, source: Path) -> Record:
        """Return the checker's record of a bundle or a results folder, which is above it and never inside."""
        try:
            return exchange.record_of(top, source)
        except InputError as error:
            self.notes += [f"left out: {error}"] if f"left out: {error}" not in self.notes else []
            return Record()


class Provenance(BaseModel):
    """Where a row's numbers are from; what is not known is empty."""

    date: str = Field("", description="day (UTC) at which the runs ended, or the first and the last: '... to ...'")
    laboratory: str = Field("", description="who measured it")
    submission: str = Field("", description="that it belongs to")
    paper: str = Field("", description="of the method: the link that the submitter states")
    suite: str = Field("", description="that declares the comparison, with its version")
    tuning: Literal["tuned", "defaults", "other than defaults", ""] = Field(
        "",
        description="whether trials were spent on tuning, else whether the hyperparameters are the method's defaults",
    )
    trials: int | None = Field(None, description="spent on tuning, as the submitter states; null if nothing is stated")
    hardware: str = ""
    torch: str = Field("", description="version")
    okdbench: str = Field("", description="version")
    commit: str = Field("", description="of okdbench")
    method_version: str = ""
    hours: str = Field("", description="of all seeds together, on CPU or GPU")

    def texts(self) -> dict[str, str]:
        """Return all of it as text, by title."""
        return {
            name.replace("_", " "): "" if value is None else str(value) for name, value in self.model_dump().items()
        }


@dataclass(frozen=True)
class RunSet:
    """The runs of a table's cell, which differ only in their seeds."""

    group: Group  # their names, row and column
    slug: str  # the name of their page, which stays the same when others are added
    checked: Statement  # what repetitions say of them, and how many of how many there are
    outcomes: Mapping[str, Outcome]  # of the runs that were repeated, by name
    submissions: Sequence[Submission] = ()  # that they belong to
    provenance: Provenance = field(default_factory=Provenance)  # who measured them, when, with what and how long

    @property
    def mark(self) -> Mark:
        """What is known of them, in one word."""
        return self.checked.mark


def run_sets(
    content: Content, places: Sequence[Place], bound: float = exchange.BOUND, plugins: Sequence[str] = ()
) -> list[RunSet]:
    """Return all run sets in the tables' order; repetitions must exclude an inflation of ``bound`` points."""
    by_root = {place.root.resolve(): place for place in places}
    records = {one.record.name: one for one in content.stored.found}
    return [_run_set(content, group, records, by_root, bound, plugins) for group in content.groups]


def _run_set(
    content: Content, group: Group, records: Mapping[str, Found], by_root: Mapping[Path, Place], bound: float,
    plugins: Sequence[str],
) -> RunSet:  # fmt: skip
    found = {name: records[name] for name in group.runs}
    own = {name: by_root[one.root.resolve()] for name, one in found.items()}
    comparisons = {}
    for name, one in found.items():
        record, folder = own[name].record, one.folder.name
        if folder in record.runs and (comparison := record.comparison(folder, _content_hash(one))):
            comparisons[name] = comparison
    checked = exchange.state([*comparisons.values()], len(found), bound)
    submitted = {place.submission.name: place for place in own.values() if place.submission}
    if any(place.record.problems for place in submitted.values()):
        checked = replace(checked, mark=Mark.DIFFERS)
    repeated = {name: one.outcome for name, one in comparisons.items() if one.outcome is not Outcome.NOT_REPEATED}
    submissions = [place.submission for place in submitted.values() if place.submission]
    runs = [content.runs[name] for name in group.runs]
    # the column tells apart what one run was requested as: equal epochs, equal cost, another name
    config = runs[0].config
    key = f"{config.model_copy(update={'seed': 0}).identity} {group.panel} {group.row}"
    words = re.sub(r"[^A-Za-z0-9+.]+", "-", f"{config.method}-{config.dataset.partition(':')[0]}-{config.backbone}")
    slug = f"{words[:80]}-{sha256(key.encode()).hexdigest()[:10]}"
    return RunSet(group, slug, checked, repeated, submissions, _provenance(runs, submissions, plugins))


def _provenance(runs: Sequence[StoredRun], submissions: Sequence[Submission], plugins: Sequence[str]) -> Provenance:
    """Return who measured the runs, when, with which hardware and versions, and the hours of all seeds together."""
    ended = [run.result for run in runs if run.result]
    environments = [result.environment or {} for result in ended]
    kind = "GPU" if any(one.get("device", "").startswith("cuda") for one in environments) else "CPU"
    dates = sorted({one["date"] for one in environments if one.get("date")})
    # a submission has runs of other methods too, to compare with
    own = [one.form for one in submissions if one.form.method == runs[0].config.method]
    trials = [form.trials for form in own if form.trials is not None]

    def listed(values: Iterable[str | None]) -> str:
        return ", ".join(dict.fromkeys(value for value in values if value))

    def made_with(key: str) -> str:
        return listed(one.get(key) for one in environments)

    return Provenance(
        date=" to ".join(dict.fromkeys([*dates[:1], *dates[-1:]])),
        laboratory=listed(one.form.who for one in submissions) or "this repository",
        submission=listed(one.name for one in submissions),
        paper=next((form.paper for form in own if form.paper), ""),
        tuning="tuned" if any(trials) else _at_defaults([run.config for run in runs], plugins),
        trials=sum(trials) if trials else None,
        hardware=made_with("hardware"),
        torch=made_with("torch"),
        okdbench=made_with("okdbench"),
        commit=made_with("commit"),
        method_version=listed(str(run.config.method_version) for run in runs),
        hours=f"{sum(result.seconds for result in ended) / 3600:.2f} {kind} hours" if ended else "",
    )


def _at_defaults(
    configs: Sequence[RunConfig], plugins: Sequence[str]
) -> Literal["defaults", "other than defaults", ""]:
    """Return whether all hyperparameters are the method's defaults; nothing where its code is not at hand."""
    config = configs[0]
    try:
        method = registry.load(config.method, plugins)
        source = source_of_method(config.method, plugins)
        defaults = registry.resolve(method, {}, config.backbone.split("+"), config.train.epochs)
    except InputError:
        return ""
    if config.sources.get("method") != (source.hash if source else None):
        return ""
    usual = defaults.model_dump(mode="json")
    same = all(
        method.Hyperparameters.restored(one.hyperparameters).get(key, value) == value
        for one in configs
        for key, value in usual.items()
    )
    return "defaults" if same else "other than defaults"


def css_class(mark: Mark) -> str:
    """Return the class of a mark in the pages' style sheet."""
    return mark.replace(" ", "-")


def _content_hash(found: Found) -> str:
    """Return the hash of a run's files, which a record of its repetition is bound to."""
    try:
        return store.read_files(found.folder).hash
    except store.DamagedError:
        return ""


def portable_command(run: StoredRun, submissions: Sequence[Submission]) -> str:
    """Return the command that repeats a run on any machine; a plug-in may be in the folder of its submission."""
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
    """Write bundles of run sets, small ones first, of ``limit`` bytes together at most, and return them by slug."""
    folders = {one.slug: [content.runs[name].folder for name in one.group.runs] for one in sets}
    files = {
        slug: [folder / name for folder in own for name in (CONFIG, METRICS, RESULT)] for slug, own in folders.items()
    }
    sizes = {slug: sum(path.stat().st_size for path in paths if path.is_file()) for slug, paths in files.items()}
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
