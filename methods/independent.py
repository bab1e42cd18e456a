"""Networks trained on the labels alone."""

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from methods.backbones import Backbone
from methods.hyperparameters import BaseHyperparameters
from methods.interface import Outputs, Progress
from methods.objectives import cross_entropy
from methods.peers import SeparatePeers


class Independent(SeparatePeers):
    """The baseline: a network, or K that share nothing, trained on the labels alone.

    ``L = sum_k CE_k``.
    """

    name = "independent"
    mixed_labels = True

    class Hyperparameters(BaseHyperparameters):
        """One network unless told otherwise."""

        peers: int = Field(1, ge=1, le=64, description="K, the number of networks")

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters, hyperparameters.peers)

    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies' sum."""
        return {"cross_entropy": cross_entropy(outputs.peers, labels)}
