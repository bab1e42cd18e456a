"""The runs of bundles put into a results folder: all is checked before anything is written."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark import store
from benchmark.configuration import RunConfig
from benchmark.errors import MachineError
from benchmark.exchange.bundles import RUNS, BundledFile, contents
from benchmark.store import Contents, Store, StoredRun
from benchmark.tables import PLANS


class Merged(NamedTuple):
    """What a merge did, or would do."""

    added: int  # runs that were not there, replicates among them
    completed: int  # runs that were there, but had not ended for good
    present: int  # runs that were there already, or are better than those of the bundles
    busy: int = 0  # runs that another command is carrying out: they were left
    replicates: int = 0  # of those added, how many are there as measured in another environment too
    contradictions: Sequence[str] = ()  # a line for each run that was left: it has other numbers in one environment
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
    wanted: dict[str, StoredRun] = {}  # what is to be written, by the folder's name
    asked: list[RunConfig] = []
    contradictions: list[str] = []
    plans: set[str] = set()
    present = 0

    def run_there(name: str) -> StoredRun | None:
        folder = into / RUNS / name
        if name in wanted or not folder.exists():
            return wanted.get(name)
        return store.brief(into, store.whole_files(folder))

    for bundle in bundles:
        for item in contents(bundle):
            if isinstance(item, BundledFile):
                if item.path.startswith(PLANS) and not (into / item.path).exists():
                    plans.add(item.path)
                continue
            given = store.brief(bundle, item)
            target = item.name.partition(store.REPLICATE)[0]
            there = run_there(target)
            ended = there is not None and there.status.final and given.status.final
            if there is not None and ended and there.environment != given.environment:
                target = store.replicate_name(target, item.made_with)
                there = run_there(target)
            if there is not None:
                counts = store.better(there, given)
                if counts is None:
                    contradictions.append(store.contradiction(there, given))
                    continue
                # a run that is not at its end resumes where it is
                stays = counts is there or not given.status.final
                winner, other = (there, given) if stays else (given, there)
                if (joined := winner.asked_as(other)) is not winner:
                    asked.append(joined.config)
                if stays:
                    present += target not in wanted
                    continue
            wanted[target] = given
    added = [target for target in wanted if not (into / RUNS / target).exists()]
    busy = 0 if dry_run else _write_all(bundles, into, wanted, asked)
    return Merged(
        added=len(added),
        completed=len(wanted) - len(added) - busy,
        present=present,
        busy=busy,
        replicates=sum(store.REPLICATE in target for target in added),
        contradictions=tuple(contradictions),
        plans=len(plans),
    )


def _write_all(bundles: Sequence[Path], into: Path, wanted: Mapping[str, StoredRun], asked: Sequence[RunConfig]) -> int:
    """Write the runs that are wanted, by folder, and all other files; return how many runs another command works on."""
    targets = {(run.root, run.name): target for target, run in wanted.items()}
    results, busy = Store(into), 0
    try:
        results.runs.mkdir(parents=True, exist_ok=True)
        for bundle in bundles:
            for item in contents(bundle):
                if isinstance(item, BundledFile):
                    path = into / item.path
                    if not path.exists():
                        path.parent.mkdir(exist_ok=True)
                        store.atomic.write_bytes(path, item.content)
                elif target := targets.pop((bundle, item.name), ""):
                    busy += not _write(results, item, target)
        for config in asked:
            results.claim(config)
        if targets:
            raise MachineError(f"a bundle has changed while it was read: {len(targets)} of its runs are missing now")
    except OSError as error:
        raise MachineError(f"cannot write to {into}: {error.strerror}") from None
    return busy


def _write(results: Store, run: Contents, target: str) -> bool:
    """Write a run; return whether that was possible."""
    folder = results.runs / target
    raw = run.raw
    # the result is written last, as by a run
    files = sorted(raw.items(), key=lambda file: (file[0] == store.RESULT, file[0] not in store.LIMITS, file[0]))
    if folder.exists():
        with results.lock(run.config, patience=0) as held:
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
