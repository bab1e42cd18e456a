"""AHBF's fusion, chain of assistants, losses and ramp-up equal the reference values."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import methods
from methods import Method, Progress
from methods.ahbf import AssistantChain, AssistantOutputs, BranchFusion
from methods.backbones import Backbone
from methods.objectives import cross_entropy
from methods.schedules import sigmoid_rampup
from tests.reference_cases import TOLERANCE, Case, check_loss, close, inputs_of, named, read, tensor

pytestmark = pytest.mark.usefixtures("float64")
CASES = read("ahbf_switokd")
CLASSES = 7

WEIGHTS = {
    "conv_weight": "convolution.weight",
    "conv_bias": "convolution.bias",
    "norm_weight": "norm.weight",
    "norm_bias": "norm.bias",
    "norm_mean": "norm.running_mean",
    "norm_var": "norm.running_var",
    "gate_weight": "gate.linear.weight",
    "gate_bias": "gate.linear.bias",
    "gate_norm_weight": "gate.norm.weight",
    "gate_norm_bias": "gate.norm.bias",
    "gate_norm_mean": "gate.norm.running_mean",
    "gate_norm_var": "gate.norm.running_var",
}
"""The files' names of a fusion's weights, and ours."""


def fusion(weights: Mapping[str, Any], training: bool) -> BranchFusion:
    """A fusion module with a case's weights, whose shape says how many channels its branches have."""
    deep, both = tensor(weights["conv_weight"]).shape
    made = BranchFusion(both - deep, Backbone("small", (), (deep,), 1, nn.Identity, nn.Linear, CLASSES))
    state = made.state_dict()
    made.load_state_dict({ours: tensor(weights[name]).reshape(state[ours].shape) for name, ours in WEIGHTS.items()})
    return made.train(training)


def method(params: Mapping[str, Any], detach: bool = False) -> Method:
    return methods.build(
        "ahbf",
        backbone="resnet8",
        num_classes=CLASSES,
        image_size=8,
        extra_blocks=0,
        peers=params["peers"],
        temperature=params["temperature"],
        ensemble_weight=params["ensemble_weight"],
        branch_weight=params["branch_weight"],
        weight=params["weight"] * params["ramp_scale"],
        rampup_epochs=params["rampup_epochs"],
        detach=detach,
    )


def total(case: Case, outputs: AssistantOutputs, labels: Tensor, detach: bool = False) -> dict[str, Tensor]:
    return method(case["params"], detach).losses(outputs, labels, Progress(case["params"]["epoch"], 0, 300))


def gradients(module: nn.Module) -> dict[str, Tensor | None]:
    return {name: dict(module.named_parameters())[ours].grad for name, ours in WEIGHTS.items() if "running" not in ours}


@pytest.mark.parametrize("case", named(CASES, "ahbf-fusion"))
def test_golden_ahbf_fusion(case: Case) -> None:
    inputs, expected = inputs_of(case), case["outputs"]
    made = fusion(case["inputs"]["weights"], case["params"]["training"])
    fused, logits = made((inputs["maps_x"], inputs["maps_y"]), (inputs["logits_x"], inputs["logits_y"]))
    close(fused, expected["features"])
    close(logits, expected["logits"])
    # the file's loss reads both results, so that every weight has a gradient
    loss = cross_entropy(logits, inputs["labels"]) + fused.square().mean() / 2
    assert loss.item() == pytest.approx(case["loss"], rel=TOLERANCE)
    loss.backward()
    found = {**gradients(made), **{name: value.grad for name, value in inputs.items() if value.grad is not None}}
    assert found.keys() == case["grad"].keys()
    for name, gradient in found.items():
        close(gradient, case["grad"][name])


@pytest.mark.parametrize("case", named(CASES, "ahbf-chain"))
def test_golden_ahbf_chain(case: Case) -> None:
    inputs, training = inputs_of(case, without="maps"), case["params"]["training"]
    # as in DenseNet, deeper branches may have more channels
    maps = [tensor(own).requires_grad_() for own in case["inputs"]["maps"]]
    chain = AssistantChain([fusion(weights, training) for weights in case["inputs"]["weights"]])
    assistants = chain(maps, inputs["peers"])
    close(assistants, case["outputs"]["assistants"])
    terms = total(case, AssistantOutputs(inputs["peers"], assistants=assistants), inputs["labels"])
    loss = torch.stack(list(terms.values())).sum()
    assert loss.item() == pytest.approx(case["loss"], rel=TOLERANCE)
    loss.backward()
    for own, expected in zip(maps, case["grad"]["maps"], strict=True):
        close(own.grad, expected)
    close(inputs["peers"].grad, case["grad"]["peers"])
    for index, module in enumerate(chain.fusions):
        for name, gradient in gradients(module).items():
            close(gradient, case["grad"][name][index])


@pytest.mark.parametrize("case", named(CASES, "ahbf", "ahbf-held"))
def test_golden_ahbf_losses(case: Case) -> None:
    inputs = inputs_of(case)
    outputs = AssistantOutputs(inputs["peers"], assistants=inputs["assistants"])
    terms = total(case, outputs, inputs["labels"], detach=case["case"] == "ahbf-held")
    check_loss(torch.stack(list(terms.values())).sum(), inputs, case)
    if expected := case["outputs"]:
        assert terms["cross_entropy"].item() == pytest.approx(expected["peers_ce"], rel=TOLERANCE)
        assert terms["assistant_cross_entropy"].item() == pytest.approx(expected["assistants_ce"], rel=TOLERANCE)


@pytest.mark.parametrize("case", named(CASES, "ahbf-ce", "ahbf-ekd", "ahbf-dkd"))
def test_golden_ahbf_terms(case: Case) -> None:
    """Each kind of term by itself, from the method's losses at full weight."""
    inputs, kind = inputs_of(case), case["case"].removeprefix("ahbf-")
    params = {**case["params"], "ensemble_weight": 1.0, "branch_weight": 1.0, "weight": 1.0, "ramp_scale": 1.0}
    outputs = AssistantOutputs(inputs["peers"], assistants=inputs["assistants"])
    terms = method({**params, "rampup_epochs": 0}).losses(outputs, inputs["labels"], Progress(0, 0, 300))
    loss = {
        "ce": terms["cross_entropy"] + terms["assistant_cross_entropy"],
        "ekd": terms["ensemble_distillation"],
        "dkd": terms["branch_distillation"],
    }[kind]
    check_loss(loss, inputs, case)


@pytest.mark.parametrize("case", named(CASES, "ahbf-schedule"))
def test_golden_ahbf_schedule(case: Case) -> None:
    weight = case["params"]["weight"] * case["params"]["ramp_scale"]
    for length, points in case["outputs"].items():
        for epoch, value in points:
            assert weight * sigmoid_rampup(int(epoch), int(length)) == pytest.approx(value, rel=TOLERANCE)
