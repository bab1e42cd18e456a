"""The configurations under which a method is checked, and the first steps of training in them."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import torch
from pydantic.fields import FieldInfo
from torch import Tensor, nn

from benchmark import training
from benchmark.configuration import TrainConfig
from methods import Progress, backbones, registry
from methods.hyperparameters import BaseHyperparameters
from methods.interface import Batch, Method

State = Mapping[str, Any]

BATCH_SIZE = 6
TRAINING_BATCHES = 4
_EPOCHS = (0, 0, 1, 1, 150, 299)
PROGRESS = [
    Progress(epoch, step, 300, last_of_epoch=epoch not in _EPOCHS[step + 1 :]) for step, epoch in enumerate(_EPOCHS)
]
"""Where in a run the steps are taken: more than one per epoch, and early, half-way and late."""

RATES = TrainConfig(epochs=PROGRESS[0].epochs, lr=0.02, schedule="constant")
"""The learning rate of the steps, of which a method's groups may have their own."""

INTERRUPTED = 3
"""The number of the step before which a run is interrupted, to be resumed in a fresh instance."""

SMALL, OTHER = "resnet8", "resnet14"
"""The quickest backbone, and one that differs from it."""


class ContractError(Exception):
    """A method or network breaks its contract; the message says how."""


def require(kept: object, reason: str) -> None:
    """Raise a ContractError with a reason unless something is true."""
    if not kept:
        raise ContractError(reason)


def require_same(ours: State, theirs: State, reason: str) -> None:
    """Raise a ContractError unless states are the same bit for bit; ``{}`` in the reason is what differs first."""
    if name := difference(ours, theirs):
        raise ContractError(reason.replace("{}", name))


class Depth(IntEnum):
    """How much of the contract is checked in a case; each includes those before it, and all rely on the gates."""

    GATES = 0
    ESSENTIAL = 1
    STEPS = 2
    ALL = 3


Clauses = dict[str, tuple[Depth, Callable[[Any], None]]]
"""By name: how deep a case is checked that a clause is for, and what raises a ContractError where it is broken."""


def clause(table: Clauses, name: str, depth: Depth = Depth.ALL) -> Callable[[Callable[[Any], None]], None]:
    """Register a clause in a table."""
    return lambda check: table.update({name: (depth, check)})


@dataclass(frozen=True)
class Case:
    """One configuration under which a method is checked, with backbones and images as for :func:`methods.build`."""

    label: str  # what is special about it
    method: type[Method]
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)  # those that are not left to the defaults
    backbone: str = SMALL
    num_classes: int = 5
    in_channels: int = 3
    image_size: int = 8
    depth: Depth = Depth.ALL
    may_refuse: bool = False  # may the method answer with an InputError that these values do not go together?
    plugins: tuple[str, ...] = ()  # files that define further backbones

    def resolve(self, hyperparameters: Mapping[str, Any] | None = None) -> BaseHyperparameters:
        """Return the case's hyperparameters, or others for the same networks, with the defaults filled in."""
        given = self.hyperparameters if hyperparameters is None else hyperparameters
        return registry.resolve(self.method, given, self.backbone.split("+"))

    def build(self, seed: int = 0) -> Method:
        """Return the method with networks initialised from a seed."""
        chosen = self.resolve()
        shape = self.num_classes, self.in_channels, self.image_size
        made = [backbones.make(part, *shape, plugins=self.plugins) for part in self.backbone.split("+")]
        torch.manual_seed(seed)
        return self.method(made, chosen)

    def batch(self, number: int, views: int) -> Batch:
        """Return the views and labels of one step."""
        shape = (views, BATCH_SIZE, self.in_channels, self.image_size, self.image_size)
        images = torch.randn(shape, generator=torch.Generator().manual_seed(number))
        return images, self.labels()[:BATCH_SIZE]

    def labels(self) -> Tensor:
        """Return the labels of all training images, the same in every batch."""
        return (torch.arange(BATCH_SIZE) % self.num_classes).repeat(TRAINING_BATCHES)

    def images(self) -> Tensor:
        """Return images that no step has seen."""
        return self.batch(99, 1)[0][0]

    @cached_property
    def fresh(self) -> Method:
        """The method in training mode before its first step; clauses change nothing of it but batch statistics."""
        return self.build().train()

    @cached_property
    def first_steps(self) -> "FirstSteps":
        """What the method did in its first steps."""
        method = self.build().train()
        modes = {name: module.training for name, module in method.named_modules()}
        found = FirstSteps(method, lacking=set(trainable(method)))
        prepare(self, method)
        found.switched = found.lacking ^ set(trainable(method))
        resumed = self.depth >= Depth.STEPS
        for number, progress in enumerate(PROGRESS):
            if number == INTERRUPTED and resumed:
                found.middle = snapshot(method.state_dict())
                with torch.no_grad():
                    found.predicted = method.eval().predict(self.images())
                method.train()
            untrained = {name: own for name, own in method.named_parameters() if not own.requires_grad}
            before = snapshot(untrained)
            torch.manual_seed(number)
            losses = step(self, method, number)
            found.moved = found.moved or difference(before, untrained)
            for name, parameter in trainable(method).items():
                if parameter.grad is not None:
                    found.lacking.discard(name)
                    if found.infinite is None and not parameter.grad.isfinite().all():
                        found.infinite = name
            method.after_step(progress)
            found.left |= {name: own.training for name, own in method.named_modules() if own.training != modes[name]}
            if number >= INTERRUPTED and resumed:
                found.later[number] = losses, snapshot(method.state_dict())
            if not resumed and not found.lacking:
                break
        method.eval()
        return found


