"""Plans in which every method may spend the same number of multiply-adds (MACs), or the same time, on training."""

from dataclasses import dataclass, replace

from benchmark import datasets
from benchmark.configuration import Checksums, Request, RunConfig, distinct, expanded
from benchmark.speed.cost import macs_per_image, plan_cost
from methods.errors import InputError

MAX_EPOCHS = 100_000


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


def at_equal_cost(request: Request, device: str = "auto") -> tuple[list[RunConfig], list[Share]]:
    """Return a request's runs with the epochs that its budget allows each, and what each kind of run spends.

    The budget is what the training of the method ``equal_cost`` takes, in MACs or in seconds on a device, or the MACs
    of ``budget``: forward and backward, teachers' forward passes included. A run of c per epoch gets
    ``max(1, round(budget / c))`` epochs; the epochs of the request are those of the named method. What a recipe states
    as shares of the run, and defaults in epochs, scale with it; everything else stays, also a warm-up of whole epochs.

    Raises:
        InputError: For anything unknown, a budget that allows a run more than 100,000 epochs, or a method whose epochs
            are set apart from the others'.
    """
    method, macs, by_time = request.option("equal_cost"), request.option("budget"), request.option("cost") == "time"
    unit = "seconds" if by_time else "multiply-adds"
    label = f"equal {'time' if by_time else 'cost'}: {method}" if method else f"equal cost: {macs:.3g} {unit}"
    checksums: Checksums = {}
    plugins = tuple(request.plugins)
    runs = expanded(request, datasets, checksums)
    # only shares of the run keep their shape at another length
    milestones = [layer.get("train", {}).get("milestones") or [] for layer in request.layers]
    if any(x >= 1 for given in milestones for x in given):
        raise InputError("runs of equal cost differ in length: give train.milestones as shares of the run")
    data = {run.dataset: run.data for run in runs}
    shapes = {name: datasets.shape(name, own, request.data_root, plugins) for name, own in data.items()}
    counted: dict[str, float] = {}

    def per_epoch(run: RunConfig) -> float:
        kind = run.model_copy(update={"seed": 0}).identity
        if kind not in counted:
            if by_time:
                image = plan_cost([run], shapes, request.option("results"), device, plugins).images[0]
            else:
                image = macs_per_image(run, shapes[run.dataset], plugins)
            counted[kind] = image.train * shapes[run.dataset].train
        return counted[kind]

    if macs is not None:
        totals = {(run.dataset, run.backbone): macs for run in runs}
    else:
        # the method as it is, whatever other settings of it the command has
        layers = [{key: value for key, value in layer.items() if key != "variants"} for layer in request.layers]
        reference = expanded(replace(request, layers=(*layers, {"methods": [method]})), datasets, checksums)
        totals = {(run.dataset, run.backbone): per_epoch(run) * run.train.epochs for run in reference}
    # the command line's own layer stays last: it says what may not be left unused
    *below, last = request.layers
    plans: dict[int, list[RunConfig]] = {}
    shares: list[Share] = []
    for number, run in enumerate(runs):
        total = totals[run.dataset, run.backbone]
        epochs = max(1, round(total / per_epoch(run)))
        if epochs > MAX_EPOCHS:
            raise InputError(
                f"the budget of {total:.3g} {unit} gives {run.method} on {run.dataset} "
                f"{epochs:,} epochs, more than {MAX_EPOCHS:,}"
            )
        if epochs not in plans:
            longer = replace(request, layers=(*below, {**last, "epochs": epochs}))
            plans[epochs] = expanded(longer, datasets, checksums)
        # the runs of plans of every length are in the same order
        scaled = plans[epochs][number].model_copy(update={"budgets": [label]})
        if scaled.train.epochs != epochs:
            raise InputError(f"{run.method} has train.epochs of its own, which {label!r} would have to change")
        shares.append(Share(scaled, per_epoch(run), total, unit))
    by_line: dict[str, Share] = {}
    for share in shares:
        by_line.setdefault(str(share), share)
    return distinct([share.run for share in shares]), list(by_line.values())
