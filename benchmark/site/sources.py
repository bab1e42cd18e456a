"""The contents of a site: results folders, bundles and submissions, the sets of seeds in them, and what was checked."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from benchmark import exchange, store
from benchmark.configuration import Origin, source_of_method
from benchmark.exchange import Mark, Outcome, Record, Statement, Submission, is_bundle, submission
from benchmark.reports import Content, Group, command
from benchmark.store import StoredRun
from benchmark.tables import PLANS
from methods import registry
from methods.errors import InputError

_SKIPPED = frozenset(("runs", "sources", PLANS))

Tuning = Literal["tuned", "defaults", "other than defaults", ""]


@dataclass(frozen=True)
class Place:
    """A results folder."""

    root: Path  # the folder itself, or one that a bundle was unpacked into
    record: Record = field(default_factory=Record)  # which of its runs were repeated
    submission: Submission | None = None  # that it belongs to; None for one's own results


def gather(results: Sequence[Path], submissions: Path | None, workplace: Path) -> tuple[list[Place], list[str]]:
    """Return everything that a site shows, one's own first, and a line for all that is damaged and left out.

    Args:
        results: Results folders, folders with some or bundles below them, bundles, or patterns.
        submissions: The folder with one folder per submission; None for none.
        workplace: An empty folder, for unpacked bundles.

    Raises:
        InputError: If there are no runs.
    """
    notes: list[str] = []
    places: list[Place] = []
    for given in results:
        bundle = given.is_file() and is_bundle(given.name)
        for folder in [given] if bundle else store.folders(given):
            places += _below(folder, given.parent if bundle else folder, workplace, notes)
    if submissions is not None:
        found, faults = submission.below(submissions)
        notes += [f"left out: {fault}" for fault in faults]
        places += [place for one in found for place in _below(one.bundle, submissions, workplace, notes, one)]
    if not any(store.scan(place.root) for place in places):
        damaged = f" ({'; '.join(notes)})" if notes else ""
        where = ", ".join(map(str, results))
        raise InputError(f"no runs and no bundles below {where} yet: bench run makes some{damaged}")
    # several bundles may have one damaged record
    return places, list(dict.fromkeys(notes))


def _below(path: Path, top: Path, workplace: Path, notes: list[str], own: Submission | None = None) -> Iterator[Place]:
    """Yield the runs of a bundle; or those of a folder, of its bundles and of its folders.

    The checker's record of them is in ``top``, above them and never inside.
    """
    root, bundle = path, own is not None or not path.is_dir()
    if bundle:
        root = workplace / f"{len(list(workplace.iterdir()))}"
        root.mkdir()
        try:
            notes += exchange.merge([path], root).contradictions
        except InputError as error:
            notes.append(f"left out: {error}")
            return
    if (root / "runs").is_dir():
        record = Record()
        try:
            record = exchange.record_of(top, path)
        except InputError as error:
            notes.append(f"left out: {error}")
        yield Place(root, record, own)
    for inside in [] if bundle else sorted(path.iterdir()):
        folder = inside.is_dir() and inside.name not in _SKIPPED and not inside.name.startswith(".")
        if not inside.is_symlink() and (folder or (inside.is_file() and is_bundle(inside.name))):
            yield from _below(inside, top, workplace, notes)


class Provenance(BaseModel):
    """Where a row's numbers are from; what is not known is empty."""

    date: str = Field("", description="day (UTC) at which the runs ended, or the first and the last: '... to ...'")
    laboratory: str = Field("", description="who measured it")
    submission: str = Field("", description="that it belongs to")
    paper: str = Field("", description="of the method: the link that the submitter states")
    suite: str = Field("", description="that declares the comparison, with its version")
    tuning: Tuning = Field(
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
    submissions: Sequence[Submission]  # that they belong to
    provenance: Provenance  # who measured them, when, with what and how long


def run_sets(content: Content, places: Sequence[Place], bound: float, plugins: Sequence[str]) -> list[RunSet]:
    """Return all run sets in the tables' order; repetitions must exclude an inflation of ``bound`` points."""
    by_root = {place.root.resolve(): place for place in places}
    found = []
    for group in content.groups:
        own = [(run, by_root[run.root.resolve()]) for run in group.runs]
        comparisons = {run.name: one for run, place in own if (one := _comparison(run, place.record))}
        checked = exchange.state([*comparisons.values()], len(own), bound)
        if any(place.record.problems for _, place in own if place.submission):
            checked = replace(checked, mark=Mark.DIFFERS)
        repeated = {name: one.outcome for name, one in comparisons.items() if one.outcome is not Outcome.NOT_REPEATED}
        submissions = list({its.name: its for _, place in own if (its := place.submission)}.values())
        # the column tells apart what one run was requested as: equal epochs, equal cost, another name
        config = group.runs[0].config
        key = f"{config.model_copy(update={'seed': 0}).identity} {group.panel} {group.row}"
        words = re.sub(r"[^A-Za-z0-9+.]+", "-", f"{config.method}-{config.dataset.partition(':')[0]}-{config.backbone}")
        slug = f"{words[:80]}-{sha256(key.encode()).hexdigest()[:10]}"
        provenance = _provenance(group.runs, submissions, plugins)
        found.append(RunSet(group, slug, checked, repeated, submissions, provenance))
    return found


def _comparison(run: StoredRun, record: Record) -> exchange.Comparison | None:
    """Return what a repetition of a run found; None without one, or after an edit of the files that were repeated."""
    if run.folder.name not in record.runs:
        return None
    try:
        return record.comparison(run.folder.name, store.read_files(run.folder).hash)
    except store.DamagedError:
        return None


def _provenance(runs: Sequence[StoredRun], submissions: Sequence[Submission], plugins: Sequence[str]) -> Provenance:
    """Return who measured the runs, when, with which hardware and versions, and the hours of all seeds together."""
    seconds = [run.result.seconds for run in runs if run.result]
    environments = [run.made_with for run in runs]
    kind = "GPU" if any(one.get("device", "").startswith("cuda") for one in environments) else "CPU"
    dates = sorted({one["date"] for one in environments if one.get("date")})
    # a submission has runs of other methods too, to compare with
    own = [one.form for one in submissions if one.form.method == runs[0].config.method]
    trials = [form.trials for form in own if form.trials is not None]

    def listed(values: Iterable[str | None]) -> str:
        return ", ".join(dict.fromkeys(value for value in values if value))

    return Provenance(
        date=" to ".join(dict.fromkeys([*dates[:1], *dates[-1:]])),
        laboratory=listed(one.form.who for one in submissions) or "this repository",
        submission=listed(one.name for one in submissions),
        paper=next((form.paper for form in own if form.paper), ""),
        tuning="tuned" if any(trials) else _tuning(runs, plugins),
        trials=sum(trials) if trials else None,
        method_version=listed(str(run.config.method_version) for run in runs),
        hours=f"{sum(seconds) / 3600:.2f} {kind} hours" if seconds else "",
        **{key: listed(one.get(key) for one in environments) for key in ("hardware", "torch", "okdbench", "commit")},
    )


def _tuning(runs: Sequence[StoredRun], plugins: Sequence[str]) -> Tuning:
    """Return whether all hyperparameters are the method's defaults; nothing where its code is not at hand."""
    config = runs[0].config
    try:
        method = registry.load(config.method, plugins)
        source = source_of_method(config.method, plugins)
        defaults = registry.resolve(method, {}, config.backbone.split("+"), config.train.epochs)
    except InputError:
        return ""
    if config.sources.get("method") != (source.hash if source else None):
        return ""
    usual = defaults.model_dump(mode="json")
    every = [usual | method.Hyperparameters.restored(run.config.hyperparameters) for run in runs]
    same = all(one[key] == value for one in every for key, value in usual.items())
    return "defaults" if same else "other than defaults"


def portable_command(run: StoredRun, submissions: Sequence[Submission]) -> str:
    """Return the command that repeats a run on any machine; a plug-in may be in the folder of its submission."""
    files = {Path(plugin).name: one.name for one in submissions for plugin in one.plugins}
    names = [Path(plugin).name for plugin in run.config.origin.plugins]
    plugins = [f"submissions/{files[name]}/{name}" if name in files else name for name in names]
    return command(run.config.model_copy(update={"origin": Origin(plugins=plugins)}), run.result)


def write_bundles(sets: Sequence[RunSet], folder: Path, limit: int) -> dict[str, Path]:
    """Write bundles of run sets, small ones first, of ``limit`` bytes together at most, and return them by slug."""
    found: dict[str, Path] = {}
    for one in sorted(sets, key=lambda one: (sum(store.size_below(run.folder) for run in one.group.runs), one.slug)):
        # every machine opens this format without a package
        path = folder / f"{one.slug}.tar.gz"
        try:
            limit -= exchange.pack([run.folder for run in one.group.runs], path).size
        except InputError:
            # no run of it can be packed
            continue
        if limit < 0:
            path.unlink()
            break
        found[one.slug] = path
    return found
