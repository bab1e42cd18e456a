"""The optimiser's step with some parameters left alone, by a decision that the host does not wait for."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from methods import Held


def step_but_for(optimizer: Optimizer, held: Sequence[Held]) -> None:
    """Take the optimiser's step, and take it back for the parameters whose decision says that they are held.

    Args:
        optimizer: Its gradients are ready.
        held: What may have to be left alone. A momentum that there was none of before the step is 0 after it, which a
            later step takes as if there were none.
    """
    before = [[_copies(optimizer, parameter) for parameter in own.parameters] for own in held]
    optimizer.step()
    with torch.no_grad():
        for own, copies in zip(held, before, strict=True):
            for parameter, values in zip(own.parameters, copies, strict=True):
                for name, now in _values(optimizer, parameter).items():
                    then = values.get(name)
                    now.copy_(torch.where(own.decision, torch.zeros_like(now) if then is None else then, now))


def _copies(optimizer: Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in _values(optimizer, parameter).items()}


def _values(optimizer: Optimizer, parameter: nn.Parameter) -> Mapping[str, Tensor]:
    """Return what a step changes: the parameter itself, and what the optimiser keeps of it."""
    kept = optimizer.state.get(parameter, {})
    return {"": parameter, **{name: value for name, value in kept.items() if isinstance(value, Tensor)}}
