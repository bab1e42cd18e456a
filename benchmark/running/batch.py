"""What ``bench run`` and ``benchmark.run`` do: skip what is finished, carry out the rest, print the table."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

import benchmark
from benchmark import datasets, paths, scheduling, store, tables, training
from benchmark.configuration import OPTIONS, SECTIONS, RunConfig, layer_from_file
from benchmark.console import new_console, say
from benchmark.errors import MachineError, TryAgainError
from benchmark.running.command import Command, forecast, prepare
from benchmark.store import Result, Status, Store
from methods import registry
from methods.errors import InputError, unknown
from methods.plugins import OWN_PACKAGES

if TYPE_CHECKING:
    import pandas as pd

RATE_OF_SGD = 0.02  # from which on AdamW, whose steps have about its size in every weight, hardly learns
LOOKED_AT = 512  # training images that are compared with each other before a run
MIN_FREE_BYTES = 1_000_000  # what a results folder must have room for before anything starts
TIME_IS_UP = "the time is up"


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
    scheduling.remove_scratch_folders()
    say(console, *(f"note: {line}" for line in [*command.broken, *_hidden_here()]))
    missing = command.missing()
    later = ""
    if skipped := len(command.runs) - len(missing):
        say(console, f"{skipped} of {len(command.runs)} runs are finished already: skipped (--force repeats them)")
    if missing:
        # where other machines train, this one's devices say nothing
        device = training.choose_device(command.device) if command.trains_here else None
        for number in command.cluster.gpus:
            training.choose_device(f"cuda:{number}")
        if device is not None:
            training.check_settings(missing, device)
        check_writable(command.store)
        sets = load_sets(command, missing)
        shapes = {name: found.shape for name, found in sets.items()}
        training.check_networks(missing, shapes, command.plugins)
        training.check_labels(missing, shapes, command.plugins)
        notes = remarks(missing, sets, command.plugins)
        if device is not None:
            notes += training.machine_remarks(missing, device, command.cluster.trials_per_gpu)
        # who does not watch waits for no forecast
        told = [] if console.quiet else forecast(command, missing, shapes)
        say(console, *(f"note: {line}" for line in notes), *told)
        later = why_later(train(command, missing, sets, console))
    if later != TIME_IS_UP and command.predictions is not None:
        results = [(run, command.store.result(run)) for run in command.runs]
        finished = [run for run, result in results if result is not None and result.status is Status.FINISHED]
        without = sum(not (command.store.folder(run) / store.PREDICTIONS).is_file() for run in finished)
        if without:
            were = "1 run was" if without == 1 else f"{without} runs were"
            say(console, f"{were} finished without predictions (--force trains anew and keeps them)")
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
    lines: list[str] = []
    for name, dataset in sets.items():
        some = dataset.train.take(np.arange(min(len(dataset.train), LOOKED_AT))).images
        if len(some) > 1 and (some == some[:1]).all():
            lines.append(f"{name}: the first {len(some)} training images are all the same: there is nothing to learn")
    for run in runs:
        method = registry.load(run.method, plugins)
        chosen = method.Hyperparameters.resolve(method.Hyperparameters.restored(run.hyperparameters), owner=run.method)
        steps = -(-len(sets[run.dataset].train) // run.train.batch_size) * run.train.epochs
        about_networks = method.architecture_remarks(run.backbone.split("+"), chosen)
        found = (*chosen.remarks(run.train.epochs, steps), *about_networks)
        lines += [f"{run.method} on {run.dataset}: {remark}" for remark in found]
        if run.train.optimizer == "adamw" and run.train.lr >= RATE_OF_SGD:
            rate = f"train.lr={run.train.lr:g} is a learning rate for sgd; adamw takes about 0.001"
            lines.append(f"{run.dataset}: {rate}")
    return list(dict.fromkeys(lines))


def train(
    command: Command,
    missing: Sequence[RunConfig],
    sets: Mapping[str, datasets.Dataset],
    console: Console,
    name: Callable[[RunConfig], str] = attrgetter("label"),
) -> list[Result]:
    """Carry out some runs of a command and return how they ended; ``name`` is what the display calls a run."""
    with scheduling.Display(len(missing), console, name, command.log, command.store) as display:
        if command.engine == "serial":
            return scheduling.run_serially(missing, job(command), sets, display)
        scheduling.set_environment(command.cluster)
        return scheduling.run_under_ray(missing, job(command), sets, display, command.cluster)


def job(command: Command) -> scheduling.Job:
    """Return how any run of a command is carried out, as a worker is told."""
    plugins = tuple(str(paths.plugin_file(plugin)) for plugin in command.plugins)
    code = store.environment.source_hash()
    return replace(command, runs=(), device=command.worker_device, plugins=plugins, code=code)


def load_sets(command: Command, runs: Sequence[RunConfig]) -> dict[str, datasets.Dataset]:
    """Return the datasets that runs need, by name.

    Raises:
        InputError: If a file that a hyperparameter names is of other classes than the run's dataset.
        MachineError: If their files are not those any more that the runs were planned with.
    """
    data_root, plugins = command.data_root, command.plugins
    sets: dict[str, datasets.Dataset] = {}
    for run in {run.dataset: run for run in runs}.values():
        sets[run.dataset] = datasets.load(run.dataset, run.data, data_root, plugins)
        if datasets.checksum(run.dataset, run.data, data_root, plugins) != run.dataset_checksum:
            raise MachineError(
                f"the files of {run.dataset} have changed since its runs were planned: give the command again"
            )
    training.check_files(runs, sets)
    return sets


def check_writable(results: Store) -> None:
    """Raise a MachineError if results cannot be written."""
    try:
        results.runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results.runs) as probe:
            probe.write(bytes(MIN_FREE_BYTES))
    except OSError as error:
        raise MachineError(f"cannot write results to {results.root}: {error.strerror}") from None


def run(
    methods: str | Sequence[str] | None = None,
    dataset: str | Sequence[str] | None = None,
    backbone: str | Sequence[str] | None = None,
    seeds: int | str | Sequence[int] | None = None,
    epochs: int | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    plugins: str | Path | Sequence[str | Path] = (),
    force: bool = False,
    quiet: bool = False,
    **options: Any,
) -> "pd.DataFrame":
    """Carry out what is missing of the runs that this means, as ``bench run`` does, and return all of them.

    Args:
        methods: Names; None for all.
        dataset: Names; digits for None.
        backbone: Names; the recipe's for None.
        seeds: How many, or which.
        epochs: Short for the setting ``train.epochs``.
        config: A YAML file or a recipe's name; the other arguments win.
        settings: Any further ones, such as ``{"train.lr": 0.05, "dml.temperature": 2.0}``.
        plugins: A Python file that defines further methods, backbones and datasets, or several.
        force: Whether finished runs are repeated.
        quiet: Whether nothing is printed.
        **options: The command line's other flags with underscores: ``results``, ``data_root``, ``engine``, ``device``,
            ``save_students``, ``save_predictions``, ``log`` and so on. With ``stop_after="9m"`` an epoch that is
            predicted to exceed it is not started; the same call resumes.

    Returns:
        One row per run and epoch, as :func:`benchmark.load` gives them, of these runs alone.

    Raises:
        methods.errors.InputError: For anything unknown or out of range.
    """
    words = {"methods": methods, "dataset": dataset, "backbone": backbone, "seeds": seeds, "epochs": epochs} | options
    files = (str(plugins),) if isinstance(plugins, str | Path) else tuple(str(plugin) for plugin in plugins)
    for key in words:
        if key not in (*OPTIONS, *SECTIONS) and not registry.known(key, files):
            others = ("config", "settings", "plugins", "force", "quiet")
            raise unknown("argument", key, {*OPTIONS, *SECTIONS, *others, *registry.catalogue(files)})
    layers = [layer_from_file(str(config), files)] if config else []
    layer: dict[str, Any] = {}
    for key, value in (settings or {}).items():
        section, _, name = key.partition(".")
        if not (section and name):
            raise InputError(f"settings are named as in {{'train.lr': 0.05}} (given: {key!r})")
        layer.setdefault(section, {})[name] = _plain(value)
    layer |= {key: _plain(value) for key, value in words.items() if value is not None}
    command = prepare([*layers, layer], files, force, fetch=True)
    console = new_console(quiet=quiet)
    try:
        carry_out(command, console)
    except TryAgainError as error:
        say(console, f"{error}; the same call resumes")
    names = {command.store.folder(run).name for run in command.runs}
    frame = store.load(command.store.root, where={"run": names}, split="all")
    return frame.dropna(axis="columns", how="all").reset_index(drop=True)


def _print_table(command: Command, console: Console) -> None:
    if not command.store.runs.is_dir():
        return
    names = {command.store.folder(run).name for run in command.runs}
    mine = store.load(command.store.root, "last", where={"run": names}, split="all")
    # the store may hold damaged runs of other commands
    mine.attrs[store.DAMAGED] = {name: line for name, line in mine.attrs[store.DAMAGED].items() if name in names}
    for line in mine.attrs[store.DAMAGED].values():
        say(console, f"note: {line}; --force repeats it")
    if not mine.empty:
        table = tables.build(mine)
        told = "student accuracy in % after the last epoch: mean ± standard deviation (number of seeds)"
        lines = [*table.remarks, *tables.footnotes(mine), told, f"runs: {command.store.runs}"]
        say(console, "", *tables.plain(table).split("\n"), "", *lines)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple | range) else value
