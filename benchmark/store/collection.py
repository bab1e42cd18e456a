"""The runs of one results folder or of several: all of them in brief, the curves of some, or one that is named."""

import glob
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

from benchmark import paths
from benchmark.store.files import CONFIG, DamagedError, Stamp, Status, read_files, stamp, whole_files
from benchmark.store.index import Index, Scores, StoredRun, brief, reduced
from benchmark.store.runs import REPLICATE, identity_in, replicate_name
from methods.errors import InputError, unknown

Results = str | Path | Sequence[str | Path]

BATCH = 200  # runs that are read between two writings of the index: a command that is killed loses no more


@dataclass(frozen=True)
class Runs:
    """The runs of one results folder or of several."""

    found: Sequence[StoredRun]  # in the order of their names
    left_out: Mapping[Path, str]  # a line by the folder of each that is left out: it is damaged, or contradicts another
    by_index: bool = True  # whether curves may be taken from the index

    def curves(self, names: Collection[str]) -> Iterator[tuple[str, Scores]]:
        """Yield the curves of the runs of these names, as :func:`benchmark.store.index.reduced`, in any order."""
        by_root: dict[Path, dict[str, str]] = {}
        for run in self.found:
            if run.name in names:
                by_root.setdefault(run.root, {})[run.folder.name] = run.name
        for root, missing in by_root.items():
            if self.by_index:
                with Index(root) as index:
                    for stored_as, curve in index.curves([*missing]):
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

    One that is not there, or a pattern that fits none, is an InputError.
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
    """Return the stamp of every run below a results folder by name, in their order, or raise an InputError."""
    if not root.is_dir():
        raise InputError(f"no such results folder: {root}")
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
    for run in (run for root in roots for run in _read_one(root, by_index)):
        if run.damage:
            left_out[run.folder] = f"{run.folder} is left out: it is damaged: {run.damage}"
        else:
            by_identity.setdefault(run.identity, []).append(run)
    for runs in by_identity.values():
        counting, contradicting = (runs, {}) if len(runs) == 1 else _counting(runs, preferred, submissions)
        kept += counting
        left_out |= {folder: f"{folder} is left out: {why}" for folder, why in contradicting.items()}
    return Runs(sorted(_named_apart(kept), key=lambda run: run.name), left_out, by_index)


def names(results: Path) -> list[str]:
    """Return the runs' folder names in order; empty if there are none."""
    return sorted(path.parent.name for path in (results / "runs").glob(f"*/{CONFIG}"))


def find(results: Results, word: str, prefer: str | Path | None = None) -> StoredRun:
    """Return the run that a person names by its folder, a unique beginning of that, or an identity or its beginning.

    An identity alone names the run and not its replicates. Of the same run in several folders the first that has ended
    for good counts. ``results`` and ``prefer`` are as in :func:`read`. It is an InputError if there is none, or there
    are several, or it is damaged, or the folders have it with other numbers.
    """
    roots = folders(results)
    preferred = _preferred(roots, prefer)
    by_root = {root: names(root) for root in roots}
    known = list(dict.fromkeys(name for own in by_root.values() for name in own))
    # a path, as a shell completes it, names its last part
    wanted = Path(word).name
    exact = [name for name in known if name == wanted]
    found = exact or [name for name in known if wanted and identity_in(name) == wanted]
    if wanted and not found:
        found = [name for name in known if name.startswith(wanted) or identity_in(name).startswith(wanted)]
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
    runs = [brief(root, name, whole_files(root / "runs" / name)) for root in there]
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
        accuracy = run.last_metrics().get("student")
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
    if (submission := claims.get(run.root.resolve())) is None:
        return run
    hardware = f"{run.made_with.get('hardware') or 'unknown hardware'}, claimed in {submission}"
    end = json.loads(run.ending) | {"environment": {**run.made_with, "hardware": hardware}}
    return replace(run, ending=json.dumps(end, separators=(",", ":")))


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


def _read_one(root: Path, by_index: bool) -> list[StoredRun]:
    """Return the runs of one results folder, by its index where that holds, and bring the index up to date."""
    stamps = scan(root)
    # nothing that prints or stores such a name would work
    found = [StoredRun(root, name, damage="its name is no text") for name in stamps if not name.isprintable()]
    for one in found:
        del stamps[one.name]
    if by_index:
        with Index(root) as index:
            known = index.runs()
            found += [known[name] for name, now in stamps.items() if name in known and known[name].stamp == now]
            held = {one.name for one in found}
            stale = [name for name in stamps if name not in held]
            for start in range(0, len(stale), BATCH):
                batch = list(_read_files(root, stale[start : start + BATCH]))
                index.write(batch)
                found += [run for run, _ in batch]
            if gone := known.keys() - stamps.keys():
                index.write((), gone)
    else:
        found += [run for run, _ in _read_files(root, stamps)]
    return sorted(found, key=lambda run: run.name)


def _read_files(root: Path, names: Iterable[str]) -> Iterator[tuple[StoredRun, Scores]]:
    """Yield the runs in brief with their reduced curves; nothing of one whose folder is gone."""
    for name in names:
        try:
            contents = read_files(root / "runs" / name)
        except DamagedError as error:
            if (root / "runs" / name).is_dir():
                yield StoredRun(root, name, stamp=error.stamp, damage=str(error)), Scores.of([])
        else:
            yield brief(root, name, contents), reduced(contents)
