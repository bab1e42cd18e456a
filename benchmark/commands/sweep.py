"""``bench sweep``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import DataRoot, Plugins, StopAfter, Text, as_path, begun, given
from benchmark.consoles import new_console


def sweep(
    ctx: typer.Context,
    file: Annotated[Text, typer.Argument(help="A YAML file or a sweep's name; the command line wins.")] = None,
    method: Annotated[Text, typer.Option(help="The method that is searched.")] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(help=r"KEY=\[a,b] or uniform(a,b), loguniform, randint, choice; 'KEY=... if OTHER=a|b'."),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Configurations; all of a grid if not given, else 20.")] = None,
    search: Annotated[Text, typer.Option(help="grid, random or optuna.")] = None,
    scheduler: Annotated[Text, typer.Option(help="none, or asha to stop what does badly early.")] = None,
    search_seed: Annotated[int | None, typer.Option(help="Of the choice of configurations.")] = None,
    best: Annotated[int | None, typer.Option(help="Only more seeds for the best N so far.", min=1)] = None,
    dataset: Annotated[Text, typer.Option(help="A name, or a form such as folder:PATH.")] = None,
    backbone: Annotated[Text, typer.Option(help="A name; a+b for peers that differ.")] = None,
    seeds: Annotated[Text, typer.Option(help="How many (3) or which (0,4,7) for every configuration.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Short for --set train.epochs=N.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting: train.lr=0.05, data.holdout=0.1, dkel.weight=1.")
    ] = None,
    results: Annotated[Path | None, typer.Option(parser=as_path, help="Where runs are stored.", metavar="DIR")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=as_path, help="Where table and figures go; RESULTS/sweeps/NAME if not given.", metavar="DIR"
        ),
    ] = None,
    data_root: DataRoot = None,
    engine: Annotated[Text, typer.Option(help="ray (side by side) or serial (in this process).")] = None,
    address: Annotated[Text, typer.Option(help="An existing Ray cluster to join.")] = None,
    device: Annotated[Text, typer.Option(help="auto, cpu, cuda, cuda:N or cuda:N,M.")] = None,
    trials_per_gpu: Annotated[int | None, typer.Option(help="Runs side by side on one GPU.")] = None,
    stop_after: StopAfter = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the configurations and stop.")] = False,
    plugin: Plugins = None,
) -> None:
    """Search a space of settings on a held-out part of the training set; the test set is not read."""
    from benchmark.configuration import layer_from_assignments
    from benchmark.sweeps import plan, sweeping

    flags = given(
        method=method,
        trials=trials,
        search=search,
        scheduler=scheduler,
        search_seed=search_seed,
        dataset=dataset,
        backbone=backbone,
        seeds=seeds,
        epochs=epochs,
        results=results,
        data_root=data_root,
        engine=engine,
        address=address,
        device=device,
        trials_per_gpu=trials_per_gpu,
        stop_after=stop_after,
    )
    settings = layer_from_assignments(set_ or ())
    prepared = plan.prepare(file, flags, settings, space or (), tuple(plugin or ()), out, begun(ctx), fetch=not dry_run)
    console = new_console()
    if dry_run:
        sweeping.print_plan(prepared, console)
    elif not sweeping.carry_out(prepared, console, best):
        raise typer.Exit(1)
