"""How peers are put together: a shared stem with K branches, a gate, an attention, an ensemble classifier."""

import copy
from collections.abc import Sequence
from typing import Any

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
    """One stem shared by K branches, every branch initialised separately.

    The branches are of one backbone, or of a backbone each (of which all begin with the first one's stem).
    """

    def __init__(self, backbone: Backbone | Sequence[Backbone], peers: int, shared_stages: int | None = None) -> None:
        super().__init__()
        own = [backbone] * peers if isinstance(backbone, Backbone) else backbone
        if len(own) != peers:
            raise InputError(f"{len(own)} backbones were given for {peers} branches")
        self.stem = own[0].stem(shared_stages)
        self.branches = nn.ModuleList(each.branch(shared_stages) for each in own)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Every branch sees the same images.

        Returns:
            The stem's maps ``[B, c, h, w]``, features ``[K, B, d]`` and logits ``[K, B, C]``.
        """
        maps = self.stem(images)
        features, logits = zip(*(branch(maps) for branch in self.branches), strict=True)
        return maps, torch.stack(features), torch.stack(logits)

    def forward_maps(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Every branch sees the same images; as :meth:`forward`, for who reads the branches' maps.

        Returns:
            The last maps of every branch, ``[B, d_k, h, w]`` each, and logits ``[K, B, C]``.
        """
        stem = self.stem(images)
        maps = [self.branch(index).maps(stem) for index in range(len(self.branches))]
        logits = [self.branch(index).read(last)[1] for index, last in enumerate(maps)]
        return maps, torch.stack(logits)

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

    def branch(self, index: int) -> Branch:
        """Return one branch."""
        branch = self.branches[index]
        if not isinstance(branch, Branch):
            raise TypeError(f"branch {index} is a {type(branch).__name__}")
        return branch

    def classifiers(self, kind: str = "peer") -> dict[str, nn.Module]:
        """Return the branches' classifiers by the predictors' names: ``peer0, peer1, ...``."""
        return {f"{kind}{index}": self.branch(index).classifier for index in range(len(self.branches))}

    def network(self, index: int) -> Network:
        """Return the stem and one branch as a single classifier; it shares their weights."""
        return Network(self.stem, self.branch(index))


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


def whole_network(module: nn.Module) -> Network:
    """Return the module, which must be a stem and a branch."""
    if not isinstance(module, Network):
        raise TypeError(f"a whole network is expected (given: a {type(module).__name__})")
    return module


class NetworkGroup(nn.Module):
    """K separate networks, of one architecture or several."""

    def __init__(self, backbones: Sequence[Backbone], count: int) -> None:
        super().__init__()
        self.networks = separate_networks(backbones, count)

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return each network's features ``[B, d_k]`` and the logits ``[K, B, C]`` for one view of the images."""
        pairs = [self.network(index).features_and_logits(images) for index in range(len(self.networks))]
        features, logits = zip(*pairs, strict=True)
        return list(features), torch.stack(logits)

    def classifiers(self, kind: str = "peer") -> dict[str, nn.Module]:
        """Return the networks' classifiers by the predictors' names: ``peer0, peer1, ...``."""
        return {f"{kind}{index}": self.network(index).branch.classifier for index in range(len(self.networks))}

    def network(self, index: int) -> Network:
        """Return one network."""
        return whole_network(self.networks[index])


class PeerAttention(nn.Module):
    """OKDDip's attention among peers, one query and one key map shared by all of them.

    ``alpha_a = softmax_b(q_a . k_b)`` over all peers, its own included; the target of peer a is
    ``t_a = sum_b alpha_ab z_b``. No division by the root of the dimension.

    Source: Chen et al. (2020), "Online Knowledge Distillation with Diverse Peers", section 3.2, as released.
    """

    def __init__(self, query: nn.Module, key: nn.Module) -> None:
        super().__init__()
        self.query = query
        self.key = key

    def forward(self, features: Tensor | Sequence[Tensor], logits: Tensor) -> Tensor:
        """Return the targets ``[K, B, C]`` for features ``[K, B, d]`` and logits ``[K, B, C]``."""
        energy = torch.einsum("kbd,lbd->bkl", self.query(features), self.key(features))
        return torch.einsum("bkl,lbc->kbc", torch.softmax(energy, dim=2), logits)


class OwnProjections(nn.Module):
    """A linear map for each of K peers, to one size: for peers whose features differ in size."""

    def __init__(self, maps: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(maps)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return ``[K, B, d]`` for each peer's features ``[B, d_k]``."""
        return torch.stack([project(own) for project, own in zip(self.maps, features, strict=True)])


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
    """Initialise K whole networks: one backbone serves all peers, several give one peer each.

    Raises:
        InputError: If several backbones are given and their number is not K.
    """
    if len(backbones) > 1 and len(backbones) != peers:
        raise InputError(f"{len(backbones)} backbones were given for {peers} peers")
    chosen = backbones if len(backbones) > 1 else list(backbones) * peers
    return nn.ModuleList(backbone.network() for backbone in chosen)


class FusionModule(nn.Module):
    """FFL's fused classifier on the branches' last maps: a depthwise and a pointwise convolution, then a linear layer.

    ``W pool(relu(BN(pointwise(relu(BN(depthwise(maps)))))))`` with the maps side by side, K d channels to d.

    Source: Kim et al. (2019), "Feature Fusion for Online Mutual Knowledge Distillation", section 3.2, and its released
    code for the initialisation.
    """

    def __init__(self, peers: int, classifier: nn.Linear) -> None:
        super().__init__()
        inputs, outputs = peers * classifier.in_features, classifier.in_features
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )
        self.classifier = classifier
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits ``[B, C]`` for the branches' last maps, K of ``[B, d, h, w]``."""
        logits: Tensor = self.classifier(self.layers(torch.cat(tuple(maps), dim=1)).mean((2, 3)))
        return logits


def divide_gradient(values: Tensor, divisor: float) -> Tensor:
    """Return the values as they are; their gradient is divided on its way back."""
    same: Tensor = _DivideGradient.apply(values, divisor)
    return same


class _DivideGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, divisor: float) -> Tensor:
        ctx.divisor = divisor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] / ctx.divisor, None
