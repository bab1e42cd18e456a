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
    from benchmark.reports import Content, page, server
    from benchmark.store import folders
    from benchmark.tables import paper
    from methods.errors import InputError

    wanted = paper.read(layout_file, {"where": where, "split": split, "hide": hide, "baseline": baseline})
    choice, showing = wanted.choice(), wanted.showing(label or ())

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
