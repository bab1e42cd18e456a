"""Peer collaborative learning."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from methods.backbones import Backbone
from methods.hyperparameters import epochs_field
from methods.interface import Method, Outputs, Progress
from methods.mean_teacher import ema_decay_at, ema_remarks, update_mean
from methods.metrics import Role
from methods.networks import PeerNetwork, check_views, standalone
from methods.objectives import cross_entropy, distillation_loss, pairwise_distillation_loss
from methods.peers import BranchHyperparameters, named, number_of, numbered, peers_and_ensemble
from methods.schedules import Ramp, Schedule, ramp_factor


class MeanTeacherHyperparameters(BranchHyperparameters):
    """What PCL and the methods that build on it have in common; PCL's values."""

    read_with: ClassVar[Mapping[str, tuple[str, tuple[Any, ...]]]] = {
        "rampup_epochs": ("ramp", ("intended", "released"))
    }

    temperature: float = Field(3.0, gt=0, description="T of the distillation terms")
    weight: float = Field(1.0, ge=0, description="weight of the distillation terms")
    ramp: Ramp = Field("intended", description="ramp-up of the weight: as meant, as the released code has it, or none")
    rampup_epochs: int = epochs_field(80, "length of the ramp-up")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="decay of the mean teacher")
    ema_warmup: bool = Field(True, description="whether the mean teacher's decay is min(1 - 1/(step + 1), ema_decay)")

    def weight_at(self, epoch: int, term: str) -> float:
        """Return the weight of a distillation term, without its share."""
        return self.weight * self.ramp_at(epoch, term)

    def ramp_at(self, epoch: int, term: str) -> float:
        """Return what the ramp-up multiplies a distillation term's weight by."""
        return ramp_factor(self.ramp, epoch, self.rampup_epochs, self.weight) if self.ramped(term) else 1.0

    def ramped(self, term: str) -> bool:
        """Return whether the ramp-up applies to a distillation term: to all of them."""
        return True

    def shares_at(self, epoch: int) -> dict[str, float]:
        """Return the share of that weight which each term by which peers learn from teachers has."""
        return {"peer_distillation": 1.0}

    def schedules(self, epochs: int) -> dict[str, Schedule]:
        """Return the ramp-ups of the distillation terms and the shares of what the teachers teach."""
        shares = [self.shares_at(epoch) for epoch in range(epochs)]
        found = {}
        for name in ("ensemble_distillation", *self.shares_at(0)):
            rampup = {"ramp-up": [self.ramp_at(epoch, name) for epoch in range(epochs)]} if self.ramped(name) else {}
            share = {"share": [share.get(name, 1.0) for share in shares]}
            changing = {key: values for key, values in share.items() if set(values) != {1.0} or not rampup}
            found[name] = Schedule(self.weight, rampup | changing)
        return found

    def remarks(self, epochs: int, steps: int) -> list[str]:
        """Say which terms are inactive, and when the mean teacher looks back too far for the run."""
        return [*super().remarks(epochs, steps), *ema_remarks(self.ema_decay, steps)]


