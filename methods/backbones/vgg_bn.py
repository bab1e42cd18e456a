"""VGG with batch norm and a single linear layer, for small images: the distillation literature's VGG-8 and VGG-13.

Source: Simonyan and Zisserman (2015), "Very Deep Convolutional Networks for Large-Scale Image Recognition",
configuration B (VGG-13), in the form that the distillation literature shares (RepDistiller's ``vgg8_bn`` and
``vgg13_bn``): one linear layer, and three max-pools at 32x32. It is not the project's ``vgg16``, which has three linear
layers and five max-pools.
"""

from functools import partial

from torch import nn

from methods.backbones.base import Backbone
from methods.backbones.layers import biased_convolution, narrow_linear

_CHANNELS = (64, 128, 256, 512, 512)
_POOLS_BELOW_64 = 3
"""A fourth max-pool comes with images of side 64 or more."""


def vgg_bn(
    name: str, num_classes: int, in_channels: int, image_size: int, convolutions: int, extra: int = 0
) -> Backbone:
    """VGG of five groups of 3x3 convolutions with batch norm, ``convolutions`` in each, ``extra`` more in the last.

    A max-pool follows the first three groups (four from images of side 64 on) and no pool the last. Its four stages end
    behind the second, third, fourth and fifth group, and peers share three of them.
    """
    pools = _POOLS_BELOW_64 + (image_size >= 64)

    def group(index: int) -> list[nn.Module]:
        inputs, outputs = _CHANNELS[index - 1] if index else in_channels, _CHANNELS[index]
        layers: list[nn.Module] = []
        for layer in range(convolutions + (extra if index == len(_CHANNELS) - 1 else 0)):
            layers += [biased_convolution(outputs if layer else inputs, outputs)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        return [*layers, nn.MaxPool2d(2)] if index < pools else layers

    def stage(*groups: int) -> nn.Sequential:
        return nn.Sequential(*(layer for index in groups for layer in group(index)))

    return Backbone(
        name=name,
        stages=(partial(stage, 0, 1), *(partial(stage, index) for index in (2, 3, 4))),
        channels=_CHANNELS[1:],
        shared_stages=3,
        classifier=lambda: narrow_linear(_CHANNELS[-1], num_classes),
        linear=narrow_linear,
        num_classes=num_classes,
        deepen=lambda more: vgg_bn(name, num_classes, in_channels, image_size, convolutions, extra + more),
    )
