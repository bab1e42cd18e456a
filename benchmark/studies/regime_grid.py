"""The recipes that the study of regimes chooses from, the cheapest first."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from benchmark import datasets
from benchmark.configuration import DataConfig, TrainConfig, recipes
from benchmark.running import Command, prepare
from benchmark.speed.cost import macs_per_image
from methods import registry
from methods.errors import InputError
from methods.hyperparameters import validated
from methods.mean_teacher import longest_decay


class Grid(BaseModel):
    """What is varied, on which images, and whom the methods are compared with."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    description: str
    dataset: str
    reference: str
    methods: list[str] = Field([], description="those that have to converge; none stands for all that need no teacher")
    paired_with: str = Field("", description="whose paired differences to the reference give the spread of the seeds")
    images_per_class: list[int] = Field(min_length=1)
    held_out_per_class: int = Field(ge=1)
    image_sizes: list[int | None] = Field(
        [None], min_length=1, description="sides that images are brought to; null: own"
    )
    comparisons: int | None = Field(
        None, ge=1, description="that the table makes; null: every method with the reference at two budgets"
    )
    equal_cost: str = Field("", description="whose cost the table at equal cost has; none stands for the dearest")
    backbones: list[str] = Field(min_length=1)
    epochs: list[int] = Field(min_length=1)
    warmup_epochs: list[float] = Field(min_length=1)
    train: dict[str, Any] = {}
    data: dict[str, Any] = {}


@dataclass(frozen=True)
class Candidate:
    """One recipe.

    Attributes:
        images: Training images a class.
        side: That images are brought to, in pixels; None: their own.
        backbone: The network.
        epochs: The length of a run.
        warmup: ``train.warmup_epochs``.
    """

    images: int
    side: int | None
    backbone: str
    epochs: int
    warmup: float

    def __str__(self) -> str:
        """What a person calls it."""
        side = f" of {self.side}x{self.side}" if self.side else ""
        return f"{self.images} images a class{side}, {self.backbone}, {self.epochs} epochs, warm-up {self.warmup:g}"


class Plan(NamedTuple):
    """A recipe and what is made of it.

    Attributes:
        candidate: The recipe.
        layer: The same as the keys of a configuration file, without what is held out to judge it.
        command: Its runs.
    """

    candidate: Candidate
    layer: dict[str, Any]
    command: Command


def read_grid(name: str) -> Grid:
    """Return the grid in a YAML file, with the methods' names filled in.

    Raises:
        InputError: For what nothing reads, or a reference that is not among the methods.
    """
    grid = validated(Grid, recipes.read(recipes.find(name)), "regime")
    if not grid.methods:
        grid = grid.model_copy(update={"methods": _without_teacher()})
    for word, method in (("reference", grid.reference), ("method of equal cost", grid.equal_cost or grid.reference)):
        if method not in grid.methods:
            raise InputError(f"regime: the {word} {method!r} is not among the methods")
    return grid


def _without_teacher() -> list[str]:
    catalogue = registry.catalogue(())
    models = {name: registry.load(name, ()).Hyperparameters for name, item in catalogue.items() if not item.broken}
    return [name for name, model in models.items() if not any(f.is_required() for f in model.model_fields.values())]


def plans(grid: Grid, seeds: int, **options: str) -> list[Plan]:
    """Return every recipe with its runs, scored on held-out training images; the cheapest first.

    A recipe's cost is the multiply-adds of training all methods once, counted by ``torch.utils.flop_counter``.

    Args:
        grid: What is varied.
        seeds: Runs of each method.
        **options: Of the command line: ``results``, ``engine``, ``device``.
    """
    shape = datasets.shape(grid.dataset, DataConfig(), datasets.default_root())
    choices = product(grid.images_per_class, grid.image_sizes, grid.backbones, grid.epochs, grid.warmup_epochs)
    found = []
    for candidate in (Candidate(*choice) for choice in choices):
        recipe = layer(grid, candidate, shape.num_classes)
        found.append(Plan(candidate, recipe, _command(grid, candidate, recipe, seeds, options)))
    of_a_kind = {(plan.candidate.backbone, plan.candidate.side): plan.command for plan in found}
    an_image = {
        (backbone, side): _multiply_adds(command, replace(shape, image_size=side or shape.image_size))
        for (backbone, side), command in of_a_kind.items()
    }

    def cost(plan: Plan) -> tuple[float, float]:
        one = plan.candidate
        return one.images * one.epochs * an_image[one.backbone, one.side], one.warmup

    return sorted(found, key=cost)


def layer(grid: Grid, candidate: Candidate, classes: int) -> dict[str, Any]:
    """Return a recipe's keys, but for what is held out.

    Args:
        grid: What all recipes share.
        candidate: What is its own.
        classes: Of the data set: they say how many steps a run has, and a mean teacher that looks back too far for it
            is shortened.
    """
    batch_size = int(grid.train.get("batch_size", TrainConfig().batch_size))
    steps = candidate.epochs * -(-classes * candidate.images // batch_size)
    fitting = longest_decay(steps)
    shortened = {
        name: {"ema_decay": fitting}
        for name in grid.methods
        if (field := registry.load(name, ()).Hyperparameters.model_fields.get("ema_decay")) and field.default > fitting
    }
    side = {"image_size": candidate.side} if candidate.side else {}
    return {
        "methods": grid.methods,
        "dataset": grid.dataset,
        "backbone": candidate.backbone,
        "train": {**grid.train, "epochs": candidate.epochs, "warmup_epochs": candidate.warmup},
        "data": {**grid.data, "train_per_class": candidate.images, **side},
        **shortened,
    }


def _command(
    grid: Grid, candidate: Candidate, recipe: Mapping[str, Any], seeds: int, options: Mapping[str, str]
) -> Command:
    taken = candidate.images + grid.held_out_per_class
    held = {"train_per_class": taken, "holdout": grid.held_out_per_class / taken}
    scored = {"eval_every": candidate.epochs, "collapse_epochs": candidate.epochs}
    own = {"train": recipe["train"] | scored, "data": recipe["data"] | held, "seeds": seeds}
    return prepare([{**recipe, **own, **options}], fetch=True)


def _multiply_adds(command: Command, shape: datasets.Shape) -> float:
    """Return what an image costs in a training step of every method once."""
    of_method = {run.method: run for run in command.runs}
    return sum(macs_per_image(run, shape).train for run in of_method.values())
