"""``bench doctor``."""

from pathlib import Path

import typer

from benchmark.commands.options import DataRoot, Results


def doctor(results: Results = Path("results"), data_root: DataRoot = None) -> None:
    """Look over this machine: versions, devices, Ray, disk, data sets, and what to do about each problem."""
    from benchmark.datasets import default_root
    from benchmark.doctor import Grade, findings

    worst = False
    for finding in findings(results, data_root or default_root()):
        worst |= finding.grade is Grade.PROBLEM
        print(f"{finding.grade:<8} {finding.subject:<13} {finding.found}", flush=True)
        if finding.remedy:
            print(f"{'':<22} -> {finding.remedy}")
    if worst:
        raise typer.Exit(1)
