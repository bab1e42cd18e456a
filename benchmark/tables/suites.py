"""Declared comparisons: the runs that a suite names among those that are stored, and sequential plans beside runs."""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmark.configuration import (
    EQUAL_EPOCHS,
    SECTIONS,
    FieldRole,
    Suite,
    Task,
    layer_from_file,
    section,
    settings_of_role,
)
from benchmark.datasets import recipe
from benchmark.escaping import file_name
from benchmark.formatting import short_name
from benchmark.store import BUDGETS_JOINED_BY, DamagedError, put, read_regular
from benchmark.tables.comparison import MAX_SEEDS, MIN_PAIRS, Declaration
from benchmark.tables.configurations import shown_setting
from benchmark.tables.layout import TASK
from methods import registry
from methods.errors import InputError
from methods.hyperparameters import validated

PLANS = "plans"  # the folder below a results folder with the sequential plans of its runs
MAX_PLAN = 2**22  # bytes of a plan's file

MAX_LOOKS = 100


def declaration(name: str, suite: Suite) -> Declaration:
    """Return what a suite declares."""
    return Declaration(
        f"{name}, version {suite.version}",
        suite.baseline,
        tuple(suite.methods),
        suite.seeds,
        suite.comparisons,
        dict(suite.bounds),
        tuple(suite.looks),
    )


