"""Plans in which every method may spend the same number of multiply-adds on training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.configuration import Checksums, Datasets, Request, RunConfig, plan
from benchmark.datasets import Shape
from benchmark.speed.estimate import operations_per_image
from methods.errors import InputError

MAX_EPOCHS = 100_000


@dataclass(frozen=True)
class Budget:
    """What every run may spend: what a method's training takes at the recipe's epochs, or a number.

    Attributes:
        method: Whose cost is given to all; None if ``multiply_adds`` says it.
        multiply_adds: Of a whole training, forward and backward, teachers' forward passes included.
    """

    method: str | None = None
    multiply_adds: float | None = None

    @property
    def label(self) -> str:
        """What the runs' column is called."""
        return f"equal cost: {self.method}" if self.method else f"equal cost: {self.multiply_adds:.3g} multiply-adds"


@dataclass(frozen=True)
class Share:
    """What one kind of run gets out of a budget.

    Attributes:
        run: One of its runs, with its epochs.
        multiply_adds_per_epoch: Of training, by ``torch.utils.flop_counter``.
        budget: The multiply-adds that it may spend.
    """

    run: RunConfig
    multiply_adds_per_epoch: float
    budget: float

    @property
    def total(self) -> float:
        """What its training spends."""
        return self.multiply_adds_per_epoch * self.run.train.epochs

    def __str__(self) -> str:
        """The share as a line of the plan."""
        run = self.run
        return (
            f"{run.method} {run.dataset} {run.backbone}: {run.train.epochs} epochs of "
            f"{self.multiply_adds_per_epoch:.3g} multiply-adds are {self.total:.3g} ({self.total / self.budget:.1%})"
        )


def at_equal_cost(
    request: Request, datasets: Datasets, shapes: Mapping[str, Shape], budget: Budget, checksums: Checksums
) -> list[tuple[RunConfig, Share]]:
    """Return a request's runs with the epochs that a budget allows each, and what each spends.

    A run of c multiply-adds an epoch gets ``max(1, round(budget / c))`` epochs. What a recipe states as shares of the
    run, and defaults in epochs, scale with it; everything else stays.

    Args:
        request: What is asked for; its epochs are those of the method that the budget names.
        datasets: Knows their recipes and checksums.
        shapes: Of the data sets by name, as the request uses them.
        budget: What every run may spend.
        checksums: What is known of data sets already.

    Raises:
        InputError: For anything unknown, or a budget that allows a run more than 100,000 epochs.
    """
    runs = plan(request, datasets, checksums)
    costs = _Costs(shapes, tuple(request.plugins))
    totals = _totals(request, datasets, budget, checksums, costs)
    epochs = [_epochs(run, totals[run.dataset, run.backbone], costs) for run in runs]
    # a plan for each length: its runs come in the same order, so that each run is found by its place
    plans = {length: plan(_with_epochs(request, length), datasets, checksums) for length in sorted(set(epochs))}
    found = []
    for index, (run, length) in enumerate(zip(runs, epochs, strict=True)):
        scaled = plans[length][index].model_copy(update={"budgets": [budget.label]})
        found.append((scaled, Share(scaled, costs.per_epoch(run), totals[run.dataset, run.backbone])))
    return found


class _Costs:
    """What an epoch of training takes, counted once for every kind of run."""

    def __init__(self, shapes: Mapping[str, Shape], plugins: Sequence[str]) -> None:
        self.shapes = shapes
        self.plugins = plugins
        self.known: dict[str, float] = {}

    def per_epoch(self, run: RunConfig) -> float:
        """Return the multiply-adds of an epoch."""
        kind = run.model_copy(update={"seed": 0}).identity
        if kind not in self.known:
            shape = self.shapes[run.dataset]
            self.known[kind] = operations_per_image(run, shape, self.plugins).train / 2 * shape.train
        return self.known[kind]


def _totals(
    request: Request, datasets: Datasets, budget: Budget, checksums: Checksums, costs: _Costs
) -> dict[tuple[str, str], float]:
    """Return what may be spent on every data set and backbone."""
    named = {} if budget.method is None else {"methods": [budget.method]}
    reference = plan(Request((*request.layers, named), request.plugins, request.data_root), datasets, checksums)
    if budget.multiply_adds is not None:
        return {(run.dataset, run.backbone): budget.multiply_adds for run in reference}
    return {(run.dataset, run.backbone): costs.per_epoch(run) * run.train.epochs for run in reference}


def _epochs(run: RunConfig, total: float, costs: _Costs) -> int:
    epochs = max(1, round(total / costs.per_epoch(run)))
    if epochs > MAX_EPOCHS:
        raise InputError(
            f"the budget of {total:.3g} multiply-adds gives {run.method} on {run.dataset} {epochs:,} epochs, more than "
            f"{MAX_EPOCHS:,}"
        )
    return epochs


def _with_epochs(request: Request, epochs: int) -> Request:
    # the command line's own layer stays last: it says what may not be left unused
    *below, last = request.layers
    return Request((*below, {**last, "epochs": epochs}), request.plugins, Path(request.data_root))
