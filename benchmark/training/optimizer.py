"""What the optimiser of a run is given: groups of parameters with their weight decay, and the rate of each step."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from benchmark.configuration import TrainConfig
from benchmark.training.stepping import learning_rate
from methods import ParameterGroup


class Rates:
    """The groups of a run's optimiser, and the learning rate of each at every step."""

    def __init__(self, groups: Sequence[ParameterGroup], train: TrainConfig, steps_per_epoch: int) -> None:
        """Split the groups by weight decay.

        Args:
            groups: Of a method.
            train: Schedule, warm-up and ``no_decay``, which says what is spared weight decay: nothing, or every
                parameter of fewer than two axes, which are the scales and shifts of norms and all biases.
            steps_per_epoch: Optimiser steps.
        """
        self.train = train
        self.steps_per_epoch = steps_per_epoch
        self._parts = [(group, *part) for group in groups for part in _decayed(group.parameters, train)]

    @property
    def groups(self) -> list[dict[str, Any]]:
        """As torch's optimisers take them."""
        return [{"params": parameters, "weight_decay": decay} for _, parameters, decay in self._parts]

    def apply(self, optimizer: Optimizer, epoch: int, step: int) -> None:
        """Give an optimiser of these groups the learning rates of a step; the warm-up multiplies every schedule.

        Args:
            optimizer: Made with :attr:`groups`.
            epoch: 0-based.
            step: Optimiser steps taken before, 0-based.
        """
        train = self.train
        rate, warm = train.lr_at(epoch), train.warmup_at(step, self.steps_per_epoch)
        for group, (own, _, _) in zip(optimizer.param_groups, self._parts, strict=True):
            group["lr"] = warm * learning_rate(own, rate, train.lr, epoch, train.epochs)


def _decayed(parameters: Sequence[nn.Parameter], train: TrainConfig) -> list[tuple[list[nn.Parameter], float]]:
    if train.no_decay == "none":
        return [(list(parameters), train.weight_decay)]
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    return [(part, decay) for part, decay in ((matrices, train.weight_decay), (vectors, 0.0)) if part]
