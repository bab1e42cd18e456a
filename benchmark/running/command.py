"""A request of ``bench run`` with everything resolved: its runs, also for equal cost, and what they take."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from benchmark import datasets, optional_imports, training
from benchmark.configuration import (
    OPTIONS,
    Checksums,
    Engine,
    Layer,
    Request,
    RunConfig,
    datasets_named,
    distinct,
    expanded,
    plan,
)
from benchmark.console import say
from benchmark.formatting import counted, duration
from benchmark.scheduling import Cluster, Job, TimeLimit, check_log, usable_cpus
from benchmark.store import Store, environment
from methods import backbones, registry
from methods.errors import InputError, unknown

MAX_EPOCHS = 100_000  # that a budget may give a run
WORTH_IT_PIXELS = 20_000_000  # of all epochs and runs; a plan that trains on fewer takes minutes and is not timed
LONG_S = 2 * 3600.0  # from here on a plan is told what would make it shorter

Shapes = Mapping[str, datasets.Shape]


@dataclass(frozen=True, kw_only=True)
class Command(Job):
    """A request with everything resolved; of several GPUs its ``device`` is the first."""

    runs: Sequence[RunConfig]  # all runs that were asked for
    store: Store
    data_root: Path
    engine: Engine  # `ray` or `serial`
    cluster: Cluster
    log: tuple[str, ...] = ()  # the logging backends that are told of everything
    shares: Sequence[str] = ()  # a line for each kind of run on what it spends, in a plan of equal cost
    broken: Sequence[str] = ()  # a line for each plug-in that cannot be used

    @property
    def worker_device(self) -> str:
        """What a run's own process is told: a worker of Ray sees the GPU that it was given, and no other."""
        return "cuda" if self.engine == "ray" and self.cluster.gpus else self.device

    @property
    def trains_here(self) -> bool:
        """Whether this machine is the only one that trains."""
        return self.engine == "serial" or not self.cluster.address

    def of(self, runs: Sequence[RunConfig]) -> "Command":
        """Return the same command for some of its runs."""
        return replace(self, runs=runs)

    def missing(self) -> list[RunConfig]:
        """Return the runs that are still to be carried out."""
        return [run for run in self.runs if self.force or not self.store.ended(run)]


def prepare(
    layers: Sequence[Layer],
    plugins: tuple[str, ...] = (),
    force: bool = False,
    begun: float | None = None,
    fetch: bool = False,
) -> Command:
    """Resolve a request.

    Args:
        layers: Keys and values, weakest first; below them is each dataset's recipe.
        plugins: Python files that define further methods and datasets.
        force: Whether finished runs are repeated.
        begun: When the command began, as ``time.time()`` gives it, which its time is counted from; now for None.
        fetch: Whether datasets that are not there are downloaded, where only their content can identify the runs.

    Raises:
        InputError: For anything unknown or out of range.
        MachineError: If the engine is not installed.
    """
    # all of them are checked first: a plan takes any key with a mapping for a method
    chosen = {key: Request(layers, plugins).option(key) for key in OPTIONS}
    engine, kept_as, address = chosen["engine"], chosen["predictions_type"], chosen["address"]
    if engine == "ray":
        optional_imports.need("engine ray", "ray", instead="give --engine serial")
    if chosen["stop_after"] is not None and force:
        raise InputError(
            "stop_after means that the command is given again, and force that it begins anew each time: "
            "leave out force, and move the old runs away with bench rm"
        )
    limit = None if chosen["stop_after"] is None else TimeLimit.after(chosen["stop_after"], begun)
    if kept_as is not None and not chosen["save_predictions"]:
        raise InputError("predictions_type says what save_predictions keeps: give both")
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3}(,[0-9]{1,3})*)?", chosen["device"]):
        raise unknown("device", chosen["device"], ("auto", "cpu", "cuda", "cuda:N", "cuda:N,M"))
    gpus = tuple(dict.fromkeys(map(int, re.findall("[0-9]+", chosen["device"]))))
    device = f"cuda:{gpus[0]}" if gpus else chosen["device"]
    if gpus and address:
        raise InputError(f"--device {chosen['device']} names GPUs of this machine: with --address give --device cuda")
    if len(gpus) > 1 and engine == "serial":
        raise InputError(f"engine serial takes one GPU (given: --device {chosen['device']}; engine ray takes several)")
    broken = registry.broken_files(plugins)
    data_root = chosen["data_root"] or datasets.default_root()
    if fetch:
        for name in datasets_named(chosen["dataset"]):
            datasets.describe(name, plugins).fetch(name, data_root)
    request = Request(layers, plugins, data_root)
    if chosen["equal_cost"] is None and chosen["cost"] == "time":
        raise InputError("cost says what equal_cost makes equal: give equal_cost, a method")
    equal = chosen["equal_cost"] is not None
    runs, shares = at_equal_cost(request, device) if equal else (plan(request, datasets), [])
    store = Store(chosen["results"])
    return Command(
        runs=runs,
        shares=shares,
        broken=broken,
        store=store,
        results=store.root,
        data_root=data_root,
        plugins=plugins,
        force=force,
        engine=engine,
        cluster=Cluster(address, chosen["trials_per_gpu"], gpus),
        device=device,
        save_students=chosen["save_students"],
        predictions=(kept_as or "float16") if chosen["save_predictions"] else None,
        log=check_log(chosen["log"]),
        limit=limit,
    )


