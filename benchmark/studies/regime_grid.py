"""The recipes that the study of regimes chooses from, the cheapest first."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from benchmark import datasets
from benchmark.configuration import DataConfig, TrainConfig, recipes
from benchmark.running import Command, prepare
from benchmark.speed.estimate import operations_per_image
from methods import registry
from methods.errors import InputError
from methods.hyperparameters import validated

HORIZON = 0.1
"""Share of a run's steps that a mean teacher may look back."""


class Grid(BaseModel):
    """What is varied, on which images, and whom the methods are compared with."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    description: str
    dataset: str
    reference: str
    methods: list[str] = Field([], description="those that are to arrive; none stands for all that need no teacher")
    images_per_class: list[int] = Field(min_length=1)
    held_out_per_class: int = Field(ge=1)
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
        backbone: The network.
        epochs: The length of a run.
        warmup: ``train.warmup_epochs``.
    """

    images: int
    backbone: str
    epochs: int
    warmup: float

    def __str__(self) -> str:
        """What a person calls it."""
        return f"{self.images} images a class, {self.backbone}, {self.epochs} epochs, warm-up {self.warmup:g}"


def read_grid(name: str) -> Grid:
    """Return the grid in a YAML file, with the methods' names filled in.

    Raises:
        InputError: For what nothing reads, or a reference that is not among the methods.
    """
    grid = validated(Grid, recipes.read(recipes.find(name)), "regime")
    if not grid.methods:
        grid = grid.model_copy(update={"methods": _without_teacher()})
    if grid.reference not in grid.methods:
        raise InputError(f"regime: the reference {grid.reference!r} is not among the methods")
    return grid


def _without_teacher() -> list[str]:
    catalogue = registry.catalogue(())
    models = {name: registry.load(name, ()).Hyperparameters for name, item in catalogue.items() if not item.broken}
    return [name for name, model in models.items() if not any(f.is_required() for f in model.model_fields.values())]


def plans(grid: Grid, seeds: int, **options: str) -> list[tuple[Candidate, Command]]:
    """Return every recipe with its runs, scored on held-out training images; the cheapest first.

    A recipe's cost is the multiply-adds of training all methods once, counted by ``torch.utils.flop_counter``.

    Args:
        grid: What is varied.
        seeds: Runs of each method.
        **options: Of the command line: ``results``, ``engine``, ``device``.
    """
    choices = product(grid.images_per_class, grid.backbones, grid.epochs, grid.warmup_epochs)
    found = [(candidate := Candidate(*choice), _command(grid, candidate, seeds, options)) for choice in choices]
    by_backbone = {candidate.backbone: command for candidate, command in found}
    an_image = {backbone: _multiply_adds(command) for backbone, command in by_backbone.items()}
    return sorted(found, key=lambda one: (one[0].images * one[0].epochs * an_image[one[0].backbone], one[0].warmup))


def layer(grid: Grid, candidate: Candidate, steps: int) -> dict[str, Any]:
    """Return a recipe's keys, but for what is held out.

    Args:
        grid: What all recipes share.
        candidate: What is its own.
        steps: Of a run; a mean teacher that looks back too far for it is shortened.
    """
    horizon = 1 - 1 / max(1.0, HORIZON * steps)
    shortened = {
        name: {"ema_decay": round(horizon, 4)}
        for name in grid.methods
        if (field := registry.load(name, ()).Hyperparameters.model_fields.get("ema_decay")) and field.default > horizon
    }
    return {
        "methods": grid.methods,
        "dataset": grid.dataset,
        "backbone": candidate.backbone,
        "train": {**grid.train, "epochs": candidate.epochs, "warmup_epochs": candidate.warmup},
        "data": {**grid.data, "train_per_class": candidate.images},
        **shortened,
    }


def _command(grid: Grid, candidate: Candidate, seeds: int, options: Mapping[str, str]) -> Command:
    classes = datasets.shape(grid.dataset, DataConfig(), datasets.default_root()).num_classes
    batch_size = int(grid.train.get("batch_size", TrainConfig().batch_size))
    steps = candidate.epochs * -(-classes * candidate.images // batch_size)
    taken = candidate.images + grid.held_out_per_class
    recipe = layer(grid, candidate, steps)
    held = {"train_per_class": taken, "holdout": grid.held_out_per_class / taken}
    scored = {"eval_every": candidate.epochs, "collapse_epochs": candidate.epochs}
    own = {"train": recipe["train"] | scored, "data": recipe["data"] | held, "seeds": seeds}
    return prepare([recipe | own | dict(options)])


def _multiply_adds(command: Command) -> float:
    """Return what an image costs in a training step of every method once."""
    of_method = {run.method: run for run in command.runs}
    shape = datasets.shape(command.runs[0].dataset, command.runs[0].data, command.data_root)
    return sum(operations_per_image(run, shape).train / 2 for run in of_method.values())
