"""The ``bench`` command: parses, calls, prints."""

import os
import shlex
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmark.errors import MachineError
from methods.errors import InputError

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="A benchmark for online knowledge distillation: train, compare, trust the table.",
)

INTERRUPTED = 130

Text = str | None
Config = Annotated[Text, typer.Option(help="A YAML file or a recipe's name; the command line wins.", metavar="FILE")]
Results = Annotated[Path, typer.Option(help="Where runs are stored.", metavar="DIR")]
Plugins = Annotated[list[str] | None, typer.Option("--plugin", help="A Python file with a method.", metavar="FILE")]


def main() -> None:
    """Run the command; bad input ends in one line and exit code 2, a machine that fails in exit code 1."""
    # a batch system announces the end of its patience by SIGTERM: the same as Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # without Typer's standalone mode an exit code comes back as the value
        code = app(standalone_mode=False)
    except InputError as error:
        _fail(str(error))
    except MachineError as error:
        _fail(str(error), code=1)
    except (KeyboardInterrupt, typer.Abort):
        goes_on = shlex.join(["bench", *sys.argv[1:]])
        _fail(f"stopped; what is finished is kept, and this goes on: {goes_on}", code=INTERRUPTED)
    except Exception as error:
        # Typer's own usage errors carry an exit code; anything else is a fault of ours and keeps its traceback
        if not hasattr(error, "format_message"):
            raise
        _fail(error.format_message())
    else:
        if code:
            sys.exit(code)


def _fail(message: str, code: int = 2) -> None:
    Console(stderr=True).print(
        f"bench: {' '.join(message.split())}", style="red", highlight=False, markup=False, soft_wrap=True
    )
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        print(package_version("okdbench"))
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Train, compare, trust the table."""


@app.command()
def run(
    methods: Annotated[Text, typer.Option(help="Names separated by commas; all if not given.")] = None,
    dataset: Annotated[Text, typer.Option(help="Names separated by commas, or folder:PATH.")] = None,
    backbone: Annotated[Text, typer.Option(help="Names separated by commas; a+b for peers that differ.")] = None,
    seeds: Annotated[Text, typer.Option(help="How many (3) or which (0,4,7).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Short for --set train.epochs=N.")] = None,
    config: Config = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting: train.lr=0.05, data.pad=2, dml.temperature=2.")
    ] = None,
    results: Annotated[Path | None, typer.Option(help="Where runs are stored.", metavar="DIR")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where data sets lie.", metavar="DIR")] = None,
    engine: Annotated[Text, typer.Option(help="ray (side by side) or serial (in this process).")] = None,
    address: Annotated[Text, typer.Option(help="An existing Ray cluster to join.")] = None,
    device: Annotated[Text, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    trials_per_gpu: Annotated[int | None, typer.Option(help="Runs side by side on one GPU.")] = None,
    save_students: Annotated[bool | None, typer.Option(help="Keep the students' weights.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Repeat runs that are finished.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs and stop.")] = False,
    plugin: Plugins = None,
) -> None:
    """Train methods and print their table; what is finished already is not repeated."""
    from benchmark import running
    from benchmark.request import layer_from_assignments, layer_from_file

    flags: dict[str, Any] = {
        "methods": methods,
        "dataset": dataset,
        "backbone": backbone,
        "seeds": seeds,
        "epochs": epochs,
        "results": None if results is None else str(results),
        "data_root": None if data_root is None else str(data_root),
        "engine": engine,
        "address": address,
        "device": device,
        "trials_per_gpu": trials_per_gpu,
        "save_students": save_students,
    }
    plugins = tuple(plugin or ())
    file_layer = [layer_from_file(config, plugins)] if config else []
    given = {key: value for key, value in flags.items() if value is not None}
    command = running.prepare([*file_layer, layer_from_assignments(set_ or ()) | given], plugins, force)
    console = Console()
    if dry_run:
        running.print_plan(command, console)
    elif not running.carry_out(command, console):
        raise typer.Exit(1)


@app.command()
def table(
    results: Results = Path("results"),
    columns: Annotated[
        str, typer.Option(help="student, first, best, ensemble, peers, best-epoch, top5, nll.")
    ] = "student",
    form: Annotated[str, typer.Option("--format", help="md or csv.")] = "md",
) -> None:
    """Print the table of all stored runs."""
    from benchmark import store, tables

    scores = tables.check_scores([name.strip() for name in columns.split(",") if name.strip()])
    frame = store.load(results)
    if frame.empty:
        raise InputError(f"no runs in {results} yet: bench run makes some")
    print(tables.rendered(tables.accuracy_table(frame, scores), form))


@app.command()
def speed(
    methods: Annotated[Text, typer.Option(help="Names separated by commas; all if not given.")] = None,
    backbone: Annotated[str, typer.Option(help="One name, or several joined by +.")] = "resnet32",
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 128,
    num_classes: Annotated[int, typer.Option(help="Classes of the random images.")] = 100,
    image_size: Annotated[int, typer.Option(help="Their side in pixels.")] = 32,
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores if not given.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any other setting of train.")] = None,
    repetitions: Annotated[int, typer.Option(help="Of each measurement.", min=1, max=1000)] = 5,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Augmentation beside torchvision's, by the image.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plugin: Plugins = None,
) -> None:
    """Measure how fast methods train here, beside the machine's rate of matrix products."""
    from benchmark import speed_report
    from benchmark.request import layer_from_assignments

    if baseline:
        print(speed_report.baseline(repetitions, as_json))
        return
    settings = layer_from_assignments(set_ or ())
    train = {"batch_size": batch_size, "threads": threads or os.cpu_count() or 1} | settings.pop("train", {})
    runs = speed_report.runs(methods, backbone, train, settings, tuple(plugin or ()))
    shape = speed_report.shape(num_classes, image_size)
    for text in speed_report.lines(runs, shape, device, repetitions, as_json, tuple(plugin or ())):
        print(text, flush=True)


@app.command()
def check(
    name: Annotated[Text, typer.Argument(help="A method; all of them if not given.")] = None,
    plugin: Plugins = None,
) -> None:
    """Check that methods keep the contract that every method has to keep."""
    from benchmark.check import reports

    results = []
    for kept, lines in reports(name, tuple(plugin or ())):
        print(lines, flush=True)
        results.append(kept)
    if not all(results):
        raise typer.Exit(1)


@app.command("list")
def list_(
    what: Annotated[Text, typer.Argument(help="methods, datasets, backbones or recipes; all if not given.")] = None,
    plugin: Plugins = None,
) -> None:
    """List what can be named, with one line each."""
    from benchmark import datasets, recipes
    from methods import available, backbones
    from methods.errors import unknown

    kinds: dict[str, Callable[[], dict[str, str]]] = {
        "methods": lambda: available(plugin or ()),
        "datasets": datasets.available,
        "backbones": backbones.available,
        "recipes": recipes.available,
    }
    if what is not None and what not in kinds:
        raise unknown("kind", what, kinds)
    for kind in (what,) if what else kinds:
        entries = kinds[kind]()
        width = max(map(len, entries), default=0)
        if what is None:
            print(f"{kind}:")
        for name, description in entries.items():
            print(f"  {name:<{width}}  {description}")
