"""``bench merge``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import as_path
from benchmark.words import tell


def merge(
    bundles: Annotated[
        list[Path], typer.Argument(parser=as_path, help="Files that bench pack wrote.", metavar="BUNDLE...")
    ],
    into: Annotated[
        Path, typer.Option(parser=as_path, help="The results folder that gets the runs.", metavar="RESULTS")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and write nothing.")] = False,
) -> None:
    """Put the runs of bundles into a results folder; everything is checked before anything is written."""
    from benchmark import exchange

    done = exchange.merge(bundles, into, dry_run)
    would = "would be " if dry_run else ""
    tell(
        f"{into}: {done.added} {would}added, {done.completed} {would}completed, {done.present} there already"
        + (f", {done.busy} left that another command is carrying out" if done.busy else "")
    )
