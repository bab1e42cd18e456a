"""On-the-fly native ensemble."""

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from methods.backbones import Backbone
from methods.hyperparameters import epochs_field
from methods.interface import Outputs, Progress
from methods.networks import Gate, check_views, gated_ensemble
from methods.objectives import cross_entropy, distillation_loss
from methods.peers import BranchedPeers, BranchHyperparameters, named
from methods.schedules import Schedule, rampup_schedules, sigmoid_rampup


class ONE(BranchedPeers):
    """On-the-fly native ensemble: branches learn from their gated ensemble.

    ``L = sum_i CE_i + CE(z_e) + r(e) sum_i KL_T(z_i <- sg z_e)`` with ``z_e = sum_i g_i z_i``, the gate ``g`` and the
    ramp-up ``r``.

    Source: Lan, Zhu and Gong (2018), "Knowledge Distillation by On-the-Fly Native Ensemble", equations 3 to 7, and its
    released code.
    """

    name = "one"
    year = 2018
    mixed_labels = True

    class Hyperparameters(BranchHyperparameters):
        """The authors' values."""

        temperature: float = Field(3.0, gt=0, description="T of the distillation term")
        rampup_epochs: int = epochs_field(80, "length of the ramp-up of the distillation term")

        def schedules(self, epochs: int) -> dict[str, Schedule]:
            """Return the ramp-up."""
            return rampup_schedules(self.rampup_epochs, epochs, "distillation")

    hyperparameters: Hyperparameters

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters)
        backbone = backbones[0]
        channels = backbone.channels[backbone.split(hyperparameters.shared_stages) - 1]
        self.gate = Gate(backbone.linear(channels, hyperparameters.peers, True))

    def forward(self, views: Tensor) -> Outputs:
        """Return the branches' logits and the gated ensemble's for the one view ``[1, B, C, H, W]``."""
        peers, ensemble = self._logits(check_views(views, self.views)[0])
        return Outputs(peers=peers, ensemble=ensemble)

    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the branches' and the ensemble's cross-entropy and the ramped distillation."""
        if outputs.ensemble is None:
            raise ValueError("ONE needs the ensemble's logits")
        ramp = progress.scheduled(lambda at: sigmoid_rampup(at.epoch, self.hyperparameters.rampup_epochs))
        target = outputs.ensemble.detach()
        return {
            "cross_entropy": cross_entropy(outputs.peers, labels),
            "ensemble_cross_entropy": cross_entropy(outputs.ensemble, labels),
            "distillation": ramp * distillation_loss(outputs.peers, target, self.hyperparameters.temperature),
        }

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every branch and of the gated ensemble."""
        peers, ensemble = self._logits(images)
        return {**named("peer", peers), "ensemble": ensemble}

    def _logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps, _, peers = self.network(images)
        return peers, gated_ensemble(peers, self.gate(maps))
