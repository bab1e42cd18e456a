"""The two common shapes of a method: K separate networks, or K branches on one stem."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from methods.backbones import Backbone
from methods.hyperparameters import BaseHyperparameters
from methods.interface import Method, Outputs
from methods.networks import BranchedNetwork, check_views, separate_networks, standalone


def numbered(kind: str, count: int) -> tuple[str, ...]:
    """Return the predictors' names of one kind: ``peer0, peer1, ...``."""
    return tuple(f"{kind}{index}" for index in range(count))


def named(kind: str, logits: Tensor) -> dict[str, Tensor]:
    """Return logits ``[K, B, C]`` by predictor: ``{"peer0": [B, C], ...}``."""
    return dict(zip(numbered(kind, len(logits)), logits, strict=True))


def number_of(name: str) -> int:
    """Return the index of a numbered predictor: 2 for ``peer2``."""
    return int(name.lstrip("abcdefghijklmnopqrstuvwxyz_"))


class PeerHyperparameters(BaseHyperparameters):
    """What every method of several peers has."""

    peers: int = Field(2, ge=2, le=64, description="K, the number of peers")


class BranchHyperparameters(PeerHyperparameters):
    """What every method of branches on a shared stem has."""

    peers: int = Field(3, ge=2, le=64, description="K, the number of branches")
    shared_stages: int | None = Field(
        None, ge=1, description="stages that the branches share; the backbone's published split if null"
    )


class SeparatePeers(Method):
    """K whole networks that see the same view; every one may be deployed.

    Its predictors are ``peer0 ...`` and, for more than one, ``ensemble``: the mean of their logits.
    """

    mixed_backbones = True

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: BaseHyperparameters, peers: int) -> None:
        super().__init__(backbones, hyperparameters)
        self.networks = separate_networks(backbones, peers)
        self.students = numbered("peer", peers)

    def forward(self, views: Tensor) -> Outputs:
        """Return the logits of every network for the one view ``[1, B, C, H, W]``."""
        return Outputs(peers=self._logits(check_views(views, self.views)[0]))

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every network and of their mean."""
        logits = self._logits(images)
        ensemble = {"ensemble": logits.mean(0)} if len(logits) > 1 else {}
        return {**named("peer", logits), **ensemble}

    def student(self, name: str | None = None) -> nn.Module:
        """Return one of the networks."""
        return standalone(self.networks[number_of(self.check_student(name))])

    def _logits(self, images: Tensor) -> Tensor:
        return torch.stack([network(images) for network in self.networks])


class BranchedPeers(Method):
    """K branches on one stem that see the same view; every branch may be deployed with the stem.

    A subclass says in ``forward`` and ``predict`` what it makes of maps, features and logits.
    """

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: BranchHyperparameters) -> None:
        super().__init__(backbones, hyperparameters)
        self.network = BranchedNetwork(backbones[0], hyperparameters.peers, hyperparameters.shared_stages)
        self.students = numbered("peer", hyperparameters.peers)

    def student(self, name: str | None = None) -> nn.Module:
        """Return the stem with one of the branches."""
        return standalone(self.network.network(number_of(self.check_student(name))))
