"""Online knowledge distillation with diverse peers."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from methods.backbones import Backbone
from methods.errors import InputError
from methods.hyperparameters import BaseHyperparameters, epochs_field
from methods.interface import Method, Outputs, Progress
from methods.metrics import Role
from methods.networks import (
    BranchedNetwork,
    NetworkGroup,
    OwnProjections,
    PeerAttention,
    check_views,
    standalone,
)
from methods.objectives import cross_entropy, distillation_loss
from methods.peers import BranchHyperparameters, named, numbered, peers_and_ensemble
from methods.schedules import Schedule, rampup_schedules, sigmoid_rampup


class OKDDip(Method):
    """Two-level distillation: auxiliary peers learn from attention over their group, a leader from their mean.

    ``L = sum_a CE_a + CE_leader + r(e) [sum_a KL_T(z_a <- t_a) + KL_T(z_leader <- mean_a z_a)]`` with
    ``t_a = sum_b alpha_ab z_b`` over the auxiliary peers. No target is held constant: only through ``t_a`` does the
    attention learn.

    The networks are branches on a shared stem or, with ``sharing: networks``, separate; then they may differ in
    architecture, the last one being the leader. Peers whose features differ in size have a query and a key map each
    (this project's choice: the released code has equal networks alone).

    Source: Chen, Mei, Wang, Feng and Chen (2020), "Online Knowledge Distillation with Diverse Peers", equations 3 to 9,
    and its released code.
    """

    name = "okddip"
    year = 2020
    mixed_labels = True
    mixed_backbones = True
    extra_networks = 1

    class Hyperparameters(BranchHyperparameters):
        """The authors' values."""

        peers: int = Field(3, ge=2, le=64, description="K, the number of auxiliary peers; the leader is one more")
        sharing: Literal["branches", "networks"] = Field(
            "branches", description="whether peers and leader share a stem or are separate networks"
        )
        temperature: float = Field(3.0, gt=0, description="T of the distillation terms")
        rampup_epochs: int = epochs_field(80, "length of the ramp-up of the distillation terms")

        def schedules(self, epochs: int) -> dict[str, Schedule]:
            """Return the ramp-up."""
            return rampup_schedules(self.rampup_epochs, epochs, "peer_distillation", "leader_distillation")

    hyperparameters: Hyperparameters

    @classmethod
    def check_architectures(cls, architectures: Sequence[str], hyperparameters: BaseHyperparameters) -> None:
        """Raise an InputError if several architectures are to share a stem."""
        if len(architectures) > 1 and getattr(hyperparameters, "sharing", None) != "networks":
            raise InputError(f"{cls.name}.sharing must be networks for peers that differ ({'+'.join(architectures)})")

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters)
        count = hyperparameters.peers + self.extra_networks
        self.network: BranchedNetwork | NetworkGroup
        if hyperparameters.sharing == "networks":
            self.network = NetworkGroup(backbones, count)
        else:
            self.network = BranchedNetwork(backbones[0], count, hyperparameters.shared_stages)
        self.attention = PeerAttention(self._projection(), self._projection())
        self.students = ("leader",)

    def _projection(self) -> nn.Module:
        peers = self.backbones[:-1] if len(self.backbones) > 1 else self.backbones
        size = min(backbone.features for backbone in peers) // 8
        if len({backbone.features for backbone in peers}) == 1:
            return peers[0].linear(peers[0].features, size, False)
        return OwnProjections([backbone.linear(backbone.features, size, False) for backbone in peers])

    def forward(self, views: Tensor) -> Outputs:
        """Return the auxiliary peers' logits, their targets and the leader's logits for one view."""
        features, logits = self._peer_features_and_logits(check_views(views, self.views)[0])
        peers = logits[:-1]
        return Outputs(peers=peers, leader=logits[-1], targets=self.attention(features, peers))

    def _peer_features_and_logits(self, images: Tensor) -> tuple[Tensor | list[Tensor], Tensor]:
        if isinstance(self.network, NetworkGroup):
            features, logits = self.network(images)
            alike = len({own.shape for own in features[:-1]}) == 1
            # equal peers go through the shared maps in one product; the leader's features are not used
            return (torch.stack(features[:-1]) if alike else features[:-1]), logits
        _, stacked, logits = self.network(images)
        return stacked[:-1], logits

    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies and the two levels of ramped distillation."""
        if outputs.leader is None or outputs.targets is None:
            raise ValueError("OKDDip needs the leader's logits and the peers' targets")
        temperature = self.hyperparameters.temperature
        ramp = progress.scheduled(lambda at: sigmoid_rampup(at.epoch, self.hyperparameters.rampup_epochs))
        leader_target = outputs.peers.mean(0)
        return {
            "cross_entropy": cross_entropy(outputs.peers, labels),
            "leader_cross_entropy": cross_entropy(outputs.leader, labels),
            "peer_distillation": ramp * distillation_loss(outputs.peers, outputs.targets, temperature),
            "leader_distillation": ramp * distillation_loss(outputs.leader, leader_target, temperature),
        }

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the leader's logits, the auxiliary peers' and the mean of the latter."""
        _, logits = self._peer_features_and_logits(images)
        peers = logits[:-1]
        return {"leader": logits[-1], **named("peer", peers), "ensemble": peers.mean(0)}

    def roles(self) -> Mapping[str, Role]:
        """Return that the auxiliary networks are peers; the leader is none of them."""
        return peers_and_ensemble(self.hyperparameters.peers)

    def classifiers(self) -> Mapping[str, nn.Module]:
        """Return the classifiers of the auxiliary peers."""
        every = self.network.classifiers()
        return {name: every[name] for name in numbered("peer", self.hyperparameters.peers)}

    def student(self, name: str | None = None) -> nn.Module:
        """Return the leader: its network, or the stem with its branch."""
        self.check_student(name)
        return standalone(self.network.network(self.hyperparameters.peers))
