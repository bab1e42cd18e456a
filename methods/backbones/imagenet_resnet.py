"""ResNets of four stages of basic blocks for larger images: ImageNet's, and the one without max-pool for 64x64.

Source: He et al. (2016), "Deep Residual Learning for Image Recognition", table 1, with projection shortcuts. Without
the max-pool it is what the released code of DKEL trains on Tiny ImageNet (docs/fidelity.md, D9).
"""

from collections.abc import Sequence

from torch import nn

from methods.backbones.base import Backbone
from methods.backbones.resnet import basic_stages, convolution, residual_backbone


def imagenet_resnet(
    name: str, num_classes: int, in_channels: int, image_size: int, blocks: Sequence[int], max_pool: bool
) -> Backbone:
    """ResNet of 64, 128, 256 and 512 channels behind a 7x7 convolution of stride 2 and, if asked for, a max-pool."""
    widths = (64, 128, 256, 512)

    def stem() -> list[nn.Module]:
        layers = [convolution(in_channels, 64, 7, stride=2), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
        return [*layers, nn.MaxPool2d(3, stride=2, padding=1)] if max_pool else layers

    def deepen(more: int) -> Backbone:
        deeper = (*blocks[:-1], blocks[-1] + more)
        return imagenet_resnet(name, num_classes, in_channels, image_size, deeper, max_pool)

    return residual_backbone(name, num_classes, stem, basic_stages(widths, blocks), widths, deepen)
