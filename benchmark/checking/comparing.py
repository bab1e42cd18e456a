"""What the contract's clauses share: the error that they raise, and comparison bit for bit."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

State = Mapping[str, Any]


class ContractError(Exception):
    """A method breaks its contract; the message says how."""


def same(ours: Any, theirs: Any) -> bool:
    """Return whether two values are the same bit for bit: tensors, plain data, and whatever is made of them."""
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return ours.keys() == theirs.keys() and all(same(value, theirs[key]) for key, value in ours.items())
    if isinstance(ours, str) or not isinstance(ours, Sequence):
        return type(ours) is type(theirs) and bool(ours == theirs)
    if not isinstance(theirs, Sequence) or len(ours) != len(theirs):
        return False
    return all(same(own, other) for own, other in zip(ours, theirs, strict=True))


def difference(ours: State, theirs: State) -> str | None:
    """Return the first name under which the values are not the same bit for bit."""
    if ours.keys() != theirs.keys():
        return first(ours.keys() ^ theirs.keys())
    return next((name for name, value in ours.items() if not same(value, theirs[name])), None)


def first(names: set[str]) -> str:
    """Return the first of some names, and how many there are beside it."""
    return f"{min(names)}{f' (and {len(names) - 1} more)' if len(names) > 1 else ''}"


def kind(value: Any) -> str:
    """Return what a value is, in words."""
    return f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
