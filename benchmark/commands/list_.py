"""``bench list``."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import Plugins, Results, Text, one_of
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
    results: Results = Path("results"),
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
        _list_runs(results, status)
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


def _list_runs(results: Path, status: Text) -> None:
    from benchmark.reports import show
    from benchmark.store import lookup

    if status is not None and status not in statuses():
        raise unknown("status", status, statuses())
    shown = 0
    for line in show.listing(run for run in lookup.stored_runs(results) if status in (None, run.status)):
        shown += 1
        print(line)
    kind = f" {status}" if status else ""
    print(f"{shown}{kind} {'run' if shown == 1 else 'runs'} in {results}")
