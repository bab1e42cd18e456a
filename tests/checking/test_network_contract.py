"""The contract for networks holds for every family and library, and catches networks that break it."""

from pathlib import Path

import pytest

from benchmark import cli
from benchmark.checking.check import faults
from benchmark.checking.comparing import ContractError
from benchmark.checking.network_check import check_network
from benchmark.checking.network_contract import CLAUSES, NetworkCase
from methods import backbones
from methods.errors import InputError

# The quickest of each family; a library's networks are cut as the second one of docs/adding_a_backbone.md is.
NAMES = ("resnet8", "vgg8")
FURTHER = ("densenet40_12", "resnet8x4", "wrn_16_2", "mobilenet_v2", "shufflenet_v2")


@pytest.mark.parametrize("name", [*NAMES, *(pytest.param(name, marks=pytest.mark.thorough) for name in FURTHER)])
def test_the_contract_is_kept_by(name: str) -> None:
    findings = check_network(name)
    assert faults(findings) == []
    for case in ("8x8 in colour", "28x28 grey"):
        assert {finding.what for finding in findings if finding.case == case} == CLAUSES.keys()
    # a method of separate networks and one of branches have trained it
    labels = {finding.case for finding in findings if finding.case.startswith("in ")}
    assert len(labels) == 2
    assert all(any(f.case == label and f.what.startswith("a gradient") for f in findings) for label in labels)


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


BROKEN = {
    "another name": ("name=name", "name='other'", "it calls itself 'other'"),
    "channels that are not true": ("channels=(4, 8)", "channels=(4, 6)", "not 6 channels"),
    "channels for another number of stages": ("channels=(4, 8)", "channels=(8,)", "2 stages and channels of 1"),
    "a linear layer of its own mind": ("linear=nn.Linear,", "linear=lambda i, o, b: nn.Linear(i, o),", "linear(3, 2, "),
    "logits of other classes": ("nn.Linear(8, num_classes)", "nn.Linear(8, 6)", "not [1, 5]"),
    "logits that are not finite": ("nn.ReLU())", "nn.LogSoftmax(1), nn.Threshold(9, float('nan')))", "not finite"),
    "features by the batch": ("nn.ReLU())", "nn.ReLU(), ByBatch())", "an image without the others of its batch"),
    "single precision": ("nn.ReLU())", "nn.ReLU(), SingleOnly())", "float64: RuntimeError"),
    "a state that moves in eval mode": ("nn.ReLU())", "nn.ReLU(), Counting())", "eval mode changes"),
    "a weight that is not used": ("nn.Linear(8, num_classes)", "Unused(8, num_classes)", "other gets no gradient"),
    "weights that two networks share": ("nn.Linear(8, num_classes)", "SHARED", "the same in two networks"),
    "weights from elsewhere": (
        "        inputs, outputs =",
        "        torch.manual_seed(numpy.random.randint(2**31))\n        inputs, outputs =",
        "is drawn from something else than torch's generator",
    ),
    "no batch of one": ("nn.ReLU())", "nn.ReLU(), nn.Unflatten(0, (-1, 2)), nn.Flatten(0, 1))", "RuntimeError"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_contract_catches(fault: str, tmp_path: Path) -> None:
    old, new, said = BROKEN[fault]
    path = break_plugin(tmp_path, old, new)
    found = faults(check_network("broken", [str(path)]))
    assert any(said in line for line in found), found


def test_a_network_that_takes_no_images_is_told_so() -> None:
    (finding,) = check_network("torchvision:googlenet")
    assert finding.what == "takes images of some size"
    assert "returns more than logits in training" in str(finding.reason)


def test_stages_that_are_not_the_network_are_found() -> None:
    case = NetworkCase("8x8", "resnet8", image_size=8)
    case.settled.branch.read = lambda maps: (maps.mean((2, 3)), maps.amax((2, 3))[:, :5])  # type: ignore[method-assign]
    with pytest.raises(ContractError, match="the stages do not compute what the network computes"):
        CLAUSES["stages compose to the forward"](case)


def bench(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["bench", *words])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command_checks_networks_of_plugins_and_of_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = break_plugin(tmp_path, "channels=(4, 8)", "channels=(4, 6)")
    assert bench(monkeypatch, "check", "--backbone", "resnet8,broken", "--plugin", str(path)) == 1
    kept, broken, *_ = capsys.readouterr().out.splitlines()
    assert kept.startswith("ok    resnet8  (")
    assert broken.startswith("FAIL  broken   stages compose to the forward: stage 1 returns [3, 8, ")


def test_the_command_refuses_what_it_cannot_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(monkeypatch, "check", "--backbone", "resnet7") == 2
    assert "unknown backbone 'resnet7', did you mean 'resnet" in capsys.readouterr().err
    assert bench(monkeypatch, "check", "dml", "--backbone", "resnet8") == 2
    assert "bench check takes a method (dml) or --backbone, not both" in capsys.readouterr().err
    with pytest.raises(InputError, match="unknown backbone"):
        check_network("resnet7")
