"""Losses, gradients, schedules and mean teacher equal the reference values to 1e-9 relative, in float64."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import methods
from methods import Outputs, Progress
from methods.mean_teacher import ema_decay_at, update_mean
from methods.networks import PeerAttention, gated_ensemble
from methods.objectives import distillation_loss
from methods.schedules import decay_weight, released_rampup, sigmoid_rampup
from tests.reference import GOLDEN, replay
from tests.reference_cases import TOLERANCE, Case, check_loss, inputs_of, named

pytestmark = pytest.mark.usefixtures("float64")
CASES: list[Case] = json.loads((GOLDEN / "losses.json").read_text())


@pytest.mark.parametrize("case", named(CASES, "kd"))
def test_golden_distillation_term(case: Case) -> None:
    inputs = inputs_of(case)
    check_loss(distillation_loss(inputs["student"], inputs["teacher"], case["params"]["temperature"]), inputs, case)


@pytest.mark.parametrize("case", named(CASES, "dml", "cl", "one", "okddip", "pcl", "dkel", "dkel-released"))
def test_golden_losses(case: Case) -> None:
    name, _, released = case["case"].partition("-")
    hyperparameters = {key: value for key, value in case["params"].items() if key != "epoch"}
    if released:
        hyperparameters["ramp"] = "released"
    if case["case"] == "dkel":
        hyperparameters["ramped_ensemble"] = True
    inputs = inputs_of(case)
    classes = inputs["peers"].shape[-1]
    method = methods.build(name, backbone="resnet8", num_classes=classes, image_size=8, **hyperparameters)
    outputs = Outputs(**{key: inputs.get(key) for key in ("peers", "ensemble", "teachers", "leader")})  # type: ignore[arg-type]
    if "gate" in inputs:
        outputs.ensemble = gated_ensemble(inputs["peers"], inputs["gate"])
        np.testing.assert_allclose(outputs.ensemble.detach(), case["outputs"]["ensemble"], rtol=TOLERANCE)
    if "features" in inputs:
        outputs.targets = attention(inputs)(inputs["features"], inputs["peers"])
        np.testing.assert_allclose(outputs.targets.detach(), case["outputs"]["target"], rtol=TOLERANCE)
    progress = Progress(epoch=case["params"].get("epoch", 0), step=0, epochs=300)
    terms = method.losses(outputs, inputs["labels"], progress)
    check_loss(torch.stack(list(terms.values())).sum(), inputs, case)


def attention(inputs: dict[str, Tensor]) -> PeerAttention:
    """An attention whose maps are the case's, so that gradients reach them."""
    maps = []
    for key in ("query_weight", "key_weight"):
        outputs, features = inputs[key].shape
        linear = nn.Linear(features, outputs, bias=False)
        del linear.weight
        linear.weight = inputs[key]
        maps.append(linear)
    return PeerAttention(maps[0], maps[1])


@pytest.mark.parametrize("case", named(CASES, "ema"))
def test_golden_mean_teacher(case: Case) -> None:
    teacher, student = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    teacher.weight.data = torch.tensor(case["inputs"]["teacher"]).view(2, 2)
    expected = case["outputs"]["teacher_after_each_step"]
    for step, (weights, after) in enumerate(zip(case["inputs"]["students"], expected, strict=True)):
        student.weight.data = torch.tensor(weights).view(2, 2)
        update_mean(teacher, student, ema_decay_at(step, case["params"]["decay"], case["params"]["warmup"]))
        np.testing.assert_allclose(teacher.weight.detach().flatten(), after, rtol=TOLERANCE, atol=1e-15)


def test_golden_schedules() -> None:
    (case,) = [case for case in CASES if case["case"] == "schedules"]
    stored = case["outputs"]
    for epoch, value in stored["sigmoid_rampup_80"]:
        assert sigmoid_rampup(epoch, 80) == pytest.approx(value, rel=TOLERANCE)
    for epoch, value in stored["rampup_as_released_weight_0_1"]:
        assert released_rampup(epoch, 80, 0.1) == pytest.approx(value, rel=TOLERANCE)
    for epoch, value in stored["rampup_as_released_weight_1"]:
        assert released_rampup(epoch, 80, 1.0) == pytest.approx(value, rel=TOLERANCE)
    for rate, points in stored["decay_exp"].items():
        for epoch, value in points:
            assert decay_weight("exp", epoch, float(rate), 0.01, 80) == pytest.approx(value, rel=TOLERANCE)


def test_every_golden_case_is_covered() -> None:
    covered = {"kd", "dml", "cl", "one", "okddip", "pcl", "dkel", "dkel-released", "ema", "schedules"}
    assert {case["case"] for case in CASES} == covered
    assert len(CASES) == 54


@pytest.mark.parametrize("path", sorted((GOLDEN / "trajectories").glob("*.npz")), ids=lambda path: path.stem)
def test_trajectory_of_the_released_code(path: Any) -> None:
    ours = replay(path)
    with np.load(path) as stored:
        np.testing.assert_allclose(ours["losses"], stored["losses"], rtol=TOLERANCE)
        for kind, logits in ours["eval"].items():
            expected = stored[f"eval/{kind}"]
            np.testing.assert_allclose(logits, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())
