"""CL, KDCL, FFL and offline KD: against closed forms, and in use."""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

import methods
from methods import Method, Outputs, Progress
from methods.errors import InputError
from methods.interface import Batch
from methods.objectives import (
    distillation_loss,
    error_matrix,
    least_error_weights,
    linear_target,
    lowest_loss_target,
    min_logit_target,
    simplex_weights,
)

VARIANTS = ("naive", "linear", "minlogit", "general", "mean")


def build(name: str, backbone: str = "resnet8", classes: int = 7, **hyperparameters: Any) -> Method:
    return methods.build(name, backbone=backbone, num_classes=classes, image_size=8, **hyperparameters)


def progress(epoch: int = 0, step: int = 0) -> Progress:
    return Progress(epoch, step, 300)


def batch(method: Method, seed: int, size: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(method.views, size, 3, 8, 8, generator=generator), torch.arange(size) % 7


def batches(method: Method) -> Iterator[Batch]:
    return (batch(method, 1000 + index, size=6 - index % 2) for index in range(100))


def train(method: Method, steps: range, steps_an_epoch: int = 2) -> None:
    method.train()
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.02)
    for step in steps:
        where = progress(step // steps_an_epoch, step)
        views, labels = batch(method, step)
        loss = torch.stack(list(method.losses(method(views), labels, where).values())).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        method.after_step(where)


def predictions(method: Method) -> dict[str, Tensor]:
    method.eval()
    with torch.no_grad():
        return method.predict(batch(method, 99)[0][0])


def logits(peers: int, size: int = 40, classes: int = 7, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(peers, size, classes, dtype=torch.float64)


def teacher_file(folder: Path, trained: str = "resnet8", changes: Mapping[str, str | None] | None = None) -> str:
    """Write a trained network as the harness does; a change to None leaves the metadata's key out."""
    network = build("independent", trained)
    train(network, range(3))
    metadata = {"backbone": trained, "num_classes": "7", "in_channels": "3", "image_size": "8", "student": "peer0"}
    told = {key: value for key, value in {**metadata, **(changes or {})}.items() if value is not None}
    path = folder / "peer0.safetensors"
    save_file(network.student().state_dict(), path, told)
    return str(path)


# ---- CL ----


@pytest.mark.parametrize("peers", [3, 4])
def test_gradient_rescaling_divides_the_stem_and_nothing_else_by_the_number_of_branches(peers: int) -> None:
    gradients = []
    views = torch.randn(1, 4, 3, 8, 8, dtype=torch.float64)
    for rescaling in (True, False):
        torch.manual_seed(1)
        method = build("cl", peers=peers, gradient_rescaling=rescaling).double()
        terms = method.losses(method(views), torch.tensor([0, 1, 2, 3]), progress(80))
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        gradients.append({name: parameter.grad for name, parameter in method.named_parameters()})
    rescaled, plain = gradients
    for name, gradient in plain.items():
        assert gradient is not None
        shared = name.startswith("network.stem.")
        torch.testing.assert_close(rescaled[name], gradient / peers if shared else gradient, rtol=1e-12, atol=1e-15)


# ---- KDCL ----


def test_kdcl_naive_takes_each_image_from_the_network_of_the_smallest_cross_entropy() -> None:
    peers, labels = logits(3), torch.arange(40) % 7
    target = lowest_loss_target(peers, labels)
    for index, label in enumerate(labels):
        losses = [F.cross_entropy(peer[index], label) for peer in peers]
        assert torch.equal(target[index], peers[losses.index(min(losses)), index])


@pytest.mark.parametrize(("peers", "scale"), [(2, 0.3), (2, 3.0), (2, 30.0), (3, 3.0)])
def test_kdcl_linear_is_as_good_as_the_best_mixture_of_a_grid(peers: int, scale: float) -> None:
    labels = torch.arange(40) % 7
    # the first network is the best one, and mixing in another still helps
    values = logits(peers, scale=scale) + scale * torch.tensor([0.8, 0.6, 0.0])[:peers, None, None] * F.one_hot(labels)
    ticks = torch.linspace(0, 1, 1001 if peers == 2 else 101, dtype=torch.float64).tolist()
    grid = [(*head, 1 - sum(head)) for head in product(ticks, repeat=peers - 1) if sum(head) <= 1]
    losses = [F.cross_entropy(mixed(values, weights), labels).item() for weights in grid]
    weights = simplex_weights(values, labels)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum().item(), 1.0)
    target = linear_target(values, labels)
    torch.testing.assert_close(target, mixed(values, weights.tolist()))
    assert F.cross_entropy(target, labels) <= min(losses) * (1 + 1e-4)
    if peers == 2:
        best = grid[losses.index(min(losses))]
        assert 0 < best[1] < best[0] < 1
        torch.testing.assert_close(weights.tolist(), list(best), rtol=0, atol=2e-3)


def mixed(values: Tensor, weights: Any) -> Tensor:
    return (torch.tensor(weights, dtype=values.dtype)[:, None, None] * values).sum(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kdcl_linear_leaves_bad_networks_out_and_weighs_equal_ones_equally(dtype: torch.dtype) -> None:
    labels = torch.arange(40) % 7
    good = 5 * F.one_hot(labels).to(dtype)
    weights = simplex_weights(torch.stack((good, -good, good)), labels)
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.0, 0.5]), rtol=0, atol=1e-4)
    torch.testing.assert_close(simplex_weights(torch.stack((good,) * 3), labels), torch.full((3,), 1 / 3))


