"""Online knowledge distillation via collaborative learning."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.backbones import Backbone
from methods.interface import Batch, Outputs, Progress
from methods.networks import check_views
from methods.objectives import (
    cross_entropy,
    distillation_loss,
    error_matrix,
    hard_labels,
    least_error_weights,
    linear_target,
    lowest_loss_target,
    min_logit_target,
)
from methods.peers import PeerHyperparameters, SeparatePeers

_PROBE_BATCH = 128


class KDCL(SeparatePeers):
    """Collaborative learning of separate networks: all learn from one target that is made of all their logits.

    ``L = a sum_i CE_i + b sum_i KL_T(z_i <- sg z_t)`` with ``label_weight`` a and ``weight`` b; network i sees view i.
    The target ``z_t`` of an image, by ``variant``:

    - ``naive``: the logits of the network with the smallest cross-entropy on that image.
    - ``linear``: ``sum_k alpha_k z_k`` with the weights on the simplex that minimise its cross-entropy. They are one
      set a batch, found by 40 exponentiated gradient steps (:func:`methods.objectives.simplex_weights`).
    - ``minlogit``: ``z_t[c] = min_k (z_k[c] - z_k[y])``.
    - ``general``: ``sum_k w_k z_k`` with ``w = C^-1 1 / (1' C^-1 1)``, where ``C_ij`` is the mean product of the errors
      of networks i and j, as probabilities in eval mode. C gets a ridge of a thousandth of its mean diagonal.
    - ``mean``: ``mean_k z_k``. With ``label_weight`` 0.5, ``weight`` 0.5 and ``temperature`` 4 that is what the public
      re-implementation trains in place of the paper's variants.

    ``general`` measures C on images that the networks are also trained on: ``probe_batches`` augmented batches taken
    before the first step, each network on its own view. A held-out part would take images away from this method alone,
    and runs of different methods would no longer be paired. The weights are equal in the first epoch and renewed after
    the first step of each later one.

    What the public descriptions leave open is chosen here: ``naive`` goes image by image, ``linear`` batch by batch,
    and ``general`` averages logits, which stay defined for negative weights.

    Source: Guo et al. (2020), "Online Knowledge Distillation via Collaborative Learning", section 3, by public
    descriptions; no code was released.
    """

    name = "kdcl"
    year = 2020
    mixed_labels = False

    class Hyperparameters(PeerHyperparameters):
        """The values stated for CIFAR."""

        variant: Literal["naive", "linear", "minlogit", "general", "mean"] = Field(
            "minlogit", description="how the common target is made of the networks' logits"
        )
        temperature: float = Field(2.0, gt=0, description="T of the distillation term")
        weight: float = Field(1.0, ge=0, description="weight of the distillation term")
        label_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy term")
        probe_batches: int = Field(4, ge=1, description="training batches that variant general measures errors on")

    hyperparameters: Hyperparameters
    probe_images: Tensor
    probe_labels: Tensor
    peer_weights: Tensor
    measured_epoch: Tensor

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters, hyperparameters.peers)
        self.views = peers = hyperparameters.peers
        if hyperparameters.variant == "general":
            # the views of all probe images, one network's after the other's: [K N, C, H, W], and [N]
            self.register_buffer("probe_images", torch.empty(0))
            self.register_buffer("probe_labels", torch.empty(0, dtype=torch.long))
            self.register_buffer("peer_weights", torch.full((peers,), 1 / peers))
            self.register_buffer("measured_epoch", torch.zeros((), dtype=torch.long))
        self._measured_epoch = 0  # the buffer's value, so that no step waits for the device

    def forward(self, views: Tensor) -> Outputs:
        """Return the logits of every network for its view of ``[K, B, C, H, W]``; for ``general`` also the target."""
        pairs = zip(self.networks, check_views(views, self.views), strict=True)
        peers = torch.stack([network(view) for network, view in pairs])
        if self.hyperparameters.variant != "general":
            return Outputs(peers=peers)
        return Outputs(peers=peers, ensemble=(self.peer_weights[:, None, None] * peers.detach()).sum(0))

    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies' sum and the distillation from the common target."""
        chosen = self.hyperparameters
        target = self._target(outputs, hard_labels(labels))
        return {
            "cross_entropy": chosen.label_weight * cross_entropy(outputs.peers, labels),
            "distillation": chosen.weight * distillation_loss(outputs.peers, target, chosen.temperature),
        }

    def _target(self, outputs: Outputs, labels: Tensor) -> Tensor:
        peers = outputs.peers.detach()
        match self.hyperparameters.variant:
            case "naive":
                return lowest_loss_target(peers, labels)
            case "linear":
                return linear_target(peers, labels)
            case "minlogit":
                return min_logit_target(peers, labels)
            case "mean":
                return peers.mean(0)
            case "general":
                if outputs.ensemble is None:
                    raise ValueError("KDCL's general variant needs the weighted logits as the ensemble's")
                return outputs.ensemble.detach()

    def start(self, batches: Iterator[Batch]) -> None:
        """For ``general``, take the images on which the networks' errors are measured."""
        if self.hyperparameters.variant == "general":
            taken = list(islice(batches, self.hyperparameters.probe_batches))
            self.probe_images = torch.cat([views for views, _ in taken], dim=1).flatten(0, 1)
            self.probe_labels = torch.cat([hard_labels(labels) for _, labels in taken])

    def after_step(self, progress: Progress) -> None:
        """For ``general``, renew the weights after an epoch's first step."""
        if self.hyperparameters.variant == "general" and progress.epoch != self._measured_epoch:
            self.peer_weights.copy_(self._measured_weights())
            self.measured_epoch.fill_(progress.epoch)
            self._measured_epoch = progress.epoch

    @torch.no_grad()
    def _measured_weights(self) -> Tensor:
        if not len(self.probe_labels):
            raise ValueError("KDCL's general variant needs the images that start() takes")
        training = self.training
        self.eval()
        views = self.probe_images.chunk(len(self.networks))
        logits = [
            torch.cat([network(images) for images in torch.split(view, _PROBE_BATCH)])
            for network, view in zip(self.networks, views, strict=True)
        ]
        self.train(training)
        return least_error_weights(error_matrix(torch.stack(logits), self.probe_labels))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("probe_images", "probe_labels"):
            if (stored := state_dict.get(prefix + name)) is not None:
                setattr(self, name, getattr(self, name).new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.hyperparameters.variant == "general":
            self._measured_epoch = int(self.measured_epoch)
