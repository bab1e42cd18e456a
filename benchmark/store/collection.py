"""The runs of one results folder or of several: all of them in brief, the curves of some, or one that is named."""

import glob
import json
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

from benchmark import paths
from benchmark.configuration import RunConfig
from benchmark.store.files import CONFIG, DamagedError, Result, Stamp, Status, read_files, stamp, whole_files
from benchmark.store.index import Entry, Index
from benchmark.store.records import Record, Scores, brief, reduced
from benchmark.store.runs import REPLICATE, identity_in, replicate_name
from methods.errors import InputError, unknown

Results = str | Path | Sequence[str | Path]

BATCH = 200
"""Runs that are read between two writings of the index: a command that is killed loses no more."""


@dataclass(frozen=True)
class StoredRun:
    """One run on the disk: its folder, its resolved configuration, and how it ended; None if it has not."""

    folder: Path
    config: RunConfig
    result: Result | None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def identity(self) -> str:
        """What the folder's name ends with; an older version's identity may differ from the configuration's."""
        return identity_in(self.name)

    @property
    def status(self) -> Status:
        """How far it is."""
        return self.result.status if self.result else Status.UNFINISHED

    def last_metrics(self) -> dict[str, float]:
        """Return the metrics of the last epoch that was evaluated, or of the last one; nothing if there is none."""
        try:
            return dict(read_files(self.folder).scored or {})
        except DamagedError:
            return {}


@dataclass(frozen=True)
class Found:
    """A run and where it is stored."""

    root: Path  # the results folder
    record: Record  # the run in brief; its name is unique among the runs that were read
    stored_as: str = ""  # the name of its folder where that is another one

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.root / "runs" / (self.stored_as or self.record.name)

    def stored(self) -> StoredRun:
        """Return the run as a single one."""
        return StoredRun(self.folder, self.record.config, self.record.result)


@dataclass(frozen=True)
class LeftOut:
    """A run that is left out, and why: its files are damaged, or it contradicts another run."""

    folder: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.folder} is left out: {self.reason}"


@dataclass(frozen=True)
class Runs:
    """The runs of one results folder or of several."""

    found: Sequence[Found]  # in the order of their names
    left_out: Sequence[LeftOut]  # those that are left out
    by_index: bool = True  # whether curves may be taken from the index

    def curves(self, names: Collection[str]) -> Iterator[tuple[str, Scores]]:
        """Yield the curves of the runs of these names, as :func:`benchmark.store.records.reduced`, in any order."""
        by_root: dict[Path, dict[str, str]] = {}
        for found in self.found:
            if found.record.name in names:
                by_root.setdefault(found.root, {})[found.folder.name] = found.record.name
        for root, here in by_root.items():
            missing = dict(here)
            if self.by_index:
                with Index(root) as index:
                    for stored_as, curve in index.curves(here):
                        yield missing.pop(stored_as), curve
            for stored_as, name in missing.items():
                try:
                    contents = read_files(root / "runs" / stored_as)
                except DamagedError:
                    # it was whole a moment ago, and is named by the next command
                    continue
                yield name, reduced(contents)


def folders(results: Results) -> list[Path]:
    """Return the results folders that a person means, each once, in the order given; patterns as ``lab*/results`` too.

    Raises:
        InputError: If one is not there, or a pattern fits none.
    """
    given = [results] if isinstance(results, str | Path) else list(results)
    if not given:
        raise InputError("no results folder is named")
    found: dict[Path, Path] = {}
    for one in given:
        path = paths.written(one, "results")
        try:
            places = [path] if path.is_dir() else [Path(place) for place in sorted(glob.glob(str(path)))]  # noqa: PTH207
            there = [place for place in places if place.is_dir()]
        except (OSError, ValueError):
            there = []
        if not there:
            raise InputError(f"no such results folder: {path}")
        for place in there:
            found.setdefault(place.resolve(), place)
    return list(found.values())


