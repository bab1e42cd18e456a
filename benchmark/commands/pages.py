"""``bench report`` and ``bench site``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    Baseline,
    Hide,
    Label,
    Layout,
    ManyResults,
    Plugins,
    Prefer,
    Split,
    SuiteName,
    Where,
    as_path,
    places,
    say_notes,
)
from benchmark.console import tell

BASELINE = "independent"
"""What the leaderboards of a site compare with, if nothing else is given."""


def report(
    results: ManyResults = None,
    prefer: Prefer = None,
    out: Annotated[Path, typer.Option(parser=as_path, help="The page to write.", metavar="FILE")] = Path("report.html"),
    baseline: Baseline = None,
    suite: SuiteName = None,
    where: Where = None,
    split: Split = None,
    hide: Hide = None,
    label: Label = None,
    layout_file: Layout = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Serve the page locally and update it while runs are training.")
    ] = False,
    port: Annotated[
        int, typer.Option(help="With --watch: the port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)
    ] = 8000,
) -> None:
    """Write all stored runs as one HTML page that needs no network."""
    from benchmark.reports import Content, page, server
    from benchmark.store import folders
    from benchmark.tables import style as layouts
    from methods.errors import InputError

    said = {"suite": suite, "where": where, "split": split, "hide": hide, "baseline": baseline}
    wanted = layouts.read(layout_file, said)
    choice, showing = wanted.filter(), wanted.style(label or ())

    def read() -> Content:
        return Content.read(places(results), prefer, choice, showing)

    if watch:
        server.serve(places(results), port, lambda address: tell(f"{address}  (stop with Ctrl-C)", flush=True), read)
        return
    content = read()
    if not content.runs:
        raise InputError(f"no runs in {', '.join(map(str, folders(places(results))))} yet: bench run makes some")
    size = page.write(content, out, wanted.baseline)
    say_notes(content.damaged)
    tell(f"{out}: {len(content.runs)} runs, {size / 2**20:.2f} MiB")


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
    baseline: Baseline = BASELINE,
    resolve: Annotated[
        float,
        typer.Option(
            help="The difference in accuracy within which a submission is reproduced, in points.",
            metavar="DIFFERENCE",
        ),
    ] = 0.5,
    suite: SuiteName = None,
    plugin: Plugins = None,
) -> None:
    """Write a static site: leaderboards, one page per method and one per set of runs."""
    from benchmark import site as pages, tables
    from benchmark.tables import style as layouts
    from methods.errors import InputError

    tables.check_bound("resolve", resolve)
    choice = layouts.read(None, {"suite": suite}).filter()
    if submissions is not None and not submissions.is_dir():
        raise InputError(f"no such folder of submissions: {submissions}")
    usual = Path("submissions")
    given = submissions or (usual if usual.is_dir() else None)
    built = pages.build(places(results), out, given, baseline or BASELINE, resolve, choice, tuple(plugin or ()), prefer)
    say_notes(built.notes)
    tell(
        f"{out / 'index.html'}: {built.boards} leaderboards, {built.methods} methods, {built.run_sets} run sets of "
        f"{built.runs} runs, {built.size / 1e6:.2f} MB"
    )
