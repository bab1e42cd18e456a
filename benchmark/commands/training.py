"""``bench run`` and ``bench sweep``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.commands.options import Config, DryRun, Plugins, Set, SuiteName, Text, as_path, begun, with_options
from benchmark.configuration import OPTIONS, SWEEP_OPTIONS, UNTIL_DECIDED_OPTIONS
from benchmark.console import new_console
from methods.errors import InputError


@with_options(flags=OPTIONS, until=UNTIL_DECIDED_OPTIONS)
def run(
    ctx: typer.Context,
    flags: dict[str, Any],
    until: dict[str, Any],
    config: Config = None,
    set_: Set = None,
    force: Annotated[bool, typer.Option("--force", help="Repeat runs that are finished.")] = False,
    suite: SuiteName = None,
    dry_run: DryRun = False,
    plugin: Plugins = None,
) -> None:
    """Train methods and print their table; what is finished already is not repeated."""
    from benchmark import running
    from benchmark.configuration import layer_from_assignments, layer_from_file

    plugins = tuple(plugin or ())
    file_layer = [layer_from_file(config, plugins)] if config is not None else []
    layers = [*file_layer, layer_from_assignments(set_ or ()) | flags]
    console = new_console()
    bound = until.pop("until_decided", None)
    if suite is not None:
        if config is not None or bound is not None or until:
            raise InputError("--suite declares the comparison itself: leave out --config and --until-decided")
        from benchmark.running import SuiteRun

        declared = SuiteRun(suite, layers[-1], plugins, force, begun(ctx), fetch=not dry_run)
        if dry_run:
            declared.print_plan(console)
        elif not declared.carry_out(console):
            raise typer.Exit(1)
        return
    if bound is None and until:
        raise InputError("--baseline, --max-seeds and --seed-step belong to --until-decided: give it, such as 0.5")
    if bound is not None:
        from benchmark.running import until_decided

        looks = {"baseline": None} | until
        test = until_decided.prepare(layers, plugins, force, bound, begun=begun(ctx), fetch=not dry_run, **looks)
        if dry_run:
            until_decided.print_plan(test, console)
        elif not until_decided.carry_out(test, console):
            raise typer.Exit(1)
        return
    command = running.prepare(layers, plugins, force, begun(ctx), fetch=not dry_run)
    if dry_run:
        running.print_plan(command, console)
    elif not running.carry_out(command, console):
        raise typer.Exit(1)


@with_options(search=SWEEP_OPTIONS, flags={key: option for key, option in OPTIONS.items() if option.sweep})
def sweep(
    ctx: typer.Context,
    search: dict[str, Any],
    flags: dict[str, Any],
    file: Annotated[Text, typer.Argument(help="A YAML file or a sweep's name; the command line wins.")] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(help=r"KEY=\[a,b] or uniform(a,b), loguniform, randint; 'KEY=... if OTHER=a|b'."),
    ] = None,
    best: Annotated[int | None, typer.Option(help="Only add seeds to the best N configurations so far.", min=1)] = None,
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
