"""The configurations under which a method is checked, and the first steps of training in them."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import torch
from pydantic.fields import FieldInfo
from torch import Tensor, nn

from benchmark import training
from benchmark.datasets import Shape, random_dataset
from benchmark.speed.measure import random_runs
from methods import Progress, backbones, registry
from methods.hyperparameters import BaseHyperparameters
from methods.interface import Batch, Method

State = Mapping[str, Any]

BATCH_SIZE = 6
EPOCHS = 300
_EPOCHS = (0, 0, 1, 1, 150, 299)
PROGRESS = [
    Progress(epoch, step, EPOCHS, last_of_epoch=epoch not in _EPOCHS[step + 1 :]) for step, epoch in enumerate(_EPOCHS)
]
"""Where in a run the steps are taken: more than one per epoch, and early, half-way and late."""

SMALL, OTHER = "resnet8", "resnet14"
"""The quickest backbone, and one that differs from it."""


class ContractError(Exception):
    """A method or network breaks its contract; the message says how."""


class RefusedError(Exception):
    """A method says that values do not go together, as it may: nothing else can be said of the case."""


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
    plugins: tuple[str, ...] = ()  # files that define the method, or further backbones

    def resolve(self) -> BaseHyperparameters:
        """Return the case's hyperparameters with the defaults filled in."""
        return registry.resolve(self.method, self.hyperparameters, self.backbone.split("+"))

    def build(self, seed: int = 0) -> Method:
        """Return the method with networks initialised from a seed."""
        chosen = self.resolve()
        shape = self.num_classes, self.in_channels, self.image_size
        made = [backbones.make(part, *shape, plugins=self.plugins) for part in self.backbone.split("+")]
        torch.manual_seed(seed)
        return self.method(made, chosen)

    def trainer(self, epochs: int, seed: int = 0, **train: Any) -> training.Trainer:
        """Return a run on random images that has two steps per epoch."""
        settings = {"epochs": epochs, "batch_size": BATCH_SIZE, "lr": 0.02, **train}
        sections = {self.method.name: self.hyperparameters}
        (run,) = random_runs(self.method.name, self.backbone, settings, sections, self.plugins)
        shape = Shape(2 * BATCH_SIZE, 2 * BATCH_SIZE, self.num_classes, self.in_channels, self.image_size)
        run = run.model_copy(update={"seed": seed})
        return training.Trainer(run, random_dataset(shape), torch.device("cpu"), self.plugins)

    def batch(self, views: int) -> Batch:
        """Return views and labels that no run sees."""
        shape = (views, BATCH_SIZE, self.in_channels, self.image_size, self.image_size)
        images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return images, torch.arange(BATCH_SIZE) % self.num_classes

    def images(self) -> Tensor:
        """Return images ``[B, C, H, W]`` that no run sees."""
        return self.batch(1)[0][0]

    @cached_property
    def fresh(self) -> Method:
        """The method in training mode before its first step; clauses change nothing of it but batch statistics."""
        return self.build().train()

    @cached_property
    def first_steps(self) -> "FirstSteps":
        """What the method did in its first steps."""
        trainer = self.trainer(EPOCHS)
        method = trainer.method
        modes = {name: module.training for name, module in self.fresh.named_modules()}
        needed = set(trainable(self.fresh))
        found = FirstSteps(method, lacking=set(needed), switched=needed ^ set(trainable(method)))
        for batch, progress in steps_of(trainer):
            untrained = {name: own for name, own in method.named_parameters() if not own.requires_grad}
            before = copy.deepcopy(untrained)
            training.optimise(method, trainer.optimizer, batch, progress)
            found.moved = found.moved or difference(before, untrained)
            gradients = {name: own.grad for name, own in trainable(method).items() if own.grad is not None}
            # a residual branch may begin at zero, and scales and shifts may be of no use at all
            found.lacking -= {name for name, gradient in gradients.items() if gradient.dim() < 2 or gradient.any()}
            infinite = (name for name, gradient in gradients.items() if not gradient.isfinite().all())
            found.infinite = found.infinite or next(infinite, None)
            method.after_step(progress)
            found.left |= {name: own.training for name, own in method.named_modules() if own.training != modes[name]}
            if self.depth < Depth.STEPS and not found.lacking:
                break
        method.eval()
        return found


@dataclass
class FirstSteps:
    """What a method did in its first steps, and which parameters and modules break the contract."""

    method: Method  # in eval mode after them; no clause may change it
    lacking: set[str]  # needed a gradient and got none, or zero, in every step
    switched: set[str]  # left with another requires_grad by start
    infinite: str | None = None  # the first whose gradient was not finite
    moved: str | None = None  # needs no gradient and was moved before after_step
    left: dict[str, bool] = field(default_factory=dict)  # found in another mode, and whether that is training


def steps_of(trainer: training.Trainer) -> Iterator[tuple[training.StepBatch, Progress]]:
    """Yield batches of a run, and where in it a step is taken on each."""
    for progress in PROGRESS:
        batch, _ = next(trainer.batches.of_epoch("order", "augmentation", progress.step))
        yield batch, progress


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


def cases(method: type[Method], folder: Path, plugins: Sequence[str | Path] = ()) -> Iterator[Case]:
    """Yield what a method is checked under, its defaults first; files that it needs are written to the folder."""

    def example(place: str, *shape: Any) -> dict[str, Any]:
        (folder / place).mkdir(parents=True, exist_ok=True)
        return method.example(folder / place, *shape)

    fields = method.Hyperparameters.model_fields
    given = example("defaults", SMALL, 5, 3, 8)
    yield (defaults := Case("defaults", method, given, plugins=tuple(map(str, plugins))))
    fewest = {"peers": 2} if "peers" in fields else {}
    for peers in (2, 3, 4) if fewest else ():
        chosen = {**given, "peers": peers}
        yield replace(defaults, label=f"peers={peers}", hyperparameters=chosen, depth=Depth.STEPS)
    for name, info in fields.items():
        if name == "peers" or name in given:
            continue
        ends = [end for end in (bound(info, "ge"), bound(info, "le")) if end is not None]
        for depth, values in ((Depth.STEPS, choices(info)), (Depth.GATES, ends)):
            for value in values:
                if value != info.default:
                    # the end of a real range may be written as a whole number
                    varied = float(value) if info.annotation is float else value
                    chosen, label = {**given, **fewest, name: varied}, f"{name}={varied}"
                    yield replace(defaults, label=label, hyperparameters=chosen, depth=depth, may_refuse=True)
    essential = replace(defaults, depth=Depth.ESSENTIAL)
    grey = replace(essential, label="grey images, two classes", num_classes=2, in_channels=1)
    yield replace(grey, hyperparameters=example("grey", SMALL, 2, 1, 8))
    if method.mixed_backbones:
        two = f"{SMALL}+{OTHER}"
        yield replace(essential, label=f"backbone={two}", backbone=two, may_refuse=True)
    for name in families():
        size = backbones.describe(name).min_image_size
        chosen = {**example(name, name, 5, 3, size), **fewest}
        yield replace(essential, label=f"backbone={name}", backbone=name, hyperparameters=chosen, image_size=size)


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
