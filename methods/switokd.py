"""Switchable online knowledge distillation."""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from methods.backbones import Backbone
from methods.hyperparameters import BaseHyperparameters
from methods.interface import FrozenParameters, Outputs, Progress
from methods.metrics import MethodMetric, Role
from methods.objectives import cross_entropy, divergence_matrix, hard_labels
from methods.peers import PeerHyperparameters, SeparatePeers, named, numbered
from methods.switching import Switches, switches


class SwitOKD(SeparatePeers):
    """Switchable distillation: a larger teacher trains with the student, and waits where it gets too far ahead.

    The student comes first, the teacher last: ``--backbone resnet20+resnet56``. By a switch for each batch
    (:func:`methods.switching.switches`) a teacher is in learning mode or in expert mode; in expert mode it takes no
    step: neither momentum nor weight decay moves it, only its batch statistics change.

    Student: ``CE(z_s) + KL_T(z_s <- sg z_t)`` in both modes. Teacher, learning: ``CE(z_t) + KL_T(z_t <- sg z_s)``. With
    three networks or more each learns from all others, sums and not means; a teacher has a switch against every
    student, leaves out those before whom it is the expert, and waits if that is all of them. With a switch that never
    says expert two networks are DML.

    Source: Qian et al. (2022), "Switchable Online Knowledge Distillation", as released.
    """

    name = "switokd"
    year = 2022
    mixed_labels = False
    metrics = (
        MethodMetric(
            "expert-share",
            "batches in which a teacher waits for its student in %, last epoch",
            unit="%",
            key="expert_share",
            low=0,
            high=100,
            decimals=2,
        ),
        MethodMetric(
            "switch-gap",
            "L1 distance between a student's and its teacher's probabilities, last epoch",
            key="gap",
            low=0,
        ),
        MethodMetric("switch-threshold", "the distance above which the teacher may wait, last epoch", key="threshold"),
    )

    class Hyperparameters(PeerHyperparameters):
        """The released values."""

        peers: int = Field(2, ge=2, le=64, description="K, the number of networks, teachers included")
        teachers: int = Field(1, ge=1, le=63, description="how many of them are teachers, the last ones")
        temperature: float = Field(1.0, gt=0, description="T of the switch and of the distillation terms")
        thresholds: Literal["intended", "released"] = Field(
            "intended", description="with three networks: whether each threshold has its own pair's epsilon"
        )

        @model_validator(mode="after")
        def _a_student_is_left(self) -> Self:
            if self.teachers >= self.peers:
                raise ValueError(f"teachers must be fewer than the {self.peers} peers (given: {self.teachers})")
            return self

    hyperparameters: Hyperparameters
    counts: Tensor

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters, hyperparameters.peers)
        self.students = numbered("peer", hyperparameters.peers - hyperparameters.teachers)
        # of the epoch: steps, and sums over them of the share of switches at expert, of gaps and of thresholds
        self.register_buffer("counts", torch.zeros(4))

    @classmethod
    def architecture_remarks(cls, architectures: Sequence[str], hyperparameters: BaseHyperparameters) -> list[str]:
        """Say that a teacher like its student has little to wait for."""
        if len(set(architectures)) > 1:
            return []
        return ["with equal networks it is nearly DML; a student and a larger teacher: --backbone resnet20+resnet56"]

    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies and the distillation of students and of teachers, the latter where they learn."""
        peers, count = outputs.peers, len(self.students)
        learns = (~self._switches(outputs, labels).expert).to(peers.dtype)
        active = learns.amax(1)
        divergences = divergence_matrix(peers, peers.detach(), self.hyperparameters.temperature)
        others = divergences * (1 - torch.eye(len(peers), dtype=peers.dtype, device=peers.device))
        own = torch.stack([cross_entropy(logits, labels) for logits in peers[count:]])
        from_students = (learns * others[count:, :count]).sum(1)
        from_teachers = others[count:, count:].sum(1)
        return {
            "cross_entropy": cross_entropy(peers[:count], labels),
            "distillation": others[:count].sum(),
            "teacher_cross_entropy": (active * own).sum(),
            "teacher_distillation": (active * (from_students + from_teachers)).sum(),
        }

    def _switches(self, outputs: Outputs, labels: Tensor) -> Switches:
        chosen, count = self.hyperparameters, len(self.students)
        students, teachers = outputs.peers[:count], outputs.peers[count:]
        return switches(students, teachers, hard_labels(labels), chosen.temperature, chosen.thresholds == "released")

    @torch.no_grad()
    def before_update(self, outputs: Outputs, labels: Tensor, progress: Progress) -> Sequence[FrozenParameters]:
        """Count, and hold the teachers that wait: the step leaves them alone."""
        switch = self._switches(outputs, labels)
        means = [value.to(self.counts.dtype).mean() for value in (switch.expert, switch.gap, switch.threshold)]
        self.counts += torch.stack((torch.ones_like(means[0]), *means))
        teachers = self.networks[len(self.students) :]
        return [
            FrozenParameters(list(network.parameters()), waits)
            for network, waits in zip(teachers, switch.expert.all(1), strict=True)
        ]

    def scores(self) -> dict[str, float]:
        """Return the share of switches at expert in %, the mean gap and the mean threshold of the epoch."""
        steps, *sums = self.counts.tolist()
        self.counts.zero_()
        if not steps:
            return {}
        expert, gap, threshold = (value / steps for value in sums)
        return {"expert_share": 100 * expert, "gap": gap, "threshold": threshold}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every student and every teacher."""
        logits, count = self._logits(images), len(self.students)
        return {
            **named("peer", logits[:count]),
            **dict(zip(self._teacher_names(), logits[count:], strict=True)),
        }

    def _teacher_names(self) -> tuple[str, ...]:
        count = self.hyperparameters.teachers
        return ("teacher",) if count == 1 else numbered("teacher", count)

    def roles(self) -> Mapping[str, Role]:
        """Return that the students are peers and the others teachers."""
        teachers: dict[str, Role] = dict.fromkeys(self._teacher_names(), "teacher")
        students: dict[str, Role] = dict.fromkeys(self.students, "peer")
        return {**students, **teachers}

    def classifiers(self) -> Mapping[str, nn.Module]:
        """Return the students' classifiers."""
        return {name: own for name, own in super().classifiers().items() if name in self.students}
