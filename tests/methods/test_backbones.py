"""The backbones against the published sizes, against torchvision's definitions, and in use."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import methods
from methods.backbones import available, make
from methods.errors import InputError
from methods.networks import BranchedNetwork

# One architecture of every kind; the other names differ from these in the number and width of blocks alone.
KINDS = (
    *("resnet32", "wide_resnet20_8", "vgg16", "densenet40_12", "resnet18", "resnet18_tiny"),
    *("resnet8x4", "wrn_16_2", "vgg8", "mobilenet_v2", "shufflenet_v2"),
)


def parameters(module: nn.Module) -> int:
    """The number of parameters that are trained: a mean teacher's are not."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def by_classes(table: Mapping[str, tuple[object, object]]) -> list[Any]:
    """A case (name, classes, expected) for 10 and for 100 classes of every row."""
    return [
        pytest.param(name, classes, expected, id=f"{name}-C{classes}")
        for name, row in table.items()
        for classes, expected in zip((10, 100), row, strict=True)
    ]


# ---- Parameters, as published (METHODS 2.4): C = 10, C = 100 ----

SINGLE = {
    "resnet32": (466_906, 472_756),
    "resnet110": (1_147_738, 1_170_868),
    "resnet110_basic": (1_730_714, 1_736_564),
    "wide_resnet20_8": (6_848_090, 6_871_220),
    "vgg16": (15_253_578, 15_299_748),
    "densenet40_12": (176_122, 188_092),
}

# Shared trunk, one branch, and the classifier on the features of three branches.
PARTS = {
    "resnet32": ((112_592, 354_314, 1_930), (112_592, 360_164, 19_300)),
    "resnet110": ((275_280, 872_458, 7_690), (275_280, 895_588, 76_900)),
    "wide_resnet20_8": ((1_629_776, 5_218_314, 7_690), (1_629_776, 5_241_444, 76_900)),
    "vgg16": ((7_640_640, 7_612_938, 15_370), (7_640_640, 7_659_108, 153_700)),
    "densenet40_12": ((115_848, 60_274, 3_970), (115_848, 72_244, 39_700)),
}

# The published DenseNet counts of OKDDip and ONE are of branches that share a dense block; these are of separate ones.
# OKDDip counts its auxiliary peers: the leader is one more.
METHODS: dict[tuple[str, int], dict[str, tuple[int, int]]] = {
    ("okddip", 3): {
        "resnet32": (1_530_872, 1_554_272),
        "resnet110": (3_781_496, 3_874_016),
        "wide_resnet20_8": (22_519_416, 22_611_936),
        "vgg16": (38_157_928, 38_342_608),
        "densenet40_12": (361_168, 409_048),
    },
    ("okddip", 2): {
        "resnet32": (1_176_558, 1_194_108),
        "resnet110": (2_909_038, 2_978_428),
        "wide_resnet20_8": (17_301_102, 17_370_492),
        "vgg16": (30_544_990, 30_683_500),
    },
    ("one", 3): {
        "resnet32": (1_175_639, 1_193_189),
        "resnet110": (2_893_047, 2_962_437),
        "wide_resnet20_8": (17_285_111, 17_354_501),
        "vgg16": (30_480_999, 30_619_509),
        "densenet40_12": (296_859, 332_769),
    },
    ("one", 4): {
        "resnet32": (1_529_988, 1_553_388),
        "resnet110": (3_765_636, 3_858_156),
        "wide_resnet20_8": (22_503_556, 22_596_076),
        "vgg16": (38_094_452, 38_279_132),
    },
    **{
        (method, 3): {
            "resnet32": (1_177_464, 1_212_384),
            "resnet110": (2_900_344, 3_038_944),
            "wide_resnet20_8": (17_292_408, 17_431_008),
            "vgg16": (30_494_824, 30_771_664),
            "densenet40_12": (300_640, 372_280),
        }
        for method in ("pcl", "dkel")
    },
    ("dml", 4): {
        "resnet32": (1_867_624, 1_891_024),
        "resnet110": (4_590_952, 4_683_472),
        "wide_resnet20_8": (27_392_360, 27_484_880),
        "vgg16": (61_014_312, 61_198_992),
        "densenet40_12": (704_488, 752_368),
    },
}

