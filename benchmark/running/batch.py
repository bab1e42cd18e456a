"""What ``bench run`` and ``benchmark.run`` do: skip what is finished, carry out the rest, print the table."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

import benchmark
from benchmark import datasets, paths
from benchmark.configuration import OPTIONS, SECTIONS, LogitsType, RunConfig, layer_from_file
from benchmark.console import new_console, say
from benchmark.errors import MachineError, TryAgainError
from benchmark.running.command import Command, prepare
from benchmark.running.forecast import forecast
from benchmark.scheduling import Display, logging_backends, remove_scratch_folders, run_serially, run_under_ray
from benchmark.store import (
    DAMAGED,
    PREDICTIONS,
    Result,
    Status,
    Store,
    environment,
    load,
    students_files,
    write_predictions,
)
from benchmark.tables import build, footnotes, plain
from methods import registry
from methods.errors import InputError, unknown
from methods.plugins import OWN_PACKAGES

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.scheduling import Job

RATE_OF_SGD = 0.02
"""From which learning rate on AdamW, whose steps have about its size in every weight, hardly learns."""

LOOKED_AT = 512
"""Training images that are compared with each other before a run."""

TIME_IS_UP = "the time is up"

MIN_FREE_BYTES = 1_000_000
"""What a results folder must have room for before anything starts."""


def carry_out(command: Command, console: Console) -> bool:
    """Carry out what is missing and print the table; return whether every run that was asked for is finished.

    Raises:
        TryAgainError: If the time was up, or another command is at the rest; after the table of what there is.
    """
    try:
        train_missing(command, console)
    except TryAgainError:
        _print_table(command, console)
        raise
    _print_table(command, console)
    return all_finished(command, console)


def all_finished(command: Command, console: Console) -> bool:
    """Return whether every run that was asked for is finished, and say how many are not."""
    endings = [command.store.result(run) for run in command.runs]
    unfinished = [result for result in endings if result is None or result.status is not Status.FINISHED]
    again = sum(result is None or not result.status.final for result in unfinished)
    if unfinished:
        tries = f"; the same command tries {again} of them again" if again else ""
        say(console, f"{len(unfinished)} of {len(endings)} runs did not finish{tries}")
    return not unfinished


def train_missing(command: Command, console: Console) -> None:
    """Carry out what is missing, and show how it gets on.

    Raises:
        InputError: If a run's network, labels, files or settings do not fit its method, dataset or device.
        TryAgainError: If the time was up before the end, or another command is carrying out what is left.
    """
    remove_scratch_folders()
    for line in [*command.broken, *_hidden_here()]:
        say(console, f"note: {line}")
    missing = command.missing()
    results: list[Result] = []
    if skipped := len(command.runs) - len(missing):
        say(console, f"{skipped} of {len(command.runs)} runs are finished already: skipped (--force repeats them)")
    if missing:
        from benchmark.training import (
            check_labels,
            check_networks,
            check_settings,
            choose_device,
            machine_remarks,
            setting_remarks,
        )

        # where other machines train, this one's devices say nothing
        device = choose_device(command.device) if command.trains_here else None
        for number in command.cluster.gpus:
            choose_device(f"cuda:{number}")
        if device is not None:
            check_settings(missing, device)
        check_writable(command.store)
        sets = load_sets(command, missing)
        shapes = {name: found.shape for name, found in sets.items()}
        check_networks(missing, shapes, command.plugins)
        check_labels(missing, shapes, command.plugins)
        notes = remarks(missing, sets, command.plugins)
        if device is not None:
            shared = machine_remarks(missing, device, command.cluster.trials_per_gpu)
            notes += [*setting_remarks(missing, device), *shared]
        for line in notes:
            say(console, f"note: {line}")
        # who does not watch waits for no forecast
        for line in [] if console.quiet else forecast(command, missing, shapes):
            say(console, line)
        results = train(command, missing, sets, console)
    later = why_later(results)
    if later != TIME_IS_UP:
        _predict_later(command, console)
    for run in command.runs:
        command.store.tidy(run)
        command.store.claim(run)
    if later:
        left = sum(command.store.final_result(run) is None for run in command.runs)
        raise TryAgainError(f"{later}: {left} of {len(command.runs)} runs are not finished")


def _hidden_here() -> list[str]:
    """Return a line for each of this project's packages that a script in the working directory would not import."""
    own = Path(str(benchmark.__file__)).resolve().parents[1]
    files = [Path(form.format(name)) for name in OWN_PACKAGES for form in ("{}.py", "{}/__init__.py")]
    return [
        f"a script in this folder that imports {file.parts[0].removesuffix('.py')} gets ./{file}: rename it, or start "
        "the script with python -P"
        for file in files
        if file.is_file() and file.resolve().parents[1] != own
    ]


