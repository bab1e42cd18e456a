"""MCL-OKD, MCL, SwitOKD, AHBF and OKDPH beyond their reference values: sizes, hooks, differences from released code."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import methods
from benchmark.configuration import recipes
from benchmark.training.steps import step_but_for
from methods import Outputs, Progress, backbones, registry
from methods.errors import InputError
from methods.okdph import HybridOutputs


def build(name: str, backbone: str = "resnet8", classes: int = 5, **hyperparameters: Any) -> Any:
    return methods.build(name, backbone=backbone, num_classes=classes, image_size=8, **hyperparameters)


def trained(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def weights(module: torch.nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


# ---- sizes, as counted in the released code ----


@pytest.mark.parametrize(
    ("peers", "classes", "network", "heads"),
    [
        (4, 10, 1_796_152, 33_280),
        (4, 100, 1_819_552, 33_280),
        (3, 10, 1_353_070, 24_960),
        (3, 100, 1_370_620, 24_960),
        (2, 10, 909_988, 16_640),
        (2, 100, 921_688, 16_640),
    ],
)
def test_parameters_of_mcl_okd(peers: int, classes: int, network: int, heads: int) -> None:
    method = methods.build("mcl_okd", backbone="resnet32", num_classes=classes, peers=peers)
    assert trained(method.get_submodule("network")) == network
    assert trained(method.get_submodule("heads")) == heads
    assert trained(method) == network + heads


@pytest.mark.parametrize(
    ("backbone", "peers", "extra_blocks", "expected"),
    [
        ("resnet32", 4, 2, (2_443_210, 2_466_610)),
        ("resnet32", 4, 4, (3_331_018, 3_354_418)),
        ("resnet32", 3, 2, (1_636_474, 1_654_024)),
        ("resnet32", 2, 2, (977_706, 989_406)),
        ("resnet32", 4, 0, (1_555_402, 1_578_802)),
        ("resnet110", 4, 2, (5_006_986, 5_099_506)),
        ("vgg16", 4, 2, (68_002_938, 68_187_618)),
        ("densenet40_12", 4, 2, (700_894, 761_734)),
        ("densenet40_12", 4, 4, (997_246, 1_071_046)),
    ],
)
def test_parameters_of_ahbf(backbone: str, peers: int, extra_blocks: int, expected: tuple[int, int]) -> None:
    with torch.device("meta"):
        found = [
            trained(
                methods.build("ahbf", backbone=backbone, num_classes=classes, peers=peers, extra_blocks=extra_blocks)
            )
            for classes in (10, 100)
        ]
    assert tuple(found) == expected


def test_parameters_of_mcl() -> None:
    method = methods.build("mcl", backbone="resnet32", num_classes=100)
    assert trained(method.get_submodule("networks")) == 945_512
    assert trained(method.get_submodule("heads")) == 2 * 24_832


def test_the_student_of_ahbf_is_exactly_the_single_network() -> None:
    method = build("ahbf", "resnet14", extra_blocks=2)
    single = backbones.make("resnet14", 5, 3, 8).network()
    student = method.student()
    assert {name: value.shape for name, value in student.state_dict().items()} == {
        name: value.shape for name, value in single.state_dict().items()
    }
    assert method.students == ("peer0",)


# ---- deeper backbones ----


@pytest.mark.parametrize("name", ["resnet8", "resnet110", "wide_resnet20_8", "vgg16", "densenet40_12", "resnet18_tiny"])
def test_a_deeper_backbone_shares_all_stages_but_the_last(name: str) -> None:
    with torch.device("meta"):
        plain = backbones.make(name, 5)
        deeper = plain.deeper(2)
        again = plain.deeper(1).deeper(1)
        sizes = [[trained(stage()) for stage in backbone.stages] for backbone in (plain, deeper, again)]
        trained(deeper.network())
    assert plain.deeper(0) is plain
    assert sizes[0][:-1] == sizes[1][:-1]
    assert sizes[0][-1] < sizes[1][-1]
    assert sizes[1] == sizes[2]
    assert (deeper.name, deeper.image_size, deeper.in_channels) == (plain.name, plain.image_size, plain.in_channels)
    # DenseNet's channels grow with its layers
    assert (deeper.features == plain.features) == (name != "densenet40_12")


def test_a_backbone_without_a_deeper_form_says_so() -> None:
    plain = replace(backbones.make("resnet8", 5), deepen=None)
    with pytest.raises(InputError, match="resnet8 has no deeper form"):
        plain.deeper(1)
    with pytest.raises(InputError, match=r"0 or more \(given: -1\)"):
        plain.deeper(-1)


# ---- who is scored, and with what ----


@pytest.mark.parametrize(
    ("name", "students", "columns"),
    [
        ("mcl_okd", ("peer3",), {"peer0", "peer1", "peer2", "peer3", "ensemble"}),
        ("mcl", ("peer0", "peer1"), {"peer0", "peer1", "ensemble"}),
        ("switokd", ("peer0",), {"peer0", "teacher"}),
        ("ahbf", ("peer0",), {*(f"peer{n}" for n in range(4)), *(f"assistant{n}" for n in range(3)), "ensemble"}),
        ("okdph", ("peer0", "peer1"), {"peer0", "peer1", "ensemble", "hybrid"}),
    ],
)
def test_predictors(name: str, students: tuple[str, ...], columns: set[str]) -> None:
    method = build(name).eval()
    assert method.students == students
    assert method.predict(torch.randn(2, 3, 8, 8)).keys() == columns


@pytest.mark.parametrize(
    ("recipe", "section", "expected"),
    [
        ("mcl_okd_released", "train", {"batch_size": 64, "lr": 0.05, "schedule": "cosine"}),
        ("ahbf_readme", "ahbf", {"extra_blocks": 4, "ensemble_weight": 2.0, "branch_weight": 4.0}),
        ("okdph_released", "okdph", {"label_weight": 1.0, "weight": 0.5, "fusion": 1.0, "fusion_every": "5_batch"}),
        ("switokd_released", "train", {"epochs": 299, "milestones": [0.3311, 0.4983, 0.6656], "nesterov": False}),
    ],
)
def test_released_recipes(recipe: str, section: str, expected: Mapping[str, Any]) -> None:
    assert recipes.read(recipes.find(recipe))[section] == expected


def test_the_recipe_of_all_methods_has_all_but_the_one_that_needs_a_teacher() -> None:
    assert set(recipes.read(recipes.find("all_methods"))["methods"]) == methods.available().keys() - {"kd"}


# ---- SwitOKD ----

EXPERT = torch.tensor([[0.0, 0.0, 20.0, 0.0, 0.0], [0.6, 0.4, 1e-6, 1e-6, 1e-6]])
"""A student's logits and a teacher's probabilities for class 0: far apart, and the teacher nearer to the truth."""


def logits(expert: bool) -> Tensor:
    """Of a student and a teacher, ``[2, 6, 5]``, for images of class 0."""
    student, teacher = EXPERT[0], EXPERT[1].log()
    pair = torch.stack((student, teacher) if expert else (teacher, student))
    return pair[:, None].expand(2, 6, 5)


def test_a_waiting_teacher_is_unchanged_and_its_statistics_continue() -> None:
    method: Any = build("switokd", "resnet8+resnet14").train()
    groups = [{"params": list(group.parameters)} for group in method.parameter_groups()]
    # as the trainer's: a group without any gradient at the first step must not break the fused step
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1, fused=True)
    labels = torch.zeros(6, dtype=torch.long)
    for number, expert in enumerate((True, True, False, True)):
        before = [weights(network) for network in method.networks]
        statistics = [buffer.clone() for buffer in method.networks[1].buffers()]
        outputs = Outputs(0 * method(torch.randn(1, 6, 3, 8, 8)).peers + logits(expert))
        terms = method.losses(outputs, labels, Progress(0, number, 1))
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        step_but_for(optimizer, method.before_update(outputs, labels, Progress(0, number, 1)))
        moved = [not same(old, weights(network)) for old, network in zip(before, method.networks, strict=True)]
        # in learning mode weight decay and momentum alone move it here
        assert moved == [True, not expert]
        assert not same(statistics, list(method.networks[1].buffers()))
        assert (terms["teacher_cross_entropy"].item() == 0) == expert
    scores = method.scores()
    assert scores["expert_share"] == pytest.approx(75)
    assert scores["gap"] == pytest.approx(2.0, rel=1e-3)
    assert method.scores() == {}


def test_a_switch_that_never_says_expert_makes_it_dml() -> None:
    switching, dml = build("switokd"), build("dml")
    outputs, labels = Outputs(logits(expert=False)), torch.zeros(6, dtype=torch.long)
    ours, theirs = (
        sum(method.losses(outputs, labels, Progress(0, 0, 1)).values()).item() for method in (switching, dml)
    )
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_equal_networks_are_remarked_in_one_line() -> None:
    switokd = registry.load("switokd")
    chosen = switokd.Hyperparameters()
    (line,) = switokd.architecture_remarks(["resnet20"], chosen)
    assert "nearly DML" in line
    assert switokd.architecture_remarks(["resnet20", "resnet20"], chosen) == [line]
    assert switokd.architecture_remarks(["resnet20", "resnet56"], chosen) == []


def test_a_student_must_be_left() -> None:
    with pytest.raises(InputError, match=r"teachers must be fewer than the 2 peers \(given: 2\)"):
        build("switokd", teachers=2)


# ---- OKDPH ----


def stepped(**hyperparameters: Any) -> tuple[Any, list[list[Tensor]]]:
    """OKDPH after one step of its own loss, and its networks' weights before it."""
    method = build("okdph", **hyperparameters).train()
    before = [weights(network) for network in method.networks]
    optimizer = torch.optim.SGD([own for own in method.parameters() if own.requires_grad], lr=0.1)
    outputs = method(torch.randn(3, 6, 3, 8, 8))
    terms = method.losses(outputs, torch.arange(6) % 5, Progress(0, 0, 2))
    torch.stack(list(terms.values())).sum().backward()
    optimizer.step()
    method.after_step(Progress(0, 0, 2))
    return method, before


