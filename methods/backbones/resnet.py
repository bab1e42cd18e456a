"""CIFAR ResNets: basic and bottleneck blocks, projection shortcuts, post-activation.

Source: He et al. (2016), "Deep Residual Learning for Image Recognition", section 4.2, with the projection shortcuts and
the initialisation of the released online distillation code (docs/fidelity.md).
"""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from methods.backbones.base import Backbone


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the size at stride 1, initialised by Kaiming's rule (normal, fan out)."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


class ResidualBlock(nn.Module):
    """Convolutions with batch norm beside a shortcut: ``relu(layers(x) + shortcut(x))``.

    The shortcut is a strided 1x1 convolution with batch norm where the shape changes, else the identity.
    """

    def __init__(self, layers: Sequence[nn.Module], inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.shortcut = (
            nn.Identity()
            if inputs == outputs and stride == 1
            else nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the block's output channels and stride."""
        total: Tensor = self.layers(maps) + self.shortcut(maps)
        activated: Tensor = self.activation(total)
        return activated


def basic_block(inputs: int, width: int, stride: int) -> ResidualBlock:
    """Two 3x3 convolutions; the output has ``width`` channels."""
    layers = [
        convolution(inputs, width, 3, stride),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        convolution(width, width, 3),
        nn.BatchNorm2d(width),
    ]
    return ResidualBlock(layers, inputs, width, stride)


def bottleneck_block(inputs: int, width: int, stride: int, outputs: int) -> ResidualBlock:
    """1x1 to ``width``, 3x3 with the stride, 1x1 to ``outputs`` channels."""
    layers = [
        convolution(inputs, width, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        convolution(width, width, 3, stride),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        convolution(width, outputs, 1),
        nn.BatchNorm2d(outputs),
    ]
    return ResidualBlock(layers, inputs, outputs, stride)


def basic_stages(
    widths: Sequence[int], blocks: Sequence[int], stem: int | None = None
) -> list[Callable[[], list[nn.Module]]]:
    """Factories of stages of basic blocks: the first keeps the size of the maps, every further one halves it.

    Args:
        widths: Output channels of each stage.
        blocks: How many blocks it has.
        stem: Channels that the first stage reads; its own width for None.
    """
    read = (widths[0] if stem is None else stem, *widths)

    def stage(index: int) -> list[nn.Module]:
        inputs, width = read[index], widths[index]
        first = basic_block(inputs, width, stride=1 if index == 0 else 2)
        return [first, *(basic_block(width, width, 1) for _ in range(blocks[index] - 1))]

    return [partial(stage, index) for index in range(len(widths))]


def cifar_resnet(
    name: str, num_classes: int, in_channels: int, image_size: int, blocks: int, extra: int = 0
) -> Backbone:
    """ResNet of depth ``6 blocks + 2``: 16, 32 and 64 channels; ``extra`` more blocks in the last stage."""
    widths = (16, 32, 64)
    stem = partial(_cifar_stem, in_channels)

    def deepen(more: int) -> Backbone:
        return cifar_resnet(name, num_classes, in_channels, image_size, blocks, extra + more)

    stages = basic_stages(widths, (blocks, blocks, blocks + extra))
    return residual_backbone(name, num_classes, stem, stages, widths, deepen)


def cifar_resnet_x4(
    name: str, num_classes: int, in_channels: int, image_size: int, blocks: int, extra: int = 0
) -> Backbone:
    """ResNet of depth ``6 blocks + 2`` and 64, 128 and 256 channels behind a stem of 32; ``extra`` as above.

    Its first stage therefore begins with a projection shortcut. Source: ``resnet8x4`` and ``resnet32x4`` of
    RepDistiller, the implementation that the distillation literature shares.
    """
    widths, stem_width = (64, 128, 256), 32
    stem = partial(_cifar_stem, in_channels, stem_width)

    def deepen(more: int) -> Backbone:
        return cifar_resnet_x4(name, num_classes, in_channels, image_size, blocks, extra + more)

    stages = basic_stages(widths, (blocks, blocks, blocks + extra), stem_width)
    return residual_backbone(name, num_classes, stem, stages, widths, deepen)


def cifar_bottleneck_resnet(
    name: str, num_classes: int, in_channels: int, image_size: int, blocks: int, widen: int = 1, extra: int = 0
) -> Backbone:
    """ResNet of bottleneck blocks: inner widths 16, 32 and 64 times ``widen``, 64, 128 and 256 output channels.

    The last stage has ``extra`` more blocks.
    """
    outputs = (64, 128, 256)

    def stage(index: int) -> list[nn.Module]:
        width = outputs[index] // 4 * widen
        inputs = outputs[index - 1] if index else 16
        first = bottleneck_block(inputs, width, 1 if index == 0 else 2, outputs[index])
        rest = (bottleneck_block(outputs[index], width, 1, outputs[index]) for _ in range(counts[index] - 1))
        return [first, *rest]

    def deepen(more: int) -> Backbone:
        return cifar_bottleneck_resnet(name, num_classes, in_channels, image_size, blocks, widen, extra + more)

    counts = (blocks, blocks, blocks + extra)
    stages = [partial(stage, index) for index in range(3)]
    return residual_backbone(name, num_classes, partial(_cifar_stem, in_channels), stages, outputs, deepen)


def residual_backbone(
    name: str,
    num_classes: int,
    stem: Callable[[], list[nn.Module]],
    stages: Sequence[Callable[[], list[nn.Module]]],
    channels: Sequence[int],
    deepen: Callable[[int], Backbone] | None = None,
) -> Backbone:
    """A backbone of a stem and stages of residual blocks, of which peers share all but the last."""

    def first() -> nn.Sequential:
        return nn.Sequential(*stem(), *stages[0]())

    def later(index: int) -> nn.Sequential:
        return nn.Sequential(*stages[index]())

    return Backbone(
        name=name,
        stages=(first, *(partial(later, index) for index in range(1, len(stages)))),
        channels=channels,
        shared_stages=len(stages) - 1,
        classifier=lambda: nn.Linear(channels[-1], num_classes),
        linear=lambda inputs, outputs, bias: nn.Linear(inputs, outputs, bias),
        num_classes=num_classes,
        deepen=deepen,
    )


def _cifar_stem(in_channels: int, width: int = 16) -> list[nn.Module]:
    return [convolution(in_channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
