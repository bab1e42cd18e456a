"""Declared comparisons: the runs that a suite names among those that are stored, and sequential plans beside runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

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
from benchmark.formatting import short_name
from benchmark.store import BUDGETS_JOINED_BY, put
from benchmark.tables.comparison import Declaration
from benchmark.tables.configurations import shown_setting
from benchmark.tables.layout import TASK
from methods import registry
from methods.errors import InputError
from methods.hyperparameters import validated

PLANS = "plans"
"""The folder below a results folder with the sequential plans of its runs."""


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
    free = (
        settings_of_role(FieldRole.MEASURES)
        | settings_of_role(FieldRole.EXECUTION)
        | {"train.threads", "train.precision"}
    )
    for name, model in SECTIONS.items():
        declared = validated(model, section(layers, name), name).model_dump(mode="json")
        for key, value in declared.items():
            column = f"{name}.{key}"
            if column not in frame.columns or column in free:
                continue
            same = frame[column].map(_text) == _text(value)
            # in a plan of equal cost the length follows from the method
            fits &= same | (frame["budgets"] != EQUAL_EPOCHS) if column == "train.epochs" else same
    for method in suite.methods:
        here = fits & (frame["method"] == method)
        if here.any():
            fits &= ~here | _declared_hyperparameters(frame[here], method, [*layers, suite.settings]).reindex(
                frame.index, fill_value=False
            )
    return fits


def _declared_hyperparameters(
    runs: pd.DataFrame, method: str, layers: Sequence[Mapping[str, Any]]
) -> "pd.Series[bool]":
    """Return which runs of one method have the hyperparameters that the layers and its defaults give."""
    try:
        model = registry.load(method).Hyperparameters
    except InputError:
        # a plug-in that is not at hand: its code is part of the runs' identity
        return pd.Series(True, index=runs.index)
    given = section(layers, method)
    fits = pd.Series(True, index=runs.index)
    for epochs in runs["train.epochs"].unique().tolist():
        group = runs[runs["train.epochs"] == epochs]
        declared = registry.resolve(registry.load(method), given, str(runs["backbone"].iloc[0]).split("+"), int(epochs))
        restored = model.restored({})
        fits.loc[group.index] &= group["method.version"] == declared.stored_version(registry.load(method).version)
        for key, value in declared.stored().items():
            column = f"hyperparameters.{key}"
            usual = restored.get(key, value)
            stored = group[column] if column in group.columns else pd.Series(None, index=group.index, dtype=object)
            same = stored.map(_text) == _text(value)
            fits.loc[group.index] &= same | (stored.isna() & (_text(usual) == _text(value)))
    return fits


def _text(value: Any) -> str:
    # as a frame's columns have it, where whole numbers may have become floats
    if isinstance(value, list):
        return str(value)
    return shown_setting(float(value) if isinstance(value, int) else value)


def keep_plan(root: Path, declared: Declaration, runs: Iterable[str]) -> None:
    """Store a sequential plan beside the runs that it is of.

    Args:
        root: The results folder.
        declared: The plan.
        runs: The names of all runs that it may take.
    """
    content = {"declaration": asdict(declared), "levels": declared.levels(), "runs": sorted(runs)}
    text = json.dumps(content, indent=2)
    put(root / PLANS / f"{sha256(text.encode()).hexdigest()[:12]}.json", f"{text}\n")


def stored_plans(results: Sequence[Path]) -> list[tuple[Declaration, frozenset[str]]]:
    """Return the sequential plans below results folders, each with the names of its runs."""
    found = []
    for root in results:
        for path in sorted((root / PLANS).glob("*.json")):
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                found.append((Declaration(**content["declaration"]), frozenset(content["runs"])))
            except (OSError, ValueError, TypeError, KeyError):
                raise InputError(f"{path} is no sequential plan: move it away") from None
    return found


def plan_of(frame: pd.DataFrame, results: Sequence[Path], baseline: str | None) -> Declaration | None:
    """Return the sequential plan that all runs of a frame belong to, where it has that baseline; None for none."""
    shown = set(frame["run"])
    fitting = [declared for declared, runs in stored_plans(results) if shown <= runs]
    return next((declared for declared in fitting if baseline in (None, declared.baseline)), None)
