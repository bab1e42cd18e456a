"""The runs of one results folder or of several: all of them in brief, the curves of some, or one that is named."""

import glob
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

from benchmark import paths
from benchmark.store.files import (
    DamagedError,
    Row,
    Stamp,
    Status,
    read_files,
    read_metrics,
    stamp,
    whole_files,
)
from benchmark.store.index import StoredRun, brief, read_index, write_index
from benchmark.store.runs import REPLICATE, identity_in, replicate_name
from methods.errors import InputError, unknown

Results = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Runs:
    """The runs of one results folder or of several."""

    found: Sequence[StoredRun]  # in the order of their names
    left_out: Mapping[Path, str]  # a line by the folder of each that is left out: it is damaged, or contradicts another

    def curves(self, names: Collection[str]) -> Iterator[tuple[str, list[Row]]]:
        """Yield the metrics of the runs of these names, a row per epoch."""
        for run in self.found:
            if run.name in names:
                # it was whole a moment ago; what has become of it is said by the next command
                with suppress(DamagedError):
                    yield run.name, read_metrics(run.folder)


def folders(results: Results) -> list[Path]:
    """Return the results folders that a person means, each once, in the order given; patterns as ``lab*/results`` too.

    One that is not there, or a pattern that fits none, is an InputError.
    """
    given = [results] if isinstance(results, str | Path) else list(results)
    if not given:
        raise InputError("no results folder is named")
    found: dict[Path, Path] = {}
    for one in given:
        path = paths.written(one, "results")
        places = [path] if paths.is_folder(path) else map(Path, sorted(glob.glob(str(path))))  # noqa: PTH207
        there = [place for place in places if paths.is_folder(place)]
        if not there:
            raise InputError(f"no such results folder: {path}")
        for place in there:
            found.setdefault(place.resolve(), place)
    return list(found.values())


def scan(root: Path) -> dict[str, Stamp]:
    """Return the stamp of every run below a results folder by name, in their order; nothing if there is no folder."""
    try:
        names = sorted(name for name in os.listdir(root / "runs") if not name.startswith("."))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InputError(f"cannot read {root / 'runs'}: {error.strerror}") from None
    return {name: found for name in names if (found := stamp(f"{root}/runs/{name}"))[0] >= 0}


def read(
    results: Results,
    prefer: str | Path | None = None,
    by_index: bool = True,
    claims: Mapping[Path, str] | None = None,
) -> Runs:
    """Return the runs of all results folders, which are given, and must be there, as for :func:`folders`.

    Of runs of the same identity in one environment group one counts: one that has ended for good comes before one that
    has not, and then the one with more epochs. In another environment group the same run is a replicate, and both
    count. Runs of one environment group that have ended for good with other numbers contradict each other: both are
    left out, unless one folder is preferred.

    Args:
        prefer: The folder whose runs count where others contradict them; one of ``results``.
        by_index: Whether what the index holds need not be read again; never for results of other people.
        claims: Those of the folders that other people have submitted, with the submissions' names: their runs never
            count instead of a run of another folder, and change nothing of what that was asked for as. One that
            contradicts another run is kept beside it, as of an environment that names the submission.
    """
    roots = folders(results)
    preferred = _preferred(roots, prefer)
    submissions = {path.resolve(): name for path, name in (claims or {}).items()}
    kept: list[StoredRun] = []
    left_out: dict[Path, str] = {}
    by_identity: dict[str, list[StoredRun]] = {}
    for root in roots:
        for run in _read_one(root, by_index, left_out):
            by_identity.setdefault(run.identity, []).append(run)
    for runs in by_identity.values():
        counting, contradicting = (runs, {}) if len(runs) == 1 else _counting(runs, preferred, submissions)
        kept += counting
        left_out |= {folder: f"{folder} is left out: {why}" for folder, why in contradicting.items()}
    return Runs(sorted(_named_apart(kept), key=lambda run: run.name), left_out)


def find(results: Results, word: str, prefer: str | Path | None = None) -> StoredRun:
    """Return the run that a person names by its folder, a unique beginning of that, or an identity or its beginning.

    An identity alone names the run and not its replicates. Of the same run in several folders the first that has ended
    for good counts. ``results`` and ``prefer`` are as in :func:`read`. It is an InputError if there is none, or there
    are several, or it is damaged, or the folders have it with other numbers.
    """
    roots = folders(results)
    preferred = _preferred(roots, prefer)
    by_root = {root: scan(root) for root in roots}
    known = list(dict.fromkeys(name for own in by_root.values() for name in own))
    # a path, as a shell completes it, names its last part
    wanted = Path(word).name
    identities = {name: identity_in(name) for name in known if wanted}
    found = [name for name in identities if name == wanted] or [
        name for name in known if identities.get(name) == wanted
    ]
    found = found or [name for name, own in identities.items() if name.startswith(wanted) or own.startswith(wanted)]
    originals = [name for name in found if REPLICATE not in name]
    found = originals if len(originals) == 1 else found
    if not found:
        more = [f"... {len(known)} in all: bench list runs"] if len(known) > 10 else []
        raise unknown("run", word, [*known[:10], *more])
    if len(found) > 1:
        some = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise InputError(f"run {word!r} names {len(found)} runs: {some}")
    (name,) = found
    there = [root for root, own in by_root.items() if name in own]
    runs = [brief(root, whole_files(root / "runs" / name)) for root in there]
    counting, contradicting = _counting(runs, preferred, {})
    if not counting:
        raise InputError(next(iter(contradicting.values())))
    return counting[0]


