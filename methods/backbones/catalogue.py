"""The backbones by name; a family's module is imported when one of its networks is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from methods.errors import InputError, unknown

if TYPE_CHECKING:
    from methods.backbones.base import Backbone


@dataclass(frozen=True)
class Entry:
    """Where a backbone comes from: ``methods.backbones.<module>.<factory>(..., **arguments)``."""

    module: str
    factory: str
    description: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    min_image_size: int = 8


def _cifar_resnet(depth: int) -> Entry:
    blocks = (depth - 2) // 6
    return Entry(
        "resnet",
        "cifar_resnet",
        f"CIFAR ResNet, 3 stages of {blocks} basic blocks, 16 to 64 channels",
        {"blocks": blocks},
    )


_CATALOGUE: Mapping[str, Entry] = {
    **{f"resnet{depth}": _cifar_resnet(depth) for depth in (8, 14, 20, 26, 32, 38, 44, 50, 56)},
    "resnet110": Entry(
        "resnet",
        "cifar_bottleneck_resnet",
        "CIFAR ResNet, 3 stages of 12 bottleneck blocks, 64 to 256 channels",
        {"blocks": 12},
    ),
}


def available() -> dict[str, str]:
    """Return every backbone's name and one-line description."""
    return {name: entry.description for name, entry in _CATALOGUE.items()}


def describe(name: str) -> Entry:
    """Return a backbone's entry, or raise an InputError that lists the valid names."""
    if name not in _CATALOGUE:
        raise unknown("backbone", name, _CATALOGUE)
    return _CATALOGUE[name]


def make(name: str, num_classes: int, in_channels: int = 3, image_size: int = 32) -> "Backbone":
    """Return the backbone of that name for an image shape.

    Args:
        name: One of :func:`available`.
        num_classes: C, at least 2.
        in_channels: Channels of the images, at least 1.
        image_size: Side of the square images in pixels.

    Raises:
        InputError: For an unknown name or a shape that the backbone cannot take.
    """
    entry = describe(name)
    if num_classes < 2:
        raise InputError(f"num_classes must be at least 2 (given: {num_classes})")
    if in_channels < 1:
        raise InputError(f"in_channels must be at least 1 (given: {in_channels})")
    if image_size < entry.min_image_size:
        raise InputError(f"{name} needs images of side {entry.min_image_size} or more (given: {image_size})")
    factory = getattr(import_module(f"methods.backbones.{entry.module}"), entry.factory)
    backbone: Backbone = factory(
        name=name, num_classes=num_classes, in_channels=in_channels, image_size=image_size, **entry.arguments
    )
    return backbone
