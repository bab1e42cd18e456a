"""``bench pack``, ``bench merge``, ``bench verify`` and ``bench submit``."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import DataRoot, Plugins, Results, Seed, Text, as_path, say_notes
from benchmark.console import tell


def pack(
    results: Annotated[Path, typer.Argument(parser=as_path, help="Where runs are stored.", metavar="RESULTS")],
    out: Annotated[
        Path, typer.Option(parser=as_path, help="The bundle: ends in .tar.zst, .tar.xz or .tar.gz.", metavar="FILE")
    ],
    weights: Annotated[bool, typer.Option("--weights", help="Pack the students' weights too.")] = False,
    predictions: Annotated[bool, typer.Option("--predictions", help="Pack saved predictions too.")] = False,
) -> None:
    """Write all stored runs into one file, to merge it elsewhere or attach it to a paper."""
    from benchmark import exchange

    packed = exchange.pack(results, out, weights, predictions)
    say_notes(packed.left_out)
    tell(f"{out}: {packed.runs} {'run' if packed.runs == 1 else 'runs'}, {packed.size:,} bytes")


def merge(
    bundles: Annotated[
        list[Path], typer.Argument(parser=as_path, help="Files written by bench pack.", metavar="BUNDLE...")
    ],
    into: Annotated[
        Path, typer.Option(parser=as_path, help="The results folder to add the runs to.", metavar="RESULTS")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and write nothing.")] = False,
) -> None:
    """Add the runs of bundles to a results folder; everything is checked before anything is written."""
    from benchmark import exchange

    done = exchange.merge(bundles, into, dry_run)
    would = "would be " if dry_run else ""
    tell(
        f"{into}: {done.added} {would}added, {done.completed} {would}completed, {done.present} already there"
        + (f", {done.busy} skipped that another command is running" if done.busy else "")
    )


def verify(
    target: Annotated[
        Text,
        typer.Argument(help="A run, a bundle or a results folder (default: all of --results).", metavar="RUN|BUNDLE"),
    ] = None,
    sample: Annotated[int | None, typer.Option(help="Repeat only so many, sampled at random.", min=1)] = None,
    seed: Seed = 0,
    tolerance: Annotated[
        float,
        typer.Option(
            help="On another device or version: by how many points the accuracy of an epoch may differ.", min=0, max=100
        ),
    ] = 2.0,
    results: Results = Path("results"),
    data_root: DataRoot = None,
    device: Annotated[Text, typer.Option(help="auto, cpu, cuda or cuda:N; as recorded if not given.")] = None,
    plugin: Plugins = None,
    record: Annotated[
        bool, typer.Option("--record", help="Store the outcomes next to the runs or the bundle, for bench site.")
    ] = False,
) -> None:
    """Repeat stored runs on this machine and compare the numbers; exit code 1 if any differs."""
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
        tell(f"stored in {records.write(place, records.repeated(verdicts, environment.versions()))}")
    if counts[exchange.Outcome.DIFFERENT] or counts[exchange.Outcome.NOT_REPEATED]:
        raise typer.Exit(1)


def _place(target: str | None, results: Path) -> Path:
    """Return the folder of the record of repeated runs: the bundle's, or that of the results."""
    if target is None:
        return results
    place = as_path(target)
    return place.parent if place.is_file() else place if (place / "runs").is_dir() else results


def submit(
    check: Annotated[
        Path,
        typer.Option(
            "--check", parser=as_path, help="The folder of the submission, with submission.yaml.", metavar="PATH"
        ),
    ],
    minutes: Annotated[
        float, typer.Option(help="Time for repeating runs: as many as fit, sampled at random.", min=0.01)
    ] = 10.0,
    sample: Annotated[int | None, typer.Option(help="Repeat at most so many.", min=1)] = None,
    seed: Seed = 0,
    record: Annotated[
        bool, typer.Option("--record", help="Store the result next to submission.yaml, for bench site.")
    ] = False,
    data_root: DataRoot = None,
    device: Annotated[Text, typer.Option(help="auto, cpu, cuda or cuda:N; as recorded if not given.")] = None,
) -> None:
    """Check a submission by running its code: verified, claimed or differs; exit code 0 if verified."""
    from benchmark.datasets import default_root
    from benchmark.exchange import Mark, records, submission, submission_check

    submitted = submission.read(check)
    found = submission_check.check(
        submitted, data_root or default_root(), minutes, sample, seed, device, partial(tell, flush=True)
    )
    if record:
        tell(f"stored in {records.write(check, found)}")
    tell(f"{found.verdict}: {submitted.name}, {found.reasons[-1]}")
    if found.verdict is not Mark.VERIFIED:
        raise typer.Exit(1)
