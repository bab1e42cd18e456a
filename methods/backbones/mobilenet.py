"""MobileNetV2 for small images: inverted residual blocks.

Source: Sandler et al. (2018), "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2, in the form that the
distillation literature shares for 32x32 images (RepDistiller's): ReLU in place of ReLU6, a strided first convolution,
no stride in the second group of blocks, an expansion of 1 that is computed nevertheless, widths rounded down, and no
dropout.
"""

from functools import partial

from torch import Tensor, nn

from methods.backbones.base import Backbone
from methods.backbones.layers import narrow_linear
from methods.backbones.resnet import convolution

_GROUPS = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels at width 1, blocks and the first block's stride of each group."""

_STAGES = ((0, 1), (2,), (3, 4), (5, 6))
"""The groups of each stage: a stage ends before the next stride."""


class InvertedResidual(nn.Module):
    """1x1 to ``expansion`` times the channels, depthwise 3x3 with the stride, 1x1 back, not activated.

    The input is added where shape and channels stay.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.layers = nn.Sequential(
            *convolution_bn_relu(inputs, inner, 1),
            *convolution_bn_relu(inner, inner, 3, stride, groups=inner),
            convolution(inner, outputs, 1),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the block's output channels and stride."""
        transformed: Tensor = self.layers(maps)
        return maps + transformed if self.residual else transformed


def convolution_bn_relu(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias, batch norm and ReLU."""
    return [convolution(inputs, outputs, kernel, stride, groups), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def mobilenet_v2(
    name: str, num_classes: int, in_channels: int, image_size: int, width: float, extra: int = 0
) -> Backbone:
    """MobileNetV2 of a width multiplier: 32 to 320 channels times ``width``, then 1280 features.

    The last group has ``extra`` more blocks.
    The features are 1280 times the width where it is above 1. Its four stages end before each stride behind the first
    convolution, and peers share three of them.
    """
    widths = [int(channels * width) for _, channels, _, _ in _GROUPS]
    features = int(1280 * max(1.0, width))

    def group(index: int) -> list[nn.Module]:
        expansion, _, blocks, stride = _GROUPS[index]
        inputs, outputs = widths[index - 1] if index else int(32 * width), widths[index]
        count = blocks + (extra if index == len(_GROUPS) - 1 else 0)
        first = InvertedResidual(inputs, outputs, stride, expansion)
        return [first, *(InvertedResidual(outputs, outputs, 1, expansion) for _ in range(count - 1))]

    def stage(index: int) -> nn.Sequential:
        first = convolution_bn_relu(in_channels, int(32 * width), 3, 2) if index == 0 else []
        blocks = [block for chosen in _STAGES[index] for block in group(chosen)]
        last = convolution_bn_relu(widths[-1], features, 1) if index == len(_STAGES) - 1 else []
        return nn.Sequential(*first, *blocks, *last)

    return Backbone(
        name=name,
        stages=[partial(stage, index) for index in range(len(_STAGES))],
        channels=(*(widths[groups[-1]] for groups in _STAGES[:-1]), features),
        shared_stages=len(_STAGES) - 1,
        classifier=lambda: narrow_linear(features, num_classes),
        linear=narrow_linear,
        num_classes=num_classes,
        deepen=lambda more: mobilenet_v2(name, num_classes, in_channels, image_size, width, extra + more),
    )
