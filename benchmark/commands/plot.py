"""``bench plot``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import ManyResults, Prefer, name_damaged, places, shown
from benchmark.commands.schedules import schedules
from methods.errors import InputError, unknown

KINDS = ("curves", "homogeneity", "cost", "ranks", "schedules")


def plot(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(KINDS)}.", metavar="KIND")],
    results: ManyResults = None,
    prefer: Prefer = None,
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
    method: Annotated[
        str | None, typer.Option(help="schedules: whose; --out is a folder then. bench schedules takes settings too.")
    ] = None,
) -> None:
    """Draw the stored runs, means over seeds with their spread; or a method's schedules, which need no runs."""
    if kind not in KINDS:
        raise unknown("figure", kind, KINDS)
    if (method is not None) != (kind == "schedules"):
        raise InputError("--method NAME belongs to bench plot schedules, which needs it")
    if method is not None:
        schedules(method, out=out or Path("results/schedules"))
        return
    if value is not None and kind == "homogeneity":
        raise InputError("homogeneity has no --value: it shows every measure of the peers")
    from benchmark import store
    from benchmark.reports import figures

    path = figures.check_path(out or Path(f"{kind}.svg"))
    # only curves need more than the last epochs, and of the finished runs alone
    needs_curves = kind in ("curves", "homogeneity")
    finished = {"status": str(store.Status.FINISHED)} if needs_curves else None
    frame = store.load(places(results), "all" if needs_curves else "last", finished, prefer)
    name_damaged(frame.attrs[store.DAMAGED].values())
    if frame.empty:
        raise InputError(f"no runs in {shown(results)} yet: bench run makes some")
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
