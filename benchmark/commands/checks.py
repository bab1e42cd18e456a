"""``bench check``, ``bench doctor`` and ``bench speed``."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.commands.options import of_kind, option, path, say_notes, switch
from benchmark.console import tell
from methods.errors import InputError

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
