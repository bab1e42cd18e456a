"""Adaptive hierarchy-branch fusion for online knowledge distillation."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from methods.backbones import Backbone
from methods.hyperparameters import epochs_field
from methods.interface import AnyOutputs, Outputs, Progress
from methods.networks import Gate, check_views
from methods.objectives import cross_entropy, distillation_loss
from methods.peers import BranchedPeers, BranchHyperparameters, named, numbered
from methods.schedules import Schedule, sigmoid_rampup


@dataclass
class AssistantOutputs(Outputs):
    """With the assistants' logits ``[K - 1, B, C]``, the last of which is the ensemble."""

    assistants: Tensor | None = None


class BranchFusion(nn.Module):
    """Fuses the assistant so far with the next deeper branch: its maps are convolved, its logits are gated.

    ``f = BN(conv1x1([x; y]))`` and ``z = g_0 z_x + g_1 z_y`` with ``g = softmax(relu(BN(W pool(f) + b)))``.

    Source: Gong et al. (2023), "Adaptive Hierarchy-Branch Fusion for Online Knowledge Distillation", as released.
    """

    def __init__(self, shallow: int, backbone: Backbone) -> None:
        super().__init__()
        deep = backbone.features
        self.convolution = nn.Conv2d(shallow + deep, deep, 1)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")
        self.norm = nn.BatchNorm2d(deep)
        self.gate = Gate(backbone.linear(deep, 2, True))

    def forward(self, maps: tuple[Tensor, Tensor], logits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return fused maps ``[B, d, h, w]`` and logits ``[B, C]`` of the assistant (first) and the branch."""
        fused: Tensor = self.norm(self.convolution(torch.cat(maps, dim=1)))
        gate = self.gate(fused)
        return fused, gate[:, :1] * logits[0] + gate[:, 1:] * logits[1]


class AssistantChain(nn.Module):
    """The K - 1 fusions, each of the assistant before it and the next branch; the first assistant is branch 0."""

    def __init__(self, fusions: Sequence[BranchFusion]) -> None:
        super().__init__()
        self.fusions = nn.ModuleList(fusions)

    def forward(self, maps: Sequence[Tensor], logits: Tensor) -> Tensor:
        """Return the assistants' logits ``[K - 1, B, C]`` for the branches' maps and logits ``[K, B, C]``."""
        fused, assistant = maps[0], logits[0]
        found = []
        for fusion, own, taught in zip(self.fusions, maps[1:], logits[1:], strict=True):
            fused, assistant = fusion((fused, own), (assistant, taught))
            found.append(assistant)
        return torch.stack(found)


class AHBF(BranchedPeers):
    """Adaptive hierarchy-branch fusion: ever deeper branches are fused one by one, and teach down to the plain network.

    Branch k has ``k extra_blocks`` more blocks, layers or convolutions in its last stage; branch 0 is the backbone
    itself and the student. Assistant ``a_k`` fuses ``a_{k-1}`` with branch k, ``a_0`` being branch 0.

    ``L = sum_k CE(z_k) + sum_{k>=1} CE(a_k) + w r(e) sum_{k>=1} {p [KL_T(z_k <- a_k) + KL_T(a_{k-1} <- a_k)]
    + q KL_T(a_{k-1} <- z_k)}`` with ``weight`` w, ``ensemble_weight`` p, ``branch_weight`` q and the ramp-up r. As
    released, no target is held constant; ``detach`` holds all of them.

    Source: Gong et al. (2023), "Adaptive Hierarchy-Branch Fusion for Online Knowledge Distillation", as released.
    """

    name = "ahbf"
    year = 2023
    mixed_labels = True
    Outputs = AssistantOutputs

    class Hyperparameters(BranchHyperparameters):
        """The released defaults."""

        peers: int = Field(4, ge=2, le=64, description="K, the number of branches")
        extra_blocks: int = Field(2, ge=0, le=16, description="blocks that each branch has more than the one before it")
        temperature: float = Field(3.0, gt=0, description="T of the distillation terms")
        weight: float = Field(0.75, ge=0, description="w, of all distillation terms")
        ensemble_weight: float = Field(1.0, ge=0, description="p, of learning from the assistants")
        branch_weight: float = Field(1.0, ge=0, description="q, of learning from the deeper branches")
        rampup_epochs: int = epochs_field(240, "length of the ramp-up of the distillation terms")
        detach: bool = Field(False, description="whether the targets are held constant")

        def schedules(self, epochs: int) -> dict[str, Schedule]:
            """Return the ramp-up."""
            rampup = {"ramp-up": [sigmoid_rampup(epoch, self.rampup_epochs) for epoch in range(epochs)]}
            weights = {"ensemble_distillation": self.ensemble_weight, "branch_distillation": self.branch_weight}
            return {name: Schedule(self.weight * weight, rampup) for name, weight in weights.items()}

    hyperparameters: Hyperparameters

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters)
        self.students = numbered("peer", 1)
        own = self.branch_backbones(backbones[0], hyperparameters.peers)
        self.assistants = AssistantChain([BranchFusion(one.features, deeper) for one, deeper in pairwise(own)])

    def branch_backbones(self, backbone: Backbone, peers: int) -> Sequence[Backbone]:
        """Return the backbone and ever deeper ones."""
        return [backbone.deeper(index * self.hyperparameters.extra_blocks) for index in range(peers)]

    def forward(self, views: Tensor) -> AnyOutputs:
        """Return the branches' and the assistants' logits for the one view ``[1, B, C, H, W]``."""
        peers, assistants = self._logits(check_views(views, self.views)[0])
        return AssistantOutputs(peers=peers, ensemble=assistants[-1], assistants=assistants)

    def _logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps, peers = self.network.forward_maps(images)
        return peers, self.assistants(maps, peers)

    def losses(self, outputs: AnyOutputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies and the ramped distillation from assistants and from deeper branches."""
        if not isinstance(outputs, AssistantOutputs) or outputs.assistants is None:
            raise ValueError("AHBF needs the assistants' logits")
        chosen, peers, assistants = self.hyperparameters, outputs.peers, outputs.assistants
        ramped = progress.scheduled(lambda at: chosen.weight * sigmoid_rampup(at.epoch, chosen.rampup_epochs))
        below = torch.cat((peers[:1], assistants[:-1]))
        from_assistants = assistants.detach() if chosen.detach else assistants
        from_branches = peers[1:].detach() if chosen.detach else peers[1:]
        ensemble = distillation_loss(torch.stack((peers[1:], below)), from_assistants, chosen.temperature)
        branch = distillation_loss(below, from_branches, chosen.temperature)
        return {
            "cross_entropy": cross_entropy(peers, labels),
            "assistant_cross_entropy": cross_entropy(assistants, labels),
            "ensemble_distillation": ramped * chosen.ensemble_weight * ensemble,
            "branch_distillation": ramped * chosen.branch_weight * branch,
        }

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every branch and every assistant; the last assistant is the ensemble."""
        peers, assistants = self._logits(images)
        return {**named("peer", peers), **named("assistant", assistants), "ensemble": assistants[-1]}