def why_later(results: Iterable[Result]) -> str:
    """Return why the same command later gets further, if all that is left needs is to wait; nothing otherwise."""
    left = {result.status for result in results if not result.status.final and result.status is not Status.STOPPED}
    if Status.UNFINISHED in left:
        return TIME_IS_UP
    return "another command is carrying out the rest" if left == {Status.BUSY} else ""


def remarks(runs: Iterable[RunConfig], sets: Mapping[str, datasets.Dataset], plugins: Sequence[str] = ()) -> list[str]:
    """Return one line for each setting that does not fit its run's length, network or optimiser."""
    lines: dict[str, None] = {}
    for name, dataset in sets.items():
        some = dataset.train.take(np.arange(min(len(dataset.train), LOOKED_AT))).images
        if len(some) > 1 and (some == some[:1]).all():
            lines[f"{name}: the first {len(some)} training images are all the same: there is nothing to learn"] = None
    for run in runs:
        method = registry.load(run.method, plugins)
        chosen = method.Hyperparameters.resolve(method.Hyperparameters.restored(run.hyperparameters), owner=run.method)
        steps = -(-len(sets[run.dataset].train) // run.train.batch_size) * run.train.epochs
        about_networks = method.architecture_remarks(run.backbone.split("+"), chosen)
        for remark in (*chosen.remarks(run.train.epochs, steps), *about_networks):
            lines[f"{run.method} on {run.dataset}: {remark}"] = None
        if run.train.optimizer == "adamw" and run.train.lr >= RATE_OF_SGD:
            lines[f"{run.dataset}: train.lr={run.train.lr:g} is a learning rate for sgd; adamw takes about 0.001"] = (
                None
            )
    return list(lines)


def train(
    command: Command,
    missing: Sequence[RunConfig],
    sets: Mapping[str, datasets.Dataset],
    console: Console,
    name: Callable[[RunConfig], str] = attrgetter("label"),
) -> list[Result]:
    """Carry out some runs of a command and return how they ended; ``name`` is what the display calls a run."""
    jobs = [job(command, run) for run in missing]
    with Display(len(jobs), console, name) as shown:
        observer = logging_backends.with_logs(shown, command.log, command.store)
        if command.engine == "serial":
            return run_serially(jobs, sets, observer)
        return run_under_ray(jobs, sets, observer, command.cluster, partial(say, console))


def job(command: Command, run: RunConfig) -> "Job":
    """Return how a command carries a run out."""
    from benchmark.scheduling import Job

    return Job(
        config=run,
        results=command.store.root,
        device=command.worker_device,
        save_students=command.save_students,
        plugins=tuple(str(paths.plugin_file(plugin)) for plugin in command.plugins),
        force=command.force,
        predictions=command.predictions,
        limit=command.limit,
        code=environment.source_hash(),
    )


def load_sets(command: Command, runs: Sequence[RunConfig]) -> dict[str, datasets.Dataset]:
    """Return the datasets that runs need, by name.

    Raises:
        InputError: If a file that a hyperparameter names is of other classes than the run's dataset.
        MachineError: If their files are not those any more that the runs were planned with.
    """
    from benchmark.training import check_files

    configs = {run.dataset: run.data for run in runs}
    planned = {run.dataset: run.dataset_checksum for run in runs}
    sets = {name: datasets.load(name, config, command.data_root, command.plugins) for name, config in configs.items()}
    for name, config in configs.items():
        if datasets.checksum(name, config, command.data_root, command.plugins) != planned[name]:
            raise MachineError(f"the files of {name} have changed since its runs were planned: give the command again")
    check_files(runs, sets)
    return sets


def check_writable(store: Store) -> None:
    """Raise a MachineError if results cannot be written."""
    try:
        store.runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=store.runs) as probe:
            probe.write(bytes(MIN_FREE_BYTES))
    except OSError as error:
        raise MachineError(f"cannot write results to {store.root}: {error.strerror}") from None


