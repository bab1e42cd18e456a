"""``bench table``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import Results
from methods.errors import InputError


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