def test_kdcl_minlogit_takes_the_smallest_distance_to_the_label_logit() -> None:
    peers, labels = logits(3), torch.arange(40) % 7
    target = min_logit_target(peers, labels)
    for index, label in enumerate(labels.tolist()):
        for category in range(7):
            expected = min(peer[index, category].item() - peer[index, label].item() for peer in peers)
            assert target[index, category].item() == expected
        assert target[index, label] == 0


def test_kdcl_general_weights_minimise_the_error_of_the_mixture() -> None:
    peers, labels = logits(3), torch.arange(40) % 7
    errors = error_matrix(peers, labels)
    unit = F.one_hot(labels, 7)
    for i, j in product(range(3), repeat=2):
        product_of_errors = (peers[i].softmax(-1) - unit) * (peers[j].softmax(-1) - unit)
        torch.testing.assert_close(errors[i, j], product_of_errors.sum(-1).mean())
    weights = least_error_weights(errors, ridge=0.0)
    inverse = torch.linalg.inv(errors)
    torch.testing.assert_close(weights, inverse.sum(1) / inverse.sum())
    # of two: (c_11 - c_01) / (c_00 + c_11 - 2 c_01)
    pair = errors[:2, :2]
    first = (pair[1, 1] - pair[0, 1]) / (pair[0, 0] + pair[1, 1] - 2 * pair[0, 1])
    torch.testing.assert_close(least_error_weights(pair, ridge=0.0), torch.stack((first, 1 - first)))
    torch.testing.assert_close(least_error_weights(pair), torch.stack((first, 1 - first)), rtol=0.01, atol=0)


@pytest.mark.parametrize("errors", [torch.ones(3, 3), torch.zeros(3, 3), 1e-30 * torch.ones(3, 3)])
def test_kdcl_general_weighs_networks_equally_that_err_alike(errors: Tensor) -> None:
    torch.testing.assert_close(least_error_weights(errors), torch.full((3,), 1 / 3), rtol=1e-3, atol=0)