class MeanTeacherMethod(Method):
    """Peers on a shared stem with one view each, an ensemble classifier and a mean teacher of the whole network.

    A subclass says how the peers learn from the teachers. The teacher starts with weights of its own, keeps batch
    statistics of its own and learns by no gradient; its heads are the students.
    """

    hyperparameters: MeanTeacherHyperparameters

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: MeanTeacherHyperparameters) -> None:
        super().__init__(backbones, hyperparameters)
        self.views = hyperparameters.peers
        self.network = self._initialised()
        self.teacher = self._initialised().requires_grad_(False)
        self.students = numbered("teacher", hyperparameters.peers)

    def _initialised(self) -> PeerNetwork:
        return PeerNetwork(self.backbones[0], self.hyperparameters.peers, self.hyperparameters.shared_stages)

    def forward(self, views: Tensor) -> Outputs:
        """Return the logits of peers, ensemble and mean teachers for the views ``[K, B, C, H, W]``."""
        peers, ensemble = self.network(check_views(views, self.views))
        with torch.no_grad():
            _, teachers = self.teacher.peers(views)
        return Outputs(peers=peers, ensemble=ensemble, teachers=teachers)

    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies, the distillation from the ensemble and what the teachers teach."""
        if outputs.ensemble is None or outputs.teachers is None:
            raise ValueError(f"{self.name} needs the logits of the ensemble and of the teachers")
        chosen = self.hyperparameters
        target = outputs.ensemble.detach()
        taught = self.teacher_losses(outputs.peers, outputs.teachers.detach())
        return {
            "cross_entropy": cross_entropy(outputs.peers, labels),
            "ensemble_cross_entropy": cross_entropy(outputs.ensemble, labels),
            "ensemble_distillation": self._weight("ensemble_distillation", progress)
            * distillation_loss(outputs.peers, target, chosen.temperature),
            **{name: self._weight(name, progress) * (self._share(name, progress) * x) for name, x in taught.items()},
        }

    def _weight(self, term: str, progress: Progress) -> float | Tensor:
        return progress.scheduled(lambda at: self.hyperparameters.weight_at(at.epoch, term))

    def _share(self, term: str, progress: Progress) -> float | Tensor:
        return progress.scheduled(lambda at: self.hyperparameters.shares_at(at.epoch)[term])

    def teacher_losses(self, peers: Tensor, teachers: Tensor) -> dict[str, Tensor]:
        """Return the terms by which peers ``[K, B, C]`` learn from teachers ``[K, B, C]``, without weight and share."""
        raise NotImplementedError

    def after_step(self, progress: Progress) -> None:
        """Move the mean teacher towards the student."""
        chosen = self.hyperparameters
        update_mean(self.teacher, self.network, ema_decay_at(progress.step, chosen.ema_decay, chosen.ema_warmup))

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of the teacher's heads, of the peers, and of both networks' ensemble classifiers."""
        teachers, teacher_ensemble = self.teacher.predict(images)
        peers, ensemble = self.network.predict(images)
        return {
            **named("teacher", teachers),
            **named("peer", peers),
            "ensemble": ensemble,
            "teacher_ensemble": teacher_ensemble,
        }

    def roles(self) -> Mapping[str, Role]:
        """Return that each peer has a mean teacher; the teachers' own ensemble is neither."""
        peers = self.hyperparameters.peers
        teachers: dict[str, Role] = dict.fromkeys(numbered("teacher", peers), "teacher")
        return {**teachers, **peers_and_ensemble(peers)}

    def classifiers(self) -> Mapping[str, nn.Module]:
        """Return the classifiers of the peers and of their teachers."""
        return {**self.network.network.classifiers(), **self.teacher.network.classifiers("teacher")}

    def student(self, name: str | None = None) -> nn.Module:
        """Return one head of the mean teacher with its stem."""
        return standalone(self.teacher.network.network(number_of(self.check_student(name))))


class PCL(MeanTeacherMethod):
    """Peer collaborative learning: peers learn from their ensemble and from each other's mean teachers.

    ``L = CE(z_e) + sum_i {CE_i + w(e) KL_T(z_i <- sg z_e) + w(e) 1/(K-1) sum_{j!=i} KL_T(z_i <- m_j)}``, where ``z_e``
    is the classifier on all peers' features and ``m_j`` the mean teacher of peer j.

    Source: Wu and Gong (2021), "Peer Collaborative Learning for Online Knowledge Distillation", as its public
    reproduction implements it; ``ramp: released`` follows that code's division by the weight (docs/fidelity.md, P1).
    """

    name = "pcl"
    year = 2021
    mixed_labels = True
    Hyperparameters = MeanTeacherHyperparameters

    def teacher_losses(self, peers: Tensor, teachers: Tensor) -> dict[str, Tensor]:
        """Return the distillation from the other peers' mean teachers."""
        loss = pairwise_distillation_loss(peers, teachers, self.hyperparameters.temperature)
        return {"peer_distillation": loss}