# Four branches and nothing else (CL-ILR); 100 classes, 4 branches that share the stem and stage 1 alone (MCL).
BRANCHES = {
    "resnet32": (1_529_848, 1_553_248),
    "resnet110": (3_765_112, 3_857_632),
    "wide_resnet20_8": (22_503_032, 22_595_552),
    "vgg16": (38_092_392, 38_277_072),
    "densenet40_12": (356_944, 404_824),
}
ONE_SHARED_STAGE = {
    "resnet32": 1_819_552,
    "resnet110": 4_517_344,
    "densenet40_12": 592_384,
    # MCL's VGG-16 has one linear layer, ours two more of 512 to 512 in each branch
    "vgg16": 53_884_368 + 4 * 2 * (512 * 512 + 512),
}

# DKEL's networks for Tiny ImageNet, 200 classes: single, trunk, branch, K = 3 with the classifier on all features.
TINY = {
    "resnet18_tiny": (11_279_112, 2_782_784, 8_496_328, 28_579_168),
    "resnet34_tiny": (21_387_272, 8_170_304, 13_216_968, 48_128_608),
}


def built(method: str, peers: int, name: str, classes: int) -> list[nn.Module]:
    return [methods.build(method, backbone=name, num_classes=classes, peers=peers)]


def three_parts(name: str, classes: int) -> list[nn.Module]:
    backbone = make(name, classes)
    return [backbone.stem(), backbone.branch(), backbone.linear(3 * backbone.features, classes, True)]


COUNTED: dict[str, tuple[Callable[[str, int], list[nn.Module]], Mapping[str, tuple[Any, Any]]]] = {
    "single": (lambda name, classes: [make(name, classes).network()], SINGLE),
    "parts": (three_parts, PARTS),
    "four branches": (lambda name, classes: [BranchedNetwork(make(name, classes), peers=4)], BRANCHES),
    **{f"{method}-{peers}": (partial(built, method, peers), table) for (method, peers), table in METHODS.items()},
}


@pytest.mark.parametrize(
    ("what", "name", "classes", "expected"),
    [
        pytest.param(what, *case.values, id=f"{what}-{case.id}")
        for what, (_, table) in COUNTED.items()
        for case in by_classes(table)
    ],
)
def test_parameters_are_the_published_ones(what: str, name: str, classes: int, expected: Any) -> None:
    with torch.device("meta"):
        found = [parameters(part) for part in COUNTED[what][0](name, classes)]
    assert found == (list(expected) if isinstance(expected, tuple) else [expected])


@pytest.mark.parametrize(
    ("name", "expected"), [pytest.param(name, count, id=f"{name}-C100") for name, count in ONE_SHARED_STAGE.items()]
)
def test_parameters_of_four_branches_that_share_one_stage(name: str, expected: int) -> None:
    with torch.device("meta"):
        assert parameters(BranchedNetwork(make(name, 100), peers=4, shared_stages=1)) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [pytest.param(name, row, id=f"{name}-C200") for name, row in TINY.items()]
)
def test_parameters_of_the_networks_for_tiny_imagenet(name: str, expected: tuple[int, ...]) -> None:
    backbone = make(name, 200, image_size=64)
    with torch.device("meta"):
        dkel = methods.build("dkel", backbone=name, num_classes=200, image_size=64, peers=3)
        counted = [parameters(part) for part in (backbone.network(), backbone.stem(), backbone.branch(), dkel)]
        ensemble_classifier = backbone.linear(3 * backbone.features, 200, True)
    assert tuple(counted) == expected
    assert parameters(ensemble_classifier) == 307_400


# ---- Multiply-adds of convolutions and linear layers per image, as published (METHODS 2.5) ----

MULTIPLY_ADDS = [
    ("resnet32", 10, 32, 69_124_736),
    ("resnet32", 100, 32, 69_130_496),
    ("resnet110", 10, 32, 167_430_656),
    ("resnet110", 100, 32, 167_453_696),
    ("resnet110_basic", 100, 32, 253_155_584),
    ("vgg16", 10, 32, 313_725_952),
    ("vgg16", 100, 32, 313_772_032),
    ("densenet40_12", 10, 32, 72_365_352),
    ("densenet40_12", 100, 32, 72_377_232),
    ("wide_resnet20_8", 10, 32, 1_022_806_528),
    ("wide_resnet20_8", 100, 32, 1_022_829_568),
    ("resnet18_tiny", 200, 64, 563_384_320),
    ("resnet34_tiny", 200, 64, 1_167_364_096),
]