def scan(root: Path) -> dict[str, Stamp]:
    """Return the stamp of every run below a results folder, by name and in their order.

    Raises:
        InputError: If there is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"no such results folder: {root}")
    try:
        with os.scandir(root / "runs") as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InputError(f"cannot read {root / 'runs'}: {error.strerror}") from None
    stamps = {name: stamp(f"{root}/runs/{name}") for name in names}
    return {name: found for name, found in stamps.items() if found[0] >= 0}


def read(
    results: Results,
    prefer: str | Path | None = None,
    by_index: bool = True,
    claims: Mapping[Path, str] | None = None,
) -> Runs:
    """Return the runs of all results folders.

    Of runs of the same identity in one environment group one counts: one that has ended for good comes before one that
    has not, and then the one with more epochs. In another environment group the same run is a replicate, and both
    count. Runs of one environment group that have ended for good with other numbers contradict each other: both are
    left out, unless one folder is preferred.

    Args:
        results: A results folder, or several; patterns such as ``lab*/results`` too.
        prefer: The folder whose runs count where others contradict them; one of ``results``.
        by_index: Whether what the index holds need not be read again; never for results of other people.
        claims: Those of the folders that other people have submitted, with the submissions' names: their runs never
            count instead of a run of another folder, and change nothing of what that was asked for as. One that
            contradicts another run is kept beside it, as of an environment that names the submission.

    Raises:
        InputError: If a folder is not there.
    """
    roots = folders(results)
    preferred = _preferred(roots, prefer)
    parts = [_read_one(root, by_index) for root in roots]
    kept: list[Found] = []
    left_out = [one for part in parts for one in part.left_out]
    submissions = {path.resolve(): name for path, name in (claims or {}).items()}
    by_identity: dict[str, list[Found]] = {}
    for found in (found for part in parts for found in part.found):
        by_identity.setdefault(found.record.identity, []).append(found)
    for runs in by_identity.values():
        counting, contradicting = (runs, []) if len(runs) == 1 else _counting(runs, preferred, submissions)
        kept += counting
        left_out += contradicting
    return Runs(sorted(_named_apart(kept), key=lambda found: found.record.name), left_out, by_index)


def names(results: Path) -> list[str]:
    """Return the runs' folder names in order; empty if there are none."""
    return sorted(path.parent.name for path in (results / "runs").glob(f"*/{CONFIG}"))


def find(results: Results, word: str, prefer: str | Path | None = None) -> StoredRun:
    """Return the run that a person names by its folder, a unique beginning of that, or an identity or its beginning.

    An identity alone names the run and not its replicates. Of the same run in several folders the first that has ended
    for good counts. ``results`` and ``prefer`` are as in :func:`read`.

    Raises:
        InputError: If there is none, or several, or it is damaged, or the folders have it with other numbers.
    """
    roots = folders(results)
    preferred = _preferred(roots, prefer)
    known = {root: names(root) for root in roots}
    name = _match(list(dict.fromkeys(name for own in known.values() for name in own)), word)
    there = [root for root, own in known.items() if name in own]
    found = [Found(root, brief(name, whole_files(root / "runs" / name))) for root in there]
    counting, contradicting = _counting(found, preferred, {})
    if not counting:
        raise InputError(contradicting[0].reason if contradicting else f"the run {name} is gone")
    return counting[0].stored()


def _match(known: Sequence[str], word: str) -> str:
    # a path, as a shell completes it, names its last part
    wanted = Path(word).name
    exact = [name for name in known if name == wanted]
    by_identity = [name for name in known if wanted and identity_in(name) == wanted]
    begun = [name for name in known if wanted and (name.startswith(wanted) or identity_in(name).startswith(wanted))]
    found = exact or by_identity or begun
    originals = [name for name in found if REPLICATE not in name]
    found = originals if len(originals) == 1 else found
    if not found:
        shown = list(known[:10])
        raise unknown("run", word, shown if len(known) <= 10 else [*shown, f"... {len(known)} in all: bench list runs"])
    if len(found) > 1:
        some = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise InputError(f"run {word!r} names {len(found)} runs: {some}")
    return found[0]


def better(one: Found, other: Found) -> Found | None:
    """Return which of two runs of one identity and environment group counts; None if they contradict each other."""
    final = one.record.status.final, other.record.status.final
    if final[0] != final[1]:
        return one if final[0] else other
    if not all(final):
        return other if other.record.epochs > one.record.epochs else one
    return one if (one.record.status, one.record.digest) == (other.record.status, other.record.digest) else None


def contradiction(*runs: Found) -> str:
    """Return the line that names two runs of one environment with other numbers."""
    described = []
    for run in runs:
        accuracy = run.record.last_metrics().get("student")
        number = "no accuracy" if accuracy is None else f"student {accuracy:.10g} % after {run.record.epochs} epochs"
        ended = "" if run.record.status is Status.FINISHED else f"{run.record.status}, "
        keys, made_with = ("hardware", "torch", "okdbench", "commit"), run.record.made_with
        made = ", ".join(f"{key} {made_with[key]}" for key in keys if made_with.get(key))
        described.append(f"{run.folder} ({ended}{number}; {made or 'unknown environment'})")
    return f"the same run has other numbers: {' against '.join(described)}; --prefer names a folder"