def run(
    words: Mapping[str, Any],
    config: str | Path | None,
    settings: Mapping[str, Any],
    plugins: str | Path | Sequence[str | Path],
    force: bool,
    quiet: bool,
) -> "pd.DataFrame":
    """Carry out what is missing and return the runs; the arguments are those of :func:`benchmark.run`."""
    files = (str(plugins),) if isinstance(plugins, str | Path) else tuple(str(plugin) for plugin in plugins)
    for key in words:
        if key not in (*OPTIONS, *SECTIONS) and not registry.known(key, files):
            others = ("config", "settings", "plugins", "force", "quiet")
            raise unknown("argument", key, {*OPTIONS, *SECTIONS, *others, *registry.catalogue(files)})
    layers = [layer_from_file(str(config), files)] if config else []
    given = {key: _plain(value) for key, value in words.items() if value is not None}
    command = prepare([*layers, _nested(settings) | given], files, force, fetch=True)
    console = new_console(quiet=quiet)
    try:
        carry_out(command, console)
    except TryAgainError as error:
        say(console, f"{error}; the same call resumes")
    names = {command.store.folder(run).name for run in command.runs}
    frame = load(command.store.root, where={"run": names}, split="all")
    return frame.dropna(axis="columns", how="all").reset_index(drop=True)


def _print_table(command: Command, console: Console) -> None:
    frame = load(command.store.root, "last", split="all") if command.store.runs.is_dir() else None
    if frame is None:
        return
    names = {command.store.folder(run).name for run in command.runs}
    mine = frame[frame["run"].isin(names)]
    # the store may hold damaged runs of other commands
    mine.attrs[DAMAGED] = {name: line for name, line in frame.attrs[DAMAGED].items() if name in names}
    for line in mine.attrs[DAMAGED].values():
        say(console, f"note: {line}; --force repeats it")
    if not mine.empty:
        table = build(mine)
        say(console, "", *plain(table).split("\n"), "")
        for line in table.remarks:
            say(console, line)
        for line in footnotes(mine):
            say(console, line)
        say(console, "student accuracy in % after the last epoch: mean ± standard deviation (number of seeds)")
        say(console, f"runs: {command.store.runs}")


def _predict_later(command: Command, console: Console) -> None:
    """Make predictions from the saved students of finished runs that have none; say which have no students."""
    if command.predictions is None:
        return
    made: list[RunConfig] = []
    lost: list[RunConfig] = []
    for run in command.runs:
        folder, ended = command.store.folder(run), command.store.final_result(run)
        if ended is None or ended.status is not Status.FINISHED or (folder / PREDICTIONS).is_file():
            continue
        if not students_files(folder):
            lost.append(run)
        elif fault := _prediction_fault(command, run, command.predictions):
            say(console, f"note: no predictions of {run.label}: {fault}")
        else:
            made.append(run)
    for runs, line in (
        (made, "finished already: predictions made from the saved students, without ensembles and teachers"),
        (lost, "finished without predictions or saved students"),
    ):
        if runs:
            were = "1 run was" if len(runs) == 1 else f"{len(runs)} runs were"
            say(console, f"{were} {line} (--force trains anew and keeps all predictions)")


def _prediction_fault(command: Command, run: RunConfig, kept_as: LogitsType) -> str:
    """Make a run's predictions from its students; return why that was not possible, nothing if it was."""
    from benchmark.training import choose_device, predictions_of_students

    folder = command.store.folder(run)
    try:
        with command.store.lock(run, patience=0) as held:
            if not held:
                return "another command works on it"
            dataset = datasets.load(run.dataset, run.data, command.data_root, command.plugins)
            found = predictions_of_students(folder, run, dataset, choose_device(command.device), command.plugins)
            write_predictions(folder, found, kept_as)
            return ""
    except InputError as error:
        return str(error)
    except OSError as error:
        return error.strerror or "they cannot be written"


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple | range) else value


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    for key, value in settings.items():
        section, dot, name = key.partition(".")
        if not (dot and section and name):
            raise InputError(f"settings are named as in {{'train.lr': 0.05}} (given: {key!r})")
        sections.setdefault(section, {})[name] = _plain(value)
    return sections
