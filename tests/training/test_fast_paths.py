"""What makes training fast changes no number beyond rounding: the same steps with every fast path on and off."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

import methods
from benchmark.configuration.run_config import RunConfig
from benchmark.datasets.catalogue import load
from benchmark.training import StepBatch, Trainer
from methods import Progress
from tests.plans import digits

METHODS = tuple(name for name in methods.available() if name != "kd")  # which needs a teacher's file
TOLERANCES = {torch.float32: 1e-6, torch.float64: 1e-12}
"""Relative; float64 is equal but for the order in which sums are taken."""
STEPS = {torch.float32: 2, torch.float64: 5}
"""Rounding grows a hundredfold a step once an activation falls on the other side of zero: in float32 in the third."""

NETWORK = '''
import torch
from torch import nn

from methods.backbones import Backbone, from_module


class Residual(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.stride = stride

    def forward(self, maps):
        return torch.relu(self.norm(self.convolution(maps)) + maps[..., :: self.stride, :: self.stride])


def one_block(name, num_classes, in_channels, image_size) -> Backbone:
    """A convolution and a residual block."""
    def build():
        stem = nn.Conv2d(in_channels, 8, 3, padding=1)
        end = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
        return nn.Sequential(stem, Residual(8, 2), *end)

    return from_module(name, build, num_classes, in_channels, image_size)
'''
"""Of every layer that there is to compile: the compiler takes its time for each."""


class OneByOne(torch.optim.SGD):
    """A step that is not fused; it is left out where a fused one would leave everything as it is."""

    found_inf: Tensor | None = None

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        found, self.found_inf = self.found_inf, None
        if found is None or not found:
            super().step(closure)


def losses(run: RunConfig, dtype: torch.dtype, fast: bool, plugins: Sequence[Path] = ()) -> list[float]:
    """The total loss of some steps on the run's own batches."""
    trainer = Trainer(run, load(run.dataset, run.data, Path("data")), torch.device("cpu"), plugins)
    trainer.method.to(dtype)
    if not fast:
        settings = run.train.model_dump(include={"lr", "momentum", "nesterov", "weight_decay"})
        groups = [{"params": group.parameters} for group in trainer.groups]
        trainer.optimizer = OneByOne(groups, **settings, foreach=False, fused=False)
    batches = trainer.batches.of_epoch("order", "augmentation", 0)
    found = []
    for step, (batch, _) in zip(range(STEPS[dtype]), batches, strict=False):
        terms = trainer.train_step(StepBatch(batch.views.to(dtype), batch.labels), Progress(5, step, run.train.epochs))
        found.append(sum(term.item() for term in terms.values()))
    return found


def planned(method: str, folder: Path, **train: object) -> RunConfig:
    # the steps are taken after the rate has dropped
    settings = {"batch_size": 24, "lr": 0.2, **train}
    (run,) = digits(folder, method, epochs=10, data={"train_per_class": 10}, train=settings).runs
    return run


def one_by_one(targets: Iterable[Tensor], ends: Sequence[Tensor], weight: float) -> None:
    """Move every tensor towards its end by a share, as the definition has it."""
    for target, end in zip(targets, ends, strict=True):
        target.mul_(1 - weight).add_(end * weight)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_the_layout_and_the_fused_updates_change_no_loss(
    method: str, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = losses(planned(method, tmp_path), dtype, fast=True)
    monkeypatch.setattr(torch, "_foreach_lerp_", one_by_one)
    slow = losses(planned(method, tmp_path, channels_last=False), dtype, fast=False)
    assert fast == pytest.approx(slow, rel=TOLERANCES[dtype])
    assert len(fast) == STEPS[dtype]


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_compilation_changes_no_loss(dtype: torch.dtype, tmp_path: Path) -> None:
    plugin = tmp_path / "one_block.py"
    plugin.write_text(NETWORK)
    run = planned("independent", tmp_path, compile=True)
    compiled = run.model_copy(update={"backbone": "one_block"})
    plain = compiled.model_copy(update={"train": run.train.model_copy(update={"compile": False})})
    ours, theirs = (losses(each, dtype, fast=True, plugins=[plugin]) for each in (compiled, plain))
    assert ours == pytest.approx(theirs, rel=TOLERANCES[dtype])
