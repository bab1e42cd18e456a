"""What ``bench run`` says before it starts, and with ``--dry-run``: the runs, their time, and what makes it shorter."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import floor, log10
from typing import TYPE_CHECKING

from rich.console import Console

from benchmark import datasets
from benchmark.configuration import RunConfig
from benchmark.console import say
from benchmark.formatting import duration
from benchmark.running.command import Command
from benchmark.scheduling import usable_cpus
from benchmark.store import environment
from methods.errors import InputError

if TYPE_CHECKING:
    from benchmark.speed.cost import ImageCost

WORTH_IT_PIXELS = 20_000_000
"""A plan that trains on fewer, all epochs and runs together, is through in a few minutes and not timed before."""

LONG_S = 2 * 3600.0
"""From here on a plan is told what would make it shorter."""

WORTH_IT = 0.7
"""A change after which a plan takes a larger part of its time is no advice."""

SMALLEST_SUBSET = 5
"""Images per class; fewer are no advice."""

SHARE = 10
"""The subset that is advised has one image of so many."""


def forecast(command: Command, runs: Sequence[RunConfig], shapes: Mapping[str, datasets.Shape]) -> list[str]:
    """Return a line on what runs take on this machine's CPU, and for a long plan one on what would be shorter.

    There is no time for a plan of a few minutes or where no step can be timed, and no line on a GPU or a cluster. The
    shapes are those of the datasets by name.
    """
    from benchmark.speed.cost import pixels, plan_cost
    from benchmark.training import choose_device

    if command.cluster.address is not None or choose_device(command.device).type != "cpu":
        return []
    several, wide = "1 run" if len(runs) == 1 else f"{len(runs)} runs", places(command, runs)
    which = f"{several}, {wide} side by side" if wide > 1 else several
    worth_it = sum(pixels(run, shapes[run.dataset]) for run in runs) >= WORTH_IT_PIXELS
    folder = command.store.root
    try:
        found = plan_cost(runs, shapes, folder, "cpu", command.plugins, quick=True) if worth_it else None
    except InputError:
        # whatever is wrong with a method is told by its run
        found = None
    if found is None:
        return [which]
    plan = _Plan(command, runs, shapes, found.images)
    took = plan.seconds()
    guessed = f"; {found.scaled} of {found.kinds} kinds of runs guessed from the others" if found.scaled else ""
    beside = "; timed beside other work, which makes it longer" if found.busy else ""
    line = f"about {duration(took)} on this machine's CPU ({which}{guessed}{beside})"
    return [line] if took < LONG_S else [line, f"what makes it shorter: {'; or '.join(plan.advice())}"]


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


def places(command: Command, runs: Sequence[RunConfig]) -> int:
    """Return how many of the runs this machine holds side by side."""
    import torch

    if command.engine == "serial":
        return 1
    if command.device != "cpu" and torch.cuda.is_available():
        gpus = len(command.cluster.gpus) or torch.cuda.device_count()
        return min(len(runs), gpus * command.cluster.trials_per_gpu)
    return max(1, usable_cpus() // max(run.train.threads for run in runs))


class _Plan:
    """The runs with their paces."""

    def __init__(
        self,
        command: Command,
        runs: Sequence[RunConfig],
        shapes: Mapping[str, datasets.Shape],
        images: Sequence["ImageCost"],
    ) -> None:
        self.command = command
        self.shapes = shapes
        self.runs = list(zip(runs, images, strict=True))
        self.places = places(command, runs)
        # what an earlier command has trained of them is not trained again
        self.done = {run.identity: 0 if command.force else len(command.store.metrics(run)) for run in runs}

    def seconds(self, factor: float = 1.0, images_per_class: int | None = None) -> float:
        """Return what the plan takes, at other speeds or on subsets of another size than its own."""
        from benchmark.speed.cost import side_by_side

        each = []
        for run, pace in self.runs:
            shape, left = self.shapes[run.dataset], max(0, run.train.epochs - self.done[run.identity])
            if images_per_class is not None:
                shape = replace(shape, train=min(shape.train, images_per_class * shape.num_classes))
                left = run.train.epochs
            each.append(factor * pace.total(run, shape, left))
        return side_by_side(each, self.places)

    def advice(self) -> Iterator[str]:
        """Yield what would make the plan shorter, with the time that it would then take."""
        run, pace = max(self.runs, key=lambda each: each[1].total(each[0], self.shapes[each[0].dataset], 1))
        shape = self.shapes[run.dataset]
        images = shape.train // shape.num_classes // SHARE
        if images >= SMALLEST_SUBSET:
            took = duration(self.seconds(images_per_class=images))
            yield f"fewer images (--set data.train_per_class={images}: about {took})"
        for change, factor in self._changes(run, pace):
            if factor is not None and factor < WORTH_IT:
                yield f"{change}: about {duration(self.seconds(factor))})"
        if not self.command.shares:
            yield from self._budget(run, pace)
        yield "a machine with a GPU"

    def _changes(self, run: RunConfig, pace: "ImageCost") -> Iterator[tuple[str, float | None]]:
        """Yield changes of the longest run with the time that it then takes, relative; None if it takes no step."""
        from benchmark.speed.cost import time_images
        from benchmark.training import choose_device, read_machine_record
        from methods import backbones

        def factor(changed: RunConfig) -> float | None:
            shape = self.shapes[run.dataset]
            try:
                return time_images(changed, shape, "cpu", self.command.plugins, quick=True)[0].train / pace.train
            except Exception:
                return None

        smallest = next(iter(backbones.available()))
        if run.backbone != smallest:
            smaller = run.model_copy(update={"backbone": smallest})
            yield f"a smaller network (--backbone {smallest}", factor(smaller)
        if run.train.precision != "bf16" and environment.multiplies_bfloat16():
            record = read_machine_record(choose_device("cpu"))
            gain = record.gains.get("bf16") if record else None
            reduced = run.model_copy(update={"train": run.train.model_copy(update={"precision": "bf16"})})
            yield "less precision (--set train.precision=bf16", 1 / gain if gain else factor(reduced)

    def _budget(self, run: RunConfig, pace: "ImageCost") -> Iterator[str]:
        """Yield the multiply-adds per run with which the plan would take as long as is not called long."""
        from benchmark.speed.cost import macs_per_image

        shape = self.shapes[run.dataset]
        try:
            rate = macs_per_image(run, shape, self.command.plugins).train / pace.train
        except Exception:
            return
        # a run of a budget takes budget / rate for training, and in proportion for its evaluations
        overhead = sum(
            each.total(one, part) / (each.train * one.train.epochs * part.train)
            for one, each, part in ((one, each, self.shapes[one.dataset]) for one, each in self.runs)
        )
        most = LONG_S * self.places * rate / overhead
        # rounded down to two digits
        unit = 10.0 ** (floor(log10(most)) - 1)
        budget = floor(most / unit) * unit
        # at least an epoch
        if budget >= rate * pace.train * shape.train:
            took = duration(budget / rate * overhead / self.places)
            yield f"fewer epochs, of equal cost for every method (--budget {budget:.2g}: about {took})"


def _differing(runs: Sequence[RunConfig]) -> dict[str, str]:
    """Return by identity the hyperparameters in which runs of one method, dataset and network differ, as text."""
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


def seconds(command: Command, runs: Sequence[RunConfig]) -> float:
    """Return the seconds that runs take side by side on this machine, from a few timed steps of each kind."""
    from benchmark.speed.cost import plan_cost, side_by_side

    shapes = _shapes(command, runs)
    found = plan_cost(runs, shapes, command.store.root, command.device, command.plugins)
    return side_by_side(found.seconds, places(command, runs))


def _shapes(command: Command, runs: Sequence[RunConfig]) -> dict[str, datasets.Shape]:
    # a set of many files takes seconds: one question per dataset, not per run
    data = {run.dataset: run.data for run in runs}
    return {name: datasets.shape(name, own, command.data_root, command.plugins) for name, own in data.items()}


def _estimated(command: Command, runs: Sequence[RunConfig]) -> str:
    from benchmark.speed.cost import plan_cost, side_by_side, stored_mebibytes
    from benchmark.training import check_labels

    shapes = _shapes(command, runs)
    check_labels(runs, shapes, command.plugins)
    found = plan_cost(runs, shapes, command.store.root, command.device, command.plugins)
    mebibytes = stored_mebibytes(runs, shapes, command.plugins, command.save_students, command.predictions)
    wide = places(command, runs)
    took = duration(side_by_side(found.seconds, wide))
    how = f", {found.scaled} of {found.kinds} kinds of runs scaled by their multiply-adds" if found.scaled else ""
    return f"about {took} on this machine ({wide} side by side{how}) and {mebibytes:.1f} MiB"
