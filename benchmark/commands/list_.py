"""``bench list``."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import ManyResults, Plugins, Prefer, Text, name_damaged, one_of, places, shown
from methods.errors import InputError, unknown

KINDS = ("methods", "datasets", "backbones", "recipes", "runs")


def statuses() -> Iterable[str]:
    """Return how a run can stand."""
    from benchmark.store import Status

    return [str(status) for status in Status]


def list_(
    what: Annotated[
        Text,
        typer.Argument(
            help="methods, datasets, backbones, recipes or runs; all but the runs if not given.",
            autocompletion=one_of(lambda: KINDS),
        ),
    ] = None,
    results: ManyResults = None,
    prefer: Prefer = None,
    status: Annotated[
        Text, typer.Option(help="Only runs that stand so, such as failed.", autocompletion=one_of(statuses))
    ] = None,
    plugin: Plugins = None,
) -> None:
    """List what can be named, with one line each."""
    if what is not None and what not in KINDS:
        raise unknown("kind", what, KINDS)
    if status is not None and what != "runs":
        raise InputError("--status goes with 'bench list runs'")
    if what == "runs":
        _list_runs(results, prefer, status)
        return
    from benchmark import datasets
    from benchmark.configuration import recipes
    from methods import available, backbones

    kinds: dict[str, Callable[[], dict[str, str]]] = {
        "methods": lambda: available(plugin or ()),
        "datasets": lambda: datasets.available(plugin or ()),
        "backbones": lambda: backbones.available(plugin or ()) | backbones.sources(),
        "recipes": recipes.available,
    }
    for kind in (what,) if what else kinds:
        entries = kinds[kind]()
        width = max(map(len, entries), default=0)
        if what is None:
            print(f"{kind}:")
        for name, description in entries.items():
            print(f"  {name:<{width}}  {description}")


def _list_runs(results: list[Path] | None, prefer: Path | None, status: Text) -> None:
    from benchmark import store
    from benchmark.reports import show

    if status is not None and status not in statuses():
        raise unknown("status", status, statuses())
    runs = store.read(places(results), prefer)
    name_damaged(map(str, runs.damaged))
    lines = list(show.listing(run.record for run in runs.found if status in (None, run.record.status)))
    kind = f" {status}" if status else ""
    print("\n".join([*lines, f"{len(lines)}{kind} {'run' if len(lines) == 1 else 'runs'} in {shown(results)}"]))
