"""Networks of torchvision, timm and other people, as backbones: cut into stages they are what they were."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

import methods
from methods.backbones import from_module, make
from methods.backbones.whole import WholeBackbone
from methods.errors import InputError

timm = pytest.importorskip("timm")

# One of each kind; the side of the images, and the stages' channels.
KINDS: dict[str, tuple[int, tuple[int, ...]]] = {
    "torchvision:resnet18": (32, (64, 128, 256, 512)),
    "torchvision:mobilenet_v3_small": (32, (24, 48, 576)),
    "torchvision:shufflenet_v2_x0_5": (32, (48, 96, 1024)),
    "torchvision:efficientnet_b0": (32, (40, 112, 1280)),
    "timm:convnext_atto": (32, (80, 160, 320)),
    "timm:regnety_002": (32, (152, 368)),
    "timm:vit_tiny_patch16_224": (32, (192, 192, 192, 192)),
}
FIRST, *FURTHER = KINDS


def original(name: str, side: int) -> nn.Module:
    library, _, network = name.partition(":")
    if library == "torchvision":
        made: nn.Module = torchvision.models.get_model(network, weights=None, num_classes=7)
    else:
        size: dict[str, Any] = {"img_size": side} if network.startswith("vit") else {}
        made = timm.create_model(network, pretrained=False, num_classes=7, **size)
    return made


@pytest.mark.parametrize("name", [FIRST, *(pytest.param(name, marks=pytest.mark.thorough) for name in FURTHER)])
def test_the_cut_network_is_the_librarys_own(name: str) -> None:
    side, channels = KINDS[name]
    torch.manual_seed(3)
    whole = original(name, side).eval()
    backbone = make(name, 7, image_size=side)
    torch.manual_seed(3)
    network = backbone.network().eval()
    assert tuple(backbone.channels) == channels
    assert len(backbone.stages) == len(channels)
    assert sum(weight.numel() for weight in network.parameters()) == sum(w.numel() for w in whole.parameters())
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features, logits = network.features_and_logits(images)
        torch.testing.assert_close(logits, whole(images), rtol=0, atol=0)
    assert features.shape == (2, channels[-1])


def test_in_training_mode_too_the_numbers_are_the_librarys() -> None:
    torch.manual_seed(3)
    whole = original("torchvision:mobilenet_v3_small", 32).train()
    torch.manual_seed(3)
    network = make("torchvision:mobilenet_v3_small", 7).network().train()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(5)  # of the dropout
    expected = whole(images)
    torch.manual_seed(5)
    torch.testing.assert_close(network(images), expected, rtol=0, atol=0)
    ours, theirs = network.state_dict(), whole.state_dict()
    for (name, value), own in zip(ours.items(), theirs.values(), strict=True):
        assert torch.equal(value, own), name


def test_a_vision_transformer_is_cut_between_its_blocks() -> None:
    backbone = make("timm:vit_tiny_patch16_224", 7, image_size=32)
    with torch.device("meta"):
        network = backbone.network()
    blocks = [
        {name.split(".")[1] for name, _ in part.named_parameters() if name.startswith("blocks.")}
        for part in _parts(network)
    ]
    assert blocks == [{"0", "1", "2"}, {"3", "4", "5"}, {"6", "7", "8"}, {"9", "10", "11"}]


def _parts(network: methods.backbones.Network) -> list[nn.Module]:
    return [*network.stem.children(), *network.branch.stages.children()]


def test_making_a_backbone_uses_no_random_numbers() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    make("torchvision:regnet_y_400mf", 7)
    make("timm:vit_tiny_patch16_224", 7, image_size=32)
    assert torch.equal(torch.rand(1), expected)


def test_torchvision_reads_grey_images_as_three_equal_channels() -> None:
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    grey = make("torchvision:resnet18", 7, in_channels=1).network().eval()
    torch.manual_seed(3)
    colour = make("torchvision:resnet18", 7, in_channels=3).network().eval()
    with torch.no_grad():
        assert torch.equal(grey(images), colour(images.repeat(1, 3, 1, 1)))
    with pytest.raises(InputError, match=r"takes grey or colour images \(given: 4 channels\)"):
        make("torchvision:resnet18", 7, in_channels=4)


@pytest.mark.parametrize(
    ("name", "side", "message"),
    [
        ("torchvision:resnett18", 32, r"unknown network of torchvision .*, did you mean 'resnet18'\? \(valid: "),
        ("torchvision:mobilenet_v3_tiny", 32, "unknown network of torchvision 'mobilenet_v3_tiny'"),
        ("timm:resnet19", 32, r"unknown network of timm 'resnet19', did you mean 'resnet18'\?"),
        ("timm:resnet18.a1_in1k", 32, r"'resnet18.a1_in1k', did you mean 'resnet18'\?"),
        ("hub:resnet18", 32, r"unknown source of backbones 'hub' \(valid: timm, torchvision\)"),
        ("torchvision:googlenet", 64, "returns more than logits in training"),
        ("torchvision:inception_v3", 299, "returns more than logits in training"),
        ("torchvision:alexnet", 32, "torchvision:alexnet does not take images of 3x32x32: "),
        ("torchvision:vit_b_32", 40, "torchvision:vit_b_32 cannot be made: Input shape indivisible by patch size"),
        ("resnet_18", 32, r"unknown backbone 'resnet_18', did you mean 'resnet18'\?"),
    ],
)
def test_what_cannot_be_made_is_answered_in_one_line(name: str, side: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make(name, 7, image_size=side)
    assert "\n" not in str(caught.value)


def test_a_network_of_timm_is_not_answered_with_one_of_the_catalogue() -> None:
    assert make("timm:resnet18", 7).name == "timm:resnet18"


class ByValue(nn.Module):
    """A forward that no trace can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, images: Tensor) -> Tensor:
        pooled = images.mean((2, 3))
        return self.linear(pooled) if len(pooled) else pooled


