"""Suites: what is compared, declared in ``configs/suites/NAME.yaml`` before its runs are looked at."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from benchmark.configuration import recipes
from benchmark.configuration.planning import Layer, layer_from_file
from benchmark.configuration.run_config import EQUAL_EPOCHS, Strict
from benchmark.metrics import HEADLINE, METRICS
from methods.errors import unknown
from methods.hyperparameters import validated

EQUAL_COST = "equal cost: "
"""Begins the budget in which every method may spend what one method's recipe costs."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]+$")]


class Task(Strict):
    """A dataset, a network and a recipe; what the recipe leaves out is the dataset's own."""

    name: Name
    dataset: Annotated[str, Field(min_length=1)]
    backbone: Annotated[str, Field(min_length=1)]
    config: str | None = Field(None, description="a recipe's name; null: the dataset's own recipe")
    train: dict[str, Any] = Field({}, description="settings of training that differ from the recipe")
    data: dict[str, Any] = Field({}, description="settings of data that differ from the recipe")

    def layers(self) -> list[Layer]:
        """Return the layers of a request for the task, weakest first, without methods and seeds."""
        recipe = {} if self.config is None else layer_from_file(self.config)
        kept = {key: value for key, value in recipe.items() if key not in ("methods", "seeds", "results", "variants")}
        own = self.model_dump(exclude={"name", "config"})
        return [kept, {key: value for key, value in own.items() if value}]


class Suite(Strict):
    """A declared comparison of methods with a baseline on several tasks."""

    description: Annotated[str, Field(min_length=1)]
    version: int = Field(ge=1, description="raised with every change of what is compared")
    hours: float | None = Field(None, gt=0, description="of all runs on two CPU cores, or on one GPU if it says so")
    tasks: Annotated[list[Task], Field(min_length=1)]
    budgets: list[str] = Field([EQUAL_EPOCHS], min_length=1, description="equal epochs, or 'equal cost: METHOD'")
    methods: list[str] = Field(min_length=2, description="the roster, baseline included")
    settings: dict[str, dict[str, Any]] = Field({}, description="hyperparameters that are not the methods' defaults")
    seeds: int = Field(ge=3, le=1000, description="seeds 0, 1, ... of every method")
    baseline: str
    reported: str = Field(HEADLINE, description="the metric of the tables")
    bounds: dict[str, Annotated[float, Field(gt=0)]] = Field(
        description="half-width of what counts as equivalent, by metric, in its unit"
    )
    comparisons: int = Field(ge=1, description="K: the level of each comparison is 0.05 / K; room for later methods")
    looks: list[int] = Field([], description="sequential: seeds at each look, the last being all of them")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if fault := next(self._faults(), None):
            raise ValueError(fault)
        return self

    def _faults(self) -> Iterator[str]:
        names = [task.name for task in self.tasks]
        for kind, words in (("task", names), ("method", self.methods), ("budget", self.budgets)):
            yield from (f"the {kind} {word!r} is named twice" for word in words if words.count(word) > 1)
        places = [task.model_dump(exclude={"name"}) for task in self.tasks]
        if any(place in places[:number] for number, place in enumerate(places)):
            yield "two tasks are the same: their runs would count twice"
        if self.baseline not in self.methods:
            yield f"the baseline {self.baseline!r} is not among the methods"
        yield from (
            f"settings of {x!r}, which is not among the methods" for x in self.settings if x not in self.methods
        )
        for budget in self.budgets:
            if budget != EQUAL_EPOCHS and budget.removeprefix(EQUAL_COST) not in self.methods:
                yield f"a budget is {EQUAL_EPOCHS!r} or '{EQUAL_COST}METHOD' of the suite (given: {budget!r})"
        if self.reported not in self.bounds:
            yield f"the reported metric {self.reported!r} needs a bound"
        valid = [metric.name for metric in METRICS.values() if metric.better]
        for name in self.bounds:
            if name not in valid:
                yield f"bounds: {name!r} is no metric with a better end (valid: {', '.join(valid)})"
        if self.comparisons < self.declared:
            yield f"comparisons must be at least the {self.declared} that are declared"
        if self.looks and (sorted(set(self.looks)) != self.looks or self.looks[0] < 3 or self.looks[-1] != self.seeds):
            yield f"looks must grow from 3 or more to all {self.seeds} seeds (given: {self.looks})"

    @property
    def declared(self) -> int:
        """How many comparisons are declared now."""
        return (len(self.methods) - 1) * len(self.tasks) * len(self.budgets) * len(self.bounds)

    def place(self, column: str, budget: str) -> tuple[int, int]:
        """Return a key that sorts columns, which begin with a task's name, as the suite has tasks and budgets."""
        tasks = [number for number, task in enumerate(self.tasks) if column.split(", ")[0] == task.name]
        return tasks[0] if tasks else len(self.tasks), self.budgets.index(budget) if budget in self.budgets else 0

    def requests(self) -> Iterator[tuple[str, list[Layer]]]:
        """Yield what each part of the suite is called, and the layers of its request, weakest first."""
        for task in self.tasks:
            for budget in self.budgets:
                asked: dict[str, Any] = {"methods": list(self.methods), "seeds": self.seeds, **self.settings}
                if budget != EQUAL_EPOCHS:
                    asked["equal_cost"] = budget.removeprefix(EQUAL_COST)
                yield f"{task.name}, {budget}", [*task.layers(), asked]


def names() -> list[str]:
    """Return the suites' names, read from the files' names alone."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def available() -> dict[str, Suite]:
    """Return every suite by name."""
    return {name: read(name) for name in names()}


def described() -> dict[str, str]:
    """Return a line for each suite: what it is, how many runs it has and how many hours they take."""
    found = {}
    for name, suite in available().items():
        runs = len(suite.tasks) * len(suite.budgets) * len(suite.methods) * suite.seeds
        hours = "" if suite.hours is None else f", {suite.hours:g} h"
        found[name] = f"{suite.description} ({runs} runs{hours})"
    return found


def read(name: str) -> Suite:
    """Return a suite by its name, or the one in a file, or raise an InputError if there is none."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else _folder() / f"{name}.yaml"
    if not path.is_file():
        raise unknown("suite", name, names())
    return validated(Suite, recipes.read(path), str(name))


def _folder() -> Path:
    return recipes.folder() / recipes.SUITES
