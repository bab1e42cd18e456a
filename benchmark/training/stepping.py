"""One step of training: in which order a method, its hooks and the optimiser are called."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from benchmark.training.holding import step_but_for
from methods import Method, Outputs, Progress

Terms = dict[str, Tensor]


class StepBatch(NamedTuple):
    """What a step is taken on.

    Attributes:
        views: ``[V, B, C, H, W]``.
        labels: ``[B]``, class indices.
        indices: ``[B]``, the images' places in the training set; None if they are none of its images.
        targets: ``[B, C]``, the labels as probabilities where they are smoothed or mixed; None: as they are.
    """

    views: Tensor
    labels: Tensor
    indices: Tensor | None = None
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
    return outputs, method.losses(outputs, batch.given, progress)


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
    step_but_for(optimizer, method.before_update(outputs, batch.given, progress) or ())
    return {name: term.detach() for name, term in terms.items()}


def full_precision(outputs: Outputs) -> Outputs:
    """Return the outputs in float32 where autocast left less: losses are always computed in full precision."""
    # a copy of whatever class it is: a method's own fields go through training like the common ones
    full = copy.copy(outputs)
    for name, value in vars(outputs).items():
        if isinstance(value, Tensor) and value.is_floating_point() and value.dtype.itemsize < 4:
            setattr(full, name, value.float())
    return full
