"""One step of training: how a method, its hooks and the optimiser are called, and what the optimiser is given."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmark.configuration import TrainConfig
from methods import FrozenParameters, Method, Outputs, ParameterGroup, Progress
from methods.errors import InputError
from methods.objectives import full_precision

Terms = dict[str, Tensor]


class StepBatch(NamedTuple):
    """What a step is taken on."""

    views: Tensor  # [V, B, C, H, W]
    labels: Tensor  # [B], class indices
    # [B], the images' places in the training set; None if they are none of its images
    indices: Tensor | None = None
    # [B, C], the labels as probabilities where they are smoothed or mixed; None: as they are
    targets: Tensor | None = None

    @property
    def given(self) -> Tensor:
        """The labels that losses are given."""
        return self.labels if self.targets is None else self.targets


def outputs_and_losses(
    method: Method,
    batch: StepBatch,
    progress: Progress,
    forward: Callable[[Tensor], Outputs] | None = None,
    autocast: AbstractContextManager[object] | None = None,
) -> tuple[Outputs, Terms]:
    """Return a step's outputs, in float32 at least, and its named losses, computed in full precision.

    ``forward`` is the forward pass of the method, which is in training mode, in another form, such as compiled, and
    ``autocast`` its context.
    """
    if batch.indices is not None:
        method.begin_step(batch.indices, batch.labels)
    with nullcontext() if autocast is None else autocast:
        outputs = method(batch.views) if forward is None else forward(batch.views)
    # a copy of whatever class it is: a method's own fields go through training like the common ones
    outputs = copy.copy(outputs)
    for name, value in vars(outputs).items():
        if isinstance(value, Tensor) and value.is_floating_point() and value.dtype.itemsize < 4:
            setattr(outputs, name, value.float())
    with full_precision(batch.views.device):
        return outputs, method.losses(outputs, batch.given, progress)


def optimise(
    method: Method,
    optimizer: Optimizer,
    batch: StepBatch,
    progress: Progress,
    forward: Callable[[Tensor], Outputs] | None = None,
    autocast: AbstractContextManager[object] | None = None,
) -> Terms:
    """Take a fused optimiser's step and return the loss terms, detached; ``after_step`` is left to the caller."""
    outputs, terms = outputs_and_losses(method, batch, progress, forward, autocast)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(torch.stack(list(terms.values())).sum())
    frozen = method.before_update(outputs, batch.given, progress) or ()
    step_but_for(optimizer, frozen)
    return {name: term.detach() for name, term in terms.items()}


def step_but_for(optimizer: Optimizer, frozen: Sequence[FrozenParameters]) -> None:
    """Take a fused optimiser's step, but for parameters whose decision, which the host does not wait for, forbids it.

    A momentum that there was none of before the step is 0 after it, which a later step takes as if there were none.
    """
    if not frozen:
        optimizer.step()
        return
    groups = optimizer.param_groups
    own = [{id(parameter) for parameter in part.parameters} for part in frozen]
    every = {id(parameter) for group in groups for parameter in group["params"]}
    try:
        # fused steps leave everything as it is where this number is 1: they skip gradients that overflowed so
        for chosen, part in zip([*own, every.difference(*own)], [*frozen, None], strict=True):
            optimizer.param_groups = [
                {**group, "params": parameters}
                for group in groups
                if (parameters := [parameter for parameter in group["params"] if id(parameter) in chosen])
            ]
            # a step that is skipped does not write momentum
            for group in optimizer.param_groups if part is not None else ():
                for parameter in group["params"] if group.get("momentum") else ():
                    if optimizer.state[parameter].get("momentum_buffer") is None:
                        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            optimizer.found_inf = None if part is None else part.decision.float()  # type: ignore[attr-defined]
            optimizer.step()
    finally:
        optimizer.param_groups = groups
        optimizer.found_inf = None  # type: ignore[attr-defined]


@contextmanager
def without_effect(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Undo afterwards what forward passes do to a module: its batch statistics, and random numbers."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)


class DecayedGroup(NamedTuple):
    """Parameters that share a learning rate and a weight decay."""

    own: ParameterGroup  # the method's group that they are of
    parameters: list[nn.Parameter]  # all of it, or a part
    weight_decay: float


def parameter_groups(method: Method) -> list[ParameterGroup]:
    """Return a method's groups, or raise an InputError unless each trained parameter is in exactly one of them."""
    groups = method.parameter_groups()
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    trained = {id(parameter) for parameter in method.parameters() if parameter.requires_grad}
    given: set[int] = set()
    for group in groups:
        if not group.parameters:
            raise InputError(f"{method.name}: parameter_groups has a group without parameters")
        if not (math.isfinite(group.lr_factor) and group.lr_factor >= 0):
            raise InputError(f"{method.name}: lr_factor of a group must be at least 0 (given: {group.lr_factor})")
        for key in map(id, group.parameters):
            if key in given or key not in trained:
                name = names.get(key, "a parameter of nothing in the method")
                fault = "twice" if key in given else "and needs no gradient"
                raise InputError(f"{method.name}: {name} is in parameter_groups {fault}")
            given.add(key)
    if missing := trained - given:
        raise InputError(f"{method.name}: {min(names[key] for key in missing)} is in none of the parameter_groups")
    return groups


def decayed_groups(groups: Iterable[ParameterGroup], train: TrainConfig) -> list[DecayedGroup]:
    """Return a method's groups with the weight decay of each parameter.

    ``train.no_decay`` spares nothing, or every parameter of fewer than two axes, which are the scales and shifts of
    norms and all biases; groups of the latter come last.
    """
    axes = 1 if train.no_decay == "norm_and_bias" else -1
    parts = [
        DecayedGroup(group, [own for own in group.parameters if (own.ndim <= axes) == spared], decay)
        for spared, decay in ((False, train.weight_decay), (True, 0.0))
        for group in groups
    ]
    return [part for part in parts if part.parameters]


def make_optimizer(groups: Iterable[DecayedGroup], train: TrainConfig) -> Optimizer:
    """Return a run's fused optimiser: SGD, or AdamW, whose betas and epsilon are torch's defaults.

    AdamW at step t, counted from 1, with the gradient g, the learning rate r and the weight decay w:
    ``m <- 0.9 m + 0.1 g``, ``v <- 0.999 v + 0.001 g^2``,
    ``x <- x - r w x - r (m / (1 - 0.9^t)) / (sqrt(v / (1 - 0.999^t)) + 1e-8)``.

    Source: Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization", algorithm 2, as in torch.
    """
    given: list[dict[str, Any]] = [{"params": own.parameters, "weight_decay": own.weight_decay} for own in groups]
    if train.optimizer == "adamw":
        # capturable: a recorded step may contain it; it is without effect on other steps
        recordable = all(group["params"][0].is_cuda for group in given)
        return torch.optim.AdamW(given, lr=train.lr, fused=True, capturable=recordable)
    return torch.optim.SGD(given, lr=train.lr, momentum=train.momentum, nesterov=train.nesterov, fused=True)


def learning_rate(group: ParameterGroup, train: TrainConfig, epoch: int) -> float:
    """Return a group's rate in a 0-based epoch, without warm-up, or raise an InputError if its schedule gives none."""
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
        if given.parameters[0].is_cuda:
            # a recorded step reads it in float32: the standard step is given the same number
            rate = float(np.float32(rate))
        if isinstance(group["lr"], Tensor):
            # the same tensor all through the run, which a recorded step reads
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
