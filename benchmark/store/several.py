"""Several results folders as one: a run counts once, and what disagrees is named."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmark import paths
from benchmark.store import lookup
from benchmark.store.collection import Damaged, Found, Runs, read_one, read_whole
from benchmark.store.ending import Status
from benchmark.store.lookup import StoredRun
from benchmark.store.places import Results, folders
from benchmark.store.records import brief
from methods.errors import InputError, unknown


def read(results: Results, prefer: str | Path | None = None, every_epoch: bool = False) -> Runs:
    """Return the runs of all results folders, each identity once.

    Of runs of the same identity one that has ended for good comes before one that has not, and then the one with more
    epochs; runs that have ended for good must agree in every loss and accuracy, unless one folder is preferred.

    Args:
        results: A results folder, or several; patterns such as ``lab*/results`` too.
        prefer: The folder whose runs count where others disagree; one of ``results``.
        every_epoch: Whether the metrics of all epochs are read.

    Raises:
        InputError: If a folder is not there, or runs of the same identity disagree; both are named with their numbers.
    """
    roots = folders(results)
    preferred = _preferred(roots, prefer)
    parts = [(read_whole if every_epoch else read_one)(root) for root in roots]
    if len(parts) == 1:
        return parts[0]
    kept: dict[str, Found] = {}
    disputed: list[tuple[Found, Found]] = []
    # within one folder the same run may lie twice under two names; the table counts it once
    for part in parts:
        before = dict(kept)
        for found in part.found:
            other = before.get(found.record.identity)
            if other is None:
                kept[found.record.identity if found.record.identity not in kept else str(found.folder)] = found
                continue
            winner = better(other, found, preferred)
            if winner is None:
                disputed.append((other, found))
            else:
                loser = found if winner is other else other
                kept[found.record.identity] = replace(winner, record=winner.record.asked_as(loser.record))
    if disputed:
        raise InputError(dispute(disputed))
    runs, damaged = _named_once(kept.values())
    return Runs(runs, [*(one for part in parts for one in part.damaged), *damaged])


def find(results: Results, word: str, prefer: str | Path | None = None) -> StoredRun:
    """Return the run that a person means, see :func:`benchmark.store.lookup.meant`, of several results folders.

    Args:
        results: As in :func:`read`.
        word: What the person wrote.
        prefer: As in :func:`read`.

    Raises:
        InputError: If there is none, or several, or it is damaged, or the folders have it with other numbers.
    """
    roots = folders(results)
    preferred = _preferred(roots, prefer)
    known = {root: lookup.names(root) for root in roots}
    name = lookup.meant({name: None for names in known.values() for name in names}, word)
    counts: Found | None = None
    for root in (root for root, names in known.items() if name in names):
        read = StoredRun.contents(root / "runs" / name)
        found = Found(root, brief(name, read))
        winner = found if counts is None else better(counts, found, preferred)
        if winner is None and counts is not None:
            raise InputError(dispute([(counts, found)]))
        counts = winner
    if counts is None:
        raise InputError(f"the run {name} is gone")
    return counts.stored()


def _preferred(roots: Sequence[Path], prefer: str | Path | None) -> Path | None:
    if prefer is None:
        return None
    found = paths.written(prefer, "prefer").resolve()
    if found not in {root.resolve() for root in roots}:
        raise unknown("results folder", str(prefer), [str(root) for root in roots])
    return found


def agree(one: Found, other: Found) -> bool:
    """Return whether two runs of the same identity ended alike, with the same numbers."""
    return (one.record.status, one.record.digest) == (other.record.status, other.record.digest)


def better(one: Found, other: Found, preferred: Path | None = None) -> Found | None:
    """Return which of two runs of the same identity counts; None if they disagree."""
    final = one.record.status.final, other.record.status.final
    if final[0] != final[1]:
        return one if final[0] else other
    if not all(final):
        return other if other.record.epochs > one.record.epochs else one
    if agree(one, other):
        return one
    chosen = [run for run in (one, other) if run.root.resolve() == preferred]
    return chosen[0] if chosen else None


def dispute(pairs: Sequence[tuple[Found, Found]]) -> str:
    """Return the line that names runs which disagree, the first of them with numbers and environments."""
    one, other = pairs[0]
    more = f"; and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    return (
        f"the same run has other numbers: {_described(one)} against {_described(other)}{more}; --prefer names a folder"
    )


def _described(run: Found) -> str:
    accuracy = run.record.last_metrics().get("student")
    number = f"student {accuracy:.10g} % after {run.record.epochs} epochs" if accuracy is not None else "no accuracy"
    ended = "" if run.record.status is Status.FINISHED else f"{run.record.status}, "
    result = run.record.result
    environment = (result.environment or {}) if result else {}
    made = ", ".join(
        f"{key} {environment[key]}" for key in ("hardware", "torch", "okdbench", "commit") if environment.get(key)
    )
    return f"{run.folder} ({ended}{number}; {made or 'unknown environment'})"


def _named_once(runs: Iterable[Found]) -> tuple[list[Found], list[Damaged]]:
    """Return the runs by name, and as damaged those whose name another run has."""
    found: dict[str, Found] = {}
    damaged = []
    for run in runs:
        if (first := found.setdefault(run.record.name, run)) is not run:
            damaged.append(Damaged(run.folder, f"another run has its name: {first.folder}"))
    return [found[name] for name in sorted(found)], damaged
