"""The one interface between a method and whatever trains it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

from torch import Tensor, nn

from methods.backbones import Backbone
from methods.errors import InputError
from methods.hyperparameters import BaseHyperparameters
from methods.metrics import MethodMetric, Role

Batch = tuple[Tensor, Tensor]
"""Views ``[V, B, C, H, W]`` and their labels, as :meth:`Method.losses` is given them."""


@dataclass
class Outputs:
    """Logits of one training step; what a method does not have is None.

    A method with further tensors makes a dataclass of its own from this one and names it as its ``Outputs``.

    Attributes:
        peers: ``[K, B, C]``, every peer's own logits.
        ensemble: ``[B, C]``, the logits of the peers taken together.
        teachers: ``[K, B, C]``, the temporal mean teachers; no gradient.
        leader: ``[B, C]``, the group leader of OKDDip.
        targets: ``[K, B, C]``, what each peer is taught with, where it is its own (OKDDip).
        features: ``[K, B, d]``, the peers' pooled features, where the method asks for them.
    """

    peers: Tensor
    ensemble: Tensor | None = None
    teachers: Tensor | None = None
    leader: Tensor | None = None
    targets: Tensor | None = None
    features: Tensor | None = None


AnyOutputs: TypeAlias = Outputs
"""For annotations inside a class that has an ``Outputs`` of its own."""


@dataclass(frozen=True)
class Progress:
    """Where in the run a step is taken.

    Attributes:
        epoch: 0-based.
        step: Optimiser steps taken before this one, 0-based over the whole run.
        epochs: How many epochs are planned.
        last_of_epoch: Whether it is the epoch's last step; the evaluation follows it.
    """

    epoch: int
    step: int
    epochs: int
    last_of_epoch: bool = False

    def scheduled(self, value: Callable[["Progress"], float]) -> "float | Tensor":
        """Return a number that changes over the run, such as the weight of a loss term: ``value(self)``.

        A step that is recorded once and then replayed is given a progress whose numbers are tensors on the device,
        renewed before each step: what a method computes from ``epoch`` and ``step`` it asks for here.

        Args:
            value: The number by the progress, of which it may use everything.
        """
        return value(self)


@dataclass(frozen=True)
class FrozenParameters:
    """Parameters that a step leaves alone where a decision made on the device says so; nothing waits for it.

    Attributes:
        parameters: Neither the gradient nor momentum or weight decay moves them, and their momentum stays.
        decision: A boolean of no axes.
    """

    parameters: Sequence[nn.Parameter]
    decision: Tensor


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate.

    Attributes:
        parameters: Each with ``requires_grad``; a parameter belongs to exactly one group.
        lr_factor: What the run's learning rate is multiplied by, at least 0.
        schedule: The learning rate of an epoch as a share of the one at the start of the run, by the 0-based epoch and
            the number of epochs, at least 0; None: as the run's own schedule has it.
    """

    parameters: Sequence[nn.Parameter]
    lr_factor: float = 1.0
    schedule: Callable[[int, int], float] | None = None


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
    Outputs: ClassVar[type[AnyOutputs]] = AnyOutputs
    """What ``forward`` returns: a dataclass whose further fields are tensors or None."""
    mixed_labels: ClassVar[bool | None] = None
    """Whether the losses take labels of several classes per image, as Mixup makes them; None: found out by a step."""
    metrics: ClassVar[Sequence[MethodMetric]] = ()
    """What :meth:`scores` records, for tables, curves and checks; written out in the class as a tuple."""
    needs_features: ClassVar[bool] = False
    """Whether the common shapes of methods fill ``Outputs.features``."""
    sources: ClassVar[Sequence[str]] = ()
    """Files beside a plug-in that it reads or loads by other means than ``import``: part of a run's identity."""

    views: int = 1
    """Independently augmented views that a step needs: 1, one per peer, or one more than that."""
    students: tuple[str, ...]
    """The predictors that a user may deploy; the reported metric is their mean accuracy."""
    loaded_files: Mapping[str, str] = MappingProxyType({})
    """Of hyperparameters that name a file: the SHA-256 of the bytes that were loaded."""

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: BaseHyperparameters) -> None:
        super().__init__()
        self.backbones = tuple(backbones)
        self.hyperparameters = hyperparameters

    @classmethod
    def check_architectures(cls, architectures: Sequence[str], hyperparameters: BaseHyperparameters) -> None:
        """Raise an InputError if several architectures do not go with the hyperparameters."""

    @classmethod
    def one_backbone_only(cls, architectures: Sequence[str]) -> InputError:
        """Return the error for several architectures where there can be one."""
        return InputError(f"{cls.name!r} takes one backbone for all its networks (given: {'+'.join(architectures)})")

    @classmethod
    def example(
        cls, folder: Path, backbone: str, num_classes: int, in_channels: int, image_size: int
    ) -> dict[str, Any]:
        """Return hyperparameters with which the method can be built for a check; by default it needs none.

        Args:
            folder: Where files that a hyperparameter names may be written.
            backbone: The architecture of the networks, of the first one where they differ.
            num_classes: C.
            in_channels: Channels of the images.
            image_size: Side of the square images in pixels.
        """
        return {}

    @classmethod
    def architecture_remarks(cls, architectures: Sequence[str], hyperparameters: BaseHyperparameters) -> list[str]:
        """Return one line for each thing about these architectures that a person should know before the run."""
        return []

    @abstractmethod
    def forward(self, views: Tensor) -> AnyOutputs:
        """Return the logits of one training step for views ``[V, B, C, H, W]``."""

    @abstractmethod
    def losses(self, outputs: AnyOutputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the named scalar terms whose sum is minimised: a function of the arguments and hyperparameters.

        Args:
            outputs: Of the step, in full precision.
            labels: ``[B]``, class indices; with label smoothing or mixed images probabilities ``[B, C]``, which
                :func:`methods.objectives.cross_entropy` takes as well. Where a loss needs the class of an image, it is
                :func:`methods.objectives.hard_labels` of them.
            progress: Where in the run.
        """

    @abstractmethod
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return each predictor's logits ``[B, C]`` for images ``[B, C, H, W]``; the module is in eval mode."""

    def roles(self) -> Mapping[str, Role]:
        """Return what each predictor of :meth:`predict` is; one that is not named is ``other``.

        Diagnostics compare the peers with each other and the teachers with the peers: the i-th teacher taught the i-th
        peer, a single one all of them. By default the students are the peers.
        """
        return dict.fromkeys(self.students, "peer")

    def classifiers(self) -> Mapping[str, nn.Module]:
        """Return the module that maps a predictor's pooled features ``[B, d]`` to its logits, where there is one."""
        return {}

    @abstractmethod
    def student(self, name: str | None = None) -> nn.Module:
        """Return a predictor of ``students`` (default: the first) as a standalone network in eval mode.

        The network is a copy: it maps images ``[B, C, H, W]`` to the logits that ``predict`` gives under that name.
        """

    # ---- what a run calls, in this order; all of it does nothing unless a method has a use for it ----

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return what the optimiser is given: by default one group of all parameters with ``requires_grad``."""
        return [ParameterGroup([parameter for parameter in self.parameters() if parameter.requires_grad])]

    def labels(self, labels: Tensor) -> None:
        """Learn the labels ``[N]`` of all training images, once: before ``start``, and before a state is loaded.

        Buffers whose size depends on the training set are allocated here.
        """

    def start(self, batches: Iterator[Batch]) -> None:
        """Prepare whatever must be ready before the first step; ``batches`` yields (views, labels) for ever."""

    def begin_step(self, indices: Tensor, labels: Tensor) -> None:
        """Learn before a forward pass which training images it will see.

        Args:
            indices: ``[B]``, their places among all training images, whose labels :meth:`labels` was given.
            labels: ``[B]``, class indices.
        """

    def before_update(
        self, outputs: AnyOutputs, labels: Tensor, progress: Progress
    ) -> Sequence[FrozenParameters] | None:
        """Do what comes between the backward pass and the optimiser's step.

        A parameter whose ``grad`` is set to None is left alone by the step: neither momentum nor weight decay moves it.
        Where that depends on numbers on the device, they need not be waited for: return what is to be frozen.

        Args:
            outputs: Of the step, in full precision.
            labels: As ``losses`` was given them.
            progress: Where in the run.

        Returns:
            Parameters that the step leaves alone if their decision says so; None for none.
        """
        return None

    def after_step(self, progress: Progress) -> None:
        """Do what follows each optimiser step, such as updating a mean teacher."""

    def scores(self) -> dict[str, float]:
        """Return numbers to record beside the epoch's losses, once after its last step; counters begin anew.

        Those that ``metrics`` declares appear in tables and are checked.
        """
        return {}

    def check_student(self, name: str | None) -> str:
        """Return the student's name, the first one for None, or raise an InputError that lists them."""
        if name is None:
            return self.students[0]
        if name not in self.students:
            raise InputError(f"{self.name!r} has no student {name!r} (valid: {', '.join(self.students)})")
        return name