def test_a_stale_fusion_all_the_way_takes_the_step_back() -> None:
    method, before = stepped(fusion=1.0, fusion_every="1_batch")
    for old, network in zip(before, method.networks, strict=True):
        assert same(old, weights(network))
    method, before = stepped(fusion=1.0, fusion_every="1_batch", fusion_source="fresh")
    for old, network in zip(before, method.networks, strict=True):
        assert not same(old, weights(network))
    assert same(weights(method.networks[0]), weights(method.networks[1]))


def test_all_networks_start_alike_by_default() -> None:
    alike, apart = build("okdph"), build("okdph", init="independent")
    assert same(weights(alike.networks[0]), weights(alike.networks[1]))
    assert same(weights(alike.networks[0]), weights(alike.hybrid))
    assert not same(weights(apart.networks[0]), weights(apart.networks[1]))
    mean = [(one + other) / 2 for one, other in zip(*map(weights, apart.networks), strict=True)]
    for ours, expected in zip(weights(apart.hybrid), mean, strict=True):
        torch.testing.assert_close(ours, expected)


def test_the_hybrids_cross_entropy_trains_the_networks_only_where_it_flows() -> None:
    for gradient, reached in (("detached", False), ("flows", True)):
        method = build("okdph", hybrid_gradient=gradient).train()
        outputs = method(torch.randn(3, 6, 3, 8, 8))
        assert isinstance(outputs, HybridOutputs)
        term = method.losses(outputs, torch.arange(6) % 5, Progress(0, 0, 1))["hybrid_cross_entropy"]
        assert term.requires_grad == reached


