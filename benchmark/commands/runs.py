"""``bench list``, ``show``, ``rm``, ``export``, ``predict``; ``pack``, ``merge``, ``verify`` and ``submit``."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from benchmark.commands import options
from benchmark.commands.options import argument, as_path, one_of, option, path, say_notes, switch
from benchmark.console import tell
from benchmark.formatting import counted
from methods.errors import InputError, unknown

if TYPE_CHECKING:
    from benchmark.exchange import Access
    from benchmark.store import Runs, StoredRun

KINDS = ("methods", "datasets", "backbones", "recipes", "suites")
MORE = ("hyperparameters", "metrics", "settings", "runs")
"""What is listed on request only."""


def statuses() -> list[str]:
    """Return the statuses of a run."""
    from benchmark.store import Status

    return [*map(str, Status)]


def list_(
    what: Annotated[
        options.Text,
        argument(
            "methods, datasets, backbones, recipes and suites, which are listed if nothing is given; "
            "hyperparameters, metrics, settings, runs; or one method's name.",
            None,
            one_of(lambda: (*KINDS, *MORE)),
        ),
    ] = None,
    results: options.ManyResults = options.RESULTS,
    prefer: options.Prefer = None,
    status: Annotated[options.Text, option("Filter by status, such as failed.", None, one_of(statuses))] = None,
    where: options.Where = options.NONE,
    split: options.Split = None,
    hide: options.Hide = options.NONE,
    plugin: options.Plugins = options.NONE,
) -> None:
    """List methods, datasets, backbones and recipes; or describe one method."""
    # what is listed imports the rest
    from benchmark import datasets, reports, store
    from benchmark.configuration import recipes, suites
    from methods import available, backbones, registry

    of_runs = {"status": status, "where": where, "split": split, "hide": hide}
    if what != "runs" and (flag := next((name for name, value in of_runs.items() if value), None)):
        raise InputError(f"--{flag} goes with 'bench list runs'")
    if status is not None and status not in statuses():
        raise unknown("status", status, statuses())

    def stored() -> list[str]:
        read = store.read(results, prefer)
        say_notes(read.left_out.values())
        found = [run for run in _fitting(read, where, split, hide) if status in (None, run.status)]
        kind = f"{status} run" if status else "run"
        return [*reports.run_text.listing(found), f"{counted(len(found), kind)} in {', '.join(map(str, results))}"]

    listed: dict[str, Callable[[], Iterable[str]]] = {
        "methods": lambda: _aligned(available(plugin)),
        "datasets": lambda: _aligned(datasets.available(plugin)),
        "backbones": lambda: _aligned(backbones.available(plugin) | backbones.sources()),
        "recipes": lambda: _aligned(recipes.available()),
        "suites": lambda: _aligned(suites.described()),
        "hyperparameters": lambda: reports.reference.hyperparameters(plugin),
        "metrics": lambda: reports.reference.metrics(plugin),
        "settings": lambda: reports.reference.settings(),
        "runs": stored,
    }
    if what is None:
        for kind in KINDS:
            tell(f"{kind}:", *listed[kind]())
    elif what in listed:
        tell(*listed[what]())
    elif registry.known(what, plugin):
        tell(*reports.reference.method(what, plugin))
    else:
        raise unknown("kind or method", what, (*listed, *registry.catalogue(plugin)))


def _aligned(entries: Mapping[str, str]) -> list[str]:
    width = max(map(len, entries), default=0)
    return [f"  {name:<{width}}  {description}" for name, description in entries.items()]


def _fitting(stored: "Runs", where: list[str], split: str | None, hide: Sequence[str] = ()) -> "Sequence[StoredRun]":
    """Return the stored runs that fit."""
    from benchmark import store
    from benchmark.tables import TableFilter

    if not stored.found or not (where or split or hide):
        return stored.found
    choice = options.Selection(where=where, split=split or "all").layout()
    frame, _ = choice.runs(store.last_epochs(stored))
    names = set(frame["run"]) - TableFilter(hide=hide).hidden(frame)
    return [run for run in stored.found if run.name in names]


def show(run: options.Run, results: options.ManyResults = options.RESULTS, prefer: options.Prefer = None) -> None:
    """Print one run: its configuration, its result, its last metrics and the command that repeats it."""
    from benchmark.reports import lines
    from benchmark.store import find

    tell(*lines(find(results, run, prefer)))


def rm(
    runs: Annotated[options.Words, argument("Runs, by folder name or identity.", "RUN", options.run_names)] = (
        options.NONE
    ),
    results: options.Results = options.RESULTS[0],
    where: options.Where = options.NONE,
    split: options.Split = None,
    failed: Annotated[bool, switch("--failed", "Only runs that failed, of those given or of all.")] = False,
    yes: Annotated[bool, switch("--yes", "Move them; without this option they are only listed.")] = False,
) -> None:
    """List runs to remove from the store; with --yes move them to RESULTS/trash. Nothing is deleted."""
    from benchmark import store
    from benchmark.store import Status

    if not (runs or where or split or failed):
        raise InputError("bench rm takes runs, --where CONDITION or --failed: it never removes all of them")
    stored = store.read(results)
    say_notes(stored.left_out.values())
    named = {store.find(results, word).name for word in runs}
    broken = (Status.FAILED, Status.OUT_OF_MEMORY, Status.DIVERGED, Status.COLLAPSED)
    fitting = [run for run in _fitting(stored, where, split) if not failed or run.status in broken]
    found = [run for run in fitting if not named or run.name in named]
    if not found:
        tell(f"no matching runs in {results}")
        return
    count = counted(len(found), "run")
    if not yes:
        for run in found:
            tell(f"  {run.status:<13}  {store.size_below(run.folder) / 2**20:8.2f} MiB  {run.name}")
        tell(f"{count}; nothing is moved yet: --yes moves them to {results / store.TRASH}")
        return
    done = 0
    for run in found:
        fault = store.Store(results).move_to_trash(run.folder, run.config)
        tell(f"  {run.name}: {fault or 'moved'}")
        done += not fault
    tell(f"{done} of {count} moved to {results / store.TRASH}, which may be deleted, or moved back")
    if done < len(found):
        raise typer.Exit(1)


def export(
    run: options.Run,
    to: Annotated[Path, path("FILE", "A file ending in .safetensors, .onnx or .pt2.")],
    student: Annotated[options.Text, typer.Option(help="Which of the run's students (default: the first).")] = None,
    results: options.Results = options.RESULTS[0],
    plugin: options.Plugins = options.NONE,
) -> None:
    """Export a student of a run as a file that works without this project, and check the file."""
    from benchmark.deployment import deployed
    from benchmark.store import find

    deployed.check_suffix(to)
    tell(*deployed.export(find(results, run), to, student, plugin))


def predict(
    run: options.Run,
    out: Annotated[Path, path("FILE", "The .npz file for logits, labels and predictions.")],
    results: options.ManyResults = options.RESULTS,
    prefer: options.Prefer = None,
) -> None:
    """Write the predictions that a run has saved as arrays of numpy."""
    from benchmark.deployment import deployed
    from benchmark.store import find, read_predictions

    deployed.check_suffix(out, [".npz"])
    tell(deployed.write_predictions(read_predictions(find(results, run, prefer).folder), out))


class Repetition(NamedTuple):
    """Which runs are repeated, with what of this machine, and what their numbers have to say."""

    seed: Annotated[
        int,
        typer.Option(
            default_factory=partial(secrets.randbits, 32),
            show_default=False,
            help="Random seed of the sample; chosen and printed if not given.",
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
    from benchmark.exchange import Mark, cases, submission, submission_check, write_record

    if prepare is not None and out is not None and check is None:
        form = submission.prepare(prepare, out, method, recipe, repetition.plugin)
        draft = submission.read(out, draft=True)
        problems = [*submission_check.unequal(draft, cases(draft.bundle, out), repetition.access(*draft.plugins))]
        tell(*problems, f"{form}: fill in what begins with {submission.TO_FILL_IN}, then: bench submit --check {out}")
        raise typer.Exit(1 if problems else 0)
    if prepare is not None or check is None:
        raise InputError("give either --check FOLDER or --prepare RESULTS --out FOLDER")
    given = submission.read(check)
    access, seed, bound = repetition.access(*given.plugins), repetition.seed, repetition.resolve
    found = submission_check.check(given, access, seed, minutes, repetition.sample, bound, partial(tell, flush=True))
    if record:
        tell(f"stored in {write_record(check.resolve().parent, given.bundle, found.record)}")
    tell(f"{found.mark}: {given.name}, {len(found.record.runs)} runs repeated (--seed {seed})")
    if found.mark not in (Mark.IDENTICAL, Mark.REPRODUCED):
        raise typer.Exit(1)
