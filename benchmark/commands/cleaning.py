"""``bench rm`` and ``bench du``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import Results, Split, Where, run_names, say_notes
from benchmark.console import tell
from methods.errors import InputError


def rm(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Runs, by folder name or identity.", metavar="RUN", autocompletion=run_names),
    ] = None,
    results: Results = Path("results"),
    where: Where = None,
    split: Split = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only runs that failed, of those given or of all.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Move them; without this option they are only listed.")] = False,
) -> None:
    """List runs to remove from the store; with --yes move them to RESULTS/trash. Nothing is deleted."""
    from benchmark import store
    from benchmark.store import Status
    from benchmark.tables import TableFilter

    if not (runs or where or split or failed):
        raise InputError("bench rm takes runs, --where CONDITION or --failed: it never removes all of them")
    stored = store.read(results)
    say_notes(map(str, stored.left_out))
    every = [run.stored() for run in stored.found]
    chosen = [store.find(results, word).name for word in runs or ()] or [run.name for run in every]
    if (where or split) and every:
        frame, _ = TableFilter(where, split or "all").runs(store.last_epochs(stored))
        chosen = [name for name in chosen if name in set(frame["run"])]
    broken = (Status.FAILED, Status.OUT_OF_MEMORY, Status.DIVERGED, Status.COLLAPSED)
    found = [run for run in every if run.name in chosen and (not failed or run.status in broken)]
    if not found:
        tell(f"no matching runs in {results}")
        return
    count = f"{len(found)} {'run' if len(found) == 1 else 'runs'}"
    if not yes:
        for run in found:
            size = sum(size for _, size in store.sizes_below(run.folder))
            tell(f"  {run.status:<13}  {size / 2**20:8.2f} MiB  {run.name}")
        tell(f"{count}; nothing is moved yet: --yes moves them to {results / store.TRASH}")
        return
    done = 0
    for run in found:
        fault = store.Store(results).move_to_trash(run.folder, run.config)
        tell(f"  {run.name}: {fault or 'moved'}")
        done += not fault
    tell(f"{done} of {count} moved to {results / store.TRASH}, which may be deleted, or moved back")
    if done < len(found):
        raise typer.Exit(1)


def du(results: Results = Path("results")) -> None:
    """Show what takes the space in a results folder, and what can be deleted."""
    from benchmark import store

    if not results.is_dir():
        raise InputError(f"no such results folder: {results}")
    found = store.kinds(results)
    for kind, files, size in found:
        counted = f"{files} {'file' if files == 1 else 'files'}"
        tell(f"  {size / 2**20:10.2f} MiB  {kind:<16}  {counted}; {store.REMARKS[kind]}".rstrip("; "))
    tell(f"  {sum(size for _, _, size in found) / 2**20:10.2f} MiB  in {results}")
