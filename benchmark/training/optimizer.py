"""What an optimiser is given: groups of parameters, and the learning rate of a step."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

from benchmark.configuration import TrainConfig


def decayed_groups(module: nn.Module, train: TrainConfig) -> list[dict[str, Any]]:
    """Return a module's trained parameters with the weight decay of each.

    Args:
        module: Whose parameters with ``requires_grad`` are trained, in their order.
        train: Its ``no_decay`` says what is spared: nothing, or every parameter of fewer than two axes, which are the
            scales and shifts of norms and all biases.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if train.no_decay == "none":
        return [{"params": trained, "weight_decay": train.weight_decay}]
    matrices = [parameter for parameter in trained if parameter.ndim > 1]
    vectors = [parameter for parameter in trained if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": train.weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group of an optimiser this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
