"""VGG-16 with batch norm for small images.

Source: Simonyan and Zisserman (2015), "Very Deep Convolutional Networks for Large-Scale Image Recognition",
configuration D, with the batch norm, the narrow classifier and the initialisation of the released online distillation
code (docs/fidelity.md); without dropout.
"""

from functools import partial

from torch import nn

from methods.backbones.base import Backbone
from methods.backbones.layers import biased_convolution as _convolution, narrow_linear as _linear

_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of the convolutions, a max-pool after each group."""


def vgg16(name: str, num_classes: int, in_channels: int, image_size: int, extra: int = 0) -> Backbone:
    """VGG of 13 convolutions, ``extra`` more in the last group, and 3 linear layers; peers share the first 10.

    Its three stages end with the max-pools behind the 256 and each of the 512 channels. A max-pool that would leave no
    pixel is left out (images smaller than 32 have fewer halvings); the parameters are the same for every size.
    """

    def group(index: int) -> list[nn.Module]:
        inputs = _WIDTHS[index - 1][-1] if index else in_channels
        layers: list[nn.Module] = []
        for width in _WIDTHS[index] + ((_WIDTHS[index][-1],) * extra if index == len(_WIDTHS) - 1 else ()):
            layers += [_convolution(inputs, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            inputs = width
        leaves_a_pixel = image_size >> (index + 1) > 0
        return [*layers, nn.MaxPool2d(2)] if leaves_a_pixel else layers

    def stage(*groups: int) -> nn.Sequential:
        return nn.Sequential(*(layer for index in groups for layer in group(index)))

    def classifier() -> nn.Sequential:
        hidden = [_linear(512, 512), nn.ReLU(inplace=True), _linear(512, 512), nn.ReLU(inplace=True)]
        return nn.Sequential(*hidden, _linear(512, num_classes))

    return Backbone(
        name=name,
        stages=(partial(stage, 0, 1, 2), partial(stage, 3), partial(stage, 4)),
        channels=(256, 512, 512),
        shared_stages=2,
        classifier=classifier,
        linear=_linear,
        num_classes=num_classes,
        deepen=lambda more: vgg16(name, num_classes, in_channels, image_size, extra + more),
    )
