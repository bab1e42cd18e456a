"""Means of networks' weights, batch statistics included."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


def mean_of_tensors(values: Sequence[Iterable[Tensor]], weights: Sequence[float] | None = None) -> list[Tensor]:
    """Return ``sum_j w_j theta_j``, tensor by tensor; the gradient flows into every network's tensors.

    Args:
        values: Of each of N networks, its tensors in the same order.
        weights: ``w``, N numbers that sum to 1; equal ones if None.
    """
    shares = [1 / len(values)] * len(values) if weights is None else list(weights)
    scaled = [torch._foreach_mul(list(own), share) for own, share in zip(values, shares, strict=True)]
    total = scaled[0]
    for own in scaled[1:]:
        total = torch._foreach_add(total, own)
    return list(total)


def weights_and_statistics(network: nn.Module) -> list[Tensor]:
    """Return all that a network computes with: parameters and batch statistics, without the counters of batches."""
    return [*network.parameters(), *(buffer for buffer in network.buffers() if buffer.is_floating_point())]


@torch.no_grad()
def set_to_mean(target: nn.Module, networks: Sequence[nn.Module]) -> None:
    """Set a network to the mean of others of its architecture, in place."""
    means = mean_of_tensors([weights_and_statistics(network) for network in networks])
    torch._foreach_copy_(weights_and_statistics(target), means)


@torch.no_grad()
def pull_towards(networks: Iterable[nn.Module], centre: nn.Module, share: float) -> None:
    """Move networks towards another one: ``theta <- (1 - share) theta + share theta_centre``, in place."""
    for network in networks:
        torch._foreach_lerp_(weights_and_statistics(network), weights_and_statistics(centre), share)
