"""Plans in which every method may spend the same number of multiply-adds (MACs), or the same time, on training."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmark.configuration import Checksums, Datasets, Request, RunConfig, distinct, expanded
from benchmark.datasets import Shape
from benchmark.speed.cost import macs_per_image
from methods.errors import InputError

MAX_EPOCHS = 100_000


@dataclass(frozen=True)
class Budget:
    """What every run may spend: what a method's training takes at the recipe's epochs, or a number."""

    method: str | None = None  # whose cost is given to all; None if macs says it
    macs: float | None = None  # of a whole training, forward and backward, teachers' forward passes included
    # returns the measured seconds of a training image of a run, where time is what is equal; None: MACs
    seconds_of: Callable[[RunConfig, Shape], float] | None = None

    @property
    def unit(self) -> str:
        """What is spent."""
        return "multiply-adds" if self.seconds_of is None else "seconds"

    @property
    def label(self) -> str:
        """What the runs' column is called."""
        if self.method and self.seconds_of is not None:
            return f"equal time: {self.method}"
        return f"equal cost: {self.method}" if self.method else f"equal cost: {self.macs:.3g} multiply-adds"


@dataclass(frozen=True)
class Share:
    """What one kind of run gets of a budget."""

    run: RunConfig
    macs_per_epoch: float  # of training; seconds where time is what is equal
    budget: float  # the same of all epochs that it may spend
    unit: str = "multiply-adds"  # what is spent

    @property
    def total(self) -> float:
        """What its training spends."""
        return self.macs_per_epoch * self.run.train.epochs

    def __str__(self) -> str:
        """The share as a line of the plan."""
        run = self.run
        return (
            f"{run.method} {run.dataset} {run.backbone}: {run.train.epochs} epochs of "
            f"{self.macs_per_epoch:.3g} {self.unit} are {self.total:.3g} ({self.total / self.budget:.1%})"
        )


def at_equal_cost(
    request: Request, datasets: Datasets, shape_of: Callable[[RunConfig], Shape], budget: Budget
) -> tuple[list[RunConfig], list[Share]]:
    """Return a request's runs with the epochs that a budget allows each, and what each kind of run spends.

    A run of c MACs per epoch gets ``max(1, round(budget / c))`` epochs. What a recipe states as shares of the
    run, and defaults in epochs, scale with it; everything else stays, also a warm-up of whole epochs.

    Args:
        request: What is asked for; its epochs are those of the method that the budget names.

    Raises:
        InputError: For anything unknown, a budget that allows a run more than 100,000 epochs, or a method whose epochs
            are set apart from the others'.
    """
    checksums: Checksums = {}
    shapes: dict[str, Shape] = {}
    counted: dict[str, float] = {}

    def per_epoch(run: RunConfig) -> float:
        kind = run.model_copy(update={"seed": 0}).identity
        if kind not in counted:
            if run.dataset not in shapes:
                shapes[run.dataset] = shape_of(run)
            shape = shapes[run.dataset]
            if budget.seconds_of is None:
                counted[kind] = macs_per_image(run, shape, request.plugins).train * shape.train
            else:
                counted[kind] = budget.seconds_of(run, shape) * shape.train
        return counted[kind]

    runs = expanded(request, datasets, checksums)
    # only shares of the run keep their shape at another length
    milestones = [layer.get("train", {}).get("milestones") or [] for layer in request.layers]
    if any(x >= 1 for given in milestones for x in given):
        raise InputError("runs of equal cost differ in length: give train.milestones as shares of the run")
    if budget.macs is not None:
        totals = {(run.dataset, run.backbone): budget.macs for run in runs}
    else:
        # the method as it is, whatever other settings of it the command has
        layers = [{key: value for key, value in layer.items() if key != "variants"} for layer in request.layers]
        reference = expanded(replace(request, layers=(*layers, {"methods": [budget.method]})), datasets, checksums)
        totals = {(run.dataset, run.backbone): per_epoch(run) * run.train.epochs for run in reference}
    # the command line's own layer stays last: it says what may not be left unused
    *below, last = request.layers
    plans: dict[int, list[RunConfig]] = {}
    found: list[RunConfig] = []
    by_line: dict[str, Share] = {}
    for number, run in enumerate(runs):
        share = Share(run, per_epoch(run), totals[run.dataset, run.backbone], budget.unit)
        epochs = max(1, round(share.budget / share.macs_per_epoch))
        if epochs > MAX_EPOCHS:
            raise InputError(
                f"the budget of {share.budget:.3g} {share.unit} gives {run.method} on {run.dataset} "
                f"{epochs:,} epochs, more than {MAX_EPOCHS:,}"
            )
        if epochs not in plans:
            longer = replace(request, layers=(*below, {**last, "epochs": epochs}))
            plans[epochs] = expanded(longer, datasets, checksums)
        # the runs of plans of every length are in the same order
        scaled = plans[epochs][number].model_copy(update={"budgets": [budget.label]})
        if scaled.train.epochs != epochs:
            raise InputError(f"{run.method} has train.epochs of its own, which {budget.label!r} would have to change")
        found.append(scaled)
        own = replace(share, run=scaled)
        by_line.setdefault(str(own), own)
    return distinct(found), list(by_line.values())
