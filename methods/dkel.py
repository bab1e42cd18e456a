"""Decoupled knowledge with ensemble learning."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from methods.hyperparameters import epochs_field, since_field
from methods.interface import Batch
from methods.objectives import cross_entropy, distillation_loss, mean_of_others, pairwise_distillation_loss
from methods.pcl import MeanTeacherHyperparameters, MeanTeacherMethod
from methods.schedules import Decay, decay_weight, rate_to_floor

REFERENCE_LEARNING_RATE = 0.1
REFERENCE_WEIGHT_DECAY = 5e-4


class DKEL(MeanTeacherMethod):
    """Decoupled knowledge: an independent teacher and a decaying ensemble of the other peers' teachers.

    ``L = CE(z_e) + sum_i {CE_i + w(e) KL_T(z_i <- sg z_e) + lambda d(e) KL_T(z_i <- mean_{j!=i} m_j)
    + w(e) (1 - d(e)) 1/(K-1) sum_{j!=i} KL_T(z_i <- m_j)}`` with ``w(e) = lambda ramp(e)`` and ``weight`` lambda: the
    share ``d`` of the teachers' ensemble is 1 in epoch 0 and decays, and the ramp-up applies to the other distillation
    terms only. With ``ramped_ensemble`` it applies to the ensemble too, ``w(e) d(e)`` for ``lambda d(e)``. The teacher
    is initialised on its own, by a few steps of plain SGD on the mean of its heads' cross-entropy, and its moving
    average does not begin with a copy of the student.

    Source: "Decoupled Knowledge with Ensemble Learning for Online Distillation", by its abstract and released code;
    ``ramp: released`` with ``ema_warmup: true`` and ``decay_rate: 0.5`` is that code to the digit (docs/fidelity.md,
    D1 to D4).
    """

    name = "dkel"
    year = 2022
    version = 2
    mixed_labels = True

    class Hyperparameters(MeanTeacherHyperparameters):
        """The released values where they are not what undoes the method."""

        read_with: ClassVar[Mapping[str, tuple[str, tuple[Any, ...]]]] = {
            **MeanTeacherHyperparameters.read_with,
            "decay_rate": ("decay", ("exp",)),
            "decay_floor": ("decay", ("exp", "linear", "cosine")),
            "decay_epochs": ("decay", ("exp", "linear", "cosine", "step")),
        }

        weight: float = Field(0.1, ge=0, description="lambda, the weight of the distillation terms")
        ramped_ensemble: bool = since_field(
            False,
            before=True,
            version=2,
            description="whether the ramp-up applies to the teachers' ensemble too; with ramp: released it does",
        )
        decay: Decay = Field("exp", description="shape of the teachers' ensemble's share over the epochs")
        decay_rate: float | None = Field(
            None,
            ge=0,
            description="rate per epoch of the exponential decay; null: the share reaches the floor at decay_epochs",
        )
        decay_floor: float = Field(0.01, ge=0, lt=1, description="a share not above it counts as 0")
        decay_epochs: int = epochs_field(80, "horizon of the decay, of exp where decay_rate is null")
        ema_warmup: bool = Field(False, description="whether the mean teacher first copies the student")
        teacher_init: Literal["copy", "independent"] = Field(
            "copy",
            description="what the teacher's own steps start from: the student's weights or its own initialisation",
        )
        teacher_init_steps: int = Field(2, ge=0, description="SGD steps that the teacher takes on its own at the start")
        teacher_init_lr_scale: float = Field(
            0.01, gt=0, description="learning rate of those steps as a share of the published recipe's 0.1"
        )

        @model_validator(mode="before")
        @classmethod
        def _one_form_of_one_meaning(cls, values: Any) -> Any:
            # the released ramp-up has always been on all terms; without a ramp-up there is nothing to apply
            applied = {"ramped_ensemble": True}
            ramp = values.get("ramp")
            return values | applied if ramp == "none" else applied | values if ramp == "released" else values

        @model_validator(mode="after")
        def _refuse_half_of_the_released_ramp(self) -> Self:
            if self.ramp == "released" and not self.ramped_ensemble:
                raise ValueError("ramp: released applies to all distillation terms (valid: ramped_ensemble true)")
            return self

        def shares_at(self, epoch: int) -> dict[str, float]:
            """Return the decaying share of the teachers' ensemble, and what is left for each teacher by itself."""
            share = decay_weight(self.decay, epoch, self.rate, self.decay_floor, self.decay_epochs)
            return {"teacher_ensemble_distillation": share, "peer_distillation": 1 - share}

        @property
        def rate(self) -> float:
            """The rate per epoch of the exponential decay."""
            if self.decay_rate is not None:
                return self.decay_rate
            return rate_to_floor(self.decay_floor, self.decay_epochs)

        def ramped(self, term: str) -> bool:
            """Return whether the ramp-up applies to a distillation term."""
            return self.ramped_ensemble or term != "teacher_ensemble_distillation"

        def declared_inactive(self) -> dict[str, str]:
            """Return the ensemble's term where the ramp-up is on top of it: its share has decayed before that is up."""
            if not self.ramped_ensemble or self.ramp == "none":
                return {}
            return {"teacher_ensemble_distillation": "its share decays to 0 before the ramp-up has begun to rise"}

    hyperparameters: Hyperparameters

    def teacher_losses(self, peers: Tensor, teachers: Tensor) -> dict[str, Tensor]:
        """Return the distillation from the ensemble of the others' teachers and from each of them."""
        temperature = self.hyperparameters.temperature
        return {
            "teacher_ensemble_distillation": distillation_loss(peers, mean_of_others(teachers), temperature),
            "peer_distillation": pairwise_distillation_loss(peers, teachers, temperature),
        }

    def start(self, batches: Iterator[Batch]) -> None:
        """Initialise the teacher: from the student's weights or its own, then by a few steps on its own."""
        chosen = self.hyperparameters
        if chosen.teacher_init == "copy":
            self.teacher.load_state_dict(self.network.state_dict())
        heads = self.teacher.network.requires_grad_(True)
        optimizer = torch.optim.SGD(
            heads.parameters(),
            lr=REFERENCE_LEARNING_RATE * chosen.teacher_init_lr_scale,
            weight_decay=REFERENCE_WEIGHT_DECAY,
        )
        for _ in range(chosen.teacher_init_steps):
            views, labels = next(batches)
            _, logits = self.teacher.peers(views)
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(logits, labels) / chosen.peers)
            optimizer.step()
        optimizer.zero_grad()
        heads.requires_grad_(False)
