"""What DKEL's and PCL's released code does in effect, in numbers (docs/fidelity.md, D1 to D3 and P1)."""

from typing import Any

import pytest
import torch

import methods
from benchmark.configuration import recipes
from methods import Method, Outputs, Progress
from methods.errors import InputError
from methods.schedules import decay_weight, ramped_weight

RELEASED = recipes.read(recipes.find("dkel_released"))["dkel"]


def released(**changes: Any) -> Method:
    torch.manual_seed(0)
    return methods.build("dkel", backbone="resnet8", num_classes=10, image_size=8, **RELEASED, **changes)


def random_outputs() -> tuple[Outputs, torch.Tensor]:
    torch.manual_seed(1)
    peers, teachers = torch.randn(2, 3, 16, 10, dtype=torch.float64)
    ensemble = torch.randn(16, 10, dtype=torch.float64)
    return Outputs(peers=peers, ensemble=ensemble, teachers=teachers), torch.randint(0, 10, (16,))


def test_the_recipe_sets_the_released_values_and_nothing_else() -> None:
    assert RELEASED == {"ramp": "released", "ema_warmup": True, "decay_rate": 0.5}


def test_the_released_ramp_applies_to_the_ensemble_as_well() -> None:
    assert released().hyperparameters.model_dump()["ramped_ensemble"] is True
    with pytest.raises(InputError, match="ramped_ensemble"):
        released(ramped_ensemble=False)


def test_d1_the_released_weight_is_zero_until_epoch_80_and_then_a_step() -> None:
    weights = [ramped_weight("released", epoch, 80, 0.1) for epoch in range(300)]
    assert weights[0] == pytest.approx(6.738e-4, rel=1e-3)
    assert 0 < weights[1] < 1e-176
    assert weights[2:81] == [0.0] * 79
    assert weights[81:] == [0.1] * 219
    assert sum(weights) == pytest.approx(21.90, abs=0.005)
    assert sum(ramped_weight("intended", epoch, 80, 0.1) for epoch in range(300)) == pytest.approx(25.12, abs=0.005)


def test_d2_the_decaying_ensemble_is_inactive() -> None:
    products = [
        ramped_weight("released", epoch, 80, 0.1) * decay_weight("exp", epoch, 0.5, 0.01, 80) for epoch in range(300)
    ]
    assert products[0] == pytest.approx(6.738e-4, rel=1e-3)
    assert products[1] < 1e-177
    assert products[2:] == [0.0] * 298


def test_d2_the_loss_with_and_without_the_decaying_ensemble_is_the_same_from_epoch_1_on() -> None:
    with_decay, without = released(), released(decay="none")
    outputs, labels = random_outputs()
    for epoch in (1, 2, 9, 40, 81, 299):
        progress = Progress(epoch, 391 * epoch, 300)
        losses = [sum(m.losses(outputs, labels, progress).values()) for m in (with_decay, without)]
        assert losses[0] == losses[1], epoch


@pytest.mark.parametrize("teacher_init", ["copy", "independent"])
def test_d3_the_first_step_copies_the_student_over_the_initialised_teacher(teacher_init: str) -> None:
    method = released(teacher_init=teacher_init)
    views = torch.randn(3, 8, 3, 8, 8)
    labels = torch.randint(0, 10, (8,))
    method.start(iter([(views, labels)] * 2))
    student, teacher = method.get_submodule("network"), method.get_submodule("teacher")
    apart = max((a - b).abs().max().item() for a, b in zip(student.parameters(), teacher.parameters(), strict=True))
    assert apart > 0
    method.after_step(Progress(0, 0, 300))
    for ours, theirs in zip(student.parameters(), teacher.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_d3_without_the_warm_up_the_teacher_keeps_its_own_start() -> None:
    method = methods.build("dkel", backbone="resnet8", num_classes=10, image_size=8, teacher_init="independent")
    before = [parameter.clone() for parameter in method.get_submodule("teacher").parameters()]
    method.after_step(Progress(0, 0, 300))
    students = method.get_submodule("network").parameters()
    for old, new, student in zip(before, method.get_submodule("teacher").parameters(), students, strict=True):
        assert torch.allclose(new, 0.999 * old + 0.001 * student)


def test_d4_the_initialised_teacher_is_the_student_moved_by_two_small_steps() -> None:
    method = released()
    batch = torch.randn(3, 8, 3, 8, 8), torch.randint(0, 10, (8,))
    method.start(iter([batch] * 2))
    teacher, student = (
        torch.cat([parameter.detach().flatten() for parameter in method.get_submodule(name).parameters()])
        for name in ("teacher", "network")
    )
    distance, length = (teacher - student).norm(), student.norm()
    assert 0 < distance / length < 1e-3


def test_p1_pcl_released_has_one_epoch_of_full_weight_and_then_none_until_epoch_81() -> None:
    weights = [ramped_weight("released", epoch, 80, 1.0) for epoch in range(300)]
    assert weights[:3] == pytest.approx([0.0067379, 1.0, 0.0067379], rel=1e-4)
    assert max(weights[3:81]) < 3e-9
    assert weights[81:] == [1.0] * 219
