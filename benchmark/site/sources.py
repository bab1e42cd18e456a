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
from benchmark.escaping import file_name
from benchmark.exchange import Mark, Outcome, Record, Statement, Submission, is_bundle, submission
from benchmark.reports import Content, Group, command
from benchmark.store import CONFIG, METRICS, RESULT, StoredRun
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
        self.places: list[Place] = []
        for given in results:
            bundle = given.is_file() and is_bundle(given.name)
            for folder in [given] if bundle else store.folders(given):
                self.places += self._below(folder, given.parent if bundle else folder)
        if submissions is not None:
            found, faults = submission.below(submissions)
            self.notes += [f"left out: {fault}" for fault in faults]
            self.places += [place for one in found for place in self._below(one.bundle, submissions, one)]
        if not any(store.scan(place.root) for place in self.places):
            damaged = f" ({'; '.join(self.notes)})" if self.notes else ""
            where = ", ".join(map(str, results))
            raise InputError(f"no runs and no bundles below {where} yet: bench run makes some{damaged}")

    def _below(self, path: Path, top: Path, own: Submission | None = None) -> Iterator[Place]:
        """Yield the runs of a bundle; or those of a folder, of its bundles and of its folders.

        The checker's record of them is in ``top``, above them and never inside.
        """
        root, bundle = path, own is not None or not path.is_dir()
        if bundle:
            root = self._workplace / f"{len(list(self._workplace.iterdir()))}"
            root.mkdir()
            try:
                self.notes += exchange.merge([path], root).contradictions
            except InputError as error:
                self.notes.append(f"left out: {error}")
                return
        if (root / "runs").is_dir():
            record = Record()
            try:
                record = exchange.record_of(top, path)
            except InputError as error:
                self.notes += [f"left out: {error}"] if f"left out: {error}" not in self.notes else []
            yield Place(root, record, own)
        for inside in [] if bundle else sorted(path.iterdir()):
            folder = inside.is_dir() and inside.name not in _SKIPPED and not inside.name.startswith(".")
            if not inside.is_symlink() and (folder or (inside.is_file() and is_bundle(inside.name))):
                yield from self._below(inside, top)


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
        own = {name: by_root[content.runs[name].root.resolve()] for name in group.runs}
        comparisons: dict[str, exchange.Comparison] = {}
        for name, place in own.items():
            folder = content.runs[name].folder
            if folder.name in place.record.runs:
                try:
                    # a record is bound to the files that were repeated
                    comparison = place.record.comparison(folder.name, store.read_files(folder).hash)
                except store.DamagedError:
                    continue
                comparisons |= {name: comparison} if comparison else {}
        checked = exchange.state([*comparisons.values()], len(own), bound)
        if any(place.record.problems for place in own.values() if place.submission):
            checked = replace(checked, mark=Mark.DIFFERS)
        repeated = {name: one.outcome for name, one in comparisons.items() if one.outcome is not Outcome.NOT_REPEATED}
        submissions = list({one.name: one for place in own.values() if (one := place.submission)}.values())
        runs = [content.runs[name] for name in group.runs]
        # the column tells apart what one run was requested as: equal epochs, equal cost, another name
        config = runs[0].config
        key = f"{config.model_copy(update={'seed': 0}).identity} {group.panel} {group.row}"
        words = re.sub(r"[^A-Za-z0-9+.]+", "-", f"{config.method}-{config.dataset.partition(':')[0]}-{config.backbone}")
        slug = f"{words[:80]}-{sha256(key.encode()).hexdigest()[:10]}"
        found.append(RunSet(group, slug, checked, repeated, submissions, _provenance(runs, submissions, plugins)))
    return found


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

    return Provenance(
        date=" to ".join(dict.fromkeys([*dates[:1], *dates[-1:]])),
        laboratory=listed(one.form.who for one in submissions) or "this repository",
        submission=listed(one.name for one in submissions),
        paper=next((form.paper for form in own if form.paper), ""),
        tuning="tuned" if any(trials) else _tuning(runs, plugins),
        trials=sum(trials) if trials else None,
        method_version=listed(str(run.config.method_version) for run in runs),
        hours=f"{sum(result.seconds for result in ended) / 3600:.2f} {kind} hours" if ended else "",
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
    sizes = {
        slug: sum(path.stat().st_size for one in own for name in (CONFIG, METRICS, RESULT)
                  if (path := one / name).is_file())
        for slug, own in folders.items()
    }  # fmt: skip
    found: dict[str, Path] = {}
    for slug in sorted(folders, key=lambda slug: (sizes[slug], slug)):
        # every machine opens this format without a package
        path = folder / f"{slug}.tar.gz"
        try:
            limit -= exchange.pack(folders[slug], path).size
        except InputError:
            # no run of it can be packed
            continue
        if limit < 0:
            path.unlink()
            break
        found[slug] = path
    return found