def better(one: StoredRun, other: StoredRun) -> StoredRun | None:
    """Return which of two runs of one identity and environment group counts; None if they contradict each other."""
    final = one.status.final, other.status.final
    if final[0] != final[1]:
        return one if final[0] else other
    if not all(final):
        return other if other.epochs > one.epochs else one
    return one if (one.status, one.digest) == (other.status, other.digest) else None


def contradiction(*runs: StoredRun) -> str:
    """Return the line that names two runs of one environment with other numbers."""
    described = []
    for run in runs:
        accuracy = run.last_metrics.get("student")
        number = "no accuracy" if accuracy is None else f"student {accuracy:.10g} % after {run.epochs} epochs"
        ended = "" if run.status is Status.FINISHED else f"{run.status}, "
        keys, made_with = ("hardware", "torch", "okdbench", "commit"), run.made_with
        made = ", ".join(f"{key} {made_with[key]}" for key in keys if made_with.get(key))
        described.append(f"{run.folder} ({ended}{number}; {made or 'unknown environment'})")
    return f"the same run has other numbers: {' against '.join(described)}; --prefer names a folder"


def _counting(
    runs: Sequence[StoredRun], preferred: Path | None, claims: Mapping[Path, str]
) -> tuple[list[StoredRun], dict[Path, str]]:
    """Return which of several runs of one identity count, one per environment group, and which contradict them."""
    groups: dict[str, list[StoredRun]] = {}
    for run in runs:
        # what has not ended is nobody's replicate
        groups.setdefault(run.environment if run.status.final else "", []).append(run)
    if len(groups) > 1:
        groups.pop("", None)
    counting: list[StoredRun] = []
    left_out: dict[Path, str] = {}
    for own in groups.values():
        # what others claim comes last: it never counts instead of a result
        first, *others = sorted(own, key=lambda run: run.root.resolve() in claims)
        contradicting = [run for run in others if better(first, run) is None]
        if not contradicting:
            counting.append(reduce(lambda one, other: better(one, other) or one, others, first))
            continue
        chosen = next((run for run in own if run.root.resolve() == preferred), None)
        theirs = [run for run in contradicting if run.root.resolve() in claims]
        if chosen is None:
            left_out[contradicting[0].folder] = contradiction(first, contradicting[0])
        if chosen is not None or len(theirs) == len(contradicting):
            counting.append(_claimed(chosen or first, claims))
        counting += [_claimed(run, claims) for run in theirs if run is not chosen]
    # what it was asked for as by its owner, in whichever folder
    results = [run for run in runs if run.root.resolve() not in claims]
    counting = [run if run.root.resolve() in claims else reduce(StoredRun.asked_as, results, run) for run in counting]
    return counting, left_out


def _claimed(run: StoredRun, claims: Mapping[Path, str]) -> StoredRun:
    """Return a run of a submission as one of an environment that names the submission; any other as it is."""
    submission = claims.get(run.root.resolve())
    if submission is None or run.result is None:
        return run
    hardware = f"{run.made_with.get('hardware') or 'unknown hardware'}, claimed in {submission}"
    return replace(run, result=replace(run.result, environment={**run.made_with, "hardware": hardware}))


def _named_apart(runs: Iterable[StoredRun]) -> Iterator[StoredRun]:
    """Yield the runs, each with a name of its own: replicates in several folders have one name there."""
    seen: set[str] = set()
    for run in runs:
        if run.name in seen:
            run = replace(run, name=replicate_name(run.name, run.made_with), stored_as=run.folder.name)
        seen.add(run.name)
        yield run


def _preferred(roots: Sequence[Path], prefer: str | Path | None) -> Path | None:
    if prefer is None:
        return None
    found = paths.written(prefer, "prefer").resolve()
    if found not in {root.resolve() for root in roots}:
        raise unknown("results folder", str(prefer), [str(root) for root in roots])
    return found


def _read_one(root: Path, by_index: bool, left_out: dict[Path, str]) -> list[StoredRun]:
    """Return the runs of one results folder, by its index where that holds, and bring the index up to date.

    Those that are damaged are added to what is left out.
    """
    stamps = scan(root)
    known = read_index(root) if by_index else {}
    found = {name: run for name, run in known.items() if stamps.get(name) == run.stamp}
    try:
        for name in [name for name in stamps if name not in found]:
            folder = root / "runs" / name
            try:
                if not name.isprintable():
                    # nothing that prints or stores such a name would work
                    raise DamagedError("its name is no text")
                found[name] = brief(root, read_files(folder))
            except DamagedError as error:
                if folder.is_dir():
                    left_out[folder] = f"{folder} is left out: it is damaged: {error}"
    finally:
        # a command that is interrupted loses nothing of what was read
        if by_index and found != known:
            write_index(root, found.values())
    return sorted(found.values(), key=lambda run: run.name)
