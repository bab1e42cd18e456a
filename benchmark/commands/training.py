"""``bench run`` and ``bench sweep``."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.commands import options
from benchmark.commands.options import path, switch, with_options
from benchmark.configuration import OPTIONS, RUN_ALONE, SWEEP_OPTIONS, UNTIL_DECIDED_OPTIONS
from benchmark.console import new_console
from methods.errors import InputError


@with_options(flags=OPTIONS, until=UNTIL_DECIDED_OPTIONS)
def run(
    ctx: typer.Context,
    flags: dict[str, Any],
    until: dict[str, Any],
    config: options.Config = None,
    set_: options.Set = None,
    force: Annotated[bool, switch("--force", "Repeat runs that are finished.")] = False,
    suite: options.SuiteName = None,
    dry_run: options.DryRun = False,
    plugin: options.Plugins = None,
) -> None:
    """Train methods and print their table; what is finished already is not repeated."""
    from benchmark import running
    from benchmark.configuration import layer_from_assignments

    plugins = tuple(plugin or ())
    prepare = partial(running.prepare, plugins=plugins, force=force, begun=ctx.obj, fetch=not dry_run)
    layers = [*options.file_layers(config, plugins), layer_from_assignments(set_ or ()) | flags]
    console = new_console()
    bound = until.pop("until_decided", None)
    if suite is not None:
        if config is not None or bound is not None or until:
            raise InputError("--suite declares the comparison itself: leave out --config and --until-decided")
        declared = running.SuiteRun(suite, layers[-1], prepare)
        plan, carry_out = declared.print_plan, declared.carry_out
    elif bound is not None:
        looks = {"baseline": None} | until
        test = running.SequentialTest(layers, prepare, bound, **looks)
        plan, carry_out = test.print_plan, test.carry_out
    elif until:
        raise InputError("--baseline, --max-seeds and --seed-step belong to --until-decided: give it, such as 0.5")
    else:
        command = prepare(layers)
        plan, carry_out = partial(running.print_plan, command), partial(running.carry_out, command)
    if dry_run:
        plan(console)
    elif not carry_out(console):
        raise typer.Exit(1)


@with_options(search=SWEEP_OPTIONS, flags={key: OPTIONS[key] for key in OPTIONS if key not in RUN_ALONE})
def sweep(
    ctx: typer.Context,
    search: dict[str, Any],
    flags: dict[str, Any],
    file: Annotated[options.Text, typer.Argument(help="A YAML file or a sweep's name; the command line wins.")] = None,
    space: Annotated[
        options.Words,
        typer.Option(help=r"KEY=\[a,b] or uniform(a,b), loguniform, randint; 'KEY=... if OTHER=a|b'."),
    ] = None,
    best: Annotated[int | None, typer.Option(help="Only add seeds to the best N configurations so far.", min=1)] = None,
    set_: options.Set = None,
    out: Annotated[Path | None, path("DIR", "Folder of table and figures (default: RESULTS/sweeps/NAME).")] = None,
    dry_run: options.DryRun = False,
    plugin: options.Plugins = None,
) -> None:
    """Search settings of one method on one dataset, scored on held-out training images; the test set is not read."""
    from benchmark.configuration import layer_from_assignments
    from benchmark.sweeps import plan, sweeping

    settings = layer_from_assignments(set_ or ())
    given = search | flags
    prepared = plan.prepare(file, given, settings, space or (), tuple(plugin or ()), out, ctx.obj, fetch=not dry_run)
    console = new_console()
    if dry_run:
        sweeping.print_plan(prepared, console)
    elif not sweeping.carry_out(prepared, console, best):
        raise typer.Exit(1)