def at_equal_cost(request: Request, device: str = "auto") -> tuple[list[RunConfig], list[str]]:
    """Return a request's runs with the epochs that its budget allows each, and a line on what each kind of run spends.

    The budget is what the training of the method ``equal_cost`` takes, in MACs or in seconds on a device: forward and
    backward, teachers' forward passes included. A run of c per epoch gets ``max(1, round(budget / c))`` epochs; the
    epochs of the request are those of the named method. What a recipe states as shares of the run, and defaults in
    epochs, scale with it; everything else stays, also a warm-up of whole epochs.

    Raises:
        InputError: For anything unknown, a budget that allows a run more than 100,000 epochs, or a method whose epochs
            are set apart from the others'.
    """
    from benchmark.speed.cost import macs_per_image, plan_cost

    method, by_time = request.option("equal_cost"), request.option("cost") == "time"
    unit = "seconds" if by_time else "multiply-adds"
    label = f"equal {'time' if by_time else 'cost'}: {method}"
    plugins, checksums = tuple(request.plugins), Checksums()
    runs = expanded(request, datasets, checksums)
    data = {run.dataset: run.data for run in runs}
    shapes = {name: datasets.shape(name, own, request.data_root, plugins) for name, own in data.items()}
    known: dict[str, float] = {}

    def per_epoch(run: RunConfig) -> float:
        kind = run.model_copy(update={"seed": 0}).identity
        if kind not in known:
            if by_time:
                (image,), _ = plan_cost([run], shapes, request.option("results"), device, plugins)
            else:
                image = macs_per_image(run, shapes[run.dataset], plugins)
            known[kind] = image.train * shapes[run.dataset].train
        return known[kind]

    # the method as it is, whatever other settings of it the command has
    layers = [{key: value for key, value in layer.items() if key != "variants"} for layer in request.layers]
    reference = expanded(replace(request, layers=(*layers, {"methods": [method]})), datasets, checksums)
    totals = {(run.dataset, run.backbone): per_epoch(run) * run.train.epochs for run in reference}
    # the command line's own layer stays last: it says what may not be left unused
    *below, last = request.layers
    plans: dict[int, list[RunConfig]] = {}
    scaled: list[RunConfig] = []
    shares: list[str] = []
    for number, run in enumerate(runs):
        total, each = totals[run.dataset, run.backbone], per_epoch(run)
        epochs = max(1, round(total / each))
        if epochs > MAX_EPOCHS:
            raise InputError(
                f"the budget of {total:.3g} {unit} gives {run.method} on {run.dataset} "
                f"{epochs:,} epochs, more than {MAX_EPOCHS:,}"
            )
        if epochs not in plans:
            longer = replace(request, layers=(*below, {**last, "epochs": epochs}))
            plans[epochs] = expanded(longer, datasets, checksums)
        # the runs of plans of every length are in the same order
        scaled.append(plans[epochs][number].model_copy(update={"budgets": [label]}))
        if scaled[-1].train.epochs != epochs:
            raise InputError(f"{run.method} has train.epochs of its own, which {label!r} would have to change")
        if scaled[-1].train.milestones != run.train.milestones:
            raise InputError(f"{label!r} changes the length of runs: give train.milestones as shares of the run")
        spent = f"{epochs} epochs of {each:.3g} {unit} are {epochs * each:.3g} ({epochs * each / total:.1%})"
        shares.append(f"{run.method} {run.dataset} {run.backbone}: {spent}")
    return distinct(scaled), list(dict.fromkeys(shares))


