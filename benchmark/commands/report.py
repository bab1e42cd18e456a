"""``bench report``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    Hide,
    Label,
    Layout,
    ManyResults,
    Prefer,
    Split,
    Text,
    Where,
    as_path,
    places,
    say_notes,
)
from benchmark.words import tell


def report(
    results: ManyResults = None,
    prefer: Prefer = None,
    out: Annotated[Path, typer.Option(parser=as_path, help="The page to write.", metavar="FILE")] = Path("report.html"),
    baseline: Annotated[
        Text, typer.Option(help="A row's label, a method, or 'method[key=value]'.", metavar="ROW")
    ] = None,
    where: Where = None,
    split: Split = None,
    hide: Hide = None,
    label: Label = None,
    layout_file: Layout = None,
    watch: Annotated[bool, typer.Option("--watch", help="Serve the page here and renew it while runs go on.")] = False,
    port: Annotated[int, typer.Option(help="Of --watch, on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 8000,
) -> None:
    """Write all stored runs as one page that needs no network."""
    from benchmark.reports import page as pages
    from benchmark.tables import paper

    wanted = paper.read(layout_file, {"where": where, "split": split, "hide": hide, "baseline": baseline})
    choice, showing = wanted.choice(), wanted.showing(label or ())

    if watch:
        from benchmark.reports import watching

        told = "{}  (Ctrl-C ends it)"

        def ready(address: str) -> None:
            tell(told.format(address), flush=True)

        watching.serve(places(results), port, ready, prefer, choice, showing)
        return
    runs, size, damaged = pages.write(places(results), out, wanted.baseline, prefer, choice, showing)
    say_notes(damaged)
    tell(f"{out}: {runs} runs, {size / 2**20:.2f} MiB")
