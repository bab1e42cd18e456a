"""``bench check``, ``bench doctor`` and ``bench speed``."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    DataRoot,
    Plugins,
    Results,
    Set,
    Text,
    as_path,
    backbone_names,
    say_notes,
    several_of,
)
from benchmark.console import tell
from methods.errors import InputError


def check(
    name: Annotated[Text, typer.Argument(help="A method (default: all).")] = None,
    backbone: Annotated[
        Text,
        typer.Option(
            help="Networks instead: names separated by commas, or all.", autocompletion=several_of(backbone_names)
        ),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Check that methods, or networks, fulfil the interface."""
    from benchmark.checking.check import check as check_method, check_lines
    from benchmark.checking.networks import check_network, network_names

    if name is not None and backbone is not None:
        raise InputError(f"bench check takes a method ({name}) or --backbone, not both")
    plugins = tuple(plugin or ())
    if backbone is not None:
        results = check_lines(network_names(backbone, plugins), plugins, check_network)
    else:
        results = check_lines([name] if name else None, plugins, check_method)
    all_kept = True
    for kept, lines in results:
        tell(*lines.split("\n"), flush=True)
        all_kept &= kept
    if not all_kept:
        raise typer.Exit(1)


def doctor(
    results: Results = Path("results"),
    data_root: DataRoot = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Measure what the device computes and how fast, part by part.")
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(help="With --deep: the time it may take, in minutes (default: 9).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(parser=as_path, help="With --deep: the folder of its files (default: doctor).")
    ] = None,
    device: Annotated[str | None, typer.Option(help="With --deep: auto, cpu, cuda or cuda:N.")] = None,
) -> None:
    """Check this machine: versions, devices, Ray, disk, datasets, and what to do about each problem."""
    if deep:
        _deep(minutes, out or Path("doctor"), device or "auto")
        return
    if given := next((name for name, own in (("minutes", minutes), ("out", out), ("device", device)) if own), None):
        from methods.errors import InputError

        raise InputError(f"--{given} goes with --deep")
    from benchmark.datasets import default_root
    from benchmark.hardware.machine import Grade, findings

    worst = False
    for finding in findings(results, data_root or default_root()):
        worst |= finding.grade is Grade.PROBLEM
        tell(f"{finding.grade:<8} {finding.subject:<13} {finding.found}", flush=True)
        if finding.remedy:
            tell(f"{'':<22} -> {finding.remedy}")
    if worst:
        raise typer.Exit(1)


def _deep(minutes: float | None, folder: Path, device: str) -> None:
    from benchmark.training import DOCTOR_MINUTES

    minutes = DOCTOR_MINUTES if minutes is None else minutes
    if not 0.1 <= minutes <= 24 * 60:
        raise InputError(f"minutes must be in 0.1..1440 (given: {minutes:g})")
    from benchmark.hardware.deep import deep

    found = deep(minutes, folder, device, partial(tell, flush=True))
    tell(f"{folder}/doctor.md and {folder}/doctor.json")
    if not found.sound:
        raise typer.Exit(1)


def speed(
    methods: Annotated[Text, typer.Option(help="Names separated by commas (default: all).")] = None,
    backbone: Annotated[str, typer.Option(help="One name, or several joined by +.")] = "resnet32",
    batch_size: Annotated[int, typer.Option(help="Mini-batch size.")] = 128,
    num_classes: Annotated[int, typer.Option(help="Classes of the random images.")] = 100,
    image_size: Annotated[int, typer.Option(help="Height and width of the images in pixels.")] = 32,
    threads: Annotated[int | None, typer.Option(help="CPU threads (default: all cores).")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    set_: Set = None,
    repetitions: Annotated[int, typer.Option(help="Repetitions of each measurement.", min=1, max=1000)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plugin: Plugins = None,
) -> None:
    """Measure how fast methods train on this machine, and its rate of matrix products."""
    from benchmark.configuration import layer_from_assignments
    from benchmark.scheduling import usable_cpus
    from benchmark.speed.measure import random_runs, random_shape, speed_lines
    from methods import registry

    broken = registry.broken_files(plugin or ())
    settings = layer_from_assignments(set_ or ())
    train = {"batch_size": batch_size, "threads": threads or usable_cpus()} | settings.pop("train", {})
    runs = random_runs(methods, backbone, train, settings, tuple(plugin or ()))
    shape = random_shape(num_classes, image_size)
    for text in speed_lines(runs, shape, device, repetitions, as_json, tuple(plugin or ())):
        tell(*text.split("\n"), flush=True)
    say_notes(broken)
