"""``bench list``, ``bench show``, ``bench rm``, ``bench du``, ``bench export`` and ``bench predict``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options
from benchmark.commands.options import argument, counted, one_of, option, path, say_notes, switch
from benchmark.console import tell
from methods.errors import InputError, unknown

if TYPE_CHECKING:
    from benchmark.store import Runs, StoredRun

KINDS = ("methods", "datasets", "backbones", "recipes", "suites")
MORE = ("hyperparameters", "metrics", "settings", "runs")
"""What is listed on request only."""


def statuses() -> list[str]:
    """Return the statuses of a run."""
    from benchmark.store import Status

    return [*map(str, Status)]


def list_(
    what: Annotated[
        options.Text,
        argument(
            "methods, datasets, backbones, recipes and suites, which are listed if nothing is given; "
            "hyperparameters, metrics, settings, runs; or one method's name.",
            None,
            one_of(lambda: (*KINDS, *MORE)),
        ),
    ] = None,
    results: options.ManyResults = options.RESULTS,
    prefer: options.Prefer = None,
    status: Annotated[options.Text, option("Filter by status, such as failed.", None, one_of(statuses))] = None,
    where: options.Where = None,
    split: options.Split = None,
    hide: options.Hide = options.NONE,
    plugin: options.Plugins = options.NONE,
) -> None:
    """List methods, datasets, backbones and recipes; or describe one method."""
    # what is listed imports the rest
    from benchmark import datasets, reports, store
    from benchmark.configuration import recipes, suites
    from methods import available, backbones, registry

    of_runs = {"status": status, "where": where, "split": split, "hide": hide}
    if what != "runs" and (flag := next((name for name, value in of_runs.items() if value), None)):
        raise InputError(f"--{flag} goes with 'bench list runs'")
    if status is not None and status not in statuses():
        raise unknown("status", status, statuses())

    def stored() -> list[str]:
        read = store.read(results, prefer)
        say_notes(read.left_out.values())
        found = [run for run in _fitting(read, where, split, hide) if status in (None, run.status)]
        kind = f"{status} run" if status else "run"
        return [*reports.run_text.listing(found), f"{counted(len(found), kind)} in {', '.join(map(str, results))}"]

    listed: dict[str, Callable[[], Iterable[str]]] = {
        "methods": lambda: _aligned(available(plugin)),
        "datasets": lambda: _aligned(datasets.available(plugin)),
        "backbones": lambda: _aligned(backbones.available(plugin) | backbones.sources()),
        "recipes": lambda: _aligned(recipes.available()),
        "suites": lambda: _aligned(suites.described()),
        "hyperparameters": lambda: reports.reference.hyperparameters(plugin),
        "metrics": lambda: reports.reference.metrics(plugin),
        "settings": lambda: reports.reference.settings(),
        "runs": stored,
    }
    if what is None:
        for kind in KINDS:
            tell(f"{kind}:", *listed[kind]())
    elif what in listed:
        tell(*listed[what]())
    elif registry.known(what, plugin):
        tell(*reports.reference.method(what, plugin))
    else:
        raise unknown("kind or method", what, (*listed, *registry.catalogue(plugin)))


def _aligned(entries: Mapping[str, str]) -> list[str]:
    width = max(map(len, entries), default=0)
    return [f"  {name:<{width}}  {description}" for name, description in entries.items()]


def _fitting(stored: "Runs", where: str | None, split: str | None, hide: Sequence[str] = ()) -> "Sequence[StoredRun]":
    """Return the stored runs that fit."""
    from benchmark import store
    from benchmark.tables import TableFilter

    if not stored.found or not (where or split or hide):
        return stored.found
    frame, _ = TableFilter(where=where, split=split or "all").runs(store.last_epochs(stored))
    names = set(frame["run"]) - TableFilter(hide=hide).hidden(frame)
    return [run for run in stored.found if run.name in names]


def show(run: options.Run, results: options.ManyResults = options.RESULTS, prefer: options.Prefer = None) -> None:
    """Print one run: its configuration, its result, its last metrics and the command that repeats it."""
    from benchmark.reports import lines
    from benchmark.store import find

    tell(*lines(find(results, run, prefer)))


def rm(
    runs: Annotated[options.Words, argument("Runs, by folder name or identity.", "RUN", options.run_names)] = (
        options.NONE
    ),
    results: options.Results = options.RESULTS[0],
    where: options.Where = None,
    split: options.Split = None,
    failed: Annotated[bool, switch("--failed", "Only runs that failed, of those given or of all.")] = False,
    yes: Annotated[bool, switch("--yes", "Move them; without this option they are only listed.")] = False,
) -> None:
    """List runs to remove from the store; with --yes move them to RESULTS/trash. Nothing is deleted."""
    from benchmark import store
    from benchmark.store import Status

    if not (runs or where or split or failed):
        raise InputError("bench rm takes runs, --where CONDITION or --failed: it never removes all of them")
    stored = store.read(results)
    say_notes(stored.left_out.values())
    named = {store.find(results, word).name for word in runs}
    broken = (Status.FAILED, Status.OUT_OF_MEMORY, Status.DIVERGED, Status.COLLAPSED)
    fitting = [run for run in _fitting(stored, where, split) if not failed or run.status in broken]
    found = [run for run in fitting if not named or run.name in named]
    if not found:
        tell(f"no matching runs in {results}")
        return
    count = counted(len(found), "run")
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


def du(results: options.Results = options.RESULTS[0]) -> None:
    """Show what takes the space in a results folder, and what can be deleted."""
    from benchmark import store

    if not results.is_dir():
        raise InputError(f"no such results folder: {results}")
    found = store.kinds(results)
    for kind, files, size in found:
        tell(f"  {size / 2**20:10.2f} MiB  {kind:<16}  {counted(files, 'file')}; {store.REMARKS[kind]}".rstrip("; "))
    tell(f"  {sum(size for _, _, size in found) / 2**20:10.2f} MiB  in {results}")


def export(
    run: options.Run,
    to: Annotated[Path, path("FILE", "A file ending in .safetensors, .onnx or .pt2.")],
    student: Annotated[options.Text, typer.Option(help="Which of the run's students (default: the first).")] = None,
    results: options.Results = options.RESULTS[0],
    plugin: options.Plugins = options.NONE,
) -> None:
    """Export a student of a run as a file that works without this project, and check the file."""
    from benchmark.deployment import deployed
    from benchmark.store import find

    deployed.check_suffix(to)
    tell(*deployed.export(find(results, run), to, student, plugin))


def predict(
    run: options.Run,
    out: Annotated[Path, path("FILE", "The .npz file for logits, labels and predictions.")],
    results: options.ManyResults = options.RESULTS,
    prefer: options.Prefer = None,
) -> None:
    """Write the predictions that a run has saved as arrays of numpy."""
    from benchmark.deployment import deployed
    from benchmark.store import find, read_predictions

    deployed.check_suffix(out, [".npz"])
    tell(deployed.write_predictions(read_predictions(find(results, run, prefer).folder), out))