def forecast(command: Command, runs: Sequence[RunConfig], shapes: Shapes) -> list[str]:
    """Return a line on what runs take on this machine's CPU, and for a long plan one on what would be shorter.

    There is no time for a plan of a few minutes or where no step can be timed, and no line on a GPU or a cluster. The
    shapes are those of the datasets by name.
    """
    from benchmark.speed.cost import pixels

    if command.cluster.address is not None or training.choose_device(command.device).type != "cpu":
        return []
    if sum(pixels(run, shapes[run.dataset]) for run in runs) < WORTH_IT_PIXELS:
        return [counted(len(runs), "run")]
    try:
        took, line = estimated(command, runs, shapes)
    except InputError:
        # whatever is wrong with a method is told by its run
        return [counted(len(runs), "run")]
    if took < LONG_S:
        return [line]
    smallest = next(iter(backbones.available()))  # the list begins with it
    small = "a smaller network, " if any(run.backbone != smallest for run in runs) else ""
    faster = environment.multiplies_bfloat16() and any(run.train.precision != "bf16" for run in runs)
    bf16 = "less precision (train.precision=bf16), " if faster else ""
    fewer = f"fewer images (data.train_per_class), {small}{bf16}fewer epochs (--epochs)"
    return [line, f"what makes it shorter: {fewer}, or a machine with a GPU"]


def places(command: Command, runs: Sequence[RunConfig]) -> int:
    """Return how many of the runs this machine holds side by side."""
    import torch

    if command.engine == "serial":
        return 1
    if command.device != "cpu" and torch.cuda.is_available():
        gpus = len(command.cluster.gpus) or torch.cuda.device_count()
        return min(len(runs), gpus * command.cluster.trials_per_gpu)
    return max(1, usable_cpus() // max(run.train.threads for run in runs))


def print_plan(command: Command, console: Console) -> None:
    """Print every run and whether it is finished already, and what the rest takes."""
    missing = {run.identity: run for run in command.runs if not command.store.ended(run)}
    # what cannot be carried out is refused before anything is printed
    estimate = [estimated(command, list(missing.values()))[1]] if missing else []
    # the hyperparameters in which runs of one method, dataset and network differ are named
    values: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for run in command.runs:
        for key, value in run.hyperparameters.items():
            values[run.method, run.dataset, run.backbone, key].add(repr(value))
    for run in command.runs:
        own = run.hyperparameters.items()
        words = [f"{key}={value}" for key, value in own if len(values[run.method, run.dataset, run.backbone, key]) > 1]
        kind = f" [{', '.join(words)}]" if words else ""
        state = "to do" if run.identity in missing else "finished"
        say(console, f"{state:<8}  {run.label}{kind}  ({run.train.epochs} epochs, {run.identity})")
    done = f"{len(command.runs)} runs, {len(command.runs) - len(missing)} finished already"
    say(console, *command.shares, done, *estimate, *(f"note: {line}" for line in command.broken))


def estimated(command: Command, runs: Sequence[RunConfig], shapes: Shapes | None = None) -> tuple[float, str]:
    """Return the seconds that runs take here, from a few timed steps of each kind, and the same as text."""
    from benchmark.speed.cost import plan_cost, side_by_side

    # a set of many files takes seconds: one question per dataset, not per run
    data, wide = {run.dataset: run.data for run in runs}, places(command, runs)
    if shapes is None:
        shapes = {name: datasets.shape(name, own, command.data_root, command.plugins) for name, own in data.items()}
        training.check_labels(runs, shapes, command.plugins)
    images, remark = plan_cost(runs, shapes, command.store.root, command.device, command.plugins)
    each = []
    for run, image in zip(runs, images, strict=True):
        # what an earlier command has trained of them is not trained again
        done = 0 if command.force else len(command.store.metrics(run))
        each.append(image.total(run, shapes[run.dataset], max(0, run.train.epochs - done)))
    took = side_by_side(each, wide)
    parts = [counted(len(runs), "run"), f"{wide} side by side" if wide > 1 else "", remark]
    return took, f"about {duration(took)} on this machine ({', '.join(filter(None, parts))})"
