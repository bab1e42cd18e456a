"""How peers are put together: a shared stem with K branches, a gate, an attention, an ensemble classifier."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.backbones import Backbone, Branch, Network
from methods.errors import InputError


def check_views(views: Tensor, expected: int) -> Tensor:
    """Return the views ``[V, B, C, H, W]``, or raise an InputError unless V is the expected number."""
    if views.dim() != 5 or views.shape[0] != expected:
        raise InputError(f"views must be [{expected}, B, C, H, W] (given: {list(views.shape)})")
    return views


def standalone(network: nn.Module) -> nn.Module:
    """Return a copy of a network in eval mode that shares nothing with the original and needs no gradient."""
    return copy.deepcopy(network).eval().requires_grad_(False)


class BranchedNetwork(nn.Module):
    """One stem shared by K branches, every branch drawn separately."""

    def __init__(self, backbone: Backbone, peers: int, shared_stages: int | None = None) -> None:
        super().__init__()
        self.stem = backbone.stem(shared_stages)
        self.branches = nn.ModuleList(backbone.branch(shared_stages) for _ in range(peers))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Every branch sees the same images.

        Returns:
            The stem's maps ``[B, c, h, w]``, features ``[K, B, d]`` and logits ``[K, B, C]``.
        """
        maps = self.stem(images)
        features, logits = zip(*(branch(maps) for branch in self.branches), strict=True)
        return maps, torch.stack(features), torch.stack(logits)

    def forward_views(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Branch ``i`` sees view ``i``; the views pass the stem one by one, each with its own batch statistics.

        Args:
            views: ``[K, B, C, H, W]``.

        Returns:
            Features ``[K, B, d]`` and logits ``[K, B, C]``.
        """
        pairs = [branch(self.stem(view)) for branch, view in zip(self.branches, views, strict=True)]
        features, logits = zip(*pairs, strict=True)
        return torch.stack(features), torch.stack(logits)

    def network(self, index: int) -> Network:
        """Return the stem and one branch as a single classifier; it shares their weights."""
        branch = self.branches[index]
        if not isinstance(branch, Branch):
            raise TypeError(f"branch {index} is a {type(branch).__name__}")
        return Network(self.stem, branch)


class Gate(nn.Module):
    """ONE's gate: ``softmax(relu(BN(W pool(maps) + b)))``, one weight a branch and image.

    Source: Lan, Zhu and Gong (2018), "Knowledge Distillation by On-the-Fly Native Ensemble", section 3.1.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.norm = nn.BatchNorm1d(linear.out_features)

    def forward(self, maps: Tensor) -> Tensor:
        """Return weights ``[B, K]``, each row summing to 1, for the stem's maps ``[B, c, h, w]``."""
        return torch.softmax(torch.relu(self.norm(self.linear(maps.mean((2, 3))))), dim=1)


def gated_ensemble(logits: Tensor, gate: Tensor) -> Tensor:
    """``z_e = sum_k g_k z_k``: logits ``[K, B, C]`` and gate ``[B, K]`` to ``[B, C]``."""
    return torch.einsum("bk,kbc->bc", gate, logits)


class PeerAttention(nn.Module):
    """OKDDip's attention among peers, one query and one key map shared by all of them.

    ``alpha_a = softmax_b(q_a . k_b)`` over all peers, its own included; the target of peer a is
    ``t_a = sum_b alpha_ab z_b``. No division by the root of the dimension.

    Source: Chen et al. (2020), "Online Knowledge Distillation with Diverse Peers", section 3.2, as released.
    """

    def __init__(self, query: nn.Linear, key: nn.Linear) -> None:
        super().__init__()
        self.query = query
        self.key = key

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return the targets ``[K, B, C]`` for features ``[K, B, d]`` and logits ``[K, B, C]``."""
        energy = torch.einsum("kbd,lbd->bkl", self.query(features), self.key(features))
        return torch.einsum("bkl,lbc->kbc", torch.softmax(energy, dim=2), logits)


class PeerNetwork(nn.Module):
    """PCL's and DKEL's student: K branches on a stem, one view each, and a classifier on all features together."""

    def __init__(self, backbone: Backbone, peers: int, shared_stages: int | None = None) -> None:
        super().__init__()
        self.network = BranchedNetwork(backbone, peers, shared_stages)
        self.ensemble_classifier = backbone.linear(peers * backbone.features, backbone.num_classes, True)

    def peers(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Return features ``[K, B, d]`` and logits ``[K, B, C]`` for views ``[K, B, C, H, W]``, one a branch."""
        return self.network.forward_views(views)

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Return the peers' logits ``[K, B, C]`` and the ensemble's ``[B, C]`` for views ``[K, B, C, H, W]``."""
        features, logits = self.peers(views)
        return logits, self.ensemble(features)

    def ensemble(self, features: Tensor) -> Tensor:
        """Return the logits ``[B, C]`` of the classifier on all K features ``[K, B, d]`` side by side."""
        logits: Tensor = self.ensemble_classifier(torch.cat(tuple(features), dim=1))
        return logits

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the peers' logits ``[K, B, C]`` and the ensemble's ``[B, C]`` when all branches see one image."""
        _, features, logits = self.network(images)
        return logits, self.ensemble(features)


def separate_networks(backbones: Sequence[Backbone], peers: int) -> nn.ModuleList:
    """Draw K whole networks: one backbone serves all peers, several give one peer each.

    Raises:
        InputError: If several backbones are given and their number is not K.
    """
    if len(backbones) > 1 and len(backbones) != peers:
        raise InputError(f"{len(backbones)} backbones were given for {peers} peers")
    chosen = backbones if len(backbones) > 1 else list(backbones) * peers
    return nn.ModuleList(backbone.network() for backbone in chosen)