class Tied(nn.Module):
    """Two stages with the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 3, 3, 2, 1), nn.ReLU())
        self.linear = nn.Linear(3, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.first(self.first(images)).mean((2, 3)))
        return logits


class Twofold(nn.Module):
    """Two paths from the images to the end: there is no place where one tensor is handed on."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(3, 8, 5, 2, 2)
        self.linear = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        both = torch.cat((self.fine(images).mean((2, 3)), self.coarse(images).mean((2, 3))), 1)
        logits: Tensor = self.linear(both)
        return logits


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (ByValue, r"its forward cannot be followed \('len' is not supported"),
        (Tied, "its stages share weights, or leave some out"),
        (Twofold, "no maps are pooled for a classifier"),
    ],
)
def test_what_cannot_be_cut_serves_separate_networks_alone(network: Callable[[], nn.Module], reason: str) -> None:
    backbone = from_module("own", network, 4, 3, 16)
    torch.manual_seed(1)
    whole = network().eval()
    torch.manual_seed(1)
    drawn = backbone.network().eval()
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(drawn(images), whole(images))
    for shared in (backbone.stem, backbone.branch):
        with pytest.raises(InputError, match=f"own has no stages for branches on a shared stem: {reason}"):
            shared()


class OneHead(nn.Module):
    """A network whose head flattens all pixels."""

    def __init__(self, outputs: int = 4) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(16, 8, 3, 2, 1), nn.ReLU())
        self.linear = nn.Linear(8 * 16, outputs)

    def forward(self, images: Tensor, scale: float = 2.0, mask: Tensor | None = None) -> Tensor:
        maps = self.second(self.first(images)) * scale
        logits: Tensor = self.linear(maps.flatten(1) if mask is None else maps * mask)
        return logits


