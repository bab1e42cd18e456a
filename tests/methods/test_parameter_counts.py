"""The further networks of the distillation literature have the sizes of the implementation that the field shares.

Each count is written out by hand from the architecture's table, layer by layer, and does not look at the code.
"""

from collections.abc import Callable

import pytest
import torch

from methods.backbones import make


def conv(inputs: int, outputs: int, kernel: int, bias: bool = False) -> int:
    """Of a convolution with the batch norm on one side of it."""
    return inputs * outputs * kernel**2 + outputs * bias + 2 * outputs


def depthwise(channels: int) -> int:
    return 9 * channels + 2 * channels


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def wide_resnet(depth: int, widen: int, classes: int) -> int:
    """Stem; per stage one block that changes the width and n - 1 that do not; the last batch norm; the classifier."""
    total, width = 3 * 16 * 9, 16
    for channels in (16 * widen, 32 * widen, 64 * widen):
        first = 2 * width + 9 * width * channels + 2 * channels + 9 * channels**2 + width * channels
        rest = 2 * (2 * channels + 9 * channels**2)
        total += first + ((depth - 4) // 6 - 1) * rest
        width = channels
    return total + 2 * width + linear(width, classes)


def resnet_x4(depth: int, classes: int) -> int:
    """As the CIFAR ResNet, a stem of 32; every stage begins with a projection shortcut."""
    total, width = conv(3, 32, 3), 32
    for channels in (64, 128, 256):
        first = conv(width, channels, 3) + conv(channels, channels, 3) + conv(width, channels, 1)
        total += first + ((depth - 2) // 6 - 1) * 2 * conv(channels, channels, 3)
        width = channels
    return total + linear(width, classes)


def vgg(convolutions: int, classes: int) -> int:
    total, width = 0, 3
    for channels in (64, 128, 256, 512, 512):
        total += conv(width, channels, 3, bias=True) + (convolutions - 1) * conv(channels, channels, 3, bias=True)
        width = channels
    return total + linear(512, classes)


def mobilenet(half: bool, classes: int) -> int:
    """One line a group of the paper's table: expansion, channels, blocks."""
    share = 2 if half else 1
    width = 32 // share
    total = conv(3, width, 3)
    groups = (1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)
    for expansion, channels, blocks in groups:
        for _ in range(blocks):
            inner = expansion * width
            total += conv(width, inner, 1) + depthwise(inner) + conv(inner, channels // share, 1)
            width = channels // share
    return total + conv(width, 1280, 1) + linear(1280, classes)


def shufflenet(classes: int) -> int:
    total, width = conv(3, 24, 1), 24
    for channels, blocks in (116, 3), (232, 7), (464, 3):
        half = channels // 2
        short = depthwise(width) + conv(width, half, 1)
        long = conv(width, half, 1) + depthwise(half) + conv(half, half, 1)
        total += short + long + blocks * (2 * conv(half, half, 1) + depthwise(half))
        width = channels
    return total + conv(464, 1024, 1) + linear(1024, classes)


# At 100 classes as RepDistiller's implementation has them (github.com/HobbitLong/RepDistiller, models/); the papers and
# tables of the field round these: WRN-16-2 0.70M, WRN-40-2 2.26M, ResNet-8x4 1.23M, VGG-13 9.46M, MobileNetV2 0.81M.
COUNTS: dict[str, tuple[Callable[[int], int], int]] = {
    "wrn_16_2": (lambda classes: wide_resnet(16, 2, classes), 703_284),
    "wrn_28_2": (lambda classes: wide_resnet(28, 2, classes), 1_479_220),
    "wrn_40_2": (lambda classes: wide_resnet(40, 2, classes), 2_255_156),
    "resnet8x4": (lambda classes: resnet_x4(8, classes), 1_233_540),
    "resnet32x4": (lambda classes: resnet_x4(32, classes), 7_433_860),
    "vgg8": (lambda classes: vgg(1, classes), 3_965_028),
    "vgg13": (lambda classes: vgg(2, classes), 9_462_180),
    "mobilenet_v2": (lambda classes: mobilenet(True, classes), 812_836),
    "mobilenet_v2_x1_0": (lambda classes: mobilenet(False, classes), 2_353_060),
    "shufflenet_v2": (shufflenet, 1_355_528),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_the_published_ones(name: str) -> None:
    closed_form, at_100_classes = COUNTS[name]
    assert closed_form(100) == at_100_classes
    for classes in (10, 100, 1000):
        with torch.device("meta"):
            network = make(name, classes).network()
        assert sum(parameter.numel() for parameter in network.parameters()) == closed_form(classes)


# SwitOKD's networks of the same names: every convolution of theirs has a bias, the shortcut's too; the MobileNetV2 of
# half width is the same network.
def test_the_wide_resnet_of_switokd_is_another_network() -> None:
    biases = 16 + (32 + 64 + 128) * 5
    assert wide_resnet(16, 2, 100) + biases == 704_420
    assert mobilenet(True, 100) == 812_836


# Side of the last maps for an image's side: what the literature's forms do at 32x32 and the rule elsewhere.
SIDES = {
    "wrn_16_2": {32: 8, 28: 7, 8: 2},
    "resnet8x4": {32: 8, 28: 7, 8: 2},
    "vgg8": {32: 4, 28: 3, 8: 1, 64: 4},
    "mobilenet_v2": {32: 2, 28: 2, 8: 1},
    "shufflenet_v2": {32: 4, 28: 4, 8: 1},
}


@pytest.mark.parametrize(("name", "side"), [(name, side) for name, sides in SIDES.items() for side in sides])
def test_maps_shrink_as_often_as_the_literature_has_it(name: str, side: int) -> None:
    backbone = make(name, 10, in_channels=1, image_size=side)
    with torch.device("meta"):
        maps = backbone.branch().maps(backbone.stem()(torch.empty(2, 1, side, side)))
    assert maps.shape == (2, backbone.features, SIDES[name][side], SIDES[name][side])


# What one more block (or convolution) of the last stage adds.
MORE = {
    "wrn_16_2": 2 * (2 * 128 + 9 * 128**2),
    "resnet8x4": 2 * conv(256, 256, 3),
    "vgg8": conv(512, 512, 3, bias=True),
    "mobilenet_v2": conv(160, 960, 1) + depthwise(960) + conv(960, 160, 1),
    "shufflenet_v2": 2 * conv(232, 232, 1) + depthwise(232),
}


@pytest.mark.parametrize("name", MORE)
def test_a_deeper_form_has_more_blocks_in_its_last_stage_alone(name: str) -> None:
    plain, deeper = make(name, 10), make(name, 10).deeper(2)
    with torch.device("meta"):
        stems = [[weight.shape for weight in one.stem().parameters()] for one in (plain, deeper)]
        sizes = [sum(weight.numel() for weight in one.branch().parameters()) for one in (plain, deeper)]
    assert stems[0] == stems[1]
    assert sizes[1] - sizes[0] == 2 * MORE[name]
