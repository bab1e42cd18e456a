"""The losses of MCL-OKD and MCL, and the memory bank, equal the reference values."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import methods
from methods import Method, Progress
from methods.contrast import bank_contrast, bank_cosines
from methods.mcl import ProjectedOutputs
from methods.mcl_okd import ContrastiveOutputs, renewed
from methods.objectives import distillation_loss
from tests.reference_cases import Case, check_loss, close, inputs_of, named, read, tensor

pytestmark = pytest.mark.usefixtures("float64")
CASES = read("mcl")


def built(name: str, classes: int, **hyperparameters: Any) -> Method:
    return methods.build(name, backbone="resnet8", num_classes=classes, image_size=8, **hyperparameters)


def cosines(inputs: dict[str, Tensor]) -> Tensor:
    return bank_cosines(F.normalize(inputs["projections"], dim=-1), inputs["bank"], inputs["indices"])


@pytest.mark.parametrize("case", named(CASES, "mcl-kd"))
def test_golden_mcl_okd_distillation_of_the_last_branch(case: Case) -> None:
    inputs = inputs_of(case)
    target = inputs["peers"].detach().mean(0)
    close(target, case["outputs"]["target"])
    check_loss(distillation_loss(inputs["peers"][-1], target, case["params"]["temperature"]), inputs, case)


@pytest.mark.parametrize("case", named(CASES, "mcl-scores"))
def test_golden_mcl_okd_scores(case: Case) -> None:
    inputs, params = inputs_of(case), case["params"]
    slack = params["images"] * params["eps"]
    check_loss(bank_contrast(inputs["cosines"], params["contrast_temperature"], slack), inputs, case)


@pytest.mark.parametrize("case", named(CASES, "mcl-contrast"))
def test_golden_mcl_okd_contrast(case: Case) -> None:
    inputs = inputs_of(case)
    close(F.normalize(inputs["projections"], dim=-1), case["outputs"]["embeddings"])
    check_loss(bank_contrast(cosines(inputs), case["params"]["contrast_temperature"]), inputs, case)


@pytest.mark.parametrize("case", named(CASES, "mcl"))
def test_golden_mcl_okd_losses(case: Case) -> None:
    inputs, params = inputs_of(case), case["params"]
    method = built(
        "mcl_okd",
        inputs["peers"].shape[-1],
        peers=params["peers"],
        temperature=params["temperature"],
        contrast_temperature=params["contrast_temperature"],
        label_weight=params["ce_weight"],
        weight=params["weight"],
        contrast_weight=params["contrast_weight"],
    )
    outputs = ContrastiveOutputs(inputs["peers"], cosines=cosines(inputs))
    terms = method.losses(outputs, inputs["labels"], Progress(params["epoch"], 0, 300))
    check_loss(torch.stack(list(terms.values())).sum(), inputs, case)
    expected = case["outputs"]
    found = {"cross_entropy": "cross_entropy", "leader_distillation": "distillation", "contrast": "contrast"}
    assert {name: terms[ours].item() for name, ours in found.items()} == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("case", named(CASES, "mcl-bank"))
def test_golden_mcl_okd_bank(case: Case) -> None:
    inputs = inputs_of(case)
    bank, indices = inputs["bank"], inputs["image_indices"]
    bank[:, indices] = renewed(bank[:, indices], F.normalize(inputs["projections"], dim=-1), case["params"]["momentum"])
    close(bank, case["outputs"]["bank"])


@pytest.mark.parametrize("case", named(CASES, "mcl-steps"))
def test_golden_mcl_okd_steps(case: Case) -> None:
    """Several steps of the method's own hooks: the loss of each, and the bank that they leave."""
    params, steps = case["params"], inputs_of(case)
    width = steps["bank"].shape[-1]
    method: Any = built("mcl_okd", 3, peers=params["peers"], bank_momentum=params["momentum"], dimensions=width)
    method.labels(torch.arange(params["images"]) % 3)
    method.bank.copy_(steps["bank"])
    found = []
    for number, (projections, indices) in enumerate(zip(steps["projections"], steps["indices"], strict=True)):
        method.begin_step(indices[:, 0], indices[:, 0] % 3)
        embeddings = F.normalize(projections, dim=-1)
        compared = bank_cosines(embeddings, method.bank, indices)
        found.append(bank_contrast(compared, params["contrast_temperature"]).item())
        method._embeddings = embeddings
        method.after_step(Progress(0, number, 1))
    close(tensor(found), case["outputs"]["losses"])
    close(method.bank, case["outputs"]["bank"])


@pytest.mark.parametrize("case", named(CASES, "sup-mcl"))
def test_golden_mcl_losses(case: Case) -> None:
    inputs, expected = inputs_of(case), case["outputs"]
    labels = inputs["labels"]
    classes = int(labels.max()) + 1
    method = built("mcl", classes, **case["params"])
    outputs = ProjectedOutputs(torch.zeros(case["params"]["peers"], len(labels), classes))
    outputs.projections = inputs["projections"]
    terms = method.losses(outputs, labels, Progress(0, 0, 300))
    # the file's loss is that of the embeddings alone
    assert terms.pop("cross_entropy").item() == pytest.approx(case["params"]["peers"] * math.log(classes))
    check_loss(torch.stack(list(terms.values())).sum(), inputs, case)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-9)
