"""What ``bench run --dry-run`` prints: every run, and what the rest takes."""

from collections.abc import Sequence

from benchmark import datasets
from benchmark.configuration import RunConfig
from benchmark.consoles import Console
from benchmark.running.command import Command
from benchmark.scheduling import usable_cpus
from benchmark.words import duration, say


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
    from benchmark.speed.cost import plan_cost, side_by_side, stored_mebibytes
    from benchmark.training import check_labels

    shapes = {run.dataset: datasets.shape(run.dataset, run.data, command.data_root, command.plugins) for run in runs}
    check_labels(runs, shapes, command.plugins)
    found = plan_cost(runs, shapes, command.store.root, command.device, command.plugins)
    mebibytes = stored_mebibytes(runs, shapes, command.plugins, command.save_students, command.predictions)
    wide = places(command, runs)
    took = duration(side_by_side(found.seconds, wide))
    how = f", {found.scaled} of {found.kinds} kinds of runs scaled by their multiply-adds" if found.scaled else ""
    return f"about {took} on this machine ({wide} side by side{how}) and {mebibytes:.1f} MiB"


def places(command: Command, runs: Sequence[RunConfig]) -> int:
    """Return how many of the runs this machine holds side by side."""
    import torch

    if command.engine == "serial":
        return 1
    if command.device != "cpu" and torch.cuda.is_available():
        gpus = len(command.cluster.gpus) or torch.cuda.device_count()
        return min(len(runs), gpus * command.cluster.trials_per_gpu)
    return max(1, usable_cpus() // max(run.train.threads for run in runs))
