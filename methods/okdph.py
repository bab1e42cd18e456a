"""Online knowledge distillation with a parameter hybridization."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from methods.backbones import Backbone
from methods.interface import AnyOutputs, Outputs, Progress
from methods.networks import check_views
from methods.objectives import cross_entropy, distillation_loss
from methods.peers import PeerHyperparameters, SeparatePeers
from methods.weight_means import mean_of_tensors, pull_towards, set_to_mean


@dataclass
class HybridOutputs(Outputs):
    """With the hybrid-weight model's logits ``[B, C]`` on a view of its own."""

    hybrid: Tensor | None = None


class OKDPH(SeparatePeers):
    """Parameter hybridization: networks learn from all logits, the mean of their weights' too, and move towards it.

    ``L = a sum_i CE_i + (1 - a) CE_h + b sum_i KL_T(z_i <- sg mean(z_1, ..., z_K, z_h))`` with ``label_weight`` a and
    ``weight`` b. The hybrid h has the mean of the networks' weights and batch statistics before each step; network i
    sees view i, the hybrid a view of its own. At intervals the networks move towards it:
    ``theta_i <- (1 - g) theta_i + g theta_h`` with ``fusion`` g; momentum stays as it is.

    The released code copies the mean into the hybrid by value, so that ``CE_h`` trains nothing (docs/fidelity.md);
    ``hybrid_gradient: flows`` lets it reach every network through the mean. Its fusion takes the hybrid from before the
    step; with ``fusion_source: fresh`` it is formed after it. The joint loss counts ``CE_h`` once, so that every
    network follows the gradient of its own ``L_i``.

    Source: Zhang et al. (2023), "Generalization Matters: Loss Minima Flattening via Parameter Hybridization for
    Efficient Online Knowledge Distillation", as released.
    """

    name = "okdph"
    year = 2023
    mixed_labels = True
    mixed_backbones = False
    Outputs = HybridOutputs

    class Hyperparameters(PeerHyperparameters):
        """The released defaults."""

        label_weight: float = Field(0.8, ge=0, le=1, description="a (omega), of the networks' cross-entropy")
        weight: float = Field(0.8, ge=0, description="b (beta), of the distillation term")
        temperature: float = Field(4.0, gt=0, description="T of the distillation term")
        fusion: float = Field(
            0.5, ge=0, le=1, description="g (gamma), how far networks move to the hybrid; 1: all the way"
        )
        fusion_every: str = Field(
            "1_epoch",
            pattern=r"^(never|[1-9][0-9]*_(epoch|batch))$",
            examples=["1_epoch", "2_epoch", "2_batch", "never"],
            description="how often they move: N_epoch, N_batch (counted anew in each epoch) or never",
        )
        init: Literal["same", "independent"] = Field(
            "same", description="whether all networks start with one's weights"
        )
        hybrid_gradient: Literal["detached", "flows"] = Field(
            "detached", description="whether the hybrid's cross-entropy trains nothing, as released, or the networks"
        )
        fusion_source: Literal["stale", "fresh"] = Field(
            "stale", description="whether networks move to the hybrid from before the step, as released, or after it"
        )

        def declared_inactive(self) -> dict[str, str]:
            """Return the hybrid's cross-entropy where the hybrid's weights are copies, as in the released code."""
            if self.hybrid_gradient == "flows":
                return {}
            return {"hybrid_cross_entropy": "the released code copies the mean of the weights: it has no gradient"}

    hyperparameters: Hyperparameters

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters, hyperparameters.peers)
        self.views = hyperparameters.peers + 1
        if hyperparameters.init == "same":
            for network in self.networks[1:]:
                network.load_state_dict(self.networks[0].state_dict())
        self.hybrid = copy.deepcopy(self.networks[0]).requires_grad_(False)
        set_to_mean(self.hybrid, list(self.networks))
        self._batch = 0  # of the epoch; part of the state, so that no step has to wait for a tensor on the device

    def forward(self, views: Tensor) -> AnyOutputs:
        """Return the logits of every network for its view of ``[K + 1, B, C, H, W]``, the hybrid's for the last."""
        *own, last = check_views(views, self.views)
        peers = torch.stack([network(view) for network, view in zip(self.networks, own, strict=True)])
        return HybridOutputs(peers=peers, hybrid=self._hybrid_logits(last))

    def _hybrid_logits(self, view: Tensor) -> Tensor:
        if self.hyperparameters.hybrid_gradient == "detached":
            logits: Tensor = self.hybrid(view)
            return logits
        means = mean_of_tensors([list(network.parameters()) for network in self.networks])
        names = [name for name, _ in self.hybrid.named_parameters()]
        flowing: Tensor = functional_call(self.hybrid, dict(zip(names, means, strict=True)), (view,))
        return flowing

    def losses(self, outputs: AnyOutputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the networks' and the hybrid's cross-entropy and the distillation from the mean of all logits."""
        if not isinstance(outputs, HybridOutputs) or outputs.hybrid is None:
            raise ValueError("OKDPH needs the hybrid's logits")
        chosen, peers = self.hyperparameters, outputs.peers
        target = torch.cat((peers, outputs.hybrid.unsqueeze(0))).mean(0).detach()
        return {
            "cross_entropy": chosen.label_weight * cross_entropy(peers, labels),
            "hybrid_cross_entropy": (1 - chosen.label_weight) * cross_entropy(outputs.hybrid, labels),
            "distillation": chosen.weight * distillation_loss(peers, target, chosen.temperature),
        }

    def after_step(self, progress: Progress) -> None:
        """Move the networks towards the hybrid if it is time to, and set it to their mean."""
        networks = list(self.networks)
        if self._fuses(progress):
            if self.hyperparameters.fusion_source == "fresh":
                set_to_mean(self.hybrid, networks)
            pull_towards(networks, self.hybrid, self.hyperparameters.fusion)
        set_to_mean(self.hybrid, networks)
        self._batch = 0 if progress.last_of_epoch else self._batch + 1

    def _fuses(self, progress: Progress) -> bool:
        count, _, unit = self.hyperparameters.fusion_every.partition("_")
        if unit == "batch":
            return self._batch % int(count) == 0
        return unit == "epoch" and progress.last_of_epoch and progress.epoch % int(count) == 0

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every network, of their mean and of the hybrid."""
        return {**super().predict(images), "hybrid": self.hybrid(images)}

    def get_extra_state(self) -> Mapping[str, Any]:
        """Return where in the epoch the run is."""
        return {"batch": self._batch}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Resume from there."""
        self._batch = state["batch"]
