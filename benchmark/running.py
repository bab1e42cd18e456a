"""What ``bench run`` and ``benchmark.run`` do: plan, skip what is finished, carry out the rest, print the table."""

import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from rich.console import Console

from benchmark import datasets
from benchmark.configuration import Checksums, Layer, Request, RunConfig, layer_from_file, plan
from benchmark.errors import MachineError
from benchmark.scheduling import Cluster, logging_backends, run_serially, run_under_ray, scratch
from benchmark.scheduling.display import display
from benchmark.store import DAMAGED, Result, Status, Store, load
from benchmark.tables import build, plain
from benchmark.tables.footnotes import footnotes
from benchmark.words import duration
from methods import paths, registry
from methods.errors import InputError, unknown

Engine = Literal["ray", "serial"]

MIN_FREE_BYTES = 1_000_000
"""What a results folder must have room for before anything starts."""


@dataclass(frozen=True)
class Command:
    """A request with everything resolved.

    Attributes:
        runs: All runs that were asked for.
        force: Whether finished ones are repeated.
        engine: ``ray`` or ``serial``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        save_students: Whether weights are kept.
        log: The logging backends that are told of everything.
        shares: A line for each kind of run on what it spends, in a plan of equal cost.
        broken: A line for each plug-in that cannot be used.
    """

    runs: Sequence[RunConfig]
    store: Store
    data_root: Path
    plugins: tuple[str, ...]
    force: bool
    engine: Engine
    cluster: Cluster
    device: str
    save_students: bool
    log: tuple[str, ...] = ()
    shares: Sequence[str] = ()
    broken: Sequence[str] = ()

    def of(self, runs: Sequence[RunConfig]) -> "Command":
        """Return the same command for some of its runs."""
        return replace(self, runs=runs)

    def missing(self) -> list[RunConfig]:
        """Return the runs that are still to be carried out."""
        return [run for run in self.runs if self.force or not self.store.ended(run)]


def prepare(layers: Sequence[Layer], plugins: tuple[str, ...] = (), force: bool = False) -> Command:
    """Resolve a request.

    Args:
        layers: Keys and values, weakest first; below them lies each data set's recipe.
        plugins: Python files that define further methods and data sets.
        force: Whether finished runs are repeated.

    Raises:
        InputError: For anything unknown or out of range.
    """
    options = Request(layers, plugins)
    engine = options.option("engine", "ray")
    if engine not in get_args(Engine):
        raise unknown("engine", str(engine), get_args(Engine))
    trials_per_gpu = options.option("trials_per_gpu", 1)
    if type(trials_per_gpu) is not int or not 1 <= trials_per_gpu <= 100:
        raise InputError(f"trials_per_gpu must be a whole number from 1 to 100 (given: {trials_per_gpu!r})")
    save_students = options.option("save_students", False)
    if type(save_students) is not bool:
        raise InputError(f"save_students must be true or false (given: {save_students!r})")
    texts = {"results": "results", "data_root": str(datasets.default_root()), "device": "auto", "address": None}
    chosen = {key: _word(key, options.option(key, default)) for key, default in texts.items()}
    data_root = Path(chosen["data_root"]) if chosen["data_root"] else datasets.default_root()
    broken = registry.broken_files(plugins)
    runs, shares = _planned(Request(layers, plugins, data_root))
    return Command(
        runs=runs,
        shares=shares,
        broken=tuple(broken),
        store=Store(Path(chosen["results"] or "results")),
        data_root=data_root,
        plugins=plugins,
        force=force,
        engine=engine,
        cluster=Cluster(chosen["address"], trials_per_gpu),
        device=_device(chosen["device"] or "auto"),
        save_students=save_students,
        log=logging_backends.check(options.option("log", None)),
    )


