"""What ``bench run`` says before it starts, and with ``--dry-run``: the runs, their time, and what makes it shorter."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.console import Console

from benchmark import datasets, training
from benchmark.configuration import RunConfig
from benchmark.console import say
from benchmark.formatting import duration
from benchmark.running.command import Command
from benchmark.scheduling import usable_cpus
from benchmark.store import environment
from methods.errors import InputError

WORTH_IT_PIXELS = 20_000_000  # of all epochs and runs; a plan that trains on fewer takes minutes and is not timed
LONG_S = 2 * 3600.0  # from here on a plan is told what would make it shorter
SMALLEST_SUBSET = 5  # images per class; fewer are no advice
SHARE = 10  # the subset that is advised has one image of so many

Shapes = Mapping[str, datasets.Shape]


def forecast(command: Command, runs: Sequence[RunConfig], shapes: Shapes) -> list[str]:
    """Return a line on what runs take on this machine's CPU, and for a long plan one on what would be shorter.

    There is no time for a plan of a few minutes or where no step can be timed, and no line on a GPU or a cluster. The
    shapes are those of the datasets by name.
    """
    from benchmark.speed.cost import pixels
    from methods import backbones

    if command.cluster.address is not None or training.choose_device(command.device).type != "cpu":
        return []
    if sum(pixels(run, shapes[run.dataset]) for run in runs) < WORTH_IT_PIXELS:
        return [counted(runs)]
    try:
        took, line = estimated(command, runs, shapes)
    except InputError:
        # whatever is wrong with a method is told by its run
        return [counted(runs)]
    if took < LONG_S:
        return [line]
    advice, shape = [], shapes[max(runs, key=lambda run: pixels(run, shapes[run.dataset])).dataset]
    if (fewer := shape.train // shape.num_classes // SHARE) >= SMALLEST_SUBSET:
        advice.append(f"fewer images (--set data.train_per_class={fewer})")
    smallest = next(iter(backbones.available()))
    if any(run.backbone != smallest for run in runs):
        advice.append(f"a smaller network (--backbone {smallest})")
    if environment.multiplies_bfloat16() and any(run.train.precision != "bf16" for run in runs):
        advice.append("less precision (--set train.precision=bf16)")
    if not command.shares:
        advice.append("fewer epochs (--epochs, or --budget for equal cost)")
    return [line, f"what makes it shorter: {'; or '.join([*advice, 'a machine with a GPU'])}"]


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
    images, remarks = plan_cost(runs, shapes, command.store.root, command.device, command.plugins)
    each = []
    for run, image in zip(runs, images, strict=True):
        # what an earlier command has trained of them is not trained again
        done = 0 if command.force else len(command.store.metrics(run))
        each.append(image.total(run, shapes[run.dataset], max(0, run.train.epochs - done)))
    took = side_by_side(each, wide)
    parts = [counted(runs), *([f"{wide} side by side"] if wide > 1 else []), *remarks]
    return took, f"about {duration(took)} on this machine ({', '.join(parts)})"


def counted(runs: Sequence[RunConfig]) -> str:
    """Return how many runs there are, in words."""
    return "1 run" if len(runs) == 1 else f"{len(runs)} runs"
