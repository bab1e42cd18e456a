"""The contract for networks holds for every family and library, and catches networks that break it."""

from pathlib import Path

import pytest

from benchmark.checking.cases import ContractError
from benchmark.checking.check import faults
from benchmark.checking.networks import CLAUSES, NetworkCase, check_network
from methods import backbones
from tests.command_line import Bench

# The quickest of each family; a library's networks are cut as the second one of docs/adding_a_backbone.md is.
NAMES = ("resnet8", "vgg8")
FURTHER = ("densenet40_12", "resnet8x4", "wrn_16_2", "mobilenet_v2", "shufflenet_v2")


@pytest.mark.parametrize("name", [*NAMES, *(pytest.param(name, marks=pytest.mark.thorough) for name in FURTHER)])
def test_the_contract_is_kept_by(name: str) -> None:
    results = check_network(name)
    assert faults(results) == []
    for case in ("8x8 in colour", "28x28 grey"):
        assert {result.clause for result in results if result.case == case} == CLAUSES.keys()
    # a method of separate networks and one of branches have trained it
    labels = {result.case for result in results if result.case.startswith("in ")}
    assert len(labels) == 2
    assert all(any(f.case == label and f.clause.startswith("a gradient") for f in results) for label in labels)


def test_every_family_is_covered() -> None:
    factories = {backbones.describe(name).factory for name in backbones.available()}
    checked = {backbones.describe(name).factory for name in (*NAMES, *FURTHER)}
    # in these three families the same stages are bigger
    assert factories - checked == {"cifar_bottleneck_resnet", "vgg16", "imagenet_resnet"}


PLUGIN = '''
from functools import partial
import numpy
import torch
from torch import nn
from methods.backbones import Backbone

SHARED = nn.Linear(8, 5)


def broken(name, num_classes, in_channels, image_size) -> Backbone:
    """Two stages of one convolution."""
    def stage(index):
        inputs, outputs = ((in_channels, 4), (4, 8))[index]
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())

    return Backbone(
        name=name,
        stages=[partial(stage, index) for index in range(2)],
        channels=(4, 8),
        shared_stages=1,
        classifier=lambda: nn.Linear(8, num_classes),
        linear=nn.Linear,
        num_classes=num_classes,
    )


class ByBatch(nn.Module):
    def forward(self, maps):
        return maps - maps.mean(0, keepdim=True)


class SingleOnly(nn.Module):
    def forward(self, maps):
        return maps.float()


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, maps):
        self.calls += 1
        return maps


class Unused(nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.other = nn.Parameter(torch.ones(3))
'''


def break_plugin(folder: Path, old: str, new: str) -> Path:
    assert PLUGIN.count(old) == 1
    path = folder / "broken.py"
    path.write_text(PLUGIN.replace(old, new))
    return path


def test_the_plugin_keeps_the_contract_before_it_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text(PLUGIN)
    assert faults(check_network("broken", [str(path)])) == []


RELU, LINEAR = "nn.ReLU())", "nn.Linear(8, num_classes)"
DESCRIBED, LOGITS = "described as it is", "logits for any number of images"
PREDICT, SEEDED = "predict: deterministic, for all students", "initialised anew, and by the seed"
ELSEWHERE = "        torch.manual_seed(numpy.random.randint(2**31))\n        inputs, outputs ="
BROKEN = {
    "another name": ("name=name", "name='other'", DESCRIBED),
    "channels that are not true": ("channels=(4, 8)", "channels=(4, 6)", "stages compose to the forward"),
    "channels for another number of stages": ("channels=(4, 8)", "channels=(8,)", DESCRIBED),
    "another linear layer": ("linear=nn.Linear,", "linear=lambda i, o, b: nn.Linear(i, o),", DESCRIBED),
    "logits of other classes": (LINEAR, "nn.Linear(8, 6)", LOGITS),
    "logits that are not finite": (RELU, "nn.ReLU(), nn.Threshold(9, float('nan')))", LOGITS),
    "no batch of one": (RELU, "nn.ReLU(), nn.Unflatten(0, (-1, 2)), nn.Flatten(0, 1))", LOGITS),
    "features by the batch": (RELU, "nn.ReLU(), ByBatch())", PREDICT),
    "a state that moves in eval mode": (RELU, "nn.ReLU(), Counting())", PREDICT),
    "single precision": (RELU, "nn.ReLU(), SingleOnly())", "float64 and channels-last"),
    "a weight that is not used": (LINEAR, "Unused(8, num_classes)", "a gradient for every trainable parameter"),
    "weights that two networks share": (LINEAR, "SHARED", SEEDED),
    "weights from elsewhere": ("        inputs, outputs =", ELSEWHERE, SEEDED),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_contract_catches(fault: str, tmp_path: Path) -> None:
    old, new, clause = BROKEN[fault]
    results = check_network("broken", [str(break_plugin(tmp_path, old, new))])
    assert clause in {result.clause for result in results if result.reason}, faults(results)


def test_a_network_that_takes_no_images_is_reported() -> None:
    (result,) = check_network("torchvision:googlenet")
    assert result.clause == "takes images of some size"
    assert "returns more than logits in training" in str(result.reason)


def test_stages_that_are_not_the_network_are_found() -> None:
    case = NetworkCase("8x8", "resnet8", image_size=8)
    case.settled.branch.read = lambda maps: (maps.mean((2, 3)), maps.amax((2, 3))[:, :5])  # type: ignore[method-assign]
    with pytest.raises(ContractError, match="the stages do not compute what the network computes"):
        CLAUSES["stages compose to the forward"][1](case)


def test_the_command_checks_networks_of_plugins_and_of_the_catalogue(tmp_path: Path, bench: Bench) -> None:
    path = break_plugin(tmp_path, "channels=(4, 8)", "channels=(4, 6)")
    answer = bench("check", "--backbone", "resnet8,broken", "--plugin", path)
    kept, broken, *_ = answer.out.splitlines()
    assert answer.code == 1
    assert kept.startswith("ok    resnet8 ")
    assert broken.startswith("FAIL  broken ")
    assert "stages compose to the forward" in broken


@pytest.mark.parametrize(
    ("words", "facts"),
    [("--backbone resnet7", ["'resnet7'", "resnet8"]), ("dml --backbone resnet8", ["dml", "--backbone"])],
)
def test_the_command_refuses_what_it_cannot_check(words: str, facts: list[str], bench: Bench) -> None:
    bench("check", *words.split()).assert_refused(*facts)
