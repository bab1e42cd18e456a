"""The two common shapes of a method: K separate networks, or K branches on one stem."""

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from methods.backbones import Backbone, Network
from methods.errors import InputError
from methods.hyperparameters import BaseHyperparameters
from methods.interface import Method, Outputs, ParameterGroup
from methods.metrics import Role
from methods.networks import BranchedNetwork, check_views, separate_networks, standalone, whole_network


def numbered(kind: str, count: int) -> tuple[str, ...]:
    """Return the predictors' names of one kind: ``peer0, peer1, ...``."""
    return tuple(f"{kind}{index}" for index in range(count))


def named(kind: str, logits: Tensor) -> dict[str, Tensor]:
    """Return logits ``[K, B, C]`` by predictor: ``{"peer0": [B, C], ...}``."""
    return dict(zip(numbered(kind, len(logits)), logits, strict=True))


def peers_and_ensemble(peers: int) -> dict[str, Role]:
    """Return the roles of ``peer0 ...`` and, for more than one, of ``ensemble``."""
    roles: dict[str, Role] = dict.fromkeys(numbered("peer", peers), "peer")
    return {**roles, "ensemble": "ensemble"} if peers > 1 else roles


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

    Its predictors are ``peer0 ...`` and, for more than one, ``ensemble``: the mean of their logits. Each network has an
    optimiser group of its own. A subclass with ``needs_features`` finds their pooled features in its outputs.
    """

    mixed_backbones = True

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: BaseHyperparameters, peers: int) -> None:
        super().__init__(backbones, hyperparameters)
        sizes = {backbone.features for backbone in backbones}
        if self.needs_features and len(sizes) > 1:
            raise InputError(f"{self.name!r} needs peers whose pooled features have one size (given: {sorted(sizes)})")
        self.networks = separate_networks(backbones, peers)
        self.students = numbered("peer", peers)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return a group for each network, and one for whatever else is trained."""
        members = [[own for own in network.parameters() if own.requires_grad] for network in self.networks]
        grouped = {id(own) for group in members for own in group}
        rest = [own for own in self.parameters() if own.requires_grad and id(own) not in grouped]
        return [ParameterGroup(group) for group in (*members, rest) if group]

    def forward(self, views: Tensor) -> Outputs:
        """Return the logits of every network for the one view ``[1, B, C, H, W]``."""
        images = check_views(views, self.views)[0]
        if not self.needs_features:
            return self.Outputs(peers=self._logits(images))
        pairs = [whole_network(network).features_and_logits(images) for network in self.networks]
        features, logits = (torch.stack(values) for values in zip(*pairs, strict=True))
        return self.Outputs(peers=logits, features=features)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every network and of their mean."""
        logits = self._logits(images)
        ensemble = {"ensemble": logits.mean(0)} if len(logits) > 1 else {}
        return {**named("peer", logits), **ensemble}

    def roles(self) -> Mapping[str, Role]:
        """Return that the networks are peers, and their mean the ensemble."""
        return peers_and_ensemble(len(self.networks))

    def classifiers(self) -> Mapping[str, nn.Module]:
        """Return the classifiers of the networks that are cut into stages."""
        named = zip(numbered("peer", len(self.networks)), self.networks, strict=True)
        return {name: network.branch.classifier for name, network in named if isinstance(network, Network)}

    def student(self, name: str | None = None) -> nn.Module:
        """Return one of the networks."""
        return standalone(self.networks[number_of(self.check_student(name))])

    def _logits(self, images: Tensor) -> Tensor:
        return torch.stack([network(images) for network in self.networks])


class BranchedPeers(Method):
    """K branches on one stem that see the same view; every branch may be deployed with the stem.

    A subclass says in ``forward`` and ``predict`` what it makes of maps, features and logits, and may say in
    ``branch_backbones`` that the branches differ.
    """

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: BranchHyperparameters) -> None:
        super().__init__(backbones, hyperparameters)
        own = self.branch_backbones(backbones[0], hyperparameters.peers)
        self.network = BranchedNetwork(own, hyperparameters.peers, hyperparameters.shared_stages)
        self.students = numbered("peer", hyperparameters.peers)

    def branch_backbones(self, backbone: Backbone, peers: int) -> Sequence[Backbone]:
        """Return the backbone of each of K branches: the same one for all."""
        return [backbone] * peers

    def roles(self) -> Mapping[str, Role]:
        """Return that the branches are peers, and what is called so the ensemble."""
        return peers_and_ensemble(len(self.network.branches))

    def classifiers(self) -> Mapping[str, nn.Module]:
        """Return the branches' classifiers."""
        return self.network.classifiers()

    def student(self, name: str | None = None) -> nn.Module:
        """Return the stem with one of the branches."""
        return standalone(self.network.network(number_of(self.check_student(name))))
