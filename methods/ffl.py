"""Feature fusion learning."""

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from methods.backbones import Backbone
from methods.hyperparameters import epochs_field
from methods.interface import Outputs, Progress
from methods.networks import FusionModule, check_views
from methods.objectives import cross_entropy, distillation_loss
from methods.peers import BranchedPeers, BranchHyperparameters, named
from methods.schedules import Schedule, rampup_schedules, sigmoid_rampup


class FFL(BranchedPeers):
    """Feature fusion learning: branches and a classifier on their fused maps teach each other.

    ``L = sum_i CE_i + CE(z_f) + r(e) {sum_i KL_T(z_i <- sg z_f) + KL_T(z_f <- sg mean_i z_i)}`` with the fused
    classifier's ``z_f`` and the ramp-up ``r``. ``CE(z_f)`` trains the branches too. The branches are the students, as
    in the published FFL-S; ``Outputs.ensemble`` holds ``z_f``, which is ``fused`` among the predictors, whose
    ``ensemble`` is the mean of the branches.

    The released recipe differs from the other methods' in the weight decay: 1e-4 for the branches and 1e-5 for the
    fusion module, with an optimiser each. Here one optimiser has all parameters.

    Source: Kim, Hyun, Chung and Kwak (2019), "Feature Fusion for Online Mutual Knowledge Distillation", section 3, and
    its released code.
    """

    name = "ffl"
    year = 2019
    mixed_labels = True

    class Hyperparameters(BranchHyperparameters):
        """The authors' values."""

        peers: int = Field(2, ge=2, le=64, description="K, the number of branches")
        temperature: float = Field(3.0, gt=0, description="T of the distillation terms")
        rampup_epochs: int = epochs_field(80, "length of the ramp-up of the distillation terms")

        def schedules(self, epochs: int) -> dict[str, Schedule]:
            """Return the ramp-up."""
            return rampup_schedules(self.rampup_epochs, epochs, "distillation", "fused_distillation")

    hyperparameters: Hyperparameters

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters)
        backbone = backbones[0]
        classifier = backbone.linear(backbone.features, backbone.num_classes, True)
        self.fusion = FusionModule(hyperparameters.peers, classifier)

    def forward(self, views: Tensor) -> Outputs:
        """Return the branches' logits and the fused classifier's for the one view ``[1, B, C, H, W]``."""
        peers, fused = self._logits(check_views(views, self.views)[0])
        return Outputs(peers=peers, ensemble=fused)

    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies and the ramped distillation in both directions."""
        if outputs.ensemble is None:
            raise ValueError("FFL needs the fused classifier's logits as the ensemble's")
        temperature = self.hyperparameters.temperature
        ramp = progress.scheduled(lambda at: sigmoid_rampup(at.epoch, self.hyperparameters.rampup_epochs))
        peers, fused = outputs.peers, outputs.ensemble
        return {
            "cross_entropy": cross_entropy(peers, labels),
            "fused_cross_entropy": cross_entropy(fused, labels),
            "distillation": ramp * distillation_loss(peers, fused.detach(), temperature),
            "fused_distillation": ramp * distillation_loss(fused, peers.detach().mean(0), temperature),
        }

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every branch, of their mean and of the fused classifier."""
        peers, fused = self._logits(images)
        return {**named("peer", peers), "ensemble": peers.mean(0), "fused": fused}

    def _logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps, peers = self.network.forward_maps(images)
        return peers, self.fusion(maps)
