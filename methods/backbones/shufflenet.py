"""ShuffleNetV2 for small images: half of the channels pass a block untouched, then the channels are shuffled.

Source: Ma et al. (2018), "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", table 5, in the
form that the distillation literature shares for 32x32 images (RepDistiller's ``ShuffleV2``): a 1x1 first convolution
without stride and no max-pool, and 3, 7 and 3 blocks behind each strided one. Weights are torch's own initialisation.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from methods.backbones.base import Backbone

_BLOCKS = (3, 7, 3)
_STEM = 24


class ShuffleBlock(nn.Module):
    """The second half of the channels passes 1x1, depthwise 3x3 and 1x1; the first half passes as it is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.layers = nn.Sequential(*_convolution(half, half, 1), *_depthwise(half, 1), *_convolution(half, half, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        kept, changed = maps.chunk(2, dim=1)
        return shuffled(kept, self.layers(changed))


class StridedShuffleBlock(nn.Module):
    """Two branches with stride 2, each of half the output channels: depthwise 3x3 and 1x1, the other 1x1 before."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.short = nn.Sequential(*_depthwise(inputs, 2), *_convolution(inputs, half, 1))
        self.long = nn.Sequential(*_convolution(inputs, half, 1), *_depthwise(half, 2), *_convolution(half, half, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``[B, outputs, h / 2, w / 2]``."""
        return shuffled(self.short(maps), self.long(maps))


def shuffled(first: Tensor, second: Tensor) -> Tensor:
    """Two maps ``[B, c, h, w]`` as ``[B, 2 c, h, w]``, their channels in turn."""
    return torch.stack((first, second), dim=2).flatten(1, 2)


def shufflenet_v2(
    name: str,
    num_classes: int,
    in_channels: int,
    image_size: int,
    widths: Sequence[int],
    features: int,
    extra: int = 0,
) -> Backbone:
    """ShuffleNetV2 of three stages of ``widths`` channels, each of which halves the maps; peers share two of them.

    The last stage has ``extra`` more blocks and ends with the 1x1 convolution to ``features`` channels.
    """

    def stage(index: int) -> nn.Sequential:
        inputs = widths[index - 1] if index else _STEM
        first = _convolution(in_channels, _STEM, 1) if index == 0 else []
        blocks = (ShuffleBlock(widths[index]) for _ in range(_BLOCKS[index] + (extra if index == 2 else 0)))
        last = _convolution(widths[index], features, 1) if index == 2 else []
        return nn.Sequential(*first, StridedShuffleBlock(inputs, widths[index]), *blocks, *last)

    return Backbone(
        name=name,
        stages=[partial(stage, index) for index in range(3)],
        channels=(*widths[:2], features),
        shared_stages=2,
        classifier=lambda: nn.Linear(features, num_classes),
        linear=nn.Linear,
        num_classes=num_classes,
        deepen=lambda more: shufflenet_v2(name, num_classes, in_channels, image_size, widths, features, extra + more),
    )


def _convolution(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _depthwise(channels: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
    return [conv, nn.BatchNorm2d(channels)]
