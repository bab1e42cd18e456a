"""Whether every hyperparameter changes something: one that does not is a name without a meaning."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from benchmark.checking.cases import WHEN, Case, choices, prepare, take_step
from benchmark.checking.comparing import State, difference
from methods.errors import InputError
from methods.interface import Method

_BASES = 12
"""How many configurations a hyperparameter is tried in at most: some act only beside another one's value."""


def without_effect(case: Case) -> list[str]:
    """Return the hyperparameters with which losses, updates, state and predictions are the same whatever they are.

    Args:
        case: The method at its defaults. What its example gives, such as a file, is left alone.
    """
    trajectories: dict[str, _Trajectory | None] = {}

    def trajectory(changes: Mapping[str, Any]) -> _Trajectory | None:
        key = repr(sorted(changes.items()))
        if key not in trajectories:
            trajectories[key] = _trajectory(replace(case, hyperparameters={**case.hyperparameters, **changes}))
        return trajectories[key]

    def acts(name: str) -> bool:
        values = list(_alternatives(case.method.Hyperparameters.model_fields[name]))
        defaults, *others = _bases(case, name)
        # before steps are taken beside other values, those are looked for beside which the losses differ at once
        for base, parts in ((defaults, None), *((base, 1) for base in others), *((base, None) for base in others)):
            before = trajectory(base)
            for value in values if before is not None else ():
                after = trajectory({**base, name: value})
                if after is not None and before is not None and before.differs(after, parts):
                    return True
        # what has no other value that could be tried is not judged
        return not values

    return [
        name for name in case.method.Hyperparameters.model_fields if name not in case.hyperparameters and not acts(name)
    ]


def _bases(case: Case, name: str) -> Iterator[dict[str, Any]]:
    """Yield what the other hyperparameters are set to while one is varied: the defaults, then one choice of another."""
    yield {}
    fields = {
        other: info
        for other, info in case.method.Hyperparameters.model_fields.items()
        if other not in (name, *case.hyperparameters)
    }
    pairs = [{other: value} for other, info in fields.items() for value in choices(info) if value != info.default]
    yield from ([{"peers": 3}, *pairs] if "peers" in fields else pairs)[:_BASES]


@dataclass
class _Trajectory:
    """What a few steps lead to, part after part: as far as anybody has asked, for most values differ in the first."""

    ahead: Iterator[State]
    behind: list[State] = field(default_factory=list)

    def __iter__(self) -> Iterator[State]:
        yield from self.behind
        for part in self.ahead:
            self.behind.append(part)
            yield part

    def differs(self, other: "_Trajectory", parts: int | None) -> bool:
        """Return whether one of the first parts, or of all, is another one."""
        pairs = zip(islice(self, parts), islice(other, parts), strict=True)
        return any(difference(ours, theirs) for ours, theirs in pairs)


def _trajectory(case: Case) -> _Trajectory | None:
    """Return the trajectory of a case; None if the method does not take these values."""
    try:
        method = case.build()
    except InputError:
        return None
    return _Trajectory(_parts(case, method))


def _parts(case: Case, method: Method) -> Iterator[State]:
    """Yield the losses of the first outputs all along a run, those of each step, then all that the steps led to."""
    method.train()
    torch.manual_seed(0)
    views, labels = case.batch(0, method.views)
    outputs = method(views)
    terms = {number: method.losses(outputs, labels, where) for number, where in enumerate(WHEN)}
    yield {f"{number} {name}": term.detach() for number, own in terms.items() for name, term in own.items()}
    prepare(case, method)
    for number in range(len(WHEN)):
        yield take_step(case, method, number)
    with torch.no_grad():
        predictions = method.eval().predict(case.images())
    yield {"state": method.state_dict(), "predictions": predictions, "students": method.students}


def _alternatives(info: FieldInfo) -> Iterator[Any]:
    """Yield other values of a hyperparameter, some of which may be out of its range."""
    default = info.get_default(call_default_factory=True)
    known = choices(info)
    if known:
        yield from (value for value in known if value != default)
        return
    whole = "int" in str(info.annotation)
    if not whole and "float" not in str(info.annotation):
        return
    start = default if isinstance(default, int | float) else 0
    low = next(
        (mark.ge if isinstance(mark, Ge) else mark.gt for mark in info.metadata if isinstance(mark, Ge | Gt)), None
    )
    high = next(
        (mark.le if isinstance(mark, Le) else mark.lt for mark in info.metadata if isinstance(mark, Le | Lt)), None
    )
    values: list[Any] = [start / 2, 2 * start, start + 1]
    if isinstance(low, int | float) and isinstance(high, int | float):
        values += [] if whole else [low + share * (high - low) for share in (0.1, 0.9)]
    seen = {default}
    for value in values:
        written = round(value) if whole else float(value)
        if written not in seen:
            seen.add(written)
            yield written
