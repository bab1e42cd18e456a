"""Networks of torchvision and timm by their names there, with new weights: nothing is ever downloaded."""

import importlib
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache, partial
from types import ModuleType
from typing import Any

from torch import nn

from methods.backbones.base import Backbone
from methods.backbones.whole import from_module
from methods.errors import InputError, unknown

_TORCHVISION_SIDES = {"vit_": "image_size", "maxvit_": "input_size"}
"""How those of its networks are told the images' side that are made for one."""


def check(source: str, network: str) -> None:
    """Raise an InputError unless a library has a network of that name."""
    if source == "torchvision":
        if network not in (names := _torchvision_names()):
            raise unknown("network of torchvision", network, names)
        return
    timm = _timm()
    if not timm.is_model(network) or network != network.partition(".")[0]:
        plain = network.partition(".")[0]
        near = [plain] if timm.is_model(plain) else get_close_matches(network, timm.list_models(), n=1, cutoff=0.6)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise InputError(
            f"unknown network of timm {network!r}{hint} (timm.list_models() has all; weights are not named)"
        )


@cache
def torchvision_network(name: str, num_classes: int, in_channels: int, image_size: int) -> Backbone:
    """The backbone of ``torchvision:NAME``; grey images are repeated into its three channels."""
    network = name.partition(":")[2]
    if in_channels not in (1, 3):
        raise InputError(f"{name} takes grey or colour images (given: {in_channels} channels)")
    side = {key: image_size for family, key in _TORCHVISION_SIDES.items() if network.startswith(family)}
    # MaxViT has a height and a width
    arguments = {key: (value, value) if key == "input_size" else value for key, value in side.items()}

    def build() -> nn.Module:
        from torchvision import models

        made: nn.Module = models.get_model(network, weights=None, num_classes=num_classes, **arguments)
        return made

    return from_module(name, build, num_classes, in_channels, image_size, repeats_grey=True)


@cache
def timm_network(name: str, num_classes: int, in_channels: int, image_size: int) -> Backbone:
    """The backbone of ``timm:NAME``; a network of one image size is made for the images' own."""
    network = name.partition(":")[2]
    timm = _timm()
    known = timm.get_pretrained_cfg(network, allow_unregistered=True)
    arguments: dict[str, Any] = {"img_size": image_size} if known is not None and known.fixed_input_size else {}
    build: Callable[[], nn.Module] = partial(
        timm.create_model, network, pretrained=False, num_classes=num_classes, in_chans=in_channels, **arguments
    )
    return from_module(name, build, num_classes, in_channels, image_size)


def _torchvision_names() -> list[str]:
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


def _timm() -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ImportError:
        raise InputError("timm is not installed: pip install 'okdbench[timm]'") from None
