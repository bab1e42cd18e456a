"""``bench doctor``."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import DataRoot, Results, as_path
from benchmark.words import tell

MINUTES = 9.0


def doctor(
    results: Results = Path("results"),
    data_root: DataRoot = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Measure what the device computes and how fast, part by part.")
    ] = False,
    minutes: Annotated[float | None, typer.Option(help="With --deep: that it may take; 9 if not given.")] = None,
    out: Annotated[
        Path | None, typer.Option(parser=as_path, help="With --deep: the folder of its files; doctor if not given.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="With --deep: auto, cpu, cuda or cuda:N.")] = None,
) -> None:
    """Look over this machine: versions, devices, Ray, disk, data sets, and what to do about each problem."""
    if deep:
        _deep(MINUTES if minutes is None else minutes, out or Path("doctor"), device or "auto")
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


def _deep(minutes: float, folder: Path, device: str) -> None:
    from methods.errors import InputError

    if not 0.1 <= minutes <= 24 * 60:
        raise InputError(f"minutes must lie in 0.1..1440 (given: {minutes:g})")
    from benchmark.hardware.deep import deep

    found = deep(minutes, folder, device, partial(tell, flush=True))
    tell(f"{folder}/doctor.md and {folder}/doctor.json")
    if not found.sound:
        raise typer.Exit(1)
