"""OKDPH's losses, hybrid, fusion and whole steps equal the reference values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods import ParameterGroup, Progress
from methods.backbones import Backbone, Network
from methods.okdph import OKDPH, HybridOutputs
from methods.weight_means import mean_of_tensors, pull_towards, set_to_mean, weights_and_statistics
from tests.reference_cases import Case, check_loss, close, inputs_of, named, read, tensor

pytestmark = pytest.mark.usefixtures("float64")
CASES = read("okdph")
CLASSES = 5


class Small(nn.Module):
    """The network of the cases: linear, batch norm, ReLU, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 7)
        self.bn = nn.BatchNorm1d(7)
        self.fc2 = nn.Linear(7, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc2(torch.relu(self.bn(self.fc1(images.flatten(1)))))
        return logits


@dataclass(frozen=True)
class SmallBackbone(Backbone):
    """Draws it."""

    def network(self, shared_stages: int | None = None) -> Network:
        return Small()  # type: ignore[return-value]


SMALL = SmallBackbone("small", (), (7,), 1, nn.Identity, nn.Linear, CLASSES)


def method(params: Mapping[str, Any], **more: Any) -> OKDPH:
    """OKDPH with a case's hyperparameters on the small network."""
    renamed = {"peers": "peers", "omega": "label_weight", "beta": "weight", "temperature": "temperature"}
    given = {ours: params[theirs] for theirs, ours in renamed.items()}
    return OKDPH([SMALL], OKDPH.Hyperparameters(**given, **more)).train()


def set_state(network: nn.Module, state: Mapping[str, Any]) -> None:
    network.load_state_dict({name: tensor(value) for name, value in state.items()})


def check_state(network: nn.Module, state: Mapping[str, Any]) -> None:
    for name, value in network.state_dict().items():
        if name != "bn.num_batches_tracked":
            close(value, state[name])


def small(state: Mapping[str, Any]) -> Small:
    network = Small()
    set_state(network, state)
    return network


@pytest.mark.parametrize("case", named(CASES, "okdph"))
def test_golden_okdph_losses(case: Case) -> None:
    inputs = inputs_of(case)
    built = method(case["params"])
    terms = built.losses(HybridOutputs(inputs["peers"], hybrid=inputs["hybrid"]), inputs["labels"], Progress(0, 0, 3))
    # the joint sum has the hybrid's term once; the sum of the students' own losses has it in each
    count = case["params"]["peers"] if case["params"]["hybrid_term"] == "per_student" else 1
    total = terms["cross_entropy"] + count * terms["hybrid_cross_entropy"] + terms["distillation"]
    check_loss(total, inputs, case)
    outputs, omega = case["outputs"], case["params"]["omega"]
    close(terms["distillation"], outputs["distillation"])
    close(terms["cross_entropy"], outputs["cross_entropy"])
    assert count * terms["hybrid_cross_entropy"].item() == pytest.approx(outputs["hybrid_cross_entropy"], abs=1e-12)
    assert omega < 1 or terms["hybrid_cross_entropy"].item() == 0


@pytest.mark.parametrize("case", named(CASES, "hybrid"))
def test_golden_hybrid(case: Case) -> None:
    students = case["inputs"]["students"]
    names = list(students[0])
    means = mean_of_tensors([[tensor(own[name]) for name in names] for own in students], case["params"]["lambdas"])
    for name, mean in zip(names, means, strict=True):
        close(mean, case["outputs"]["hybrid"][name])
    if len(set(case["params"]["lambdas"])) == 1:
        target = Small()
        set_to_mean(target, [small(own) for own in students])
        check_state(target, case["outputs"]["hybrid"])


@pytest.mark.parametrize("case", named(CASES, "fusion"))
def test_golden_fusion(case: Case) -> None:
    student, hybrid = small(case["inputs"]["student"]), small(case["inputs"]["hybrid"])
    pull_towards([student], hybrid, case["params"]["gamma"])
    check_state(student, case["outputs"]["student"])
    check_state(hybrid, case["inputs"]["hybrid"])


@pytest.mark.parametrize("case", named(CASES, "okdph-network"))
def test_golden_okdph_network(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    params = case["params"]
    built = method(params, hybrid_gradient=params["gradient"])
    for network, state in zip(built.networks, case["inputs"]["students"], strict=True):
        set_state(network, state)
    set_to_mean(built.hybrid, list(built.networks))
    if len(set(params["lambdas"])) > 1:
        # the method itself has equal weights alone; the cases also state how the gradient divides among others
        def unequal(values: Sequence[Iterable[Tensor]]) -> list[Tensor]:
            return mean_of_tensors(values, params["lambdas"])

        monkeypatch.setattr("methods.okdph.mean_of_tensors", unequal)
        with torch.no_grad():
            means = unequal([weights_and_statistics(own) for own in built.networks])
            for value, mean in zip(weights_and_statistics(built.hybrid), means, strict=True):
                value.copy_(mean)
    check_state(built.hybrid, case["outputs"]["hybrid_state"])
    outputs = built(tensor(case["inputs"]["views"])[..., None, None])
    close(outputs.peers, case["outputs"]["peers"])
    close(outputs.hybrid, case["outputs"]["hybrid"])
    terms = built.losses(outputs, torch.tensor(case["inputs"]["labels"]), Progress(0, 0, 3))
    total = torch.stack(list(terms.values())).sum()
    count = params["peers"]
    # the file's loss is the sum of the students' own, which all count the hybrid's term
    assert (total + (count - 1) * terms["hybrid_cross_entropy"]).item() == pytest.approx(case["loss"], rel=1e-9)
    total.backward()
    for network, gradients in zip(built.networks, case["grad"], strict=True):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            close(parameter.grad, gradients[name])
    assert all(parameter.grad is None for parameter in built.hybrid.parameters())


@pytest.mark.parametrize("case", named(CASES, "okdph-steps"))
def test_golden_okdph_steps(case: Case) -> None:
    params, inputs, expected = case["params"], case["inputs"], case["outputs"]
    every = params["interval"] or "never"
    built = method(params, fusion=params["gamma"], fusion_every=every)
    for network, state in zip(built.networks, inputs["students"], strict=True):
        set_state(network, state)
    set_to_mean(built.hybrid, list(built.networks))
    groups: list[ParameterGroup] = built.parameter_groups()
    assert len(groups) == params["peers"]
    settings = {name: params[name] for name in ("lr", "momentum", "weight_decay")}
    optimizer = torch.optim.SGD([{"params": list(group.parameters)} for group in groups], **settings)
    views, labels = tensor(inputs["views"]), torch.tensor(inputs["labels"])
    epochs, batches = labels.shape[:2]
    for epoch in range(epochs):
        for batch in range(batches):
            step = epoch * batches + batch
            progress = Progress(epoch, step, epochs, last_of_epoch=batch == batches - 1)
            terms = built.losses(built(views[epoch, batch][..., None, None]), labels[epoch, batch], progress)
            total = torch.stack(list(terms.values())).sum()
            students = total + (params["peers"] - 1) * terms["hybrid_cross_entropy"]
            assert students.item() == pytest.approx(sum(case["loss"][step]), rel=1e-9)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            if progress.last_of_epoch:
                check_state(built.hybrid, expected["hybrid_scored"][epoch])
            # the released code fuses at an epoch's end after it has scored, here before
            if progress.last_of_epoch and every.endswith("epoch"):
                check_states(built, expected["students_scored"][epoch])
            built.after_step(progress)
            if progress.last_of_epoch and not every.endswith("epoch"):
                check_states(built, expected["students_scored"][epoch])
    check_states(built, expected["students_end"])


def check_states(built: OKDPH, states: list[Mapping[str, Any]]) -> None:
    for network, state in zip(built.networks, states, strict=True):
        check_state(network, state)