@dataclass
class FirstSteps:
    """What a method did in its first steps: which parameters and modules break the contract, and what it computed."""

    method: Method  # in eval mode after them; no clause may change it
    lacking: set[str]  # needed a gradient and got none in any step
    infinite: str | None = None  # the first whose gradient was not finite
    switched: set[str] = field(default_factory=set)  # left with another requires_grad by start
    moved: str | None = None  # needs no gradient and was moved before after_step
    left: dict[str, bool] = field(default_factory=dict)  # found in another mode, and whether that is training
    middle: State = field(default_factory=dict)  # before the step of the number INTERRUPTED
    predicted: dict[str, Tensor] = field(default_factory=dict)  # the logits of the case's images then
    # of each step from that one on: its losses, and the state after it
    later: dict[int, tuple[dict[str, Tensor], State]] = field(default_factory=dict)


def prepare(case: Case, method: Method, seed: int = 0) -> None:
    """Do what a run does before its first step."""
    method.train()
    torch.manual_seed(seed)
    method.labels(case.labels())
    method.start(case.batch(1000 + number, method.views) for number in count())


def step(case: Case, method: Method, number: int) -> dict[str, Tensor]:
    """Take a 0-based step of the optimiser, from torch's generator as it is, and return its losses."""
    groups = [
        {"params": list(group.parameters), "lr": training.learning_rate(group, RATES, PROGRESS[number].epoch)}
        for group in training.parameter_groups(method)
    ]
    indices = torch.arange(BATCH_SIZE) + BATCH_SIZE * (number % TRAINING_BATCHES)
    batch = training.StepBatch(*case.batch(number, method.views), indices)
    return training.optimise(method, torch.optim.SGD(groups, fused=True), batch, PROGRESS[number])


def take_step(case: Case, method: Method, number: int) -> dict[str, Tensor]:
    """Take one whole step of training, with the step's number for its seed, and return its losses."""
    torch.manual_seed(number)
    losses = step(case, method, number)
    method.after_step(PROGRESS[number])
    return losses


def snapshot(state: State) -> State:
    """Return a copy of a state, which can be loaded."""
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in state.items()
    }


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return what the optimiser is given, by name."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


# ---- comparing ----


