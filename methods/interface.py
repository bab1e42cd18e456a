"""The one interface between a method and whatever trains it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from methods.backbones import Backbone
from methods.errors import InputError
from methods.hyperparameters import BaseHyperparameters

Batch = tuple[Tensor, Tensor]
"""Views ``[V, B, C, H, W]`` and their labels ``[B]``."""


@dataclass
class Outputs:
    """Logits of one training step; what a method does not have is None.

    Attributes:
        peers: ``[K, B, C]``, every peer's own logits.
        ensemble: ``[B, C]``, the logits of the peers taken together.
        teachers: ``[K, B, C]``, the temporal mean teachers; no gradient.
        leader: ``[B, C]``, the group leader of OKDDip.
        targets: ``[K, B, C]``, what each peer is taught with, where it is its own (OKDDip).
    """

    peers: Tensor
    ensemble: Tensor | None = None
    teachers: Tensor | None = None
    leader: Tensor | None = None
    targets: Tensor | None = None


@dataclass(frozen=True)
class Progress:
    """Where in the run a step is taken.

    Attributes:
        epoch: 0-based.
        step: Optimiser steps taken before this one, 0-based over the whole run.
        epochs: How many epochs are planned.
    """

    epoch: int
    step: int
    epochs: int


class Method(nn.Module, ABC):
    """An online distillation method: its networks, its losses and what it does between steps.

    The optimiser is given exactly the parameters with ``requires_grad``. Subclasses set ``name`` (the word on the
    command line), a nested ``Hyperparameters`` model and, where a change alters the numbers of the same configuration,
    ``version``.
    """

    name: ClassVar[str]
    year: ClassVar[int] = 0
    """Of publication; lists and tables are in this order."""
    version: ClassVar[int] = 1
    mixed_backbones: ClassVar[bool] = False
    """Whether the peers may have different architectures."""
    extra_networks: ClassVar[int] = 0
    """Networks beside the ``peers`` that the hyperparameters count, such as a leader."""
    Hyperparameters: ClassVar[type[BaseHyperparameters]]

    views: int = 1
    """Independently augmented views that a step needs: 1, or one a peer."""
    students: tuple[str, ...]
    """The predictors that a user may deploy; the headline is their mean accuracy."""

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: BaseHyperparameters) -> None:
        super().__init__()
        self.backbones = tuple(backbones)
        self.hyperparameters = hyperparameters

    @classmethod
    def check_architectures(cls, architectures: Sequence[str], hyperparameters: BaseHyperparameters) -> None:
        """Raise an InputError if several architectures do not go with the hyperparameters."""

    @classmethod
    def one_backbone_only(cls, architectures: Sequence[str]) -> InputError:
        """Return the error for several architectures where one is meant."""
        return InputError(f"{cls.name!r} takes one backbone for all its networks (given: {'+'.join(architectures)})")

    @classmethod
    def example(
        cls, folder: Path, backbone: str, num_classes: int, in_channels: int, image_size: int
    ) -> dict[str, Any]:
        """Return hyperparameters with which ``bench check`` can build the method; by default it needs none.

        Args:
            folder: Where files that a hyperparameter names may be written.
            backbone: The architecture of the networks, of the first one where they differ.
            num_classes: C.
            in_channels: Channels of the images.
            image_size: Side of the square images in pixels.
        """
        return {}

    @abstractmethod
    def forward(self, views: Tensor) -> Outputs:
        """Return the logits of one training step for views ``[V, B, C, H, W]``."""

    @abstractmethod
    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the named scalar terms whose sum is minimised: a function of the arguments and hyperparameters."""

    @abstractmethod
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return each predictor's logits ``[B, C]`` for images ``[B, C, H, W]``; the module is in eval mode."""

    @abstractmethod
    def student(self, name: str | None = None) -> nn.Module:
        """Return a predictor of ``students`` (default: the first) as a stand-alone network in eval mode.

        The network is a copy: it maps images ``[B, C, H, W]`` to the logits that ``predict`` gives under that name.
        """

    def start(self, batches: Iterator[Batch]) -> None:
        """Prepare whatever must be ready before the first step; ``batches`` yields (views, labels) for ever."""

    def after_step(self, progress: Progress) -> None:
        """Do what follows each optimiser step, such as updating a mean teacher."""

    def check_student(self, name: str | None) -> str:
        """Return the student's name, the first one for None, or raise an InputError that lists them."""
        if name is None:
            return self.students[0]
        if name not in self.students:
            raise InputError(f"{self.name!r} has no student {name!r} (valid: {', '.join(self.students)})")
        return name