@pytest.mark.parametrize(
    ("name", "classes", "side", "expected"),
    [pytest.param(*case, id=f"{case[0]}-C{case[1]}") for case in MULTIPLY_ADDS],
)
def test_flops_are_twice_the_multiply_adds(name: str, classes: int, side: int, expected: int) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        make(name, classes, image_size=side).network()(torch.empty(1, 3, side, side))
    assert counter.get_total_flops() == 2 * expected


# ---- The same function as torchvision's, where torchvision has the architecture ----


def _vgg16() -> nn.Module:
    reference: nn.Module = torchvision.models.vgg16_bn()
    reference.avgpool = nn.AdaptiveAvgPool2d(1)
    reference.classifier = nn.Sequential(
        nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    return reference


def _densenet40_12() -> nn.Module:
    reference: nn.Module = torchvision.models.DenseNet(12, (6, 6, 6), num_init_features=24, num_classes=10)
    features = reference.get_submodule("features")
    features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    del features.norm0, features.relu0, features.pool0
    return reference


def _resnet18_tiny() -> nn.Module:
    reference: nn.Module = torchvision.models.resnet18(num_classes=10)
    reference.maxpool = nn.Identity()
    return reference


@pytest.mark.parametrize(
    ("name", "torchvision_network"),
    [
        ("vgg16", _vgg16),
        ("densenet40_12", _densenet40_12),
        ("resnet18", lambda: torchvision.models.resnet18(num_classes=10)),
        ("resnet34", lambda: torchvision.models.resnet34(num_classes=10)),
        ("resnet18_tiny", _resnet18_tiny),
    ],
)
def test_network_computes_what_torchvision_computes(name: str, torchvision_network: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    network = make(name, 10).network().train()
    images = torch.randn(4, 3, 32, 32)
    network(images)  # moves the batch statistics away from 0 and 1
    with torch.device("meta"):
        reference = torchvision_network()
    state = zip(reference.state_dict(), network.state_dict().values(), strict=True)  # both in the order of definition
    reference.load_state_dict(dict(state), assign=True)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(images), reference.eval()(images))


# ---- In use ----


@pytest.mark.parametrize("name", sorted(available()))
def test_every_name_gives_a_classifier_of_images(name: str) -> None:
    with torch.device("meta"):
        assert make(name, 10, image_size=64).network()(torch.empty(2, 3, 64, 64)).shape == (2, 10)


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_too_small_images_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} needs images of side 32 or more"):
        make(name, 10, image_size=28)


@pytest.mark.parametrize("name", KINDS)
def test_every_branch_and_classifier_is_initialised_separately(name: str) -> None:
    torch.manual_seed(0)
    first, second, third = BranchedNetwork(make(name, 10), peers=3).branches
    for one, other in ((first, second), (first, third), (second, third)):
        for (weight_name, weight), drawn_again in zip(one.named_parameters(), other.parameters(), strict=True):
            if weight.dim() > 1:  # batch norm and biases that begin with a constant are equal
                assert not torch.equal(weight, drawn_again), weight_name


@pytest.mark.parametrize("name", KINDS)
def test_weights_are_initialised_by_the_familys_rule(name: str) -> None:
    torch.manual_seed(0)
    network = make(name, 10).network()
    spread = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            fan = layer.in_channels if name == "densenet40_12" else layer.out_channels
            variance = 2 / (fan * layer.kernel_size[0] * layer.kernel_size[1])
            if name == "shufflenet_v2":  # torch's own draw, uniform
                variance = 1 / (3 * (layer.weight[0].numel()))
            spread.append((layer.weight / variance**0.5).flatten())
            assert layer.bias is None or not layer.bias.any()
        elif isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert not layer.bias.any()
        elif isinstance(layer, nn.Linear):
            default = name.startswith(("resnet", "wide_resnet", "shufflenet"))
            assert layer.bias.any() == default
            expected = 0.01 if name.startswith(("vgg", "mobilenet")) else (3 * layer.in_features) ** -0.5
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.1)
    assert torch.cat(spread).std().item() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("name", ["vgg16", "densenet40_12"])
def test_further_linear_layers_begin_as_the_classifier_does(name: str) -> None:
    torch.manual_seed(0)
    linear = make(name, 10).linear(256, 256, True)
    assert linear.weight.std().item() == pytest.approx(0.01 if name == "vgg16" else 768**-0.5, rel=0.02)
    assert not linear.bias.any()
    assert make(name, 10).linear(4, 4, False).bias is None


def test_listing_the_backbones_does_not_load_torch() -> None:
    code = "import sys, methods.backbones as b; assert b.available(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
