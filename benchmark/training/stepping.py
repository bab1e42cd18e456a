"""One step of training: in which order a method, its hooks and the optimiser are called."""

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from methods import Method, Outputs, ParameterGroup, Progress
from methods.errors import InputError

Terms = dict[str, Tensor]


class StepBatch(NamedTuple):
    """What a step is taken on.

    Attributes:
        views: ``[V, B, C, H, W]``.
        labels: ``[B]``, class indices.
        indices: ``[B]``, the images' places in the training set; None if they are none of its images.
    """

    views: Tensor
    labels: Tensor
    indices: Tensor | None = None


def outputs_and_losses(
    method: Method,
    batch: StepBatch,
    progress: Progress,
    forward: Callable[[Tensor], Outputs] | None = None,
    autocast: AbstractContextManager[object] | None = None,
) -> tuple[Outputs, Terms]:
    """Return a step's outputs, in full precision, and its named losses.

    Args:
        method: In training mode.
        batch: What it is given.
        progress: Where in the run.
        forward: The method's forward pass in another form, such as compiled; None: the method itself.
        autocast: The context of the forward pass; None: none.
    """
    if batch.indices is not None:
        method.begin_step(batch.indices, batch.labels)
    with nullcontext() if autocast is None else autocast:
        outputs = method(batch.views) if forward is None else forward(batch.views)
    outputs = full_precision(outputs)
    return outputs, method.losses(outputs, batch.labels, progress)


def optimise(
    method: Method,
    optimizer: torch.optim.Optimizer,
    batch: StepBatch,
    progress: Progress,
    forward: Callable[[Tensor], Outputs] | None = None,
    autocast: AbstractContextManager[object] | None = None,
) -> Terms:
    """Take the optimiser's step and return the loss terms, detached; ``after_step`` is left to the caller."""
    outputs, terms = outputs_and_losses(method, batch, progress, forward, autocast)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(torch.stack(list(terms.values())).sum())
    method.before_update(outputs, batch.labels, progress)
    optimizer.step()
    return {name: term.detach() for name, term in terms.items()}


def full_precision(outputs: Outputs) -> Outputs:
    """Return the outputs in float32 where autocast left less: losses are always computed in full precision."""
    # a copy of whatever class it is: a method's own fields go through training like the common ones
    full = copy.copy(outputs)
    for name, value in vars(outputs).items():
        if isinstance(value, Tensor) and value.is_floating_point() and value.dtype.itemsize < 4:
            setattr(full, name, value.float())
    return full


def parameter_groups(method: Method) -> list[ParameterGroup]:
    """Return a method's groups of parameters.

    Raises:
        InputError: Unless every parameter with ``requires_grad`` is in exactly one of them, and no other is.
    """
    groups = method.parameter_groups()
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    trained = {id(parameter) for parameter in method.parameters() if parameter.requires_grad}
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


def optimizer_groups(groups: Sequence[ParameterGroup]) -> list[dict[str, object]]:
    """Return the groups as torch's optimisers take them."""
    return [{"params": list(group.parameters)} for group in groups]


def learning_rate(group: ParameterGroup, lr: float, first_lr: float, epoch: int, epochs: int) -> float:
    """Return a group's learning rate in an epoch.

    Args:
        group: Whose.
        lr: The run's in that epoch.
        first_lr: The run's at its start, which a schedule of the group's own is a share of.
        epoch: 0-based.
        epochs: How many are planned.

    Raises:
        InputError: If the group's schedule gives no finite number of at least 0.
    """
    if group.schedule is None:
        return group.lr_factor * lr
    share = group.schedule(epoch, epochs)
    if not (math.isfinite(share) and share >= 0):
        raise InputError(f"the schedule of a parameter group must be at least 0 (epoch {epoch} of {epochs}: {share})")
    return group.lr_factor * first_lr * share