def _counting(
    runs: Sequence[Found], preferred: Path | None, claims: Mapping[Path, str]
) -> tuple[list[Found], list[LeftOut]]:
    """Return which of several runs of one identity count, one per environment group, and a line per contradiction."""
    groups: dict[str, list[Found]] = {}
    for run in runs:
        # what has not ended is nobody's replicate
        groups.setdefault(run.record.environment if run.record.status.final else "", []).append(run)
    if len(groups) > 1:
        groups.pop("", None)
    counting: list[Found] = []
    left_out: list[LeftOut] = []
    for own in groups.values():
        # what others claim comes last: it never counts instead of a result
        first, *others = sorted(own, key=lambda run: run.root.resolve() in claims)
        contradicting = [run for run in others if better(first, run) is None]
        if not contradicting:
            for run in others:
                first = better(first, run) or first
            counting.append(first)
            continue
        chosen = next((run for run in own if run.root.resolve() == preferred), None)
        theirs = [run for run in contradicting if run.root.resolve() in claims]
        if chosen is None:
            left_out.append(LeftOut(contradicting[0].folder, contradiction(first, contradicting[0])))
        if chosen is not None or len(theirs) == len(contradicting):
            counting.append(_claimed(chosen or first, claims))
        counting += [_claimed(run, claims) for run in theirs if run is not chosen]
    results = [run.record for run in runs if run.root.resolve() not in claims]
    for place, run in enumerate(counting):
        if run.root.resolve() not in claims:
            joined = reduce(Record.asked_as, results, run.record)
            counting[place] = replace(run, record=joined)
    return counting, left_out


def _claimed(run: Found, claims: Mapping[Path, str]) -> Found:
    """Return a run of a submission as one of an environment that names the submission; any other as it is."""
    if (submission := claims.get(run.root.resolve())) is None:
        return run
    hardware = f"{run.record.made_with.get('hardware') or 'unknown hardware'}, claimed in {submission}"
    end = {**run.record.end, "environment": {**run.record.made_with, "hardware": hardware}}
    return replace(run, record=replace(run.record, ending=json.dumps(end, separators=(",", ":"))))


def _named_apart(runs: Iterable[Found]) -> Iterator[Found]:
    """Yield the runs, each with a name of its own: replicates in several folders have one name there."""
    seen: set[str] = set()
    for run in runs:
        name = run.record.name
        if name in seen:
            name = replicate_name(name, run.record.made_with)
            number = 1
            while name in seen:
                number += 1
                name = f"{name.partition('~')[0]}~{number}"
            run = replace(run, record=replace(run.record, name=name), stored_as=run.folder.name)
        seen.add(name)
        yield run


def _preferred(roots: Sequence[Path], prefer: str | Path | None) -> Path | None:
    if prefer is None:
        return None
    found = paths.written(prefer, "prefer").resolve()
    if found not in {root.resolve() for root in roots}:
        raise unknown("results folder", str(prefer), [str(root) for root in roots])
    return found


def _read_one(root: Path, by_index: bool) -> Runs:
    """Return the runs of one results folder, by its index where that holds, and bring the index up to date."""
    stamps = scan(root)
    # nothing that prints or stores such a name would work
    unprintable = [name for name in stamps if not name.isprintable()]
    left_out = [LeftOut(root / "runs" / name, "its name is no text") for name in unprintable if stamps.pop(name)]
    if not by_index:
        found = [Found(root, entry.record) for entry, _ in _entries(root, stamps)]
    else:
        with Index(root) as index:
            known = index.entries()
            held = {name: known[name] for name, now in stamps.items() if name in known and known[name].holds(now)}
            found = [Found(root, entry.record) for entry in held.values()]
            stale = [name for name in stamps if name not in held]
            for start in range(0, len(stale), BATCH):
                batch = list(_entries(root, stale[start : start + BATCH]))
                index.write(batch)
                found += [Found(root, entry.record) for entry, _ in batch]
            if gone := known.keys() - stamps.keys():
                index.write((), gone)
    found.sort(key=lambda run: run.record.name)
    left_out += [LeftOut(run.folder, f"it is damaged: {run.record.damage}") for run in found if run.record.damage]
    return Runs([run for run in found if not run.record.damage], left_out)


def _entries(root: Path, names: Iterable[str]) -> Iterator[tuple[Entry, Scores | None]]:
    """Yield the runs' entries and reduced curves; nothing of one whose folder is gone, no curve of a damaged one."""
    for name in names:
        folder, seen = root / "runs" / name, time.time_ns()
        try:
            contents = read_files(folder)
        except DamagedError as error:
            if folder.is_dir():
                yield Entry(error.stamp, seen, Record(name, damage=str(error))), None
            continue
        yield Entry(contents.stamp, seen, brief(name, contents)), reduced(contents)