def test_features_that_are_no_mean_are_returned_by_the_last_stage() -> None:
    backbone = from_module("own", OneHead, 4, 3, 16)
    assert isinstance(backbone, WholeBackbone)
    assert tuple(backbone.channels) == (16, 128)
    torch.manual_seed(1)
    whole = OneHead()
    torch.manual_seed(1)
    network = backbone.network()
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    features, logits = network.features_and_logits(images)
    assert torch.equal(logits, whole(images))
    assert features.shape == (2, 128)


def test_a_network_of_other_classes_is_refused() -> None:
    with pytest.raises(InputError, match=r"own returns \[3, 4\] for 3 images, not logits of 5 classes"):
        from_module("own", OneHead, 5, 3, 16)
    with pytest.raises(InputError, match="own does not take images of 3x32x32: "):
        from_module("own", OneHead, 4, 3, 32)


# ---- Files of other people ----

PLUGIN = '''
from __future__ import annotations
import torch
from torch import nn
from methods.backbones import Backbone, from_module
from methods.independent import Independent


class Alone(Independent):
    """Alone: one network."""

    name = "alone"


def _helper() -> Backbone:
    raise NotImplementedError


def plain(name, num_classes, in_channels, image_size) -> Backbone:
    """Plain: two convolutions.

    And more about it.
    """
    def build():
        convs = nn.Conv2d(in_channels, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16)
        return nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes))
    return from_module(name, build, num_classes, in_channels, image_size)


def raises(name, num_classes, in_channels, image_size) -> Backbone:
    """Raises."""
    return undefined


def returns(name, num_classes, in_channels, image_size) -> Backbone:
    """Returns a network."""
    return nn.Linear(2, 3)


def resnet8(name, num_classes, in_channels, image_size) -> Backbone:
    """A name that is taken."""
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "brought.py"
    path.write_text(PLUGIN)
    return path


def test_a_file_may_hold_methods_and_backbones(plugin: Path) -> None:
    listed = methods.backbones.available([plugin])
    assert listed["plain"] == "Plain: two convolutions."
    assert "_helper" not in listed
    assert listed[f"resnet8 ({plugin})"] == "broken: the name 'resnet8' is taken"
    assert methods.available([plugin])["alone"] == "Alone: one network."
    built = methods.build("alone", backbone="plain", num_classes=5, image_size=16, plugins=[plugin])
    assert built.student()(torch.zeros(2, 3, 16, 16)).shape == (2, 5)
    mixed = methods.build("dml", backbone="plain+resnet8", num_classes=5, image_size=16, plugins=[plugin])
    assert mixed(torch.zeros(1, 2, 3, 16, 16)).peers.shape == (2, 2, 5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", r"the backbone 'raises' cannot be made: NameError: .*'undefined' .*\(.*brought.py\)"),
        ("returns", r"the backbone 'returns' is a Linear, not a Backbone \(.*brought.py\)"),
        ("plane", r"unknown backbone 'plane', did you mean 'plain'\? \(valid: .*plain.*torchvision:NAME.*\)"),
    ],
)
def test_a_broken_function_is_answered_in_one_line(plugin: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(name, 5, plugins=[plugin])


def test_a_file_that_cannot_be_imported_is_listed_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "absent.py"
    with pytest.raises(InputError, match="no such plugin file"):
        make("slim", 5, plugins=[path])
    path.write_text("import a_module_that_is_not_there\n")
    listed = methods.backbones.available([path])
    assert listed["absent"] == "broken: ModuleNotFoundError, line 1: No module named 'a_module_that_is_not_there'"
    assert listed["resnet8"].startswith("CIFAR ResNet")
    with pytest.raises(InputError, match="the backbone 'absent' is broken: ModuleNotFoundError"):
        make("absent", 5, plugins=[path])


def test_a_file_of_backbones_alone_is_no_broken_method(tmp_path: Path) -> None:
    path = tmp_path / "nets.py"
    path.write_text(PLUGIN.replace("class Alone(Independent)", "class Alone"))
    assert methods.available([path]) == methods.available()
    path = tmp_path / "nothing.py"
    path.write_text("x = 1\n")
    assert methods.available([path])["nothing"].startswith("broken: InputError: ")
