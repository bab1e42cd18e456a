"""The backbones by name; a family's module is imported when one of its networks is made.

A name is one of the catalogue's, ``torchvision:NAME``, ``timm:NAME``, or a plug-in's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods.errors import InputError, unknown
from methods.plugins import BACKBONE, Plugin, first_line, found, import_plugin, makers, reason_of

if TYPE_CHECKING:
    from methods.backbones.base import Backbone

ENTRY_POINT_GROUP = "okdbench.backbones"


@dataclass(frozen=True)
class BackboneInfo:
    """Where a backbone comes from: ``methods.backbones.<module>.<factory>(..., **arguments)``, or a plug-in's function.

    Attributes:
        module: One of this package; of a plug-in what to import, a module's name or a file's path.
        factory: A function of that module; what has the same is one family.
        description: One line.
        arguments: What the family's function is told beside name and shape.
        min_image_size: The smallest side of the images in pixels.
        plugin: Whether it is code of other people.
        distribution: Of a plug-in, name and version of the package that it was installed with; empty for a file.
    """

    module: str
    factory: str
    description: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    min_image_size: int = 8
    plugin: bool = False
    distribution: str = ""

    def load(self) -> "Callable[..., Backbone]":
        """Return the function that makes the backbone from ``name, num_classes, in_channels, image_size``."""
        if self.plugin:
            return makers(import_plugin(self.module), BACKBONE)[self.factory]
        function = getattr(import_module(f"methods.backbones.{self.module}"), self.factory)
        return partial(function, **self.arguments)


def _cifar_resnet(depth: int) -> BackboneInfo:
    blocks = (depth - 2) // 6
    return BackboneInfo(
        "resnet",
        "cifar_resnet",
        f"CIFAR ResNet, 3 stages of {blocks} basic block{'s' * (blocks > 1)}, 16 to 64 channels",
        {"blocks": blocks},
    )


def _imagenet_resnet(name: str, blocks: Sequence[int], max_pool: bool = True) -> BackboneInfo:
    return BackboneInfo(
        "imagenet_resnet",
        "imagenet_resnet",
        f"ImageNet ResNet-{name.removeprefix('resnet')}"
        + (", 7x7 stem and max-pool" if max_pool else " for 64x64 images: 7x7 stem without the max-pool"),
        {"blocks": blocks, "max_pool": max_pool},
        min_image_size=32 if max_pool else 8,
    )


def _wider_resnet(depth: int) -> BackboneInfo:
    blocks = (depth - 2) // 6
    return BackboneInfo(
        "resnet",
        "cifar_resnet_x4",
        f"CIFAR ResNet, 3 stages of {blocks} basic block{'s' * (blocks > 1)}, 64 to 256 channels",
        {"blocks": blocks},
    )


def _wide_resnet(depth: int, widen: int) -> BackboneInfo:
    blocks = (depth - 4) // 6
    return BackboneInfo(
        "wide_resnet",
        "wide_resnet",
        f"pre-activation WRN-{depth}-{widen}, 3 stages of {blocks} basic blocks, {16 * widen} to {64 * widen} channels",
        {"blocks": blocks, "widen": widen},
    )


def _vgg_bn(convolutions: int) -> BackboneInfo:
    return BackboneInfo(
        "vgg_bn",
        "vgg_bn",
        f"VGG-{5 * convolutions + 3} with batch norm and one linear layer, 64 to 512 channels",
        {"convolutions": convolutions},
    )


_IMAGENET_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}

_CATALOGUE: Mapping[str, BackboneInfo] = {
    **{f"resnet{depth}": _cifar_resnet(depth) for depth in (8, 14, 20, 26, 32, 38, 44, 50, 56)},
    "resnet110": BackboneInfo(
        "resnet",
        "cifar_bottleneck_resnet",
        "CIFAR ResNet, 3 stages of 12 bottleneck blocks, 64 to 256 channels",
        {"blocks": 12},
    ),
    "resnet110_basic": _cifar_resnet(110),
    "wide_resnet20_8": BackboneInfo(
        "resnet",
        "cifar_bottleneck_resnet",
        "CIFAR ResNet, 3 stages of 2 bottleneck blocks that are 8 times wider inside, 64 to 256 channels",
        {"blocks": 2, "widen": 8},
    ),
    "vgg16": BackboneInfo("vgg", "vgg16", "VGG-16 with batch norm and a classifier of 3 layers, 64 to 512 channels"),
    "densenet40_12": BackboneInfo(
        "densenet",
        "densenet_bc",
        "DenseNet-BC, 3 dense blocks of 6 bottleneck layers, growth rate 12",
        {"layers": 6, "growth": 12},
    ),
    **{f"resnet{depth}x4": _wider_resnet(depth) for depth in (8, 32)},
    **{f"wrn_{depth}_{widen}": _wide_resnet(depth, widen) for depth, widen in ((16, 2), (28, 2), (40, 2))},
    "vgg8": _vgg_bn(1),
    "vgg13": _vgg_bn(2),
    **{
        f"mobilenet_v2{suffix}": BackboneInfo(
            "mobilenet",
            "mobilenet_v2",
            f"MobileNetV2 for 32x32 images, width {width}" + (", as the literature's tables mean it" * (not suffix)),
            {"width": width},
        )
        for suffix, width in (("", 0.5), ("_x1_0", 1.0))
    },
    "shufflenet_v2": BackboneInfo(
        "shufflenet",
        "shufflenet_v2",
        "ShuffleNetV2 for 32x32 images, width 1: 116, 232 and 464 channels",
        {"widths": (116, 232, 464), "features": 1024},
    ),
    **{name: _imagenet_resnet(name, blocks) for name, blocks in _IMAGENET_BLOCKS.items()},
    **{f"{name}_tiny": _imagenet_resnet(name, blocks, max_pool=False) for name, blocks in _IMAGENET_BLOCKS.items()},
}


SOURCES: Mapping[str, BackboneInfo] = {
    "torchvision": BackboneInfo(
        "library_networks", "torchvision_network", "any classification network of torchvision, untrained"
    ),
    "timm": BackboneInfo(
        "library_networks", "timm_network", "any network of timm, untrained (pip install 'okdbench[timm]')"
    ),
}
"""Libraries whose networks are called ``<library>:<name there>``."""


def available(plugins: Iterable[str | Path] = ()) -> dict[str, str]:
    """Return every backbone's name and one-line description; a broken plug-in is described by its reason.

    Args:
        plugins: Python files that define further backbones.
    """
    listed = {name: entry.description for name, entry in _CATALOGUE.items()}
    for item in _plugins(plugins):
        if item.name in listed:
            listed[f"{item.name} ({item.origin})"] = f"broken: the name {item.name!r} is taken"
        else:
            listed[item.name] = f"broken: {item.broken}" if item.broken else first_line(item.value.__doc__)
    return listed


def sources() -> dict[str, str]:
    """Return the forms of names that stand for a library's networks, and a line on each."""
    return {f"{source}:NAME": entry.description for source, entry in SOURCES.items()}


