"""The curves of runs that differ in their seeds alone: means and deviations over the runs, an epoch at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import HEADLINE, RECORDED
from benchmark.store import Scores
from methods.metrics import Role

PREDICTORS = tuple(one.name for one in RECORDED.values() if one.of_predictors)
"""What every predictor has: the numbers of many are joined to a few means."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class GroupCurves:
    """Curves by what they show.

    Attributes:
        epochs: 0-based, ``[E]``.
        means: Over the runs that have the epoch, ``[E]``; nan where none has.
        deviations: The sample's standard deviation, ``[E]``; nan where fewer than two have.
    """

    epochs: Sequence[int]
    means: Mapping[str, Numbers]
    deviations: Mapping[str, Numbers]


def group_curves(
    curves: Sequence[Scores],
    students: Sequence[str],
    roles: Mapping[str, Role],
    own: Mapping[str, str] = MappingProxyType({}),
) -> GroupCurves:
    """Return what the curves of several runs have in common.

    Args:
        curves: One a run.
        students: Names of the predictors that count as students.
        roles: Of the predictors.
        own: What the numbers of methods are called, by their names.
    """
    epochs = sorted({int(epoch) for curve in curves for epoch in _epochs(curve)})
    place = {epoch: index for index, epoch in enumerate(epochs)}
    by_name: dict[str, Numbers] = {}
    for number, curve in enumerate(curves):
        rows = [place[int(epoch)] for epoch in _epochs(curve)]
        for name, columns in joined(curve.names, students, roles, own).items():
            if name not in by_name:
                by_name[name] = np.full((len(curves), len(epochs)), np.nan)
            part = curve.values[:, columns]
            by_name[name][number, rows] = part[:, 0] if len(columns) == 1 else mean_of(part.T)[0]
    means, deviations = {}, {}
    for name, values in by_name.items():
        mean, deviation = mean_of(values)
        if np.isfinite(mean).any():
            means[name], deviations[name] = mean, deviation
    return GroupCurves(epochs, means, deviations)


def joined(
    names: Sequence[str],
    students: Sequence[str],
    roles: Mapping[str, Role],
    own: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, list[int]]:
    """Return which of a run's metrics make which curve, as their positions.

    Args:
        names: Of the metrics.
        students: Names of the predictors that count as students.
        roles: Of the predictors.
        own: What the numbers of methods are called, by their names.
    """
    position = {name: index for index, name in enumerate(names)}
    found: dict[str, list[int]] = {}
    if HEADLINE in position:
        found["student accuracy"] = [position[HEADLINE]]
    for family in PREDICTORS:
        members_of = [name for name in names if name.startswith(f"{family}/")]
        kinds = {
            "students": [name for name in members_of if name.partition("/")[2] in students],
            "peers": [name for name in members_of if roles.get(name.partition("/")[2]) == "peer"],
            "ensemble": [name for name in members_of if roles.get(name.partition("/")[2]) == "ensemble"],
        }
        for kind, members in kinds.items():
            if members and not (family == "top1" and kind == "students"):
                found[f"{family}: {kind}"] = [position[name] for name in members]
    for name in names:
        if name not in (HEADLINE, "seconds", "epoch") and name.partition("/")[0] not in PREDICTORS:
            found[own.get(name, name.replace("/", ": ", 1))] = [position[name]]
    return found


def mean_of(values: Numbers) -> tuple[Numbers, Numbers]:
    """Return mean and standard deviation ``[E]`` of the numbers of each column of ``[R, E]``, nan left out."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    # from one of the numbers on: the mean of equal numbers is that number, and their deviation 0
    base = np.where(there, values, -np.inf).max(axis=0, initial=-np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = base + np.where(there, values - base, 0.0).sum(axis=0) / count
        squares = (np.where(there, values - mean, 0.0) ** 2).sum(axis=0)
        deviation = np.sqrt(squares / (count - 1))
    return mean, np.where(count > 1, deviation, np.nan)


def _epochs(curve: Scores) -> Numbers:
    return curve.values[:, curve.names.index("epoch")] if "epoch" in curve.names else np.empty(0)