def _planned(request: Request) -> tuple[list[RunConfig], list[str]]:
    """Return the runs, and for a plan of equal cost a line on what each kind of run spends."""
    method, adds = request.option("equal_cost", None), request.option("budget", None)
    if method is None and adds is None:
        return plan(request, datasets), []
    if method is not None and adds is not None:
        raise InputError("equal_cost and budget say the same thing in two ways: give one")
    if method is not None and not isinstance(method, str):
        raise InputError(f"equal_cost must be a method's name (given: {method!r})")
    if adds is not None and (type(adds) not in (int, float) or not 0 < adds < float("inf")):
        raise InputError(f"budget must be a number of multiply-adds above 0, such as 2.5e15 (given: {adds!r})")
    from benchmark.speed.equal_cost import Budget, at_equal_cost

    checksums: Checksums = {}
    sets = {run.dataset: run.data for run in plan(request, datasets, checksums)}
    shapes = {name: datasets.shape(name, data, request.data_root, request.plugins) for name, data in sets.items()}
    found = at_equal_cost(request, datasets, shapes, Budget(method, adds), checksums)
    return [run for run, _ in found], list(dict.fromkeys(str(share) for _, share in found))


def _word(key: str, value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip() or not paths.possible(value)):
        raise InputError(f"{key} must be a word (given: {value!r})")
    return value


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", name):
        raise unknown("device", name, ("auto", "cpu", "cuda", "cuda:N"))
    return name


def print_plan(command: Command, console: Console) -> None:
    """Print every run and whether it is finished already, and what the rest takes."""
    settings = _differing(command.runs)
    states = {run.identity: command.store.ended(run) for run in command.runs}
    missing = [run for run in command.runs if not states[run.identity]]
    # what cannot be carried out is refused before anything is printed
    estimate = [_estimated(command, missing)] if missing else []
    for run in command.runs:
        state = "finished" if states[run.identity] else "to do"
        kind = settings[run.identity]
        say(console, f"{state:<8}  {run.label}{kind}  ({run.train.epochs} epochs, {run.identity})")
    done = f"{len(command.runs)} runs, {len(command.runs) - len(missing)} finished already"
    notes = (f"note: {line}" for line in command.broken)
    for line in [*command.shares, done, *estimate, *notes]:
        say(console, line)


def _differing(runs: Sequence[RunConfig]) -> dict[str, str]:
    """Return by identity the hyperparameters in which runs of one method, data set and network differ, as text."""
    values: dict[tuple[str, ...], dict[str, set[str]]] = {}
    for run in runs:
        own = values.setdefault((run.method, run.dataset, run.backbone), {})
        for key, value in run.hyperparameters.items():
            own.setdefault(key, set()).add(repr(value))
    texts = {}
    for run in runs:
        own = values[run.method, run.dataset, run.backbone]
        words = [f"{key}={value}" for key, value in run.hyperparameters.items() if len(own[key]) > 1]
        texts[run.identity] = f" [{', '.join(words)}]" if words else ""
    return texts


def _estimated(command: Command, runs: Sequence[RunConfig]) -> str:
    from benchmark.speed import side_by_side
    from benchmark.speed.estimate import estimate

    shapes = {run.dataset: datasets.shape(run.dataset, run.data, command.data_root, command.plugins) for run in runs}
    found = estimate(runs, shapes, command.store.root, command.device, command.plugins, command.save_students)
    places = _places(command, runs)
    took = duration(side_by_side(found.seconds, places))
    how = f", {found.scaled} of {found.kinds} kinds of runs scaled by their operations" if found.scaled else ""
    return f"about {took} on this machine ({places} side by side{how}) and {found.mebibytes:.1f} MiB"


