"""DenseNet-BC for small images: bottleneck layers, and half the channels after each block but the last.

Source: Huang et al. (2017), "Densely Connected Convolutional Networks", section 3, with the initialisation of the
released online distillation code (docs/fidelity.md).
"""

from functools import partial

import torch
from torch import Tensor, nn

from methods.backbones.base import Backbone
from methods.backbones.layers import linear_without_offset as _linear


class DenseLayer(nn.Module):
    """BN, ReLU, 1x1 to ``4 growth`` channels, BN, ReLU, 3x3 to ``growth`` channels, put behind the input's channels."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            _convolution(inputs, 4 * growth, 1),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(inplace=True),
            _convolution(4 * growth, growth, 3),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the input's channels and ``growth`` more."""
        return torch.cat((maps, self.layers(maps)), 1)


def densenet_bc(
    name: str, num_classes: int, in_channels: int, image_size: int, layers: int, growth: int, extra: int = 0
) -> Backbone:
    """DenseNet-BC of depth ``6 layers + 4``: three dense blocks, the last followed by BN and ReLU.

    A stage is a block and the transition behind it; peers share two, so each has a last block of its own, of ``extra``
    more layers.
    """
    grown = layers * growth
    inputs = [2 * growth]
    while len(inputs) < 3:
        inputs.append((inputs[-1] + grown) // 2)
    channels = (inputs[1], inputs[2], inputs[2] + grown + extra * growth)
    sizes = (layers, layers, layers + extra)

    def stage(index: int) -> nn.Sequential:
        first = [_convolution(in_channels, inputs[0], 3)] if index == 0 else []
        block = [DenseLayer(inputs[index] + layer * growth, growth) for layer in range(sizes[index])]
        wide = inputs[index] + sizes[index] * growth
        activated = [nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
        halved = [_convolution(wide, channels[index], 1), nn.AvgPool2d(2)] if index < 2 else []
        return nn.Sequential(*first, *block, *activated, *halved)

    return Backbone(
        name=name,
        stages=[partial(stage, index) for index in range(3)],
        channels=channels,
        shared_stages=2,
        classifier=lambda: _linear(channels[-1], num_classes),
        linear=_linear,
        num_classes=num_classes,
        deepen=lambda more: densenet_bc(name, num_classes, in_channels, image_size, layers, growth, extra + more),
    )


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight)
    return conv
