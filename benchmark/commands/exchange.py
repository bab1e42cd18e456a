"""``bench pack``, ``bench merge``, ``bench verify`` and ``bench submit``."""

import secrets
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from benchmark.commands import options
from benchmark.commands.options import argument, as_path, counted, option, path, say_notes, switch
from benchmark.console import tell
from methods.errors import InputError

if TYPE_CHECKING:
    from benchmark.exchange import Access


class Repetition(NamedTuple):
    """Which runs are repeated, with what of this machine, and what their numbers have to say."""

    seed: Annotated[
        int,
        typer.Option(
            default_factory=partial(secrets.randbits, 32),
            show_default=False,
            help="Of the draw; drawn itself and printed if not given.",
        ),
    ]
    sample: Annotated[int | None, typer.Option(help="Repeat so many at most, drawn at random.", min=1)] = None
    resolve: Annotated[
        float, typer.Option(help="Points of accuracy: an inflation by as much must be excluded.", min=0.01, max=100)
    ] = 0.5
    data_root: options.DataRoot = options.DATA
    device: Annotated[options.Text, typer.Option(help="auto, cpu, cuda or cuda:N; as recorded if not given.")] = None
    plugin: options.Plugins = options.NONE
    dataset: Annotated[options.Words, option("A dataset of a path that may be read, as folder:photos.", "NAME")] = (
        options.NONE
    )
    file: Annotated[list[Path] | None, path("FILE", "A file that runs need, as a teacher's weights.")] = None

    def access(self, *plugins: str) -> "Access":
        """Return what a repetition may use, some plug-ins before those that were named."""
        from benchmark.exchange import Access

        return Access(self.data_root, self.device, (*plugins, *self.plugin), self.dataset, self.file or ())


def pack(
    results: Annotated[Path, typer.Argument(parser=as_path, help="Where runs are stored.", metavar="RESULTS")],
    out: Annotated[Path, path("FILE", "The bundle: ends in .tar.zst or .tar.gz.")],
    weights: Annotated[bool, switch("--weights", "Pack the students' weights too.")] = False,
    predictions: Annotated[bool, switch("--predictions", "Pack saved predictions too.")] = False,
) -> None:
    """Write all stored runs into one file, to merge it elsewhere or attach it to a paper."""
    from benchmark import exchange

    packed = exchange.pack(results, out, weights, predictions)
    say_notes(packed.left_out)
    tell(f"{out}: {counted(packed.runs, 'run')}, {packed.size:,} bytes")


def merge(
    bundles: Annotated[list[Path], typer.Argument(parser=as_path, help="From bench pack.", metavar="BUNDLE...")],
    into: Annotated[Path, path("RESULTS", "The results folder to add the runs to.")],
    dry_run: Annotated[bool, switch("--dry-run", "Check everything and write nothing.")] = False,
) -> None:
    """Add the runs of bundles to a results folder; everything is checked before anything is written."""
    from benchmark import exchange

    done = exchange.merge(bundles, into, dry_run)
    would = "would be " if dry_run else ""
    tell(
        f"{into}: {done.added} {would}added, {done.completed} {would}completed, {done.present} already there"
        + (f", {done.replicates} of them measured elsewhere before" if done.replicates else "")
        + (f", {counted(done.plans, 'sequential plan')} {would}added" if done.plans else "")
        + (f", {done.busy} skipped that another command is running" if done.busy else "")
    )
    tell(*(f"left out: {line}" for line in done.contradictions), error=True)
    if done.contradictions:
        raise typer.Exit(1)


@options.with_groups
def verify(
    repetition: Repetition,
    target: Annotated[
        options.Text, argument("A run, a bundle or a results folder; all of --results if not given.", "RUN|BUNDLE")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="How long runs are repeated; no limit if not given.")] = None,
    results: options.Results = options.RESULTS[0],
    record: Annotated[bool, switch("--record", "Keep the outcomes in verification.json, for bench site.")] = False,
) -> None:
    """Repeat stored runs here and say whether they are identical or reproduced; exit code 1 if any is neither."""
    from benchmark import exchange
    from benchmark.store import environment

    every, seed, bound = exchange.cases(target, results), repetition.seed, repetition.resolve
    tell_now = partial(tell, flush=True)
    found = exchange.repeat(every, repetition.access(), seed, repetition.sample, minutes, tell_now)
    counts = Counter(one.outcome for one in found.values())
    tell(
        f"{len(found)} of {counted(len(every), 'run')} repeated (--seed {seed}): "
        + ", ".join(f"{n} {word}" for word, n in counts.items())
    )
    made = exchange.Record(seed=seed, environment=environment.versions(), runs=found)
    claims = exchange.statements(every, made, bound)
    for name in exchange.statements([case for case in every if case.name in found], made, bound):
        tell(claims[name].line(name))
    if record:
        source = results if target is None else as_path(target)
        source = source if source.exists() else results
        tell(f"kept in {exchange.write_record(results, source, made)}")
    if counts.keys() - {exchange.Outcome.IDENTICAL, exchange.Outcome.REPEATED} or not found:
        raise typer.Exit(1)
    # repetitions elsewhere count by what they say together, identical ones each by itself
    elsewhere = {case.claim for case in every if case.name in found and found[case.name].outcome != "identical"}
    own = exchange.statements([case for case in every if case.claim in elsewhere], made, bound)
    if any(one.mark is not exchange.Mark.REPRODUCED for one in own.values()):
        raise typer.Exit(1)


@options.with_groups
def submit(
    repetition: Repetition,
    check: Annotated[Path | None, path("FOLDER", "A submission: a folder with submission.yaml.")] = None,
    prepare: Annotated[Path | None, path("RESULTS", "Make one of all runs of a results folder.")] = None,
    out: Annotated[Path | None, path("FOLDER", "Where --prepare writes it.")] = None,
    method: Annotated[str, typer.Option(help="With --prepare: what it is about, if it is not clear.")] = "",
    recipe: Annotated[str, option("With --prepare: that the runs follow, if not the usual one.")] = "",
    minutes: Annotated[float, typer.Option(help="How long runs are repeated, drawn at random.", min=0.001)] = 10.0,
    record: Annotated[bool, switch("--record", "Keep what it came to in verification.json beside the folder.")] = False,
) -> None:
    """Prepare a submission, or check one, whose code is run; exit code 0 if all is identical or reproduced."""
    from benchmark.exchange import Mark, cases, submission, write_record

    if prepare is not None and out is not None and check is None:
        form = submission.prepare(prepare, out, method, recipe, repetition.plugin)
        draft = submission.read(out, draft=True)
        problems = [*submission.unequal(draft, cases(draft.bundle, out), repetition.access(*draft.plugins))]
        tell(*problems, f"{form}: fill in what begins with {submission.TO_FILL_IN}, then: bench submit --check {out}")
        raise typer.Exit(1 if problems else 0)
    if prepare is not None or check is None:
        raise InputError("give either --check FOLDER or --prepare RESULTS --out FOLDER")
    given = submission.read(check)
    access, seed, bound = repetition.access(*given.plugins), repetition.seed, repetition.resolve
    found = submission.check(given, access, seed, minutes, repetition.sample, bound, partial(tell, flush=True))
    if record:
        tell(f"stored in {write_record(check.resolve().parent, given.bundle, found.record)}")
    tell(f"{found.mark}: {given.name}, {len(found.record.runs)} runs repeated (--seed {seed})")
    if found.mark not in (Mark.IDENTICAL, Mark.REPRODUCED):
        raise typer.Exit(1)