def describe(name: str, plugins: Iterable[str | Path] = ()) -> BackboneInfo:
    """Return a backbone's entry.

    Raises:
        InputError: For an unknown name, with the valid ones, or a plug-in that is broken.
    """
    if name in _CATALOGUE:
        return _CATALOGUE[name]
    source, colon, network = name.partition(":")
    if colon:
        if source not in SOURCES:
            raise unknown("source of backbones", source, SOURCES)
        import_module("methods.backbones.library_networks").check(source, network)
        return SOURCES[source]
    others: dict[str, Plugin] = {}
    for item in _plugins(plugins):
        # of two with one name the first found counts
        others.setdefault(item.name, item)
    if name not in others:
        raise unknown("backbone", name, {*_CATALOGUE, *others, *sources()})
    item = others[name]
    if item.broken:
        raise InputError(f"the backbone {name!r} is broken: {item.broken}")
    description = first_line(item.value.__doc__)
    return BackboneInfo(item.origin, name, description, min_image_size=1, plugin=True, distribution=item.distribution)


def _plugins(files: Iterable[str | Path]) -> Iterator[Plugin]:
    """Yield the functions of plug-ins that have a backbone's name and say that they return a ``Backbone``."""
    return found(ENTRY_POINT_GROUP, files, lambda module: makers(module, BACKBONE))


def make(
    name: str,
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    plugins: Iterable[str | Path] = (),
) -> "Backbone":
    """Return the backbone of that name for an image shape.

    Args:
        name: One of :func:`available`, or a library's network as in :func:`sources`.
        num_classes: C, at least 2.
        in_channels: Channels of the images, at least 1.
        image_size: Side of the square images in pixels.
        plugins: Python files that define further backbones.

    Raises:
        InputError: For an unknown name or a shape that the backbone cannot take.
    """
    entry = describe(name, plugins)
    if num_classes < 2:
        raise InputError(f"num_classes must be at least 2 (given: {num_classes})")
    if in_channels < 1:
        raise InputError(f"in_channels must be at least 1 (given: {in_channels})")
    if image_size < entry.min_image_size:
        raise InputError(f"{name} needs images of side {entry.min_image_size} or more (given: {image_size})")
    shape = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    backbone = _from_plugin(entry, name, shape) if entry.plugin else entry.load()(name=name, **shape)
    return replace(backbone, in_channels=in_channels, image_size=image_size)


def _from_plugin(entry: BackboneInfo, name: str, shape: Mapping[str, int]) -> "Backbone":
    from methods.backbones.base import Backbone

    try:
        backbone = entry.load()(name=name, **shape)
    except InputError:
        raise
    except Exception as error:
        # code of other people
        raise InputError(f"the backbone {name!r} cannot be made: {reason_of(error)} ({entry.module})") from None
    if not isinstance(backbone, Backbone):
        raise InputError(f"the backbone {name!r} is a {type(backbone).__name__}, not a Backbone ({entry.module})")
    return backbone
