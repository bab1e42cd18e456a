"""Mutual contrastive learning."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from methods.backbones import Backbone
from methods.contrast import similarity_distillation, supervised_contrast
from methods.interface import AnyOutputs, Outputs, Progress
from methods.objectives import cross_entropy, distillation_loss, hard_labels
from methods.peers import PeerHyperparameters, SeparatePeers


@dataclass
class ProjectedOutputs(Outputs):
    """With the peers' projected features ``[K, B, D]``, before they are brought to length 1."""

    projections: Tensor | None = None


class MCL(SeparatePeers):
    """Mutual contrastive learning: networks learn whose images are alike, each from the labels and from the others.

    ``L = sum_i CE_i + a VCL + b softVCL + c ICL + d softICL`` with the weights of those names. Of the embeddings
    ``e_i = normalise(MLP_i(features_i))``, with cosines ``X_ij = e_i e_j'`` between a batch's images:

    - VCL: the supervised contrastive loss of every ``X_ii``; ICL: of every ``X_ij``, ``i != j``.
    - softVCL: ``X_ii`` learns from ``sg X_jj`` as a distribution over the images, for every ``i != j``.
    - softICL: ``X_ij`` learns from ``sg X_ji`` likewise.

    The batches are those of all methods, so some images have no classmate: a mean over classmates is a mean over the
    images that have one. ``logit_distill`` adds ``KL_T(z_i <- sg mean_j z_j)``: of both networks if K is 2, of the last
    alone if it is more.

    Source: Yang, An, Zhou, Zhuang and Xu (2022), "Mutual Contrastive Learning for Visual Representation Learning",
    as released.
    """

    name = "mcl"
    year = 2022
    mixed_labels = False
    Outputs = ProjectedOutputs
    needs_features = True

    class Hyperparameters(PeerHyperparameters):
        """The released values."""

        contrast_temperature: float = Field(0.1, gt=0, description="temperature of the contrastive terms")
        temperature: float = Field(3.0, gt=0, description="T of the soft terms and of the distillation of logits")
        vcl_weight: float = Field(0.1, ge=0, description="a, of each network's own contrastive term")
        soft_vcl_weight: float = Field(1.0, ge=0, description="b, of learning from the others' own similarities")
        icl_weight: float = Field(0.1, ge=0, description="c, of the contrastive term between networks")
        soft_icl_weight: float = Field(1.0, ge=0, description="d, of learning from the similarities the other way")
        logit_distill: bool = Field(False, description="whether networks also learn from the mean of the logits")

    hyperparameters: Hyperparameters
    dimensions = 128

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters, hyperparameters.peers)
        linear, features = backbones[0].linear, backbones[0].features
        self.heads = nn.ModuleList(
            nn.Sequential(
                linear(features, self.dimensions, True),
                nn.ReLU(inplace=True),
                linear(self.dimensions, self.dimensions, True),
            )
            for _ in range(hyperparameters.peers)
        )

    def forward(self, views: Tensor) -> AnyOutputs:
        """Return logits, features and their projections for the one view ``[1, B, C, H, W]``."""
        outputs = super().forward(views)
        if isinstance(outputs, ProjectedOutputs) and outputs.features is not None:
            pairs = zip(self.heads, outputs.features, strict=True)
            outputs.projections = torch.stack([head(features) for head, features in pairs])
        return outputs

    def losses(self, outputs: AnyOutputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies' sum, the four contrastive terms and, if chosen, the distillation of logits."""
        if not isinstance(outputs, ProjectedOutputs) or outputs.projections is None:
            raise ValueError("MCL needs the projected features")
        chosen, peers = self.hyperparameters, outputs.peers
        terms = {
            "cross_entropy": cross_entropy(peers, labels),
            **self._contrastive(outputs.projections, hard_labels(labels)),
        }
        if chosen.logit_distill:
            taught = peers if len(peers) == 2 else peers[-1:]
            terms["distillation"] = distillation_loss(taught, peers.detach().mean(0), chosen.temperature)
        return terms

    def _contrastive(self, projections: Tensor, labels: Tensor) -> dict[str, Tensor]:
        chosen = self.hyperparameters
        embeddings = F.normalize(projections, dim=-1)
        cosines = torch.einsum("ibd,jcd->ijbc", embeddings, embeddings)
        peers = range(len(embeddings))
        own = torch.stack([cosines[i, i] for i in peers])
        pairs = [(i, j) for i in peers for j in peers if i != j]
        across = torch.stack([cosines[i, j] for i, j in pairs])
        reverse = torch.stack([cosines[j, i] for i, j in pairs])
        # one by one: a list as an index would be brought to the device in every step
        firsts, seconds = (torch.stack([own[peer] for peer in side]) for side in zip(*pairs, strict=True))
        hard, soft = chosen.contrast_temperature, chosen.temperature
        return {
            "vcl": chosen.vcl_weight * supervised_contrast(own, labels, hard),
            "soft_vcl": chosen.soft_vcl_weight * similarity_distillation(firsts, seconds, hard, soft),
            "icl": chosen.icl_weight * supervised_contrast(across, labels, hard),
            "soft_icl": chosen.soft_icl_weight * similarity_distillation(across, reverse, hard, soft),
        }
