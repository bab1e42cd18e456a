"""The runs of bundles put into a results folder: all is checked before anything is written."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.configuration import RunConfig
from benchmark.errors import MachineError
from benchmark.exchange.packing import RUNS, SOURCES
from benchmark.exchange.reading import BundledRun, Source, contents
from benchmark.store import (
    CONFIG,
    METRICS,
    RESULT,
    DamagedError,
    Found,
    Store,
    atomic,
    better,
    brief,
    dispute,
    read_files,
)
from methods.errors import InputError


@dataclass(frozen=True)
class Merged:
    """What a merge did, or would do.

    Attributes:
        added: Runs that were not there.
        completed: Runs that were there, but had not ended for good.
        present: Runs that were there already, or are better than those of the bundles.
        busy: Runs that another command is carrying out: they were left.
    """

    added: int
    completed: int
    present: int
    busy: int = 0


def merge(bundles: Sequence[Path], into: Path, dry_run: bool = False) -> Merged:
    """Put the runs of bundles into a results folder, which is made; what is there already stays.

    A run that has ended for good takes the place of one that has not; of two that have, both must have the same losses
    and accuracies.

    Args:
        bundles: Files that ``bench pack`` wrote.
        into: The results folder.
        dry_run: Whether nothing is written.

    Raises:
        InputError: If a bundle is damaged, or a run has other numbers than the same one there or in another bundle;
            nothing has been written then.
        MachineError: If the folder cannot be written; the same merge goes on.
    """
    plan, present, asked = _plan(bundles, into)
    added = [name for name in plan if not (into / RUNS / name).exists()]
    done = Merged(len(added), len(plan) - len(added), present)
    if dry_run:
        return done
    store = Store(into)
    busy = 0
    try:
        store.runs.mkdir(parents=True, exist_ok=True)
        for bundle in bundles:
            for item in contents(bundle):
                if isinstance(item, Source):
                    _write_source(into / SOURCES, item)
                elif plan.get(item.name) == item.hash:
                    del plan[item.name]
                    busy += not _write(store, item)
        for config in asked:
            store.claim(config)
    except OSError as error:
        raise MachineError(f"cannot write to {into}: {error.strerror}") from None
    if plan:
        raise InputError(f"a bundle has changed while it was read: {len(plan)} runs are missing in it now")
    return Merged(done.added, done.completed - busy, done.present, busy)


def _plan(bundles: Sequence[Path], into: Path) -> tuple[dict[str, str], int, list[RunConfig]]:
    """Return what is to be written.

    Returns:
        The hash of each run's files by its name, how many runs are there already, and runs that were asked for as
        something else too.
    """
    asked: list[RunConfig] = []
    plan: dict[str, str] = {}
    chosen: dict[str, Found] = {}
    present: set[str] = set()
    for bundle in bundles:
        for item in contents(bundle):
            if isinstance(item, Source):
                continue
            given = Found(bundle, brief(item.name, item.checked()))
            there = chosen.get(item.name) or _there(into, item.name)
            if there is not None:
                counts = better(there, given)
                if counts is None:
                    raise InputError(dispute([(there, given)]))
                # a run that is not at its end goes on where it is
                stays = counts is there or not given.record.status.final
                winner, other = (there, given) if stays else (given, there)
                if (joined := winner.record.asked_as(other.record)) is not winner.record:
                    asked.append(joined.config)
                if stays:
                    present.add(item.name)
                    continue
            chosen[item.name] = given
            plan[item.name] = item.hash
    return plan, len(present - plan.keys()), asked


def _there(into: Path, name: str) -> Found | None:
    folder = into / RUNS / name
    if not folder.exists():
        return None
    try:
        return Found(into, brief(name, read_files(folder).contents))
    except DamagedError as error:
        raise InputError(f"{folder} is damaged: {error}: move it away") from None


def _write(store: Store, run: BundledRun) -> bool:
    """Write a run; return whether that was possible."""
    folder = store.runs / run.name
    if folder.exists():
        with store.lock(run.checked().config, patience=0) as held:
            if held:
                for name in sorted(run.files, key=_order):
                    atomic.write_bytes(folder / name, run.files[name])
        return held
    # a folder is wholly there or not at all
    temporary = store.runs / f".{run.name}.{os.getpid()}{atomic.SUFFIX}"
    try:
        temporary.mkdir()
        for name in sorted(run.files, key=_order):
            atomic.write_bytes(temporary / name, run.files[name])
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def _order(name: str) -> tuple[int, str]:
    """Return a key that puts the result last, as a run writes it."""
    known = (CONFIG, METRICS, RESULT)
    return (known.index(name) if name in (CONFIG, METRICS) else len(known) * (name == RESULT) + 2, name)


def _write_source(folder: Path, source: Source) -> None:
    if not (folder / source.name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(folder / source.name, source.content)
