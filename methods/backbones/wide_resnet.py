"""Wide ResNets for small images: pre-activation basic blocks, without dropout.

Source: Zagoruyko and Komodakis (2016), "Wide Residual Networks", table 1, in the form and with the initialisation that
the distillation literature shares (RepDistiller's): convolutions without bias, and a shortcut by a 1x1 convolution of
the activated maps wherever the number of channels changes. SwitOKD's networks of the same names are another
implementation, whose convolutions have biases (704,420 parameters for WRN-16-2 at 100 classes; here 703,284).
"""

from functools import partial

import torch
from torch import Tensor, nn

from methods.backbones.base import Backbone
from methods.backbones.layers import linear_without_offset
from methods.backbones.resnet import convolution


class PreActivationBlock(nn.Module):
    """``layers(a) + x`` with ``a = relu(BN(x))``, or ``layers(a) + shortcut(a)`` where the channels change.

    The layers are two 3x3 convolutions, BN and ReLU between them; the first has the stride.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))
        self.layers = nn.Sequential(
            convolution(inputs, outputs, 3, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            convolution(outputs, outputs, 3),
        )
        self.shortcut = None if inputs == outputs else convolution(inputs, outputs, 1, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the block's output channels and stride, not activated."""
        activated = self.activation(maps)
        shortcut = maps if self.shortcut is None else self.shortcut(activated)
        return torch.add(self.layers(activated), shortcut)


def wide_resnet(
    name: str, num_classes: int, in_channels: int, image_size: int, blocks: int, widen: int, extra: int = 0
) -> Backbone:
    """WRN of depth ``6 blocks + 4``: 16, 32 and 64 channels times ``widen``; peers share two of its three stages.

    The last stage has ``extra`` more blocks, and ends with the network's last BN and ReLU.
    """
    counts = (blocks, blocks, blocks + extra)
    channels = (16 * widen, 32 * widen, 64 * widen)

    def stage(index: int) -> nn.Sequential:
        first = [convolution(in_channels, 16, 3)] if index == 0 else []
        inputs, outputs = channels[index - 1] if index else 16, channels[index]
        layers = [PreActivationBlock(inputs, outputs, 2 if index else 1)]
        layers += [PreActivationBlock(outputs, outputs, 1) for _ in range(counts[index] - 1)]
        last = [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)] if index == 2 else []
        return nn.Sequential(*first, *layers, *last)

    return Backbone(
        name=name,
        stages=[partial(stage, index) for index in range(3)],
        channels=channels,
        shared_stages=2,
        classifier=lambda: linear_without_offset(channels[-1], num_classes),
        linear=linear_without_offset,
        num_classes=num_classes,
        deepen=lambda more: wide_resnet(name, num_classes, in_channels, image_size, blocks, widen, extra + more),
    )
