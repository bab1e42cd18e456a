"""The stored runs that a suite declares: those whose data, network, settings and seeds are the declared ones."""

from typing import Any

import pandas as pd

from benchmark import configuration, datasets
from benchmark.configuration import SECTIONS, FieldRole, Suite, Task, settings_of_role
from benchmark.formatting import short_name
from benchmark.store import BUDGETS_JOINED_BY
from benchmark.tables.layout import shown_setting
from methods import registry
from methods.errors import InputError
from methods.hyperparameters import validated


def suite_runs(frame: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """Return the runs that a suite declares, with their ``task``; whatever else is stored changes nothing.

    A run of a frame of all splits (:func:`benchmark.store.load`) belongs to a task if dataset, network, the settings of
    training and data and the method's hyperparameters are the declared ones, and it has one of the declared seeds and
    budgets. Without any such run an InputError is raised.
    """
    budgets = frame["budgets"].str.split(BUDGETS_JOINED_BY, regex=False)
    own = budgets.map(lambda given: BUDGETS_JOINED_BY.join(budget for budget in suite.budgets if budget in given))
    wanted = frame["method"].isin(suite.methods) & frame["seed"].between(0, suite.seeds - 1) & (own != "")
    of_tasks = [(task.name, frame[wanted & _fits(frame, task, suite)]) for task in suite.tasks]
    parts = [runs.assign(budgets=own[runs.index], task=name) for name, runs in of_tasks if len(runs)]
    if not parts:
        tasks = ", ".join(task.name for task in suite.tasks)
        raise InputError(f"no run of the suite is stored (tasks: {tasks}; methods: {', '.join(suite.methods)})")
    found = pd.concat(parts)
    found.attrs = dict(frame.attrs)
    return found


def _fits(frame: pd.DataFrame, task: Task, suite: Suite) -> "pd.Series[bool]":
    """Return which runs have the dataset, network, settings and hyperparameters of a task."""
    fits = (frame["dataset"].map(short_name) == short_name(task.dataset)) & (frame["backbone"] == task.backbone)
    fits &= frame["split"] == "test"
    if not fits.any():
        return fits
    layers = [configuration.layer_from_file(datasets.recipe(task.dataset)), *task.layers()]
    free = settings_of_role(FieldRole.MEASURES) | settings_of_role(FieldRole.EXECUTION)
    free |= {"train.threads", "train.precision"}
    for name, model in SECTIONS.items():
        declared = validated(model, configuration.section(layers, name), name).model_dump(mode="json")
        for key, value in declared.items():
            column = f"{name}.{key}"
            if column in frame.columns and column not in free:
                same = frame[column].map(_text) == _text(value)
                # in a plan of equal cost the length follows from the method
                fits &= same | (frame["budgets"] != configuration.EQUAL_EPOCHS) if column == "train.epochs" else same
    layers = [*layers, suite.settings]
    for of_method, runs in frame[fits & frame["method"].isin(suite.methods)].groupby(["method", "train.epochs"]):
        method, epochs = str(of_method[0]), int(float(str(of_method[1])))
        try:
            cls = registry.load(method)
        except InputError:
            # a plug-in that is not at hand: its code is part of the runs' identity
            continue
        restored = cls.Hyperparameters.restored({})
        made = registry.resolve(cls, configuration.section(layers, method), task.backbone.split("+"), epochs)
        same = runs["method.version"] == made.stored_version(cls.version)
        for name, value in made.stored().items():
            stored = runs.get(f"hyperparameters.{name}", pd.Series(None, index=runs.index, dtype=object))
            # what runs of an older version do not say had the value that it is restored to
            missing = stored.isna() & (_text(restored.get(name, value)) == _text(value))
            same &= (stored.map(_text) == _text(value)) | missing
        fits[runs.index] = same
    return fits


def _text(value: Any) -> str:
    # as a frame's columns have it, where whole numbers may have become floats
    if isinstance(value, list):
        return str(value)
    return shown_setting(float(value) if isinstance(value, int) else value)
