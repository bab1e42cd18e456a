"""``bench site``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import ManyResults, Plugins, Prefer, as_path, places, say_notes
from benchmark.words import tell


def site(
    results: ManyResults = None,
    prefer: Prefer = None,
    out: Annotated[Path, typer.Option(parser=as_path, help="The folder to write.", metavar="DIR")] = Path("site"),
    submissions: Annotated[
        Path | None,
        typer.Option(
            parser=as_path,
            help="The folder with one folder per submission (default: submissions, if it is there).",
            metavar="DIR",
        ),
    ] = None,
    baseline: Annotated[
        str, typer.Option(help="The row that gains refer to: its label, or a method.", metavar="ROW")
    ] = "independent",
    resolve: Annotated[
        float, typer.Option(help="The difference that matters, in points, for verdicts.", metavar="DIFFERENCE")
    ] = 0.5,
    plugin: Plugins = None,
) -> None:
    """Write all results and methods as a site of static pages: leaderboards, a page a method, a page a run set."""
    from benchmark import site as pages, tables
    from methods.errors import InputError

    tables.check_bound("resolve", resolve)
    if submissions is not None and not submissions.is_dir():
        raise InputError(f"no such folder of submissions: {submissions}")
    usual = Path("submissions")
    given = submissions or (usual if usual.is_dir() else None)
    built = pages.build(places(results), out, given, baseline, resolve, tuple(plugin or ()), prefer)
    say_notes(built.notes)
    tell(
        f"{out / 'index.html'}: {built.boards} leaderboards, {built.methods} methods, {built.run_sets} run sets of "
        f"{built.runs} runs, {built.size / 1e6:.2f} MB"
    )
