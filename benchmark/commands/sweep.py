"""``bench sweep``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.commands.options import DryRun, Plugins, Set, Text, as_path, begun, with_options
from benchmark.configuration import OPTIONS, SWEEP_OPTIONS
from benchmark.consoles import new_console


@with_options(search=SWEEP_OPTIONS, flags={key: option for key, option in OPTIONS.items() if option.sweep})
def sweep(
    ctx: typer.Context,
    search: dict[str, Any],
    flags: dict[str, Any],
    file: Annotated[Text, typer.Argument(help="A YAML file or a sweep's name; the command line wins.")] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(help=r"KEY=\[a,b] or uniform(a,b), loguniform, randint, choice; 'KEY=... if OTHER=a|b'."),
    ] = None,
    best: Annotated[int | None, typer.Option(help="Only more seeds for the best N so far.", min=1)] = None,
    set_: Set = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=as_path, help="Folder of table and figures (default: RESULTS/sweeps/NAME).", metavar="DIR"),
    ] = None,
    dry_run: DryRun = False,
    plugin: Plugins = None,
) -> None:
    """Search settings of one method on one dataset, scored on held-out training images; the test set is not read."""
    from benchmark.configuration import layer_from_assignments
    from benchmark.sweeps import plan, sweeping

    settings = layer_from_assignments(set_ or ())
    given = search | flags
    prepared = plan.prepare(file, given, settings, space or (), tuple(plugin or ()), out, begun(ctx), fetch=not dry_run)
    console = new_console()
    if dry_run:
        sweeping.print_plan(prepared, console)
    elif not sweeping.carry_out(prepared, console, best):
        raise typer.Exit(1)