TARGETS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "naive": lowest_loss_target,
    "linear": linear_target,
    "minlogit": min_logit_target,
    "mean": lambda peers, labels: peers.mean(0),
    "general": lambda peers, labels: 0.8 * peers[0] - 0.1 * peers[1] + 0.3 * peers[2],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_kdcl_losses_are_the_weighted_terms_with_the_target_held_constant(variant: str) -> None:
    peers, labels = logits(3).requires_grad_(), torch.arange(40) % 7
    method = build("kdcl", peers=3, variant=variant, temperature=4.0, weight=0.5, label_weight=0.25)
    target = TARGETS[variant](peers, labels)
    ensemble = target if variant == "general" else None
    terms = method.losses(Outputs(peers=peers, ensemble=ensemble), labels, progress())
    cross_entropies = torch.stack([F.cross_entropy(peer, labels) for peer in peers])
    torch.testing.assert_close(terms["cross_entropy"], 0.25 * cross_entropies.sum())
    expected = 0.5 * torch.stack([distillation_loss(peer, target.detach(), 4.0) for peer in peers]).sum()
    torch.testing.assert_close(terms["distillation"], expected)
    ours, theirs = (torch.autograd.grad(loss, peers)[0] for loss in (terms["distillation"], expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("variant", VARIANTS)
def test_kdcl_losses_bring_no_value_to_the_host(variant: str) -> None:
    method = build("kdcl", variant=variant)
    # a tensor on the meta device has no values to bring
    peers, labels = torch.empty(2, 40, 7, device="meta"), torch.empty(40, dtype=torch.long, device="meta")
    terms = method.losses(Outputs(peers=peers, ensemble=peers[0]), labels, progress())
    assert all(term.is_meta for term in terms.values())


def test_kdcl_networks_of_two_architectures_see_a_view_each() -> None:
    method = build("kdcl", "resnet8+resnet14")
    assert method.views == 2
    sizes = [sum(p.numel() for p in method.student(name).parameters()) for name in method.students]
    assert sizes[0] < sizes[1]
    views, _ = batch(method, 0)
    changed = method(torch.stack((views[0], views[1] + 1))).peers
    same = method(views).peers
    assert torch.equal(changed[0], same[0])
    assert not torch.equal(changed[1], same[1])
    train(method, range(2))
    with pytest.raises(InputError, match=r"\[2, B, C, H, W\]"):
        method(views[:1])


def test_kdcl_general_renews_its_weights_once_an_epoch_and_leaves_the_networks_as_they_are() -> None:
    method = build("kdcl", variant="general", probe_batches=3)
    method.start(batches(method))
    train(method, range(2))
    weights = method.get_buffer("peer_weights").clone()
    assert torch.equal(weights, torch.tensor([0.5, 0.5]))
    train(method, range(2, 3))
    renewed = method.get_buffer("peer_weights").clone()
    assert not torch.equal(renewed, weights)
    torch.testing.assert_close(renewed.sum().item(), 1.0)
    measured = [
        torch.cat([method.student(name)(views[i]) for views, _ in (next(taken) for _ in range(3))])
        for i, (name, taken) in enumerate(zip(method.students, (batches(method), batches(method)), strict=True))
    ]
    labels = torch.cat([labels for _, labels in (batch(method, 0, size) for size in (6, 5, 6))])
    torch.testing.assert_close(renewed, least_error_weights(error_matrix(torch.stack(measured), labels)))
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.train()
    method.after_step(progress(epoch=1))
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    method.after_step(progress(epoch=2))
    networks = {name: value for name, value in method.state_dict().items() if name.startswith("networks.")}
    assert all(torch.equal(value, before[name]) for name, value in networks.items())
    assert all(module.training for module in method.modules())


@pytest.mark.parametrize("done", [2, 3, 4, 5], ids=lambda done: f"after-{done}-steps")
def test_kdcl_general_resumes_from_its_state_in_a_fresh_instance(done: int) -> None:
    method = build("kdcl", variant="general")
    method.start(batches(method))
    train(method, range(done))
    state = {name: value.clone() for name, value in method.state_dict().items()}
    train(method, range(done, 8))
    fresh = build("kdcl", variant="general")
    fresh.load_state_dict(state)
    train(fresh, range(done, 8))
    for name, value in method.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name
    assert not torch.equal(method.get_buffer("peer_weights"), state["peer_weights"])


def test_kdcl_general_says_what_it_lacks() -> None:
    method = build("kdcl", variant="general")
    with pytest.raises(ValueError, match="ensemble"):
        method.losses(Outputs(peers=logits(2)), torch.arange(40) % 7, progress())
    with pytest.raises(ValueError, match="start"):
        method.after_step(progress(epoch=1))


# ---- FFL ----


@pytest.mark.parametrize(("classes", "branches", "fusion"), [(10, 821_220, 10_378), (100, 832_920, 16_228)])
def test_the_parameters_of_ffl_are_the_published_ones(classes: int, branches: int, fusion: int) -> None:
    method = methods.build("ffl", backbone="resnet32", num_classes=classes)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    assert counts == {"network": branches, "fusion": fusion}


def test_the_fused_cross_entropy_of_ffl_trains_all_branches_and_the_stem() -> None:
    method = build("ffl", peers=3)
    views, labels = batch(method, 0)
    torch.autograd.backward(method.losses(method(views), labels, progress())["fused_cross_entropy"])
    reached = {name for name, p in method.named_parameters() if p.grad is not None and bool(p.grad.any())}
    expected = {name for name, _ in method.named_parameters() if ".branches." not in name or ".stages." in name}
    assert reached == expected


def test_ffl_losses_are_the_stated_terms_with_targets_held_constant() -> None:
    peers, fused = logits(2).requires_grad_(), logits(1)[0].requires_grad_()
    labels = torch.arange(40) % 7
    method = build("ffl", rampup_epochs=80)
    terms = method.losses(Outputs(peers=peers, ensemble=fused), labels, progress(40))
    ramp = torch.exp(torch.tensor(-1.25, dtype=torch.float64))
    expected = {
        "cross_entropy": F.cross_entropy(peers[0], labels) + F.cross_entropy(peers[1], labels),
        "fused_cross_entropy": F.cross_entropy(fused, labels),
        "distillation": ramp * (distillation_loss(peers[0], fused, 3.0) + distillation_loss(peers[1], fused, 3.0)),
        "fused_distillation": ramp * distillation_loss(fused, (peers[0] + peers[1]) / 2, 3.0),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    for name, reached in {"distillation": [True, False], "fused_distillation": [False, True]}.items():
        gradients = torch.autograd.grad(terms[name], (peers, fused), allow_unused=True)
        assert [gradient is not None for gradient in gradients] == reached


def test_the_fused_predictor_of_ffl_is_what_is_trained_as_the_ensemble() -> None:
    method = build("ffl")
    views, _ = batch(method, 99)
    method.eval()
    outputs = method(views)
    predicted = method.predict(views[0])
    assert outputs.ensemble is not None
    assert torch.equal(predicted["fused"], outputs.ensemble)
    assert method.students == ("peer0", "peer1")


# ---- KD ----


def test_kd_learns_from_a_teacher_that_stays_as_it_is_in_eval_mode(tmp_path: Path) -> None:
    method = build("kd", teacher=teacher_file(tmp_path, "resnet14"))
    teacher = method.get_submodule("teacher")
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    train(method, range(3))
    assert method.training
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    views, labels = batch(method, 0)
    outputs = method(views)
    assert outputs.teachers is not None
    assert not outputs.teachers.requires_grad
    assert torch.equal(outputs.teachers[0], teacher(views[0]))
    terms = method.losses(outputs, labels, progress())
    expected = distillation_loss(outputs.peers[0], outputs.teachers[0], 3.0)
    torch.testing.assert_close(terms["distillation"], expected)
    assert method.students == ("peer0",)
    assert predictions(method).keys() == {"peer0", "teacher"}


def test_the_student_of_kd_starts_as_an_independent_network_would(tmp_path: Path) -> None:
    path = teacher_file(tmp_path)
    torch.manual_seed(5)
    alone = build("independent").student().state_dict()
    torch.manual_seed(5)
    taught = build("kd", teacher=path).student().state_dict()
    assert all(torch.equal(value, taught[name]) for name, value in alone.items())


def test_kd_loads_a_teacher_that_was_split_elsewhere(tmp_path: Path) -> None:
    source = build("one", shared_stages=1)
    path = tmp_path / "peer1.safetensors"
    metadata = {"backbone": "resnet8", "num_classes": "7", "in_channels": "3", "image_size": "8", "shared_stages": "1"}
    save_file(source.student("peer1").state_dict(), path, metadata)
    method = build("kd", teacher=str(path))
    assert torch.equal(predictions(method)["teacher"], predictions(source)["peer1"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": "100"}, "num_classes is 100, the run's 7"),
        ({"in_channels": "1"}, "in_channels is 1, the run's 3"),
        ({"image_size": "32"}, "image_size is 32, the run's 8"),
        ({"image_size": "large"}, "image_size is no whole number"),
        ({"image_size": None}, "metadata have no 'image_size'"),
        ({"backbone": "resnet14"}, "its weights are not those of a resnet14"),
        ({"backbone": "resnet9"}, r"peer0\.safetensors: unknown backbone 'resnet9'"),
        ({"shared_stages": "1"}, "its weights are not those of a resnet8"),
        ({"shared_stages": "3"}, r"peer0\.safetensors: shared_stages of resnet8 must be in 1\.\.2"),
    ],
)
def test_kd_refuses_a_teacher_that_does_not_fit(changes: dict[str, str | None], message: str, tmp_path: Path) -> None:
    path = teacher_file(tmp_path, changes=changes)
    with pytest.raises(InputError, match=message) as caught:
        build("kd", teacher=path)
    assert "\n" not in str(caught.value)


def test_kd_refuses_what_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        build("kd", teacher=str(tmp_path / "absent.safetensors"))
    other = tmp_path / "other.safetensors"
    for content in (b"", b"not weights at all"):
        other.write_bytes(content)
        with pytest.raises(InputError, match="not a readable safetensors file"):
            build("kd", teacher=str(other))
    with pytest.raises(InputError, match=r"kd\.teacher must be given, .*--set kd\.teacher="):
        build("kd")
    with pytest.raises(InputError, match="takes one backbone"):
        build("kd", "resnet8+resnet14", teacher=str(other))
