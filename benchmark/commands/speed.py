"""``bench speed``."""

import os
from typing import Annotated

import typer

from benchmark.commands.options import Plugins, Text, say_notes
from benchmark.words import tell


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
    from benchmark.configuration import layer_from_assignments
    from benchmark.speed.measure import augmentation_baseline, random_runs, random_shape, speed_lines
    from methods import registry

    broken = registry.broken_files(plugin or ())

    if baseline:
        tell(*augmentation_baseline(repetitions, as_json).split("\n"))
        return
    settings = layer_from_assignments(set_ or ())
    train = {"batch_size": batch_size, "threads": threads or os.cpu_count() or 1} | settings.pop("train", {})
    runs = random_runs(methods, backbone, train, settings, tuple(plugin or ()))
    shape = random_shape(num_classes, image_size)
    for text in speed_lines(runs, shape, device, repetitions, as_json, tuple(plugin or ())):
        tell(*text.split("\n"), flush=True)
    say_notes(broken)
