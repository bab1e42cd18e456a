"""What an optimiser is given: groups of parameters, their weight decay, and the learning rates of a step."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmark import optional_imports
from benchmark.configuration import TrainConfig
from methods import Method, ParameterGroup
from methods.errors import InputError


class DecayedGroup(NamedTuple):
    """Parameters that share a learning rate and a weight decay.

    Attributes:
        own: The method's group that they are of.
        parameters: All of it, or a part.
        weight_decay: Of each.
    """

    own: ParameterGroup
    parameters: list[nn.Parameter]
    weight_decay: float

    def as_torch(self) -> dict[str, Any]:
        """Return the group as torch's optimisers take it."""
        return {"params": self.parameters, "weight_decay": self.weight_decay}


def parameter_groups(method: Method) -> list[ParameterGroup]:
    """Return a method's groups of parameters.

    Raises:
        InputError: Unless every parameter with ``requires_grad`` is in exactly one of them, and no other is.
    """
    groups = method.parameter_groups()
    named = list(method.named_parameters())
    names = {id(parameter): name for name, parameter in named}
    trained = {id(parameter) for _, parameter in named if parameter.requires_grad}
    given: set[int] = set()
    for group in groups:
        if not group.parameters:
            raise InputError(f"{method.name}: parameter_groups has a group without parameters")
        if not (math.isfinite(group.lr_factor) and group.lr_factor >= 0):
            raise InputError(f"{method.name}: lr_factor of a group must be at least 0 (given: {group.lr_factor})")
        for parameter in group.parameters:
            name = names.get(id(parameter), "a parameter of nothing in the method")
            if id(parameter) in given:
                raise InputError(f"{method.name}: {name} is in parameter_groups twice")
            if id(parameter) not in trained:
                raise InputError(f"{method.name}: {name} is in parameter_groups and needs no gradient")
            given.add(id(parameter))
    if missing := trained - given:
        raise InputError(f"{method.name}: {min(names[key] for key in missing)} is in none of the parameter_groups")
    return groups


def decayed_groups(groups: Sequence[ParameterGroup], train: TrainConfig) -> list[DecayedGroup]:
    """Return a method's groups with the weight decay of each parameter.

    Args:
        groups: The method's.
        train: Its ``no_decay`` says what is spared: nothing, or every parameter of fewer than two axes, which are the
            scales and shifts of norms and all biases; groups of the latter come last.
    """
    if train.no_decay == "none":
        return [DecayedGroup(group, list(group.parameters), train.weight_decay) for group in groups]
    parts = [
        DecayedGroup(group, [own for own in group.parameters if (own.ndim <= 1) == spared], decay)
        for spared, decay in ((False, train.weight_decay), (True, 0.0))
        for group in groups
    ]
    return [part for part in parts if part.parameters]


def make_optimizer(groups: Sequence[DecayedGroup], train: TrainConfig) -> Optimizer:
    """Return a run's optimiser: SGD, or AdamW, whose betas and epsilon are torch's defaults.

    AdamW at step t, counted from 1, with the gradient g, the learning rate r and the weight decay w:
    ``m <- 0.9 m + 0.1 g``, ``v <- 0.999 v + 0.001 g^2``,
    ``x <- x - r w x - r (m / (1 - 0.9^t)) / (sqrt(v / (1 - 0.999^t)) + 1e-8)``.

    Source: Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization", algorithm 2, as in torch.
    """
    given = [group.as_torch() for group in groups]
    # the first optimiser of a process has torch import its compiler
    with optional_imports.loading():
        if train.optimizer == "adamw":
            return torch.optim.AdamW(given, lr=train.lr, fused=True)
        return torch.optim.SGD(given, lr=train.lr, momentum=train.momentum, nesterov=train.nesterov, fused=True)


def learning_rate(group: ParameterGroup, train: TrainConfig, epoch: int) -> float:
    """Return a group's learning rate in a 0-based epoch, without the warm-up.

    Raises:
        InputError: If the group's schedule gives no finite number of at least 0.
    """
    if group.schedule is None:
        return group.lr_factor * train.lr_at(epoch)
    share = group.schedule(epoch, train.epochs)
    if not (math.isfinite(share) and share >= 0):
        raise InputError(
            f"the schedule of a parameter group must be at least 0 (epoch {epoch} of {train.epochs}: {share})"
        )
    return group.lr_factor * train.lr * share


def set_rates(
    optimizer: Optimizer, groups: Sequence[DecayedGroup], train: TrainConfig, epoch: int, warmup: float
) -> None:
    """Give every group of an optimiser its learning rate: its own in that epoch, times what the warm-up makes of it."""
    for group, given in zip(optimizer.param_groups, groups, strict=True):
        rate = learning_rate(given.own, train, epoch) * warmup
        if isinstance(group["lr"], Tensor):
            # the same tensor all through the run: a recorded step reads it
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