def _places(command: Command, runs: Sequence[RunConfig]) -> int:
    """Return how many of the runs this machine holds side by side."""
    import torch

    if command.engine == "serial":
        return 1
    if command.device != "cpu" and torch.cuda.is_available():
        return torch.cuda.device_count() * command.cluster.trials_per_gpu
    return max(1, (os.cpu_count() or 1) // max(run.train.threads for run in runs))


def carry_out(command: Command, console: Console) -> bool:
    """Carry out what is missing and print the table; return whether every run that was asked for is finished."""
    train_missing(command, console)
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
    """Carry out what is missing, and tell the person who watches how it gets on.

    Raises:
        InputError: If a network does not take the images of a run, or the method's way of sharing it.
    """
    from benchmark.training import check_networks

    scratch.tidy()
    for line in command.broken:
        say(console, f"note: {line}")
    missing = command.missing()
    if skipped := len(command.runs) - len(missing):
        say(console, f"{skipped} of {len(command.runs)} runs are finished already: skipped (--force repeats them)")
    if missing:
        check_writable(command.store)
        sets = load_sets(command, missing)
        check_networks(missing, {name: found.shape for name, found in sets.items()}, command.plugins)
        for line in remarks(missing, sets, command.plugins):
            say(console, f"note: {line}")
        train(command, missing, sets, console)
    for run in command.runs:
        command.store.tidy(run)
        command.store.claim(run)


def remarks(runs: Iterable[RunConfig], sets: Mapping[str, datasets.Dataset], plugins: Sequence[str] = ()) -> list[str]:
    """Return one line for each setting that does not fit its run's length."""
    lines: dict[str, None] = {}
    for run in runs:
        method = registry.load(run.method, plugins)
        chosen = method.Hyperparameters.resolve(run.hyperparameters, owner=run.method)
        steps = -(-len(sets[run.dataset].train) // run.train.batch_size) * run.train.epochs
        about_networks = method.architecture_remarks(run.backbone.split("+"), chosen)
        for remark in (*chosen.remarks(run.train.epochs, steps), *about_networks):
            lines[f"{run.method} on {run.dataset}: {remark}"] = None
    return list(lines)


def train(
    command: Command, missing: Sequence[RunConfig], sets: Mapping[str, datasets.Dataset], console: Console
) -> list[Result]:
    """Carry out runs and return how they ended."""
    from benchmark.scheduling import Job

    plugins = tuple(str(Path(plugin).resolve()) for plugin in command.plugins)
    jobs = [
        Job(run, command.store.root, command.device, command.save_students, plugins, command.force) for run in missing
    ]
    with display(len(jobs), console) as shown:
        observer = logging_backends.with_logs(shown, command.log, command.store)
        if command.engine == "serial":
            return run_serially(jobs, sets, observer)
        return run_under_ray(jobs, sets, observer, command.cluster)


def load_sets(command: Command, runs: Sequence[RunConfig]) -> dict[str, datasets.Dataset]:
    """Return the data sets that runs need, by name.

    Raises:
        MachineError: If their files are not those any more that the runs were planned with.
    """
    configs = {run.dataset: run.data for run in runs}
    planned = {run.dataset: run.dataset_checksum for run in runs}
    sets = {name: datasets.load(name, config, command.data_root, command.plugins) for name, config in configs.items()}
    for name, config in configs.items():
        if datasets.checksum(name, config, command.data_root, command.plugins) != planned[name]:
            raise MachineError(f"the files of {name} have changed since its runs were planned: give the command again")
    return sets


def check_writable(store: Store) -> None:
    """Raise a MachineError if results cannot be written."""
    try:
        store.runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=store.runs) as probe:
            probe.write(bytes(MIN_FREE_BYTES))
    except OSError as error:
        raise MachineError(f"cannot write results to {store.root}: {error.strerror}") from None


def _print_table(command: Command, console: Console) -> None:
    frame = load(command.store.root, "last") if command.store.runs.is_dir() else None
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
        say(console, f"\n{plain(table)}\n")
        for line in table.remarks:
            say(console, line)
        for line in footnotes(mine):
            say(console, line)
        say(console, "student accuracy in % after the last epoch: mean ± standard deviation (number of seeds)")
        say(console, f"runs: {command.store.runs}")


def say(console: Console, line: str) -> None:
    """Print a line as it is."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def run(
    words: Mapping[str, Any],
    config: str | Path | None,
    settings: Mapping[str, Any],
    plugins: Sequence[str | Path],
    force: bool,
    quiet: bool,
) -> pd.DataFrame:
    """Carry out what is missing and return the runs; the arguments are those of :func:`benchmark.run`."""
    files = tuple(str(plugin) for plugin in plugins)
    layers = [layer_from_file(str(config), files)] if config else []
    given = {key: _plain(value) for key, value in words.items() if value is not None}
    command = prepare([*layers, _nested(settings) | given], files, force)
    carry_out(command, Console(quiet=quiet))
    names = {command.store.folder(run).name for run in command.runs}
    return load(command.store.root, where={"run": names}).dropna(axis="columns", how="all").reset_index(drop=True)


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
