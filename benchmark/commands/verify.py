"""``bench verify``."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import DataRoot, Plugins, Results, Text, as_path
from benchmark.words import tell


def verify(
    target: Annotated[
        Text,
        typer.Argument(
            help="A run, a bundle or a results folder; all of --results if not given.", metavar="RUN|BUNDLE"
        ),
    ] = None,
    sample: Annotated[int | None, typer.Option(help="Repeat so many, drawn at random.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    tolerance: Annotated[
        float,
        typer.Option(
            help="Points of accuracy by which every epoch may differ, on another device or version.", min=0, max=100
        ),
    ] = 2.0,
    results: Results = Path("results"),
    data_root: DataRoot = None,
    device: Annotated[Text, typer.Option(help="auto, cpu, cuda or cuda:N; as recorded if not given.")] = None,
    plugin: Plugins = None,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the outcomes beside the runs or the bundle, for bench site.")
    ] = False,
) -> None:
    """Repeat stored runs here and say of each whether the numbers are the same; exit code 1 if any differs."""
    from benchmark import exchange
    from benchmark.datasets import default_root
    from benchmark.exchange import records
    from benchmark.store import brief, environment

    counts: Counter[str] = Counter()
    verdicts = {}
    for case in exchange.cases(target, results, sample, seed):
        verdict = exchange.verify(case, data_root or default_root(), device, tuple(plugin or ()), tolerance)
        counts[verdict.outcome] += 1
        verdicts[case.name] = (brief(case.name, case.contents).digest, verdict.outcome, verdict.text)
        tell(f"{verdict.outcome:<12}  {case.name}{f'  {verdict.text}' if verdict.text else ''}", flush=True)
    total = sum(counts.values())
    tell(f"{total} {'run' if total == 1 else 'runs'}: " + ", ".join(f"{n} {word}" for word, n in counts.items()))
    if record:
        place = _place(target, results)
        tell(f"kept in {records.write(place, records.repeated(verdicts, environment.versions()))}")
    if counts[exchange.Outcome.DIFFERENT] or counts[exchange.Outcome.NOT_REPEATED]:
        raise typer.Exit(1)


def _place(target: str | None, results: Path) -> Path:
    """Return the folder that a record of repeated runs belongs into: the bundle's, or that of the results."""
    if target is None:
        return results
    place = as_path(target)
    return place.parent if place.is_file() else place if (place / "runs").is_dir() else results
