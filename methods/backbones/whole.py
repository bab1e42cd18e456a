"""A backbone of any network: initialised as a whole, and cut into stages where its own children let it."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from methods.backbones.base import Backbone, Branch, Network
from methods.backbones.cutting import Cut, cut
from methods.backbones.layouts import features_to_maps, repeat_grey, same
from methods.backbones.tracing import UntraceableError, trace
from methods.errors import InputError, message_of

Parts = tuple[Sequence[nn.Module], nn.Module]
"""Stages in order, and the classifier."""

_NOMINAL_SIDE = 224
"""Where the stages of a network are told apart: at a few pixels all of them would have the same size."""

_BATCH = 3


@dataclass(frozen=True, kw_only=True)
class WholeBackbone(Backbone):
    """A backbone whose parts are initialised together, as its library initialises them.

    Attributes:
        initialise: Returns the parts of a newly initialised network.
        uncut: Why it has no stages, or nothing.
    """

    initialise: Callable[[], Parts]
    uncut: str = ""

    def split(self, shared_stages: int | None = None) -> int:
        """Return how many stages are shared: all but the last for None.

        Raises:
            InputError: If the network has no stages, or for a number out of range.
        """
        if self.uncut:
            raise InputError(f"{self.name} has no stages for branches on a shared stem: {self.uncut}")
        return super().split(shared_stages)

    def stem(self, shared_stages: int | None = None) -> nn.Sequential:
        """Initialise the shared part of a network."""
        split = self.split(shared_stages)
        return nn.Sequential(*self.initialise()[0][:split])

    def branch(self, shared_stages: int | None = None) -> Branch:
        """Initialise the part of a network that each peer has for itself."""
        split = self.split(shared_stages)
        stages, classifier = self.initialise()
        return Branch(stages[split:], classifier)

    def network(self, shared_stages: int | None = None) -> Network:
        """Initialise a whole network: for one seed the library's own weights."""
        split = 1 if self.uncut and shared_stages is None else self.split(shared_stages)
        stages, classifier = self.initialise()
        return Network(nn.Sequential(*stages[:split]), Branch(stages[split:], classifier))


def from_module(
    name: str,
    build: Callable[[], nn.Module],
    num_classes: int,
    in_channels: int,
    image_size: int,
    repeats_grey: bool = False,
) -> Backbone:
    """Return the backbone of any network from images to logits.

    Its stages are its own children, one a resolution, or a quarter each of equal blocks; the features are what its
    pooling hands to its classifier. A network that cannot be cut so serves the methods of separate networks alone; its
    features are then its logits.

    Args:
        name: As on the command line.
        build: Returns a newly initialised network for ``[B, in_channels, H, W]``.
        num_classes: C.
        in_channels: Channels of the images.
        image_size: Side of the square images in pixels.
        repeats_grey: Whether the network reads colour images, and grey ones are repeated into three channels.

    Raises:
        InputError: If the network does not take such images, or returns anything but logits ``[B, C]``.
    """
    prepare = repeat_grey if repeats_grey and in_channels == 1 else same
    meta = _on_meta(build, name)
    _dry_run(nn.Sequential(_Applied(prepare), meta), name, _images(in_channels, image_size), num_classes)
    channels = in_channels if prepare is same else 3
    try:
        sides = (max(_NOMINAL_SIDE, image_size), image_size)
        plan = cut(trace(meta, num_classes, [_images(channels, side) for side in sides]), prepare)
        _check_parts(plan, meta, _images(in_channels, image_size), num_classes)
    except UntraceableError as reason:
        return _uncut(name, build, num_classes, prepare, str(reason))
    initialise = partial(_initialise_parts, build, name, plan)
    return WholeBackbone(
        name=name,
        stages=[partial(_initialise_stage, initialise, index) for index in range(len(plan.stages))],
        channels=plan.channels,
        shared_stages=len(plan.stages) - 1,
        classifier=lambda: initialise()[1],
        linear=nn.Linear,
        num_classes=num_classes,
        initialise=initialise,
    )


class _Applied(nn.Module):
    """A function without weights as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        return self.function(values)


def _uncut(
    name: str, build: Callable[[], nn.Module], num_classes: int, prepare: Callable[[Tensor], Tensor], reason: str
) -> Backbone:
    def initialise() -> Parts:
        return [nn.Sequential(_Applied(prepare), _initialised(build, name), _Applied(features_to_maps))], nn.Identity()

    return WholeBackbone(
        name=name,
        stages=[partial(_initialise_stage, initialise, 0)],
        channels=[num_classes],
        shared_stages=1,
        classifier=nn.Identity,
        linear=nn.Linear,
        num_classes=num_classes,
        initialise=initialise,
        uncut=reason,
    )


def _initialise_parts(build: Callable[[], nn.Module], name: str, plan: Cut) -> Parts:
    return plan.parts(_initialised(build, name))


def _initialise_stage(initialise: Callable[[], Parts], index: int) -> nn.Module:
    return initialise()[0][index]


def _initialised(build: Callable[[], nn.Module], name: str) -> nn.Module:
    return _on_meta(build, name) if torch.get_default_device().type == "meta" else build().train()


def _on_meta(build: Callable[[], nn.Module], name: str) -> nn.Module:
    """Return the network without weights; the random numbers of the caller are not touched."""
    for device in ("meta", "cpu"):
        with torch.device(device), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            try:
                return build().to("meta").train()
            except InputError:
                raise
            except Exception as error:
                # a constructor that computes with tensors cannot do so without values
                reason = error
    raise InputError(f"{name} cannot be made: {message_of(reason)}")


def _images(channels: int, side: int) -> Tensor:
    return torch.empty(_BATCH, channels, side, side, device="meta")


def _dry_run(meta: nn.Module, name: str, images: Tensor, num_classes: int) -> None:
    try:
        with torch.device("meta"):
            logits = meta(images)
    except Exception as error:
        # libraries have errors of their own for images that are too small
        shape = "x".join(map(str, images.shape[1:]))
        raise InputError(f"{name} does not take images of {shape}: {message_of(error)}") from None
    if not isinstance(logits, Tensor):
        raise InputError(f"{name} returns more than logits in training (auxiliary classifiers?): it cannot be a peer")
    if logits.shape != (_BATCH, num_classes):
        raise InputError(
            f"{name} returns {list(logits.shape)} for {_BATCH} images, not logits of {num_classes} classes"
        )


def _check_parts(plan: Cut, meta: nn.Module, images: Tensor, num_classes: int) -> None:
    """Raise an UntraceableError unless the parts fit together at the images' size and share no weights."""
    stages, classifier = plan.parts(meta)
    weights = [id(weight) for part in (*stages, classifier) for weight in part.parameters()]
    if len(weights) != len(set(weights)) or len(weights) != len(list(meta.parameters())):
        raise UntraceableError("its stages share weights, or leave some out")
    maps = images
    for stage, channels in zip(stages, plan.channels, strict=True):
        maps = stage(maps)
        if maps.dim() != 4 or maps.shape[1] != channels:
            raise UntraceableError("its features differ in number with the images' size")
    if classifier(maps.mean((2, 3))).shape != (_BATCH, num_classes):
        raise UntraceableError("its classifier does not read pooled features alone")
