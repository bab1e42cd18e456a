"""Online knowledge distillation with diverse peers."""

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor, nn

from methods.backbones import Backbone
from methods.hyperparameters import epochs_field
from methods.interface import Method, Outputs, Progress
from methods.networks import BranchedNetwork, PeerAttention, check_views, standalone
from methods.objectives import cross_entropy, distillation_loss
from methods.peers import BranchHyperparameters, named
from methods.schedules import sigmoid_rampup


class OKDDip(Method):
    """Two-level distillation: auxiliary peers learn from attention over their group, a leader from their mean.

    ``L = sum_a CE_a + CE_leader + r(e) [sum_a KL_T(z_a <- t_a) + KL_T(z_leader <- mean_a z_a)]`` with
    ``t_a = sum_b alpha_ab z_b`` over the auxiliary peers. No target is held constant: only through ``t_a`` does the
    attention learn.

    Source: Chen, Mei, Wang, Feng and Chen (2020), "Online Knowledge Distillation with Diverse Peers", equations 3 to 9,
    and its released code.
    """

    name = "okddip"
    year = 2020

    class Hyperparameters(BranchHyperparameters):
        """The authors' values."""

        peers: int = Field(3, ge=2, description="K, the number of auxiliary peers; the leader is one more")
        temperature: float = Field(3.0, gt=0, description="T of the distillation terms")
        rampup_epochs: int = epochs_field(80, "length of the ramp-up of the distillation terms")

    hyperparameters: Hyperparameters

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters)
        backbone = backbones[0]
        self.network = BranchedNetwork(backbone, hyperparameters.peers + 1, hyperparameters.shared_stages)
        size = backbone.features, backbone.features // 8
        self.attention = PeerAttention(backbone.linear(*size, False), backbone.linear(*size, False))
        self.students = ("leader",)

    def forward(self, views: Tensor) -> Outputs:
        """Return the auxiliary peers' logits, their targets and the leader's logits for one view."""
        _, features, logits = self.network(check_views(views, self.views)[0])
        peers = logits[:-1]
        return Outputs(peers=peers, leader=logits[-1], targets=self.attention(features[:-1], peers))

    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies and the two levels of ramped distillation."""
        if outputs.leader is None or outputs.targets is None:
            raise ValueError("OKDDip needs the leader's logits and the peers' targets")
        temperature = self.hyperparameters.temperature
        ramp = sigmoid_rampup(progress.epoch, self.hyperparameters.rampup_epochs)
        leader_target = outputs.peers.mean(0)
        return {
            "cross_entropy": cross_entropy(outputs.peers, labels),
            "leader_cross_entropy": cross_entropy(outputs.leader, labels),
            "peer_distillation": ramp * distillation_loss(outputs.peers, outputs.targets, temperature),
            "leader_distillation": ramp * distillation_loss(outputs.leader, leader_target, temperature),
        }

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the leader's logits, the auxiliary peers' and the mean of the latter."""
        _, _, logits = self.network(images)
        peers = logits[:-1]
        return {"leader": logits[-1], **named("peer", peers), "ensemble": peers.mean(0)}

    def student(self, name: str | None = None) -> nn.Module:
        """Return the stem with the leader's branch."""
        self.check_student(name)
        return standalone(self.network.network(self.hyperparameters.peers))
