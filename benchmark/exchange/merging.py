"""The runs of bundles put into a results folder: all is checked before anything is written."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark import store
from benchmark.configuration import RunConfig
from benchmark.errors import MachineError
from benchmark.exchange.bundles import RUNS, SOURCES, BundledRun, BundledSource, contents
from benchmark.store import Found, Store
from benchmark.tables import PLANS, Plan
from methods.errors import InputError


@dataclass(frozen=True)
class Merged:
    """What a merge did, or would do."""

    added: int  # runs that were not there, replicates among them
    completed: int  # runs that were there, but had not ended for good
    present: int  # runs that were there already, or are better than those of the bundles
    busy: int = 0  # runs that another command is carrying out: they were left
    replicates: int = 0  # of those added, how many are there as measured in another environment too
    # a line for each run that has other numbers in the same environment: it was left
    contradictions: Sequence[str] = ()
    plans: int = 0  # sequential plans that were not there; those that are there stay beside them


def merge(bundles: Sequence[Path], into: Path, dry_run: bool = False) -> Merged:
    """Put the runs of bundles into a results folder, which is made; what is there already stays.

    A run that has ended for good takes the place of one that has not. The same run of another environment group is kept
    beside the first as a replicate. Of two of one environment group the first stays; if the other has other numbers,
    that is named. A dry run writes nothing.

    Raises:
        InputError: If a bundle or a run that is there is damaged; nothing has been written then.
        MachineError: If the folder cannot be written; the same merge resumes.
    """
    wanted = _Targets(into)
    plans: set[str] = set()
    for bundle in bundles:
        for item in contents(bundle):
            if isinstance(item, BundledRun):
                wanted.add(bundle, item)
            elif isinstance(item, Plan) and not (into / PLANS / item.file).exists():
                plans.add(item.file)
    targets = dict(wanted.targets)
    added = [target for target in targets.values() if not (into / RUNS / target).exists()]
    done = Merged(
        added=len(added),
        completed=len(targets) - len(added),
        present=wanted.present,
        replicates=sum(store.REPLICATE in target for target in added),
        contradictions=tuple(wanted.contradictions),
        plans=len(plans),
    )
    if dry_run:
        return done
    results = Store(into)
    busy = 0
    try:
        results.runs.mkdir(parents=True, exist_ok=True)
        for bundle in bundles:
            for item in contents(bundle):
                if isinstance(item, Plan):
                    item.store(into)
                elif isinstance(item, BundledSource):
                    source = into / SOURCES / item.name
                    if not source.exists():
                        source.parent.mkdir(exist_ok=True)
                        store.atomic.write_bytes(source, item.content)
                elif (target := targets.pop((item.name, item.hash), None)) is not None:
                    busy += not _write(results, item, target)
        for config in wanted.asked:
            results.claim(config)
    except OSError as error:
        raise MachineError(f"cannot write to {into}: {error.strerror}") from None
    if targets:
        raise InputError(f"a bundle has changed while it was read: {len(targets)} runs are missing in it now")
    return replace(done, completed=done.completed - busy, busy=busy)


class _Targets:
    """What is to be written.

    Attributes:
        targets: The folder's name of each run that is written, by its name in the bundle and the hash of its files.
        present: How many runs are there already.
        asked: Runs that were asked for as something else too.
        contradictions: A line each.
    """

    def __init__(self, into: Path) -> None:
        self._into = into
        self._chosen: dict[str, tuple[Found, tuple[str, str] | None]] = {}
        self.targets: dict[tuple[str, str], str] = {}
        self.present = 0
        self.asked: list[RunConfig] = []
        self.contradictions: list[str] = []

    def add(self, bundle: Path, item: BundledRun) -> None:
        """Decide about one run of a bundle."""
        given = Found(bundle, store.brief(item.name, item.contents))
        target = item.name.partition(store.REPLICATE)[0]
        there = self._there(target)
        if there is not None and there[0].record.environment != given.record.environment:
            both_final = there[0].record.status.final and given.record.status.final
            target = store.replicate_name(target, item.contents.environment) if both_final else target
            there = self._there(target) if both_final else there
        if there is not None:
            counts = store.better(there[0], given)
            if counts is None:
                self.contradictions.append(store.contradiction(there[0], given))
                return
            # a run that is not at its end resumes where it is
            stays = counts is there[0] or not given.record.status.final
            winner, other = (there[0], given) if stays else (given, there[0])
            if (joined := winner.record.asked_as(other.record)) is not winner.record:
                self.asked.append(joined.config)
            if stays:
                self.present += there[1] is None
                return
            if there[1] is not None:
                del self.targets[there[1]]
        key = item.name, item.hash
        self._chosen[target] = given, key
        self.targets[key] = target

    def _there(self, name: str) -> tuple[Found, tuple[str, str] | None] | None:
        """Return the run that a name has in the folder or is going to have, the latter with its key."""
        folder = self._into / RUNS / name
        if name in self._chosen or not folder.exists():
            return self._chosen.get(name)
        return Found(self._into, store.brief(name, store.whole_files(folder))), None


def _write(results: Store, run: BundledRun, target: str) -> bool:
    """Write a run; return whether that was possible."""
    folder = results.runs / target
    # the result is written last, as by a run
    order = [
        *(name for name in store.LIMITS if name != store.RESULT),
        *sorted(run.files.keys() - store.LIMITS.keys()),
        store.RESULT,
    ]
    files = [(name, run.files[name]) for name in order if name in run.files]
    if folder.exists():
        with results.lock(run.contents.config, patience=0) as held:
            for name, content in files if held else ():
                store.atomic.write_bytes(folder / name, content)
        return held
    # a folder is wholly there or not at all
    temporary = results.runs / f".{target}.{os.getpid()}{store.atomic.SUFFIX}"
    try:
        temporary.mkdir()
        for name, content in files:
            store.atomic.write_bytes(temporary / name, content)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True
