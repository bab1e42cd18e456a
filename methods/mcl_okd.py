"""Multi-view contrastive learning for online knowledge distillation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from methods.backbones import Backbone
from methods.contrast import bank_contrast, bank_cosines
from methods.interface import AnyOutputs, Outputs, Progress
from methods.networks import check_views
from methods.objectives import cross_entropy, distillation_loss, full_precision
from methods.peers import BranchedPeers, BranchHyperparameters, named, numbered

_WITHOUT_DATA = 64
"""Rows of the bank of a method that was told of no training set: one that is only looked at or measured."""


@dataclass
class ContrastiveOutputs(Outputs):
    """With cosines ``[K, K, B, 1 + N]``: bank's peer, embedding's peer, image, the positive first."""

    cosines: Tensor | None = None


class MCLOKD(BranchedPeers):
    """Multi-view contrastive learning: branches agree on images through memory banks, the last learns from their mean.

    ``L = a sum_k CE_k + b KL_T(z_K <- sg mean_k z_k) + c sum_{i != j} L_ij`` with ``label_weight`` a, ``weight`` b and
    ``contrast_weight`` c; ``L_ij`` is the noise-contrastive loss of branch j's embeddings against bank i
    (:func:`methods.contrast.bank_contrast`): the row of the same image against those of N images of other classes.

    Each branch has a linear map of its pooled features to an embedding of length 1, and a bank of an embedding for
    every training image, renewed after the step that sees the image: ``m <- normalise(p m + (1 - p) e)``. Banks are in
    buffers on the device. Negatives are sampled with replacement, anew in every step, the same ones for all pairs.

    Only the last branch is distilled, and it is the student. No weight depends on the epoch.

    Source: Yang, An and Xu (2021), "Multi-view Contrastive Learning for Online Knowledge Distillation", as released.
    """

    name = "mcl_okd"
    year = 2021
    mixed_labels = False
    Outputs = ContrastiveOutputs

    class Hyperparameters(BranchHyperparameters):
        """The released values for ResNets."""

        peers: int = Field(4, ge=2, le=64, description="K, the number of branches")
        shared_stages: int | None = Field(
            1, ge=1, description="stages that the branches share; the backbone's published split if null"
        )
        temperature: float = Field(3.0, gt=0, description="T of the distillation of the last branch")
        contrast_temperature: float = Field(0.1, gt=0, description="temperature of the contrastive term")
        label_weight: float = Field(1.0, ge=0, description="a, of the cross-entropy")
        weight: float = Field(1.0, ge=0, description="b, of the distillation")
        contrast_weight: float = Field(0.025, ge=0, description="c, of the contrastive term")
        negatives: int = Field(256, ge=1, le=2**14, description="N, images of other classes that each is compared with")
        bank_momentum: float = Field(0.5, ge=0, lt=1, description="p, what is kept of a bank's row when it is renewed")
        dimensions: int = Field(128, ge=1, description="of the embeddings")

    hyperparameters: Hyperparameters
    bank: Tensor
    order: Tensor
    starts: Tensor
    sizes: Tensor

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters)
        self.students = numbered("peer", hyperparameters.peers)[-1:]
        backbone = backbones[0]
        self.heads = nn.ModuleList(
            backbone.linear(backbone.features, hyperparameters.dimensions, True) for _ in range(hyperparameters.peers)
        )
        self.register_buffer("bank", self._rows(_WITHOUT_DATA))
        # the training images sorted by class, and where each class begins there and how large it is
        for name in ("order", "starts", "sizes"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.long))
        # of the step in hand
        self._indices: Tensor | None = None
        self._rows_compared: Tensor | None = None
        self._embeddings: Tensor | None = None

    def _rows(self, images: int) -> Tensor:
        chosen = self.hyperparameters
        bound = (3 / chosen.dimensions) ** 0.5
        return torch.empty(chosen.peers, images, chosen.dimensions).uniform_(-bound, bound)

    def labels(self, labels: Tensor) -> None:
        """Initialise a bank of a row for every training image, and sort the images by class."""
        bank = self._rows(len(labels))
        self.bank = bank.to(self.bank)
        self.order = torch.argsort(labels, stable=True)
        self.sizes = torch.bincount(labels)
        self.starts = self.sizes.cumsum(0) - self.sizes

    def begin_step(self, indices: Tensor, labels: Tensor) -> None:
        """Sample each image's negatives among the images of other classes, on the device."""
        own, starts = self.sizes[labels][:, None], self.starts[labels][:, None]
        others = (len(self.order) - own).clamp_min(1)
        shares = torch.rand(len(indices), self.hyperparameters.negatives, device=indices.device)
        places = torch.minimum((shares * others).long(), others - 1)
        # the image's own class is stepped over; where there is no other class it is sampled from
        places = (places + own * (places >= starts)).clamp_max(len(self.order) - 1)
        self._indices = indices
        self._rows_compared = torch.cat((indices[:, None], self.order[places]), dim=1)

    def forward(self, views: Tensor) -> AnyOutputs:
        """Return the branches' logits and the cosines of their embeddings with the banks for ``[1, B, C, H, W]``."""
        _, features, logits = self.network(check_views(views, self.views)[0])
        rows = self._rows_compared
        if rows is None or len(rows) != features.shape[1]:
            # nobody said which images these are
            rows = self._first_rows(features.shape[1])
        with full_precision(features.device):
            # what is divided by a small temperature is not computed in half precision
            whole = features.float() if features.dtype.itemsize < 4 else features
            embeddings = torch.stack(
                [F.normalize(head(own), dim=-1) for head, own in zip(self.heads, whole, strict=True)]
            )
            cosines = bank_cosines(embeddings, self.bank, rows)
        self._embeddings = embeddings.detach()
        return ContrastiveOutputs(peers=logits, cosines=cosines)

    def _first_rows(self, count: int) -> Tensor:
        entries = torch.arange(count)[:, None] + torch.arange(1 + self.hyperparameters.negatives)
        return (entries % self.bank.shape[1]).to(self.bank.device)

    def losses(self, outputs: AnyOutputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies' sum, the distillation of the last branch and the contrastive term."""
        if not isinstance(outputs, ContrastiveOutputs) or outputs.cosines is None:
            raise ValueError("MCL-OKD needs the cosines of embeddings and banks")
        chosen, peers = self.hyperparameters, outputs.peers
        target = peers.detach().mean(0)
        contrast = bank_contrast(outputs.cosines, chosen.contrast_temperature)
        return {
            "cross_entropy": chosen.label_weight * cross_entropy(peers, labels),
            "distillation": chosen.weight * distillation_loss(peers[-1], target, chosen.temperature),
            "contrast": chosen.contrast_weight * contrast,
        }

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Renew the banks' rows of the step's images."""
        if self._indices is not None and self._embeddings is not None:
            kept = self.hyperparameters.bank_momentum
            self.bank[:, self._indices] = renewed(self.bank[:, self._indices], self._embeddings, kept)
        self._indices = self._rows_compared = self._embeddings = None

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every branch and of their mean."""
        _, _, logits = self.network(images)
        return {**named("peer", logits), "ensemble": logits.mean(0)}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("bank", "order", "starts", "sizes"):
            if (stored := state_dict.get(prefix + name)) is not None:
                setattr(self, name, getattr(self, name).new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


def renewed(rows: Tensor, embeddings: Tensor, momentum: float) -> Tensor:
    """Return a bank's rows ``[..., D]`` moved to new embeddings of length 1: ``normalise(p m + (1 - p) e)``."""
    return F.normalize(momentum * rows + (1 - momentum) * embeddings, dim=-1)
