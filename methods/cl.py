"""Collaborative learning."""

import torch
from pydantic import Field
from torch import Tensor

from methods.hyperparameters import epochs_field
from methods.interface import Outputs, Progress
from methods.networks import check_views, divide_gradient
from methods.objectives import cross_entropy, distillation_loss, mean_of_others
from methods.peers import BranchedPeers, BranchHyperparameters, named
from methods.schedules import Schedule, rampup_schedules, sigmoid_rampup


class CL(BranchedPeers):
    """Collaborative learning: branches learn from the mean of the others, the shared stem at a K-th of the gradient.

    ``L = sum_i CE_i + r(e) sum_i KL_T(z_i <- sg mean_{j!=i} z_j)`` with the ramp-up ``r``. With K losses on one stem
    its gradient grows with K; it is divided by K where the branches begin.

    Source: Song and Chai (2018), "Collaborative Learning for Deep Neural Networks", in the form that OKDDip's released
    code gives it (CL-ILR), but with the targets held constant.
    """

    name = "cl"
    year = 2018
    mixed_labels = True

    class Hyperparameters(BranchHyperparameters):
        """The values of OKDDip's code."""

        peers: int = Field(4, ge=2, le=64, description="K, the number of branches")
        temperature: float = Field(3.0, gt=0, description="T of the distillation term")
        rampup_epochs: int = epochs_field(80, "length of the ramp-up of the distillation term")
        gradient_rescaling: bool = Field(True, description="whether the shared stem's gradient is divided by K")

        def schedules(self, epochs: int) -> dict[str, Schedule]:
            """Return the ramp-up."""
            return rampup_schedules(self.rampup_epochs, epochs, "distillation")

    hyperparameters: Hyperparameters

    def forward(self, views: Tensor) -> Outputs:
        """Return the branches' logits for the one view ``[1, B, C, H, W]``."""
        return Outputs(peers=self._logits(check_views(views, self.views)[0]))

    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies' sum and the ramped distillation from the mean of the others."""
        peers = outputs.peers
        ramp = progress.scheduled(lambda at: sigmoid_rampup(at.epoch, self.hyperparameters.rampup_epochs))
        targets = mean_of_others(peers.detach())
        return {
            "cross_entropy": cross_entropy(peers, labels),
            "distillation": ramp * distillation_loss(peers, targets, self.hyperparameters.temperature),
        }

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every branch and of their mean."""
        logits = self._logits(images)
        return {**named("peer", logits), "ensemble": logits.mean(0)}

    def _logits(self, images: Tensor) -> Tensor:
        maps = self.network.stem(images)
        if self.hyperparameters.gradient_rescaling:
            maps = divide_gradient(maps, self.hyperparameters.peers)
        return torch.stack([branch(maps)[1] for branch in self.network.branches])
