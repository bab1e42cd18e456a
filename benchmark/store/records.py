"""A run in brief: all that is asked of a run but its curves, and those at so many epochs as a figure needs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.configuration import RunConfig
from benchmark.metrics import RECORDED
from benchmark.store import environment
from benchmark.store.files import Contents, Result, Row, Status
from methods.metrics import MethodMetric

MAX_POINTS = 120
"""Epochs of a reduced curve, of each kind: all, evaluated, diagnosed."""

COST = "cost."
_NOT_ENDED = "not ended"


@dataclass(frozen=True)
class Scores:
    """Named numbers; those that a run has not are nan."""

    names: tuple[str, ...]  # in the order of the file
    values: NDArray[np.float64]  # `[len(names)]`, or `[epochs, len(names)]`

    @classmethod
    def of(cls, row: Mapping[str, float]) -> "Scores":
        """Return the numbers of one row."""
        return cls(tuple(row), np.array([*row.values()], dtype=np.float64))

    @classmethod
    def over_epochs(cls, rows: Sequence[Row]) -> "Scores":
        """Return the numbers of several rows, a row each, by all names that any of them has."""
        names = tuple(dict.fromkeys(name for row in rows for name in row))
        return cls(names, _matrix(rows, names))

    def named(self) -> dict[str, float]:
        """Return one row's numbers by name, without those that it has not."""
        return {name: value for name, value in zip(self.names, self.values.tolist(), strict=True) if value == value}


def _matrix(rows: Sequence[Row], names: Sequence[str]) -> NDArray[np.float64]:
    nothing = float("nan")
    values = [[row.get(name, nothing) for name in names] for row in rows]
    return np.array(values, dtype=np.float64).reshape(len(rows), len(names))


@dataclass(frozen=True)
class Record:
    """A run in brief."""

    name: str  # of its folder
    seed: int = 0
    identity: str = ""
    # the configuration without the seed, as JSON; runs that differ in the seed alone have the same text
    settings: str = ""
    # `status`, `reason`, `students`, `roles`, `metrics` and `environment`, as JSON; status `unfinished` if it has not
    # ended
    ending: str = ""
    last: Scores = Scores((), np.empty(0))  # the last epoch's metrics, and what the run took, as `cost.seconds`
    scored: Scores | None = None  # the metrics of the last epoch that was evaluated; None where that is the last one
    best: float | None = None  # the highest accuracy of the students in any epoch; None if there is none
    epochs: int = 0  # how many it has
    digest: str = ""  # of the numbers that a run of the same identity must have on the same device
    damage: str = ""  # what is wrong with its files, on one line; nothing else is set then

    @cached_property
    def config(self) -> RunConfig:
        """The resolved configuration."""
        return RunConfig(**json.loads(self.settings), seed=self.seed)

    @cached_property
    def end(self) -> Mapping[str, Any]:
        """What :attr:`ending` says."""
        found: dict[str, Any] = json.loads(self.ending)
        return found

    @property
    def status(self) -> Status:
        """How far it is."""
        return Status(self.end["status"])

    @property
    def reason(self) -> str:
        """Why it did not finish; empty if it did, or is not at its end."""
        return str(self.end["reason"])

    @property
    def result(self) -> Result | None:
        """How it ended; None if it has not."""
        if self.end["environment"] == _NOT_ENDED:
            return None
        cost = {name.removeprefix(COST): value for name, value in self.last.named().items() if name.startswith(COST)}
        seconds = cost.pop("seconds", 0.0)
        said = {**self.end, "status": self.status, "students": tuple(self.end["students"]), "metrics": self.declared}
        return Result(**said, seconds=seconds, cost=cost or None)

    @property
    def made_with(self) -> Mapping[str, str]:
        """Versions and device; empty if they are not known."""
        found = self.end["environment"]
        return found if isinstance(found, dict) else {}

    @property
    def environment(self) -> str:
        """The run's environment group; empty if nothing is known of it."""
        return environment.group(self.made_with)

    @property
    def declared(self) -> tuple[MethodMetric, ...]:
        """What the method said that it records."""
        return tuple(MethodMetric(**one) for one in self.end["metrics"])

    def last_metrics(self) -> dict[str, float]:
        """Return the metrics of the last epoch that was evaluated, or of the last one; nothing if there is none."""
        named = (self.scored or self.last).named()
        return {name: value for name, value in named.items() if not name.startswith(COST)}

    def asked_as(self, other: "Record") -> "Record":
        """Return the record with what the same run was asked for as elsewhere, and its budgets there."""
        if self.settings == other.settings:
            return self
        joined = self.config.also(other.config.uses, other.config.budgets)
        return self if joined == self.config else replace(self, settings=_settings(joined))


def brief(name: str, contents: Contents) -> Record:
    """Return a run in brief."""
    config, rows, scored = contents.config, contents.rows, contents.scored
    result = contents.result or Result(Status.UNFINISHED)
    ending = {
        "status": str(result.status),
        "reason": result.reason,
        "students": result.students,
        "roles": dict(result.roles),
        "metrics": [asdict(one) for one in result.metrics],
        "environment": result.environment if contents.result else _NOT_ENDED,
    }
    costs = {**(result.cost or {}), "seconds": result.seconds} if contents.result else {}
    last = rows[-1] if rows else {}
    return Record(
        name=name,
        seed=config.seed,
        identity=config.identity,
        settings=_settings(config),
        ending=json.dumps(ending, separators=(",", ":")),
        last=Scores.of({**last, **{f"{COST}{key}": value for key, value in costs.items()}}),
        scored=Scores.of(scored) if scored is not None and scored is not last else None,
        best=max((row["student"] for row in rows if "student" in row), default=None),
        epochs=len(rows),
        digest=digest(rows),
    )


def _settings(config: RunConfig) -> str:
    return json.dumps(config.model_dump(mode="json", exclude={"seed"}), separators=(",", ":"))


def digest(rows: Sequence[Row]) -> str:
    """Return what is equal for runs whose numbers are: losses and accuracies of every epoch, to the last bit.

    How long epochs took does not count, nor diagnostics, which change no other number.
    """
    compared = {one.name for one in RECORDED.values() if one.compared}
    deciding = sorted({name for row in rows for name in row if name.partition("/")[0] in compared})
    values = _matrix(rows, deciding).astype("<f8")
    return sha256(repr((len(rows), deciding)).encode() + values.tobytes()).hexdigest()[:16]


def reduced(contents: Contents) -> Scores:
    """Return a run's curves at so few epochs that thousands of runs are quickly plotted.

    Which epochs these are follows from the configuration alone, so that the curves of runs that differ in their seeds
    have the same ones, however far the runs are: :data:`MAX_POINTS` of all, as many of those that are evaluated and of
    those that are diagnosed, evenly spread, and the last that there is.
    """
    train, rows = contents.config.train, contents.rows
    every = range(train.epochs)
    evaluated = [epoch for epoch in every if (epoch + 1) % train.eval_every == 0 or epoch == train.epochs - 1]
    often = train.diagnostics_every
    diagnosed = [epoch for epoch in evaluated if often and (epoch + 1) % often == 0]
    chosen = {*spread(every), *spread(evaluated), *spread(diagnosed), len(rows) - 1}
    return Scores.over_epochs([row for epoch, row in enumerate(rows) if epoch in chosen])


def spread(epochs: Sequence[int], points: int = MAX_POINTS) -> list[int]:
    """Return at most so many of the epochs, evenly spread, with the first and the last."""
    if len(epochs) <= points:
        return list(epochs)
    return [epochs[round(index * (len(epochs) - 1) / (points - 1))] for index in range(points)]
