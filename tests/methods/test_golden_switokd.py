"""SwitOKD's switch and losses equal the reference values, with two networks and with three."""

import pytest
import torch
from torch import Tensor

import methods
from methods import Outputs, Progress
from methods.switching import switches
from tests.reference_cases import TOLERANCE, Case, check_loss, close, inputs_of, named, read

pytestmark = pytest.mark.usefixtures("float64")
CASES = read("ahbf_switokd")


def stacked(inputs: dict[str, Tensor]) -> Tensor:
    """The students' logits, then the teachers'."""
    order = ("student", "student2", "teacher", "teacher2")
    return torch.stack([inputs[name] for name in order if name in inputs])


def losses(case: Case, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    params = case["params"]
    peers = stacked(inputs)
    method = methods.build(
        "switokd",
        backbone="resnet8",
        num_classes=peers.shape[-1],
        image_size=8,
        peers=len(peers),
        teachers=params.get("teachers", 1),
        temperature=params["temperature"],
        thresholds="released" if case["case"].endswith("-released") else "intended",
    )
    return method.losses(Outputs(peers), inputs["labels"], Progress(0, 0, 300))


@pytest.mark.parametrize("case", named(CASES, "switokd-gap"))
def test_golden_switokd_gap(case: Case) -> None:
    inputs, expected = inputs_of(case), case["outputs"]
    switch = switches(inputs["student"][None], inputs["teacher"][None], inputs["labels"], case["params"]["temperature"])
    found = {"gap": switch.gap, "epsilon": switch.epsilon, "delta": switch.threshold, "expert": switch.expert.double()}
    for name, value in found.items():
        assert value.item() == pytest.approx(expected[name], rel=TOLERANCE)


@pytest.mark.parametrize("case", named(CASES, "switokd"))
def test_golden_switokd_losses(case: Case) -> None:
    inputs, expected = inputs_of(case), case["outputs"]
    terms = losses(case, inputs)
    check_loss(torch.stack(list(terms.values())).sum(), inputs, case)
    student = terms["cross_entropy"] + terms["distillation"]
    assert student.item() == pytest.approx(expected["student_loss"], rel=TOLERANCE)


@pytest.mark.parametrize("case", named(CASES, "switokd-student", "switokd-teacher"))
def test_golden_switokd_own_losses(case: Case) -> None:
    """The student's loss alone, and the teacher's in learning mode alone."""
    inputs = inputs_of(case)
    if case["case"] == "switokd-student":
        terms = losses(case, inputs)
        check_loss(terms["cross_entropy"] + terms["distillation"], inputs, case)
        return
    # a teacher that learns has the loss of a student who is taught by it
    exchanged = {"student": inputs["teacher"], "teacher": inputs["student"], "labels": inputs["labels"]}
    terms = losses(case, exchanged)
    check_loss(terms["cross_entropy"] + terms["distillation"], inputs, case)


THREE = ("switokd-2t1s", "switokd-1t2s", "switokd-2t1s-released", "switokd-1t2s-released")


@pytest.mark.parametrize("case", named(CASES, *THREE))
def test_golden_switokd_of_three(case: Case) -> None:
    inputs, expected = inputs_of(case), case["outputs"]
    check_loss(torch.stack(list(losses(case, inputs).values())).sum(), inputs, case)
    students = [inputs[name] for name in ("student", "student2") if name in inputs]
    teachers = [inputs[name] for name in ("teacher", "teacher2") if name in inputs]
    switch = switches(
        torch.stack(students),
        torch.stack(teachers),
        inputs["labels"],
        case["params"]["temperature"],
        case["case"].endswith("-released"),
    )
    close(switch.threshold.flatten(), expected["delta"])
    assert switch.expert.flatten().tolist() == [bool(value) for value in expected["expert"]]
