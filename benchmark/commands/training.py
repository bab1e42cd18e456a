"""``bench run``, ``sweep``, ``study``, ``check``, ``doctor`` and ``speed``: what trains, or tries it out."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from benchmark.commands import options
from benchmark.commands.options import declared, of_kind, option, path, say_notes, switch, with_groups
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


_BACKBONES = of_kind("backbones", several=True)


def check(
    name: Annotated[options.Text, typer.Argument(help="A method (default: all).")] = None,
    backbone: Annotated[options.Text, option("Networks instead, with commas; or all.", None, _BACKBONES)] = None,
    plugin: options.Plugins = options.NONE,
) -> None:
    """Check that methods, or networks, fulfil the interface."""
    from benchmark.checking.check import check as check_method, check_lines
    from benchmark.checking.networks import check_network, network_names

    if name is not None and backbone is not None:
        raise InputError(f"bench check takes a method ({name}) or --backbone, not both")
    if backbone is not None:
        results = check_lines(network_names(backbone, plugin), tuple(plugin), check_network)
    else:
        results = check_lines([name] if name else None, tuple(plugin), check_method)
    all_kept = True
    for kept, lines in results:
        tell(*lines.split("\n"), flush=True)
        all_kept &= kept
    if not all_kept:
        raise typer.Exit(1)


def doctor(
    results: options.Results = options.RESULTS[0],
    data_root: options.DataRoot = options.DATA,
    deep: Annotated[bool, switch("--deep", "Measure what the device computes and how fast, part by part.")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="With --deep: that it may take (default: 9).", min=0.1, max=1440)
    ] = None,
    out: Annotated[Path | None, path("DIR", "With --deep: the folder of its files (default: doctor).")] = None,
    device: Annotated[options.Text, typer.Option(help="With --deep: auto, cpu, cuda or cuda:N.")] = None,
) -> None:
    """Check this machine: versions, devices, Ray, disk, datasets, and what to do about each problem."""
    given = next((name for name, own in (("minutes", minutes), ("out", out), ("device", device)) if own), None)
    if deep:
        from benchmark.hardware.deep import deep as measure
        from benchmark.training import DOCTOR_MINUTES

        folder = out or Path("doctor")
        sound = measure(minutes or DOCTOR_MINUTES, folder, device or "auto", partial(tell, flush=True)).sound
        tell(f"{folder}/doctor.md and {folder}/doctor.json")
    elif given:
        raise InputError(f"--{given} goes with --deep")
    else:
        from benchmark.hardware.machine import findings

        sound = True
        for finding in findings(results, data_root):
            sound &= not finding.problem
            tell(*finding.lines(), flush=True)
    if not sound:
        raise typer.Exit(1)


def speed(
    methods: Annotated[options.Text, typer.Option(help="Names separated by commas (default: all).")] = None,
    backbone: Annotated[str, typer.Option(help="One name, or several joined by +.")] = "resnet32",
    batch_size: Annotated[int, typer.Option(help="Mini-batch size.")] = 128,
    num_classes: Annotated[int, typer.Option(help="Classes of the random images.", min=2, max=100_000)] = 100,
    image_size: Annotated[int, typer.Option(help="Height and width of the images.", min=1, max=1024)] = 32,
    threads: Annotated[int | None, typer.Option(help="CPU threads (default: all cores).")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    set_: options.Set = options.NONE,
    repetitions: Annotated[int, typer.Option(help="Repetitions of each measurement.", min=1, max=1000)] = 5,
    as_json: Annotated[bool, switch("--json", "Print JSON.")] = False,
    plugin: options.Plugins = options.NONE,
) -> None:
    """Measure how fast methods train on this machine, and its rate of matrix products."""
    from benchmark.scheduling import usable_cpus
    from benchmark.speed.measure import random_runs, random_shape, speed_lines
    from methods import registry

    broken = registry.broken_files(plugin)
    (settings,) = options.layers(None, set_, {}, plugin)
    train = {"batch_size": batch_size, "threads": threads or usable_cpus()} | settings.pop("train", {})
    runs = random_runs(methods, backbone, train, settings, plugin)
    shape = random_shape(num_classes, image_size)
    for text in speed_lines(runs, shape, device, repetitions, as_json, plugin):
        tell(*text.split("\n"), flush=True)
    say_notes(broken)
