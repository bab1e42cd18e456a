"""``bench run``, ``bench sweep`` and ``bench study``."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from benchmark.commands import options
from benchmark.commands.options import declared, path, switch, with_groups
from benchmark.configuration import OPTIONS, RUN_ALONE, SWEEP_OPTIONS, UNTIL_DECIDED_OPTIONS
from benchmark.console import new_console, tell
from methods.errors import InputError


@with_groups
def run(
    ctx: typer.Context,
    flags: Annotated[dict[str, Any], declared(OPTIONS)],
    until: Annotated[dict[str, Any], declared(UNTIL_DECIDED_OPTIONS)],
    config: options.Config = None,
    set_: options.Set = options.NONE,
    force: Annotated[bool, switch("--force", "Repeat runs that are finished.")] = False,
    suite: options.SuiteName = None,
    dry_run: options.DryRun = False,
    plugin: options.Plugins = options.NONE,
) -> None:
    """Train methods and print their table; what is finished already is not repeated."""
    from benchmark import running

    prepare = partial(running.prepare, plugins=tuple(plugin), force=force, begun=ctx.obj, fetch=not dry_run)
    layers = options.layers(config, set_, flags, plugin)
    console = new_console()
    bound = until.pop("until_decided", None)
    if suite is not None:
        if config is not None or bound is not None or until:
            raise InputError("--suite declares the comparison itself: leave out --config and --until-decided")
        asked: Any = running.SuiteRun(suite, layers[-1], prepare)
        plan, carry_out = asked.print_plan, asked.carry_out
    elif bound is not None:
        asked = running.SequentialTest(layers, prepare, bound, **({"baseline": None} | until))
        plan, carry_out = asked.print_plan, asked.carry_out
    elif until:
        raise InputError("--baseline, --max-seeds and --seed-step belong to --until-decided: give it, such as 0.5")
    else:
        command = prepare(layers)
        plan, carry_out = partial(running.print_plan, command), partial(running.carry_out, command)
    if dry_run:
        plan(console)
    elif not carry_out(console):
        raise typer.Exit(1)


@with_groups
def sweep(
    ctx: typer.Context,
    search: Annotated[dict[str, Any], declared(SWEEP_OPTIONS)],
    flags: Annotated[dict[str, Any], declared({key: OPTIONS[key] for key in OPTIONS if key not in RUN_ALONE})],
    file: Annotated[options.Text, typer.Argument(help="A YAML file or a sweep's name; the command line wins.")] = None,
    space: Annotated[
        options.Words,
        typer.Option(help=r"KEY=\[a,b] or uniform(a,b), loguniform, randint; 'KEY=... if OTHER=a|b'."),
    ] = options.NONE,
    best: Annotated[int | None, typer.Option(help="Only add seeds to the best N configurations so far.", min=1)] = None,
    set_: options.Set = options.NONE,
    out: Annotated[Path | None, path("DIR", "Folder of table and figures (default: RESULTS/sweeps/NAME).")] = None,
    dry_run: options.DryRun = False,
    plugin: options.Plugins = options.NONE,
) -> None:
    """Search settings of one method on one dataset, scored on held-out training images; the test set is not read."""
    from benchmark.sweeps import plan, sweeping

    (settings,) = options.layers(None, set_, {}, plugin)
    prepared = plan.prepare(file, search | flags, settings, space, tuple(plugin), out, ctx.obj, fetch=not dry_run)
    console = new_console()
    if dry_run:
        sweeping.print_plan(prepared, console)
    elif not sweeping.carry_out(prepared, console, best):
        raise typer.Exit(1)


METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT"}
BOUNDS = {"gt": "above {}", "ge": "at least {}", "lt": "below {}", "le": "at most {}"}


class Studies(TyperGroup):
    """The subcommands of ``bench study``; help imports only the one that it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the studies' names."""
        from benchmark import studies

        return list(studies.STUDIES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a study's name and description, for the list of studies."""
        from benchmark import studies

        return TyperCommand(cmd_name, help=studies.STUDIES[cmd_name]) if cmd_name in studies.STUDIES else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command of the study that is carried out."""
        return args[0], study_command(args[0]), args[1:]


study = typer.Typer(cls=Studies, no_args_is_help=True)


@study.callback()
def _study() -> None:
    """Study what decoupling, decay and short recipes do: figure, table and text."""


def study_command(name: str) -> Any:
    """Return the command of a study: ``--out`` and an option for every field of its settings."""
    from benchmark import studies

    found = studies.find(name)
    fields = {key: _annotation(field) for key, field in found.Settings.model_fields.items()}

    def command(
        given: Annotated[dict[str, str], fields],
        out: Annotated[Path, path("DIR", "Folder of figure, tables and text.")] = Path("results/studies") / name,
    ) -> None:
        from benchmark.configuration import parse_yaml
        from benchmark.store import check_folder
        from methods.hyperparameters import validated

        values = {key: parse_yaml(text, f"--{key.replace('_', '-')}") for key, text in given.items()}
        settings = validated(found.Settings, values, name)
        check_folder(out)
        files = studies.write(name, settings, found.run(settings), out)
        tell(*(out / "README.md").read_text(encoding="utf-8").split("\n"), *files)

    single = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    single.command(name, help=studies.STUDIES[name])(with_groups(command))
    return typer.main.get_command(single)


def _annotation(field: Any) -> Any:
    """Return an option's type: words as they are, since the settings' own model checks them."""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    metavar = "|".join(choices) or METAVARS[field.annotation]
    bounds = [
        text.format(getattr(constraint, bound))
        for constraint in field.metadata
        for bound, text in BOUNDS.items()
        if hasattr(constraint, bound)
    ]
    range_ = f"; {', '.join(bounds)}" if bounds else ""
    text = f"{field.description[0].upper()}{field.description[1:]}{range_} (default: {field.default})."
    return Annotated[str | None, typer.Option(help=text, metavar=metavar)]
