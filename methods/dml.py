"""Deep mutual learning."""

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from methods.backbones import Backbone
from methods.interface import Outputs, Progress
from methods.objectives import cross_entropy, pairwise_distillation_loss
from methods.peers import PeerHyperparameters, SeparatePeers


class DML(SeparatePeers):
    """Deep mutual learning: separate networks that each learn from the others' predictions.

    ``L = sum_i [CE_i + 1/(K-1) sum_{j!=i} KL_T(z_i <- sg z_j)]``, minimised jointly: as the targets are held constant,
    every network follows the gradient of its own loss.

    Source: Zhang, Xiang, Hospedales and Lu (2018), "Deep Mutual Learning", equations 6 to 8.
    """

    name = "dml"
    year = 2018
    mixed_labels = True

    class Hyperparameters(PeerHyperparameters):
        """The paper's values."""

        temperature: float = Field(1.0, gt=0, description="T of the distillation term")

    hyperparameters: Hyperparameters

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters, hyperparameters.peers)

    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies' sum and the pairwise distillation."""
        peers = outputs.peers
        return {
            "cross_entropy": cross_entropy(peers, labels),
            "distillation": pairwise_distillation_loss(peers, peers.detach(), self.hyperparameters.temperature),
        }
