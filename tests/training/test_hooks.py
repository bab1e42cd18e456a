"""What a run calls around a step, in which order and with what; the optimiser's groups; what methods hold beside."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.datasets import Shape, random_dataset
from benchmark.speed.cost import run_cost
from benchmark.training import Trainer
from benchmark.training.steps import StepBatch, make_optimizer, outputs_and_losses
from methods import Outputs, Progress
from tests.plans import on_noise

CPU = torch.device("cpu")
IMAGES = random_dataset(Shape(10, 6, 5, 1, 8))

RECORDER = '''
from methods.objectives import cross_entropy
from methods.peers import PeerHyperparameters, SeparatePeers


class Recorder(SeparatePeers):
    """Writes down what it is called with."""

    name = "recorder"
    Hyperparameters = PeerHyperparameters

    def __init__(self, backbones, hyperparameters):
        super().__init__(backbones, hyperparameters, hyperparameters.peers)
        self.calls = []

    def labels(self, labels):
        self.calls.append(("labels", labels.tolist()))

    def start(self, batches):
        self.calls.append(("start", len(next(batches)[1])))

    def begin_step(self, indices, labels):
        self.calls.append(("begin_step", indices.tolist(), labels.tolist()))

    def forward(self, views):
        self.calls.append(("forward", views.shape[1]))
        return super().forward(views)

    def losses(self, outputs, labels, progress):
        self.calls.append(("losses", len(labels)))
        return {"cross_entropy": cross_entropy(outputs.peers, labels)}

    def before_update(self, outputs, labels, progress):
        ready = all(own.grad is not None for own in self.parameters())
        self.calls.append(("before_update", ready, outputs.peers.requires_grad))

    def after_step(self, progress):
        self.calls.append(("after_step", progress.epoch, progress.step, progress.last_of_epoch))

    def scores(self):
        self.calls.append(("scores",))
        return {"answer": 42.0}
'''


def trainer(method: str, plugins: tuple[Path, ...] = (), hyperparameters: Any = None, **train: Any) -> Trainer:
    settings = {"epochs": 2, "batch_size": 5, "lr": 0.05, **train}
    config = on_noise(method, plugins=plugins, hyperparameters=hyperparameters, **settings)
    return Trainer(config, IMAGES, CPU, plugins)


def test_hooks_are_called_in_their_order(tmp_path: Path) -> None:
    plugin = tmp_path / "recorder.py"
    plugin.write_text(RECORDER, encoding="utf-8")
    begun = trainer("recorder", (plugin,))
    calls: Any = begun.method.calls
    labels = IMAGES.train.labels.tolist()
    assert calls == [("labels", labels), ("start", 5)]
    calls.clear()
    assert begun.epoch()["method/answer"] == 42
    names = ["begin_step", "forward", "losses", "before_update", "after_step"]
    assert [call[0] for call in calls] == [*names, *names, "scores"]
    seen = [call[1] for call in calls if call[0] == "begin_step"]
    assert sorted(seen[0] + seen[1]) == list(range(10))
    for call in calls:
        if call[0] == "begin_step":
            assert call[2] == [labels[index] for index in call[1]]
    assert [call[1:] for call in calls if call[0] == "before_update"] == [(True, True)] * 2
    assert [call[1:] for call in calls if call[0] == "after_step"] == [(0, 0, False), (0, 1, True)]


def test_separate_networks_have_a_group_each_and_the_same_numbers_as_one_group() -> None:
    grouped, single = trainer("dml", epochs=1), trainer("dml", epochs=1)
    assert len(grouped.optimizer.param_groups) == 2
    parts = grouped.groups
    assert [own for part in parts for own in part.parameters] == grouped.parameters
    single.groups = [replaced(single)]
    single.optimizer = make_optimizer(single.groups, single.config.train)
    assert {**grouped.epoch(), "seconds": 0} == {**single.epoch(), "seconds": 0}
    for ours, theirs in zip(grouped.parameters, single.parameters, strict=True):
        assert torch.equal(ours, theirs)


def replaced(begun: Trainer) -> Any:
    """All parameters as one group, as every method had them once."""
    first = begun.groups[0]
    return first._replace(own=replace(first.own, parameters=begun.parameters), parameters=begun.parameters)


def test_a_checkpoint_of_one_group_goes_on_in_a_group_a_network() -> None:
    whole, begun, resumed = (trainer("dml") for _ in range(3))
    whole.epoch()
    expected = whole.epoch()
    begun.epoch()
    state = begun.state()
    first = {**state["optimizer"]["param_groups"][0], "params": list(range(len(begun.parameters)))}
    state["optimizer"] = {"state": state["optimizer"]["state"], "param_groups": [first]}
    resumed.load_state(state)
    assert {**resumed.epoch(), "seconds": 0} == {**expected, "seconds": 0}


@dataclass
class More(Outputs):
    """With a mask and with numbers of half precision."""

    mask: Tensor | None = None
    more: Tensor | None = None


def test_full_precision_keeps_class_and_fields() -> None:
    half = torch.ones(1, 2, 3, dtype=torch.bfloat16)
    given = More(half, mask=torch.tensor([True]), more=half)
    batch = StepBatch(torch.zeros(1, 2, 1, 8, 8), torch.zeros(2, dtype=torch.int64))
    found, terms = outputs_and_losses(trainer("independent").method, batch, Progress(0, 0, 1), lambda views: given)
    assert isinstance(found, More)
    assert found.peers.dtype == torch.float32
    assert found.more is not None
    assert found.more.dtype == torch.float32
    assert found.mask is given.mask
    assert given.peers.dtype == torch.bfloat16
    assert {term.dtype for term in terms.values()} == {torch.float32}


def test_the_cost_of_a_memory_bank_is_counted() -> None:
    few, many = (trainer("mcl_okd", hyperparameters={"negatives": count}) for count in (4, 400))
    small, large = run_cost(few), run_cost(many)
    # K banks of an embedding for each of the ten training images, in float32
    held = sum(value.nbytes for value in few.method.parameters()) / 2**20
    assert small["state_mib"] - held >= 4 * 10 * 128 * 4 / 2**20
    # each further negative is compared by every pair, its own among them: forward, and backward for the embedding
    assert large["step_multiply_adds"] - small["step_multiply_adds"] == pytest.approx(2 * 396 * 4 * 4 * 128, rel=1e-6)
    assert small["student_parameters"] == large["student_parameters"]
