"""``bench pack``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import as_path, say_notes
from benchmark.words import tell


def pack(
    results: Annotated[Path, typer.Argument(parser=as_path, help="Where runs are stored.", metavar="RESULTS")],
    out: Annotated[
        Path, typer.Option(parser=as_path, help="The bundle: ends in .tar.zst, .tar.xz or .tar.gz.", metavar="FILE")
    ],
    weights: Annotated[bool, typer.Option("--weights", help="Pack the students' weights too.")] = False,
    predictions: Annotated[bool, typer.Option("--predictions", help="Pack saved predictions too.")] = False,
) -> None:
    """Write all stored runs into one file, to be merged elsewhere or attached to a paper."""
    from benchmark import exchange

    packed = exchange.pack(results, out, weights, predictions)
    say_notes(packed.left_out)
    tell(f"{out}: {packed.runs} {'run' if packed.runs == 1 else 'runs'}, {packed.size:,} bytes")
