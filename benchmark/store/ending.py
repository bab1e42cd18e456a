"""How a run stands, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from methods.metrics import MethodMetric, Role


class Status(StrEnum):
    """How far a run is; these words stand in tables and files."""

    FINISHED = "finished"
    COLLAPSED = "collapsed"
    DIVERGED = "diverged"
    FAILED = "failed"
    OUT_OF_MEMORY = "out-of-memory"
    STOPPED = "stopped"
    BUSY = "busy"
    UNFINISHED = "unfinished"

    @property
    def final(self) -> bool:
        """Whether trying again would give the same: such a run is not repeated unless asked."""
        return self in (Status.FINISHED, Status.COLLAPSED, Status.DIVERGED)


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        status: One of :class:`Status`.
        reason: Why it did not finish, on one line; empty if it did.
        seconds: Its wall time.
        environment: Versions and device.
        cost: What it takes, such as its number of trainable parameters.
        students: The predictors whose mean is the headline.
        roles: What each predictor is in its method.
        metrics: What the method records beside its losses.
    """

    status: Status
    reason: str = ""
    seconds: float = 0.0
    environment: dict[str, str] | None = None
    cost: dict[str, float] | None = None
    students: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    metrics: tuple[MethodMetric, ...] = ()
