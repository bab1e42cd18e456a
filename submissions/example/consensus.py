"""Distillation from the mean of the peers' probabilities."""

import torch
from pydantic import Field

from methods.hyperparameters import epochs_field
from methods.objectives import cross_entropy, distillation_loss
from methods.peers import PeerHyperparameters, SeparatePeers
from methods.schedules import sigmoid_rampup


class Consensus(SeparatePeers):
    """Consensus: separate networks that all learn from the mean of their probabilities.

    ``L = sum_i CE_i + r(e) w sum_i KL_T(z_i <- sg z_c)`` with ``softmax(z_c / T) = mean_j softmax(z_j / T)``.
    """

    name = "consensus"

    class Hyperparameters(PeerHyperparameters):
        temperature: float = Field(3.0, gt=0, description="T of the distillation term")
        weight: float = Field(1.0, ge=0, description="w, weight of the distillation term")
        rampup_epochs: int = epochs_field(80, "length of the ramp-up r")

    def __init__(self, backbones, hyperparameters):
        super().__init__(backbones, hyperparameters, hyperparameters.peers)

    def losses(self, outputs, labels, progress):
        chosen = self.hyperparameters
        log_probabilities = torch.log_softmax(outputs.peers.detach() / chosen.temperature, dim=-1)
        consensus = chosen.temperature * torch.logsumexp(log_probabilities, dim=0)
        weight = progress.scheduled(lambda at: chosen.weight * sigmoid_rampup(at.epoch, chosen.rampup_epochs))
        return {
            "cross_entropy": cross_entropy(outputs.peers, labels),
            "distillation": weight * distillation_loss(outputs.peers, consensus, chosen.temperature),
        }