def same(ours: Any, theirs: Any) -> bool:
    """Return whether two values are the same bit for bit: tensors, plain data, and whatever is made of them."""
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return ours.keys() == theirs.keys() and all(same(value, theirs[key]) for key, value in ours.items())
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return type(ours) is type(theirs) and bool(ours == theirs)


def difference(ours: State, theirs: State) -> str | None:
    """Return the first name under which the values are not the same bit for bit."""
    if ours.keys() != theirs.keys():
        return first(ours.keys() ^ theirs.keys())
    return next((name for name, value in ours.items() if not same(value, theirs[name])), None)


def distance(ours: Tensor, theirs: Tensor, least: float = 1e-30) -> float:
    """Return the largest difference relative to the largest of the second ones, or to a least size."""
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp_min(least)).item()


def first(names: set[str]) -> str:
    """Return the first of some names, and how many more there are."""
    return f"{min(names, default='')}{f' (and {len(names) - 1} more)' if len(names) > 1 else ''}"


# ---- all cases of a method ----


def cases(method: type[Method], folder: Path) -> Iterator[Case]:
    """Yield what a method is checked under, its defaults first; files that it needs are written to the folder."""

    def example(place: str, *shape: Any) -> dict[str, Any]:
        (folder / place).mkdir(parents=True, exist_ok=True)
        return method.example(folder / place, *shape)

    fields = method.Hyperparameters.model_fields
    given = example("defaults", SMALL, 5, 3, 8)
    yield Case("defaults", method, given)
    fewest = {"peers": 2} if "peers" in fields else {}
    for peers in (2, 3, 4) if fewest else ():
        yield Case(f"peers={peers}", method, {**given, "peers": peers}, depth=Depth.STEPS)
    for name, info in fields.items():
        if name == "peers" or name in given:
            continue
        ends = [end for end in (bound(info, "ge"), bound(info, "le")) if end is not None]
        for depth, values in ((Depth.STEPS, choices(info)), (Depth.GATES, ends)):
            for value in values:
                if value != info.default:
                    # the end of a real range may be written as a whole number
                    varied = float(value) if info.annotation is float else value
                    chosen = {**given, **fewest, name: varied}
                    yield Case(f"{name}={varied}", method, chosen, depth=depth, may_refuse=True)
    grey = example("grey", SMALL, 2, 1, 8)
    yield Case("grey images, two classes", method, grey, SMALL, 2, 1, 8, Depth.ESSENTIAL)
    if method.mixed_backbones:
        two = f"{SMALL}+{OTHER}"
        yield Case(f"backbone={two}", method, given, two, depth=Depth.ESSENTIAL, may_refuse=True)
    for name in families():
        size = backbones.describe(name).min_image_size
        chosen = {**example(name, name, 5, 3, size), **fewest}
        yield Case(f"backbone={name}", method, chosen, name, image_size=size, depth=Depth.ESSENTIAL)


@cache
def families() -> tuple[str, ...]:
    """Return the backbone of the fewest layers of each family but that of the other cases."""
    sizes: dict[str, dict[str, int]] = {}
    for name in backbones.available():
        with torch.device("meta"):
            layers = sum(1 for _ in backbones.make(name, 2).network().modules())
        sizes.setdefault(backbones.describe(name).factory, {})[name] = layers
    return tuple(min(family, key=family.__getitem__) for family in sizes.values() if SMALL not in family)


def choices(info: FieldInfo) -> tuple[Any, ...]:
    """Return what a hyperparameter may be if that is a closed set, or what its declaration gives as examples."""

    def of(annotation: Any) -> tuple[Any, ...]:
        if annotation is bool:
            return (False, True)
        if get_origin(annotation) is Literal:
            return get_args(annotation)
        return tuple(choice for part in get_args(annotation) for choice in of(part))

    return of(info.annotation) or tuple(info.examples or ())


def bound(info: FieldInfo, *words: str) -> Any:
    """Return the bound of a hyperparameter that is declared by one of the words, such as ``ge``; None without one."""
    return next((getattr(mark, word) for mark in info.metadata for word in words if hasattr(mark, word)), None)