def test_a_fusion_interval_is_written_in_one_way() -> None:
    for wrong in ("1", "0_epoch", "epoch", "1.5_batch", "2_step"):
        with pytest.raises(InputError, match="fusion_every"):
            build("okdph", fusion_every=wrong)


# ---- MCL-OKD and MCL ----


def test_negatives_are_of_other_classes_and_the_positive_is_the_image() -> None:
    method: Any = build("mcl_okd", classes=3, negatives=400)
    labels = torch.tensor([0] * 5 + [1] * 20 + [2] * 15)[torch.randperm(40)]
    method.labels(labels)
    indices = torch.tensor([3, 17, 31, 0])
    method.begin_step(indices, labels[indices])
    compared = method._rows_compared
    assert torch.equal(compared[:, 0], indices)
    for row, label in zip(compared[:, 1:], labels[indices], strict=True):
        others = torch.nonzero(labels != label).flatten()
        # 400 draws of at most 35: a row that is left out altogether would be a fault of the drawing
        assert torch.equal(row.unique(), others)


def test_the_bank_moves_after_the_step_and_only_where_the_images_are() -> None:
    method: Any = build("mcl_okd", negatives=4).train()
    labels = torch.arange(40) % 5
    method.labels(labels)
    assert method.bank.shape == (4, 40, 128)
    lengths = method.bank.norm(dim=-1)
    assert lengths.mean().item() == pytest.approx(1, abs=0.01)
    before, indices = method.bank.clone(), torch.tensor([7, 30])
    method.begin_step(indices, labels[indices])
    method(torch.randn(1, 2, 3, 8, 8))
    assert torch.equal(method.bank, before)
    method.after_step(Progress(0, 0, 1))
    changed = (method.bank != before).any(-1)
    assert changed.nonzero()[:, 1].unique().tolist() == [7, 30]
    torch.testing.assert_close(method.bank[:, indices].norm(dim=-1), torch.ones(4, 2))


def test_cosines_are_in_full_precision_under_autocast() -> None:
    method: Any = build("mcl_okd", negatives=4).train()
    views = torch.randn(1, 6, 3, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = method(views)
    assert outputs.peers.dtype == torch.bfloat16
    assert outputs.cosines.dtype == torch.float32
    assert outputs.cosines.abs().max() < 1.2


def test_a_batch_without_classmates_has_no_contrastive_loss_of_the_labels() -> None:
    method: Any = build("mcl", classes=6).train()
    outputs = method(torch.randn(1, 6, 3, 8, 8))
    alone = method.losses(outputs, torch.arange(6), Progress(0, 0, 1))
    assert alone["vcl"].item() == alone["icl"].item() == 0
    assert alone["soft_icl"].item() > 0
    total = torch.stack(list(alone.values())).sum()
    gradients = torch.autograd.grad(total, list(method.parameters()), retain_graph=True)
    assert all(gradient.isfinite().all() for gradient in gradients)
    pair = method.losses(outputs, torch.tensor([0, 1, 2, 3, 4, 0]), Progress(0, 0, 1))
    # by hand: the two images with a classmate, each contrasted with the five others
    embeddings = torch.nn.functional.normalize(outputs.projections, dim=-1)
    expected = 0.0
    for own in embeddings:
        cosines = (own @ own.T / 0.1).tolist()
        for image, mate in ((0, 5), (5, 0)):
            others = torch.tensor([cosines[image][other] for other in range(6) if other != image])
            expected += (others.logsumexp(0).item() - cosines[image][mate]) / 2
    assert pair["vcl"].item() == pytest.approx(0.1 * expected, rel=1e-4)
