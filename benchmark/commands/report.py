"""``bench report``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import ManyResults, Prefer, Text, name_damaged, places


def report(
    results: ManyResults = None,
    prefer: Prefer = None,
    out: Annotated[Path, typer.Option(help="The page to write.", metavar="FILE")] = Path("report.html"),
    baseline: Annotated[Text, typer.Option(help="A method that the others are compared with.", metavar="NAME")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Serve the page here and renew it while runs go on.")] = False,
    port: Annotated[int, typer.Option(help="Of --watch, on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 8000,
) -> None:
    """Write all stored runs as one page that needs no network."""
    from benchmark.reports import page as pages

    if watch:
        from benchmark.reports import watching

        watching.serve(places(results), prefer, port, lambda address: print(f"{address}  (Ctrl-C ends it)", flush=True))
        return
    runs, size, damaged = pages.write(places(results), out, baseline, prefer)
    name_damaged(damaged)
    print(f"{out}: {runs} runs, {size / 2**20:.2f} MiB")
