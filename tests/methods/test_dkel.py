"""DKEL as its abstract describes it: the loss in closed form, the horizon of its decay, and which runs it is."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import methods
from benchmark.configuration import RunConfig
from benchmark.datasets import Shape
from benchmark.training.initialisation import initialise_method
from methods import Outputs, Progress, registry
from tests.plans import digits

TEMPERATURE, WEIGHT, PEERS, EPOCHS = 3.0, 0.1, 3, 300


def divergence(student: Any, teacher: Any) -> float:
    """``T^2 mean_b KL(softmax(t/T) || softmax(s/T))`` in numpy."""

    def log_softmax(logits: Any) -> Any:
        scaled = logits / TEMPERATURE
        return scaled - np.log(np.exp(scaled).sum(-1, keepdims=True))

    ours, theirs = log_softmax(student), log_softmax(teacher)
    return float(TEMPERATURE**2 * (np.exp(theirs) * (theirs - ours)).sum(-1).mean())


def build(**hyperparameters: Any) -> methods.Method:
    torch.manual_seed(0)
    return methods.build("dkel", backbone="resnet8", num_classes=7, image_size=8, **hyperparameters)


def outputs() -> tuple[Outputs, torch.Tensor]:
    torch.manual_seed(1)
    peers, teachers = torch.randn(2, PEERS, 16, 7, dtype=torch.float64)
    ensemble = torch.randn(16, 7, dtype=torch.float64)
    return Outputs(peers=peers, ensemble=ensemble, teachers=teachers), torch.arange(16) % 7


@pytest.mark.parametrize("epoch", [0, 1, 9, 40, 79, 80, 200])
@pytest.mark.parametrize("ramped", [False, True])
def test_loss_in_closed_form(epoch: int, ramped: bool) -> None:
    method = build(ramped_ensemble=ramped, decay_rate=0.05)
    given, labels = outputs()
    ramp = math.exp(-5 * (1 - min(epoch, 80) / 80) ** 2)
    share = math.exp(-0.05 * epoch)
    share = share if share > 0.01 else 0.0
    assert given.teachers is not None
    assert given.ensemble is not None
    peers, teachers, target = given.peers.numpy(), given.teachers.numpy(), given.ensemble.numpy()
    others = [[j for j in range(PEERS) if j != i] for i in range(PEERS)]
    together = sum(divergence(peers[i], teachers[others[i]].mean(0)) for i in range(PEERS))
    each = sum(divergence(peers[i], teachers[j]) / (PEERS - 1) for i in range(PEERS) for j in others[i])
    ensemble = sum(divergence(peers[i], target) for i in range(PEERS))
    terms = {name: float(term) for name, term in method.losses(given, labels, Progress(epoch, epoch, EPOCHS)).items()}
    assert terms["ensemble_distillation"] == pytest.approx(WEIGHT * ramp * ensemble, rel=1e-9)
    assert terms["peer_distillation"] == pytest.approx(WEIGHT * ramp * (1 - share) * each, rel=1e-9)
    weight = WEIGHT * share * (ramp if ramped else 1)
    assert terms["teacher_ensemble_distillation"] == pytest.approx(weight * together, rel=1e-9)


@pytest.mark.parametrize("epochs", [30, 100, 300])
@pytest.mark.parametrize("decay", ["exp", "linear", "cosine", "step"])
def test_the_share_is_largest_at_first_and_gone_at_the_same_part_of_any_run(decay: str, epochs: int) -> None:
    values: Any = registry.load("dkel").Hyperparameters.resolve({"decay": decay}, epochs)
    shares = [values.shares_at(epoch)["teacher_ensemble_distillation"] for epoch in range(epochs)]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert values.decay_epochs == round(registry.load("dkel").Hyperparameters().decay_epochs * epochs / 300)  # type: ignore[attr-defined]
    assert not any(shares[values.decay_epochs :])
    # half a cosine is flat at its end
    assert 0.8 * values.decay_epochs < sum(share > 0 for share in shares) <= values.decay_epochs


def test_a_rate_that_is_given_counts_per_epoch() -> None:
    for epochs in (30, 300):
        values: Any = registry.load("dkel").Hyperparameters.resolve({"decay_rate": 0.2}, epochs)
        assert values.shares_at(4)["teacher_ensemble_distillation"] == pytest.approx(math.exp(-0.8))


class TestIdentity:
    """A run of version 1 is found under the settings that mean it today."""

    def run(self, tmp_path: Path, **hyperparameters: Any) -> RunConfig:
        [run] = digits(tmp_path, "dkel", dkel=hyperparameters).runs
        return run

    def test_ramped_is_version_1_without_the_new_key(self, tmp_path: Path) -> None:
        run = self.run(tmp_path, ramped_ensemble=True, decay_rate=0.5)
        assert run.method_version == 1
        assert "ramped_ensemble" not in run.hyperparameters

    def test_the_default_is_version_2(self, tmp_path: Path) -> None:
        run = self.run(tmp_path)
        assert (run.method_version, run.hyperparameters["ramped_ensemble"]) == (2, False)
        assert run.identity != self.run(tmp_path, ramped_ensemble=True).identity

    def test_a_stored_configuration_is_rebuilt(self, tmp_path: Path) -> None:
        shape = Shape(10, 10, 10, 1, 8)
        for ramped in (True, False):
            run = self.run(tmp_path, ramped_ensemble=ramped, decay_rate=0.5)
            method: Any = initialise_method(run, shape)
            assert method.hyperparameters.ramped_ensemble is ramped

    def test_without_a_ramp_up_both_values_are_one_run(self, tmp_path: Path) -> None:
        runs = [self.run(tmp_path, ramp="none", decay_rate=0.5, ramped_ensemble=value) for value in (True, False)]
        assert len({run.identity for run in [*runs, self.run(tmp_path, ramp="none", decay_rate=0.5)]}) == 1
        assert runs[0].method_version == 1

    def test_the_released_ramp_is_version_1(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, ramp="released", decay_rate=0.5).method_version == 1
