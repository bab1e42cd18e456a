"""``bench submit``."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import DataRoot, Text, as_path
from benchmark.words import tell


def submit(
    check: Annotated[
        Path,
        typer.Option(
            "--check", parser=as_path, help="The folder that is handed in, with submission.yaml.", metavar="PATH"
        ),
    ],
    minutes: Annotated[
        float, typer.Option(help="How long runs are repeated: as many as fit, drawn at random.", min=0.01)
    ] = 10.0,
    sample: Annotated[int | None, typer.Option(help="Repeat so many at most.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    record: Annotated[
        bool, typer.Option("--record", help="Keep what it came to beside submission.yaml, for bench site.")
    ] = False,
    data_root: DataRoot = None,
    device: Annotated[Text, typer.Option(help="auto, cpu, cuda or cuda:N; as recorded if not given.")] = None,
) -> None:
    """Check what somebody hands in, whose code is run: verified, claimed or differs; exit code 0 if verified."""
    from benchmark.datasets import default_root
    from benchmark.exchange import Mark, records, submission, submission_check

    handed_in = submission.read(check)
    found = submission_check.check(
        handed_in, data_root or default_root(), minutes, sample, seed, device, partial(tell, flush=True)
    )
    if record:
        tell(f"kept in {records.write(check, found)}")
    tell(f"{found.verdict}: {handed_in.name}, {found.reasons[-1]}")
    if found.verdict is not Mark.VERIFIED:
        raise typer.Exit(1)
