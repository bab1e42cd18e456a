"""``bench plot``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import Results
from methods.errors import InputError, unknown

KINDS = ("curves", "homogeneity", "cost", "ranks")


def plot(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(KINDS)}.", metavar="KIND")],
    results: Results = Path("results"),
    out: Annotated[
        Path | None, typer.Option(help="Ends in .svg, .pdf or .png (default: KIND.svg).", metavar="FILE")
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(
            help="curves: student, top1/ensemble, loss, gain/teachers, gain/ensemble; cost and ranks: a score of bench "
            "table --value. Default: student.",
        ),
    ] = None,
    against: Annotated[str, typer.Option(help="cost: multiply-adds, seconds or memory.")] = "multiply-adds",
) -> None:
    """Draw the stored runs: means over seeds with their spread."""
    if kind not in KINDS:
        raise unknown("figure", kind, KINDS)
    if value is not None and kind == "homogeneity":
        raise InputError("homogeneity has no --value: it shows every measure of the peers")
    from benchmark import figures, store

    path = figures.check_path(out or Path(f"{kind}.svg"))
    frame = store.load(results)
    if frame.empty:
        raise InputError(f"no runs in {results} yet: bench run makes some")
    chosen = value or "student"
    if kind == "curves":
        figure = figures.curves(frame, chosen)
    elif kind == "homogeneity":
        figure = figures.homogeneity(frame)
    elif kind == "cost":
        figure = figures.cost(frame, against, chosen)
    else:
        figure = figures.ranks(frame, chosen)
    print(figures.save(figure, path))
