"""Plans in which every method may spend the same number of multiply-adds on training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmark.configuration import Checksums, Datasets, Request, RunConfig, distinct, expanded
from benchmark.datasets import Shape
from benchmark.speed.cost import macs_per_image
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


ShapeOf = Callable[[RunConfig], Shape]


def at_equal_cost(
    request: Request, datasets: Datasets, shape_of: ShapeOf, budget: Budget
) -> tuple[list[RunConfig], list[Share]]:
    """Return a request's runs with the epochs that a budget allows each, and what each kind of run spends.

    A run of c multiply-adds an epoch gets ``max(1, round(budget / c))`` epochs. What a recipe states as shares of the
    run, and defaults in epochs, scale with it; everything else stays.

    Args:
        request: What is asked for; its epochs are those of the method that the budget names.
        datasets: Knows their recipes and checksums.
        shape_of: What the images of a run look like, and how many there are.
        budget: What every run may spend.

    Raises:
        InputError: For anything unknown, a budget that allows a run more than 100,000 epochs, or a method whose epochs
            are set apart from the others'.
    """
    checksums: Checksums = {}
    costs = _Costs(shape_of, tuple(request.plugins))
    runs = expanded(request, datasets, checksums)
    _check_shares(request, runs)
    totals = _totals(request, datasets, budget, runs, checksums, costs)
    epochs = [_epochs(run, totals[run.dataset, run.backbone], costs) for run in runs]
    # runs of every length lie in the same places
    plans = {length: expanded(_with_epochs(request, length), datasets, checksums) for length in sorted(set(epochs))}
    found: list[RunConfig] = []
    shares: dict[str, Share] = {}
    for place, (run, length) in enumerate(zip(runs, epochs, strict=True)):
        scaled = plans[length][place].model_copy(update={"budgets": [budget.label]})
        if scaled.train.epochs != length:
            raise InputError(f"{run.method} has train.epochs of its own, which {budget.label!r} would have to change")
        share = Share(scaled, costs.per_epoch(run), totals[run.dataset, run.backbone])
        shares.setdefault(str(share), share)
        found.append(scaled)
    return distinct(found), list(shares.values())


class _Costs:
    """What an epoch of training takes, counted once for every kind of run."""

    def __init__(self, shape_of: ShapeOf, plugins: Sequence[str]) -> None:
        self.shape_of = shape_of
        self.plugins = plugins
        self.shapes: dict[str, Shape] = {}
        self.known: dict[str, float] = {}

    def per_epoch(self, run: RunConfig) -> float:
        """Return the multiply-adds of an epoch."""
        kind = run.model_copy(update={"seed": 0}).identity
        if kind not in self.known:
            if run.dataset not in self.shapes:
                self.shapes[run.dataset] = self.shape_of(run)
            shape = self.shapes[run.dataset]
            self.known[kind] = macs_per_image(run, shape, self.plugins).train * shape.train
        return self.known[kind]


def _totals(
    request: Request,
    datasets: Datasets,
    budget: Budget,
    runs: Sequence[RunConfig],
    checksums: Checksums,
    costs: _Costs,
) -> dict[tuple[str, str], float]:
    """Return what may be spent on every data set and backbone."""
    if budget.multiply_adds is not None:
        return {(run.dataset, run.backbone): budget.multiply_adds for run in runs}
    # the method as it is, whatever other settings of it the command has beside
    layers = [{key: value for key, value in layer.items() if key != "variants"} for layer in request.layers]
    reference = expanded(replace(request, layers=(*layers, {"methods": [budget.method]})), datasets, checksums)
    return {(run.dataset, run.backbone): costs.per_epoch(run) * run.train.epochs for run in reference}


def _check_shares(request: Request, runs: Sequence[RunConfig]) -> None:
    """Raise an InputError for schedules in epochs: only shares of the run keep their shape at another length."""
    milestones = [layer.get("train", {}).get("milestones") or [] for layer in request.layers]
    if any(run.train.warmup_epochs >= 1 for run in runs) or any(x >= 1 for given in milestones for x in given):
        raise InputError(
            "runs of equal cost differ in length: give train.milestones and train.warmup_epochs as shares of the run"
        )


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
    return replace(request, layers=(*below, {**last, "epochs": epochs}))
