"""``bench list`` and ``bench show``."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    Hide,
    ManyResults,
    Plugins,
    Prefer,
    Run,
    Split,
    Text,
    Where,
    one_of,
    places,
    say_notes,
    shown,
)
from benchmark.console import tell
from methods.errors import InputError, unknown

KINDS = ("methods", "datasets", "backbones", "recipes", "suites")
MORE = ("hyperparameters", "metrics", "settings", "runs")
"""What is listed on request only."""


def statuses() -> Iterable[str]:
    """Return the statuses of a run."""
    from benchmark.store import Status

    return [str(status) for status in Status]


def list_(
    what: Annotated[
        Text,
        typer.Argument(
            help="methods, datasets, backbones, recipes and suites, which are listed if nothing is given; "
            "hyperparameters, metrics, settings, runs; or one method's name.",
            autocompletion=one_of(lambda: (*KINDS, *MORE)),
        ),
    ] = None,
    results: ManyResults = None,
    prefer: Prefer = None,
    status: Annotated[
        Text, typer.Option(help="Filter by status, such as failed.", autocompletion=one_of(statuses))
    ] = None,
    where: Where = None,
    split: Split = None,
    hide: Hide = None,
    plugin: Plugins = None,
) -> None:
    """List methods, datasets, backbones and recipes; or describe one method."""
    plugins = tuple(plugin or ())
    of_runs = {"status": status, "where": where, "split": split, "hide": hide}
    if what != "runs" and (flag := next((name for name, value in of_runs.items() if value), None)):
        raise InputError(f"--{flag} goes with 'bench list runs'")
    if what == "runs":
        _list_runs(results, prefer, status, where, split, hide or ())
        return
    if what is not None and what not in KINDS:
        _describe(what, plugins)
        return
    from benchmark import datasets
    from benchmark.configuration import recipes, suites
    from methods import available, backbones

    kinds: dict[str, Callable[[], dict[str, str]]] = {
        "methods": lambda: available(plugins),
        "datasets": lambda: datasets.available(plugins),
        "backbones": lambda: backbones.available(plugins) | backbones.sources(),
        "recipes": recipes.available,
        "suites": suites.described,
    }
    for kind in (what,) if what else KINDS:
        entries = kinds[kind]()
        width = max(map(len, entries), default=0)
        if what is None:
            tell(f"{kind}:")
        for name, description in entries.items():
            tell(f"  {name:<{width}}  {description}")


def _describe(what: str, plugins: tuple[str, ...]) -> None:
    from benchmark.reports import reference
    from methods import registry

    told: dict[str, Callable[[], Iterable[str]]] = {
        "hyperparameters": lambda: reference.hyperparameters(plugins),
        "metrics": lambda: reference.metrics(plugins),
        "settings": reference.settings,
    }
    if what not in told and not registry.known(what, plugins):
        raise unknown("kind or method", what, (*KINDS, *MORE, *registry.catalogue(plugins)))
    for line in told[what]() if what in told else reference.method(what, plugins):
        tell(line)


def _list_runs(
    results: list[Path] | None, prefer: Path | None, status: Text, where: Text, split: Text, hide: Iterable[str]
) -> None:
    from benchmark import store
    from benchmark.reports import run_text
    from benchmark.tables import TableFilter

    if status is not None and status not in statuses():
        raise unknown("status", status, statuses())
    runs = store.read(places(results), prefer)
    say_notes(map(str, runs.left_out))
    found = [run.record for run in runs.found if status in (None, run.record.status)]
    if found and (where or split or hide):
        frame, _ = TableFilter(where, split or "all").runs(store.last_epochs(runs))
        names = set(frame["run"]) - TableFilter(hide=tuple(hide)).hidden(frame)
        found = [record for record in found if record.name in names]
    lines = list(run_text.listing(found))
    kind = f" {status}" if status else ""
    tell(*lines, f"{len(lines)}{kind} {'run' if len(lines) == 1 else 'runs'} in {shown(results)}")


def show(run: Run, results: ManyResults = None, prefer: Prefer = None) -> None:
    """Print one run: its configuration, its result, its last metrics and the command that repeats it."""
    from benchmark.reports import lines
    from benchmark.store import find

    tell(*lines(find(places(results), run, prefer)))