def suite_runs(frame: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """Return the runs that a suite declares, with their ``task``; whatever else is stored changes nothing.

    A run belongs to a task if dataset, network, the settings of training and data and the method's hyperparameters are
    the declared ones, and it has one of the declared seeds and budgets.

    Args:
        frame: From :func:`benchmark.store.load`, of all splits.

    Raises:
        InputError: If there is no such run.
    """
    wanted = frame["method"].isin(suite.methods) & frame["seed"].between(0, suite.seeds - 1)
    budgets = frame["budgets"].str.split(BUDGETS_JOINED_BY, regex=False)
    own = budgets.map(lambda given: [budget for budget in suite.budgets if budget in given])
    wanted &= own.map(len) > 0
    parts = []
    for task in suite.tasks:
        fits = wanted & _fits(frame, task, suite)
        if fits.any():
            runs = frame[fits].copy()
            runs[TASK] = task.name
            runs["budgets"] = own[fits].map(BUDGETS_JOINED_BY.join)
            parts.append(runs)
    if not parts:
        tasks = ", ".join(task.name for task in suite.tasks)
        raise InputError(f"no run of the suite is stored (tasks: {tasks}; methods: {', '.join(suite.methods)})")
    found = pd.concat(parts)
    found.attrs = dict(frame.attrs)
    return found


def _fits(frame: pd.DataFrame, task: Task, suite: Suite) -> "pd.Series[bool]":
    fits = (frame["dataset"].map(short_name) == short_name(task.dataset)) & (frame["backbone"] == task.backbone)
    fits &= frame["split"] == "test"
    if not fits.any():
        return fits
    layers = [layer_from_file(recipe(task.dataset)), *task.layers()]
    free = settings_of_role(FieldRole.MEASURES) | settings_of_role(FieldRole.EXECUTION)
    free |= {"train.threads", "train.precision"}
    for name, model in SECTIONS.items():
        declared = validated(model, section(layers, name), name).model_dump(mode="json")
        for key, value in declared.items():
            column = f"{name}.{key}"
            if column in frame.columns and column not in free:
                same = frame[column].map(_text) == _text(value)
                # in a plan of equal cost the length follows from the method
                fits &= same | (frame["budgets"] != EQUAL_EPOCHS) if column == "train.epochs" else same
    for method in suite.methods:
        here = fits & (frame["method"] == method)
        if here.any():
            fits[here] = _declared_hyperparameters(frame[here], method, [*layers, suite.settings])
    return fits


def _declared_hyperparameters(
    runs: pd.DataFrame, method: str, layers: Sequence[Mapping[str, Any]]
) -> "pd.Series[bool]":
    """Return which runs of one method have the hyperparameters that the layers and its defaults give."""
    fits = pd.Series(True, index=runs.index)
    try:
        cls = registry.load(method)
    except InputError:
        # a plug-in that is not at hand: its code is part of the runs' identity
        return fits
    restored = cls.Hyperparameters.restored({})
    for _, group in runs.groupby("train.epochs"):
        networks = str(runs["backbone"].iloc[0]).split("+")
        declared = registry.resolve(cls, section(layers, method), networks, int(group["train.epochs"].iloc[0]))
        same = group["method.version"] == declared.stored_version(cls.version)
        for key, value in declared.stored().items():
            wanted = _text(value)
            stored = group.get(f"hyperparameters.{key}", pd.Series(None, index=group.index, dtype=object))
            # what runs of an older version do not say had the value that it is restored to
            same &= (stored.map(_text) == wanted) | (stored.isna() & (_text(restored.get(key, value)) == wanted))
        fits[group.index] = same
    return fits


def _text(value: Any) -> str:
    # as a frame's columns have it, where whole numbers may have become floats
    if isinstance(value, list):
        return str(value)
    return shown_setting(float(value) if isinstance(value, int) else value)


class Plan(NamedTuple):
    """A sequential plan: what is declared, the names of the runs that it may take, and its file's content."""

    declaration: Declaration
    runs: frozenset[str]
    content: bytes

    @property
    def file(self) -> str:
        """The name of its file, of its content alone: no plan can take the place of another."""
        return file_name(sha256(self.content.rstrip()).hexdigest()[:12], ".json")

    def store(self, root: Path) -> bool:
        """Write it into a results folder; return whether it was not there."""
        path = root / PLANS / self.file
        if path.exists():
            return False
        put(path, self.content)
        return True


class _StoredPlan(BaseModel):
    """What is in a plan's file, which may be anybody's; the levels are for people and computed anew."""

    model_config = ConfigDict(extra="forbid", strict=True)

    declaration: Declaration
    levels: Annotated[list[float], Field(max_length=MAX_LOOKS)]
    runs: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        one = self.declaration
        looks = [*one.looks]
        if not all(0 < len(x) <= 250 and x.isprintable() for x in (one.name, *one.methods, *one.bounds, *self.runs)):
            raise ValueError("a name is empty, too long or not printable")
        if one.baseline not in one.methods:
            raise ValueError("the baseline is not among the methods")
        if not (MIN_PAIRS <= one.seeds <= MAX_SEEDS and 1 <= one.comparisons <= MAX_SEEDS):
            raise ValueError("seeds or comparisons are out of range")
        if not one.bounds or not all(0 < bound < math.inf for bound in one.bounds.values()):
            raise ValueError("a bound is out of range")
        ends = not looks or looks[-1] == one.seeds >= looks[0] > 0
        if looks != sorted(set(looks)) or len(looks) > MAX_LOOKS or not ends:
            raise ValueError("its looks do not grow to all seeds")
        return self


def parsed_plan(content: bytes) -> Plan:
    """Return the plan that the content of a file is, or raise a ValueError."""
    found = _StoredPlan.model_validate_json(content)
    return Plan(found.declaration, frozenset(found.runs), content)


def keep_plan(root: Path, declared: Declaration, runs: Iterable[str]) -> list[str]:
    """Store a sequential plan of at most :data:`MAX_LOOKS` looks; return a line on each other plan of its runs."""
    if len(declared.looks) > MAX_LOOKS:
        raise InputError(f"a sequential plan has at most {MAX_LOOKS} looks (given: {len(declared.looks)})")
    names = sorted(runs)
    content = {"declaration": asdict(declared), "levels": declared.levels(), "runs": names}
    Plan(declared, frozenset(names), f"{json.dumps(content, indent=2)}\n".encode()).store(root)
    return plan_notes(names, stored_plans([root]), declared)


def stored_plans(results: Iterable[Path]) -> list[Plan]:
    """Return the sequential plans below results folders, or raise an InputError if a file there is none."""
    found: dict[str, Plan] = {}
    for path in [path for root in results for path in sorted((root / PLANS).glob("*.json"))]:
        try:
            plan = parsed_plan(read_regular(path, MAX_PLAN))
        except (OSError, ValueError, DamagedError):
            raise InputError(f"{path} is no sequential plan: move it away") from None
        found[plan.file] = plan
    return list(found.values())


def plan_of(runs: Collection[str], plans: Iterable[Plan], baseline: str | None) -> Declaration | None:
    """Return the one declared plan that all of some runs belong to, with that baseline or any; None for none.

    Of several that differ none counts: nothing says which of them was declared before the runs were looked at.
    """
    fitting = [plan.declaration for plan in plans if runs and plan.runs.issuperset(runs)]
    fitting = [declared for declared in fitting if baseline in (None, declared.baseline)]
    return fitting[0] if len({_compared(declared) for declared in fitting}) == 1 else None


def plan_notes(runs: Collection[str], plans: Iterable[Plan], applied: Declaration | None) -> list[str]:
    """Return a line for each stored plan of some of the runs that is not the declaration that is applied to them."""
    lines = {}
    for plan in plans:
        one, shared = plan.declaration, len(plan.runs.intersection(runs))
        if shared and (applied is None or _compared(one) != _compared(applied)):
            looks = ", ".join(map(str, one.looks))
            bounds = ", ".join(f"±{bound:g} {name}" for name, bound in one.bounds.items())
            lines[_compared(one)] = (
                f"{shared} of these runs belong to a sequential plan ({one.name}) that is not applied here: looks at "
                f"{looks or one.seeds} of at most {one.seeds} seeds, baseline {one.baseline}, {bounds}, level 0.05 / "
                f"{one.comparisons}; levels hold for one plan, and another look at its runs is wrong more often"
            )
    return list(lines.values())


def _compared(declared: Declaration) -> str:
    """Return what tells plans apart: all but the name."""
    return json.dumps(asdict(replace(declared, name="")), sort_keys=True)
