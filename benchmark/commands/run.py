"""``bench run``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    Config,
    DataRoot,
    Plugins,
    StopAfter,
    Text,
    as_path,
    backbone_names,
    begun,
    dataset_names,
    given,
    method_names,
    one_of,
    several_of,
)
from benchmark.consoles import new_console
from methods.errors import InputError


def run(
    ctx: typer.Context,
    methods: Annotated[
        Text,
        typer.Option(help="Names separated by commas; all if not given.", autocompletion=several_of(method_names)),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            help="A method once more with settings of its own: 'dkel: decay=none', 'dml as dml-slow: train.lr=0.05'.",
            metavar="WORDS",
        ),
    ] = None,
    dataset: Annotated[
        Text,
        typer.Option(
            help="Names separated by commas; forms such as folder:PATH, in quotes if it has a comma: '\"folder:a,b\"'.",
            autocompletion=several_of(dataset_names),
        ),
    ] = None,
    backbone: Annotated[
        Text,
        typer.Option(
            help="Names separated by commas; a+b for peers that differ.", autocompletion=several_of(backbone_names)
        ),
    ] = None,
    seeds: Annotated[Text, typer.Option(help="How many (3) or which (0,4,7; one alone: 7,).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Short for --set train.epochs=N.")] = None,
    config: Config = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting: train.lr=0.05, data.pad=2, dml.temperature=2.")
    ] = None,
    results: Annotated[Path | None, typer.Option(parser=as_path, help="Where runs are stored.", metavar="DIR")] = None,
    data_root: DataRoot = None,
    engine: Annotated[Text, typer.Option(help="ray (side by side) or serial (in this process).")] = None,
    address: Annotated[Text, typer.Option(help="An existing Ray cluster to join.")] = None,
    device: Annotated[Text, typer.Option(help="auto, cpu, cuda, cuda:N or cuda:N,M.")] = None,
    trials_per_gpu: Annotated[int | None, typer.Option(help="Runs side by side on one GPU.")] = None,
    save_students: Annotated[bool | None, typer.Option(help="Keep the students' weights.")] = None,
    save_predictions: Annotated[
        bool | None, typer.Option(help="Keep every predictor's logits on the scored images, after the last epoch.")
    ] = None,
    predictions_type: Annotated[
        Text,
        typer.Option(
            help="With --save-predictions: float16 (if not given) or float32.",
            metavar="TYPE",
            autocompletion=one_of(lambda: ("float16", "float32")),
        ),
    ] = None,
    equal_cost: Annotated[
        Text,
        typer.Option(
            help="Give every method the epochs that this method's training cost allows.",
            metavar="METHOD",
            autocompletion=one_of(method_names),
        ),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="The same with a number of multiply-adds, such as 2.5e15.")
    ] = None,
    until_decided: Annotated[
        float | None,
        typer.Option(
            help="Add seeds until every method is better, worse or the same within this many points.", metavar="POINTS"
        ),
    ] = None,
    baseline: Annotated[
        Text,
        typer.Option(
            help="With --until-decided: the method to compare with.",
            metavar="NAME",
            autocompletion=one_of(method_names),
        ),
    ] = None,
    max_seeds: Annotated[int | None, typer.Option(help="With --until-decided: no more than these (20).")] = None,
    seed_step: Annotated[int | None, typer.Option(help="With --until-decided: seeds added at a time (5).")] = None,
    stop_after: StopAfter = None,
    log: Annotated[Text, typer.Option(help="tensorboard, wandb, mlflow: write the metrics there too.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Repeat runs that are finished.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs and stop.")] = False,
    plugin: Plugins = None,
) -> None:
    """Train methods and print their table; what is finished already is not repeated."""
    from benchmark import running
    from benchmark.configuration import layer_from_assignments, layer_from_file

    flags = given(
        methods=methods,
        variants=variant or None,
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
        save_students=save_students,
        save_predictions=save_predictions,
        predictions_type=predictions_type,
        log=log,
        equal_cost=equal_cost,
        budget=budget,
        stop_after=stop_after,
    )
    plugins = tuple(plugin or ())
    file_layer = [layer_from_file(config, plugins)] if config is not None else []
    layers = [*file_layer, layer_from_assignments(set_ or ()) | flags]
    console = new_console()
    looks = given(baseline=baseline, max_seeds=max_seeds, step=seed_step)
    if until_decided is not None:
        from benchmark import deciding

        until = deciding.prepare(
            layers, plugins, force, until_decided, begun=begun(ctx), fetch=not dry_run, **({"baseline": None} | looks)
        )
        if dry_run:
            deciding.print_plan(until, console)
        elif not deciding.carry_out(until, console):
            raise typer.Exit(1)
        return
    if looks:
        raise InputError("--baseline, --max-seeds and --seed-step belong to --until-decided: give it, such as 0.5")
    command = running.prepare(layers, plugins, force, begun(ctx), fetch=not dry_run)
    if dry_run:
        running.print_plan(command, console)
    elif not running.carry_out(command, console):
        raise typer.Exit(1)
