"""``bench list``, ``bench show``, ``bench rm``, ``bench du``, ``bench export`` and ``bench predict``."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.commands.options import argument, counted, one_of, option, path, say_notes, shown, switch
from benchmark.console import tell
from methods.errors import InputError, unknown

KINDS = ("methods", "datasets", "backbones", "recipes", "suites")
MORE = ("hyperparameters", "metrics", "settings", "runs")
"""What is listed on request only."""


def statuses() -> Iterable[str]:
    """Return the statuses of a run."""
    from benchmark.store import Status

    return map(str, Status)


def list_(
    what: Annotated[
        options.Text,
        typer.Argument(
            help="methods, datasets, backbones, recipes and suites, which are listed if nothing is given; "
            "hyperparameters, metrics, settings, runs; or one method's name.",
            autocompletion=one_of(lambda: (*KINDS, *MORE)),
        ),
    ] = None,
    results: options.ManyResults = options.RESULTS,
    prefer: options.Prefer = None,
    status: Annotated[options.Text, option("Filter by status, such as failed.", None, one_of(statuses))] = None,
    where: options.Where = None,
    split: options.Split = None,
    hide: options.Hide = None,
    plugin: options.Plugins = None,
) -> None:
    """List methods, datasets, backbones and recipes; or describe one method."""
    # what is listed imports the rest
    from benchmark import datasets, reports
    from benchmark.configuration import recipes, suites
    from methods import available, backbones, registry

    plugins = tuple(plugin or ())
    of_runs = {"status": status, "where": where, "split": split, "hide": hide}
    if what != "runs" and (flag := next((name for name, value in of_runs.items() if value), None)):
        raise InputError(f"--{flag} goes with 'bench list runs'")
    kinds: dict[str, Callable[[], dict[str, str]]] = {
        "methods": lambda: available(plugins),
        "datasets": lambda: datasets.available(plugins),
        "backbones": lambda: backbones.available(plugins) | backbones.sources(),
        "recipes": recipes.available,
        "suites": suites.described,
    }
    told: dict[str, Callable[[], Iterable[str]]] = {
        "hyperparameters": lambda: reports.reference.hyperparameters(plugins),
        "metrics": lambda: reports.reference.metrics(plugins),
        "settings": lambda: reports.reference.settings(),
        "runs": lambda: _runs(results, prefer, status, where, split, hide or ()),
    }
    if what in told:
        tell(*told[what]())
    elif what is not None and what not in kinds:
        if not registry.known(what, plugins):
            raise unknown("kind or method", what, (*KINDS, *MORE, *registry.catalogue(plugins)))
        tell(*reports.reference.method(what, plugins))
    else:
        for kind in (what,) if what else KINDS:
            entries = kinds[kind]()
            width = max(map(len, entries), default=0)
            tell(*([] if what else [f"{kind}:"]))
            tell(*(f"  {name:<{width}}  {description}" for name, description in entries.items()))


def _runs(
    results: list[Path],
    prefer: Path | None,
    status: str | None,
    where: str | None,
    split: str | None,
    hide: Iterable[str],
) -> list[str]:
    """Return a line on each stored run that fits, and how many they are."""
    from benchmark import store
    from benchmark.reports import run_text
    from benchmark.tables import TableFilter

    if status is not None and status not in statuses():
        raise unknown("status", status, statuses())
    runs = store.read(results, prefer)
    say_notes(runs.left_out.values())
    found = [run for run in runs.found if status in (None, run.status)]
    if found and (where or split or hide):
        frame, _ = TableFilter(where=where, split=split or "all").runs(store.last_epochs(runs))
        names = set(frame["run"]) - TableFilter(hide=tuple(hide)).hidden(frame)
        found = [run for run in found if run.name in names]
    kind = f"{status} " if status else ""
    return [*run_text.listing(found), f"{counted(len(found), f'{kind}run')} in {shown(results)}"]


def show(run: options.Run, results: options.ManyResults = options.RESULTS, prefer: options.Prefer = None) -> None:
    """Print one run: its configuration, its result, its last metrics and the command that repeats it."""
    from benchmark.reports import lines
    from benchmark.store import find

    tell(*lines(find(results, run, prefer)))


def rm(
    runs: Annotated[options.Words, argument("Runs, by folder name or identity.", "RUN", options.run_names)] = None,
    results: options.Results = Path("results"),
    where: options.Where = None,
    split: options.Split = None,
    failed: Annotated[bool, switch("--failed", "Only runs that failed, of those given or of all.")] = False,
    yes: Annotated[bool, switch("--yes", "Move them; without this option they are only listed.")] = False,
) -> None:
    """List runs to remove from the store; with --yes move them to RESULTS/trash. Nothing is deleted."""
    from benchmark import store
    from benchmark.store import Status
    from benchmark.tables import TableFilter

    if not (runs or where or split or failed):
        raise InputError("bench rm takes runs, --where CONDITION or --failed: it never removes all of them")
    stored = store.read(results)
    say_notes(stored.left_out.values())
    every = stored.found
    chosen = [store.find(results, word).name for word in runs or ()] or [run.name for run in every]
    if (where or split) and every:
        frame, _ = TableFilter(where=where, split=split or "all").runs(store.last_epochs(stored))
        chosen = [name for name in chosen if name in set(frame["run"])]
    broken = (Status.FAILED, Status.OUT_OF_MEMORY, Status.DIVERGED, Status.COLLAPSED)
    found = [run for run in every if run.name in chosen and (not failed or run.status in broken)]
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


def du(results: options.Results = Path("results")) -> None:
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
    results: options.Results = Path("results"),
    plugin: options.Plugins = None,
) -> None:
    """Export a student of a run as a file that works without this project, and check the file."""
    from benchmark.deployment import deployed
    from benchmark.store import find

    deployed.check_suffix(to)
    tell(*deployed.export(find(results, run), to, student, tuple(plugin or ())))


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
