"""Diversity, calibration, gradients and linear CKA: equal to their definitions, and without a trace in the run."""

import itertools
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

import methods
from benchmark import running
from benchmark.datasets.catalogue import load
from benchmark.store import Store
from benchmark.training import evaluation
from benchmark.training.evaluation import FeatureSimilarity, PeerSimilarity, gradient_scores
from benchmark.training.trainer import Trainer
from methods.metrics import Role
from methods.networks import whole_network
from methods.peers import SeparatePeers
from tests.plans import digits


def roles_of(names: Iterable[str]) -> dict[str, Role]:
    """What predictors of these names are to be."""
    known: tuple[Role, ...] = ("peer", "teacher", "ensemble")
    return {name: next((role for role in known if name.rstrip("0123456789") == role), "other") for name in names}


def pairs(names: list[str]) -> dict[str, list[tuple[str, str]]]:
    return evaluation.pairs(roles_of(names), names)


def summary(
    predictions: dict[str, Tensor], labels: Tensor, batches: int = 1, by_class_of: tuple[str, ...] = ()
) -> dict[str, float]:
    """The scores as an evaluation adds them up."""
    totals: dict[str, Tensor] = {}
    parts = [{name: x.chunk(batches)[i] for name, x in predictions.items()} for i in range(batches)]
    for part, batch in zip(parts, labels.chunk(batches), strict=True):
        for name, value in evaluation.batch_sums(part, batch, roles_of(predictions)).items():
            totals[name] = totals.get(name, torch.zeros_like(value)) + value
    sums = {name: value.tolist() for name, value in totals.items()}
    return evaluation.summary(sums, len(labels), by_class_of)


def random_logits(
    *names: str, images: int = 200, classes: int = 7, scale: float = 3.0
) -> tuple[dict[str, Tensor], Tensor]:
    source = torch.Generator().manual_seed(0)
    logits = {name: scale * torch.randn(images, classes, generator=source) for name in names}
    return logits, torch.randint(classes, (images,), generator=source)


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 1000.0])
def test_calibration_error_is_that_of_torchmetrics(scale: float) -> None:
    predictions, labels = random_logits("peer0", scale=scale)
    probabilities = predictions["peer0"].double().softmax(1)
    expected = multiclass_calibration_error(probabilities, labels, num_classes=7, n_bins=15, norm="l1")
    assert summary(predictions, labels, batches=4)["ece/peer0"] == pytest.approx(float(expected), abs=1e-6)


def test_the_worst_class_and_each_class_of_known_predictions() -> None:
    # class 0: two of four right, class 1: all, class 3: one of two; there is no image of class 2
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 3, 3])
    said = torch.tensor([0, 0, 1, 2, 1, 1, 3, 0])
    predictions = {"peer0": torch.eye(4)[said], "peer1": torch.eye(4)[labels]}
    scores = summary(predictions, labels, batches=2, by_class_of=("peer0", "peer1"))
    assert {name: value for name, value in scores.items() if "class" in name} == {
        "worst_class/peer0": 50.0,
        "worst_class/peer1": 100.0,
        "class_top1/0": 75.0,
        "class_top1/1": 100.0,
        "class_top1/3": 75.0,
    }
    assert not any(name.startswith("class_top1") for name in summary(predictions, labels))


def test_diversity_is_the_mean_over_pairs() -> None:
    predictions, labels = random_logits("peer0", "peer1", "peer2")
    p = [predictions[f"peer{i}"].double().softmax(1) for i in range(3)]
    ordered = [(a, b) for a in range(3) for b in range(3) if a != b]
    scores = summary(predictions, labels, batches=3)
    distance = sum(float((p[a] - p[b]).norm(dim=1).mean()) for a, b in ordered) / 6
    kl = sum(float((p[a] * (p[a].log() - p[b].log())).sum(1).mean()) for a, b in ordered) / 6
    disagreement = sum(float((p[a].argmax(1) != p[b].argmax(1)).double().mean()) for a, b in ordered) / 6
    assert scores["distance/peers"] == pytest.approx(distance)
    assert scores["kl/peers"] == pytest.approx(kl)
    assert scores["disagreement/peers"] == pytest.approx(100 * disagreement)


def test_predictors_are_compared_by_their_roles() -> None:
    peers = [("peer0", "peer1"), ("peer1", "peer0")]
    assert pairs(["peer0", "peer1", "ensemble", "leader"]) == {"peers": peers}
    assert pairs(["peer0"]) == {}
    assert pairs(["peer0", "teacher"]) == {"teacher-peer": [("teacher", "peer0")]}
    assert pairs(["teacher0", "teacher1", "peer0", "peer1", "teacher_ensemble"]) == {
        "peers": peers,
        "teachers": [("teacher0", "teacher1"), ("teacher1", "teacher0")],
        "teacher-peer": [("teacher0", "peer0"), ("teacher1", "peer1")],
    }


def test_teacher_and_peer_are_compared_by_kl_from_the_teacher() -> None:
    predictions, labels = random_logits("teacher", "peer0")
    t, p = (predictions[name].double().softmax(1) for name in ("teacher", "peer0"))
    expected = float((t * (t.log() - p.log())).sum(1).mean())
    assert summary(predictions, labels)["kl/teacher-peer"] == pytest.approx(expected)


def test_gradient_norms_and_their_shares() -> None:
    weight, idle = torch.tensor([3.0, 4.0], requires_grad=True), torch.ones(2, requires_grad=True)
    terms = {"half": 0.5 * weight.square().sum(), "sum": weight.sum(), "none": torch.tensor(1.0)}
    scores = gradient_scores(terms, [weight, idle])
    norms = {name: scores[f"gradient/{name}"] for name in terms}
    assert norms == {"half": pytest.approx(5.0), "sum": pytest.approx(2**0.5), "none": 0.0}
    assert sum(scores[f"gradient_share/{name}"] for name in terms) == pytest.approx(100)
    assert gradient_scores({"a": torch.tensor(0.0)}, [weight])["gradient_share/a"] == 0.0


def small(results: Path, method: str, every: int, **layer: Any) -> running.Command:
    few: dict[str, Any] = {"epochs": 3, "data": {"train_per_class": 4, "test_per_class": 4}, "save_students": True}
    return digits(results, method, **few | {"train": {"batch_size": 16, "diagnostics_every": every}} | layer)


def rows_of(command: running.Command) -> list[dict[str, float]]:
    (run,) = command.runs
    lines = (command.store.folder(run) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("method", ["pcl", "okddip"])
def test_looking_changes_no_number_of_the_run(method: str, tmp_path: Path) -> None:
    seldom, often = small(tmp_path / "seldom", method, 0), small(tmp_path / "often", method, 1)
    assert seldom.runs[0].identity == often.runs[0].identity
    for command in (seldom, often):
        assert running.carry_out(command, Console(quiet=True))
    for row, watched in zip(rows_of(seldom), rows_of(often), strict=True):
        assert {k: v for k, v in row.items() if k != "seconds"}.items() <= watched.items()
        assert "ece/peer0" in watched
    assert ["ece/peer0" in row for row in rows_of(seldom)] == [False, False, True]
    folders = [command.store.folder(command.runs[0]) for command in (seldom, often)]
    for path in folders[0].glob("*.safetensors"):
        weights, watched_weights = (load_file(folder / path.name) for folder in folders)
        assert all(torch.equal(weights[name], watched_weights[name]) for name in weights)


def test_diagnostics_add_no_evaluation(tmp_path: Path) -> None:
    command = small(tmp_path, "dml", 1, train={"batch_size": 16, "diagnostics_every": 1, "eval_every": 2})
    assert running.carry_out(command, Console(quiet=True))
    assert ["student" in row for row in rows_of(command)] == [False, True, True]


@pytest.mark.parametrize("method", [name for name in methods.available() if name != "kd"])
def test_every_method_is_diagnosed_and_costed(method: str, tmp_path: Path) -> None:
    (run,) = small(tmp_path, method, 0, epochs=1).runs
    trainer = Trainer(run, load("digits", run.data, Path()), torch.device("cpu"))
    row = trainer.epoch()
    terms = [name.removeprefix("loss/") for name in row if name.startswith("loss/")]
    assert sum(row[f"gradient_share/{term}"] for term in terms) == pytest.approx(100)
    assert {f"ece/{name}" for name in trainer.method.students} <= row.keys()
    peers = sum(name.startswith("top1/peer") for name in row)
    assert ("distance/peers" in row) == (peers > 1)
    assert ("cka/peers" in row) == (peers > 1)
    assert 0 <= row.get("cka/peers", 0) <= 1
    if "top1/ensemble" in row:
        mean = sum(value for name, value in row.items() if name.startswith("top1/peer")) / peers
        assert row["gain/ensemble"] == pytest.approx(row["top1/ensemble"] - mean)


def test_cost_of_a_run(tmp_path: Path) -> None:
    command = small(tmp_path, "dml", 0, epochs=1)
    assert running.carry_out(command, Console(quiet=True))
    result = Store(tmp_path).result(command.runs[0])
    assert result is not None
    assert result.cost is not None
    # two networks, forward and twice as much backward; but nobody needs the gradient of the image
    student, first_layer = 763_520, 8 * 8 * 9 * 16
    assert result.cost["student_multiply_adds"] == student
    assert result.cost["step_multiply_adds"] == 2 * (3 * student - first_layer)
    assert result.cost["student_parameters"] * 2 == result.cost["parameters"]
    assert result.cost["peak_memory_mib"] > 10


def normals(images: int, features: int, seed: int = 0) -> Tensor:
    return torch.randn(images, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear_cka(*features: Tensor) -> float:
    similarity = FeatureSimilarity()
    similarity.add(features)
    return float(similarity.mean())


class TestLinearCKA:
    def test_of_the_same_features_it_is_one(self) -> None:
        assert linear_cka(normals(50, 4), normals(50, 4)) == pytest.approx(1, abs=1e-12)

    def test_rotation_scale_and_shift_change_nothing(self) -> None:
        x, y = normals(50, 4), normals(50, 6, 1) + normals(50, 4) @ normals(4, 6, 2)
        rotation, _ = torch.linalg.qr(normals(4, 4, 3))
        assert linear_cka(x, x @ rotation) == pytest.approx(1, abs=1e-12)
        assert linear_cka(-3 * x @ rotation + 7, y) == pytest.approx(linear_cka(x, y), abs=1e-12)
        # a linear map that is no rotation does
        assert linear_cka(x @ torch.diag(torch.tensor([9.0, 1, 1, 1], dtype=torch.float64)), x) < 0.9

    def test_it_is_the_formula(self) -> None:
        x, y = normals(30, 3), normals(30, 5, 1) + 2
        x_, y_ = x - x.mean(0), y - y.mean(0)
        expected = (y_.T @ x_).norm() ** 2 / ((x_.T @ x_).norm() * (y_.T @ y_).norm())
        assert linear_cka(x, y) == pytest.approx(float(expected), rel=1e-12)
        assert linear_cka(y, x) == pytest.approx(float(expected), rel=1e-12)

    def test_features_that_do_not_vary_have_none(self) -> None:
        for value in (0.0, 0.1, 1e6):
            assert math.isnan(linear_cka(torch.full((10, 2), value, dtype=torch.float64), normals(10, 2)))

    def test_batches_add_up_and_pairs_are_averaged(self) -> None:
        features = [normals(40, 3), normals(40, 4, 1) + normals(40, 3) @ normals(3, 4, 4), normals(40, 5, 2)]
        similarity = FeatureSimilarity()
        for start, end in ((0, 7), (7, 8), (8, 40)):
            similarity.add([own[start:end] for own in features])
        mean = sum(linear_cka(x, y) for x, y in itertools.combinations(features, 2)) / 3
        assert float(similarity.mean()) == pytest.approx(mean, rel=1e-10)

    def test_of_uncorrelated_features_it_is_zero(self) -> None:
        # the columns of a Hadamard matrix but the first: centred and orthogonal to each other
        columns = torch.tensor(list(itertools.product([1.0, -1.0], repeat=3)), dtype=torch.float64)
        x, y = columns[:, :1], torch.stack([columns[:, 1], columns[:, 0] * columns[:, 2]], dim=1)
        assert linear_cka(x, y) == pytest.approx(0, abs=1e-15)

    def test_of_independent_features_it_vanishes_with_more_images(self) -> None:
        # for independent standard normals its expectation is sqrt(d e) / N to first order
        few, many = (linear_cka(normals(count, 5), normals(count, 5, 1)) for count in (50, 5000))
        assert 0 < many < 0.003 < few


def watched(method: methods.Method, images: Tensor) -> dict[str, Tensor]:
    similarity = PeerSimilarity(method.eval())
    with torch.no_grad(), similarity.watching():
        for part in images.split(6):
            method.predict(part)
            similarity.add_read()
    return {"cka/peers": similarity.mean()[None]} if similarity.images else {}


def built(name: str, backbone: str = "resnet8", **hyperparameters: Any) -> methods.Method:
    return methods.build(name, backbone=backbone, num_classes=3, in_channels=1, image_size=8, **hyperparameters)


class TestPeers:
    def test_it_is_that_of_the_peers_pooled_features(self) -> None:
        method = built("dml", peers=3)
        images = torch.randn(12, 1, 8, 8)
        assert isinstance(method, SeparatePeers)
        pooled = [whole_network(own).features_and_logits(images)[0].detach() for own in method.eval().networks]
        expected = sum(linear_cka(x, y) for x, y in itertools.combinations(pooled, 2)) / 3
        assert watched(method, images)["cka/peers"].tolist() == [pytest.approx(expected, rel=1e-5)]

    def test_copies_are_the_same_and_other_networks_may_have_other_sizes(self) -> None:
        method = built("dml")
        assert isinstance(method, SeparatePeers)
        method.networks[1].load_state_dict(method.networks[0].state_dict())
        assert watched(method, torch.randn(12, 1, 8, 8))["cka/peers"].tolist() == [pytest.approx(1, abs=1e-9)]
        mixed = built("dml", "resnet8+wide_resnet20_8")
        assert 0 < float(watched(mixed, torch.randn(12, 1, 8, 8))["cka/peers"]) < 1

    def test_one_peer_has_none(self) -> None:
        assert watched(built("independent", peers=1), torch.randn(6, 1, 8, 8)) == {}

    def test_peers_that_are_too_wide_together_have_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        method = built("dml")
        monkeypatch.setattr("benchmark.training.evaluation.MOST_FEATURES", 128)
        assert "cka/peers" in watched(method, torch.randn(6, 1, 8, 8))
        assert not any(module._forward_pre_hooks for module in method.modules())
        monkeypatch.setattr("benchmark.training.evaluation.MOST_FEATURES", 127)
        assert watched(method, torch.randn(6, 1, 8, 8)) == {}


def test_calibration_is_of_probabilities_and_not_of_logits() -> None:
    labels = torch.zeros(10, dtype=torch.int64)
    sure = torch.zeros(10, 2)
    sure[:, 0] = 100.0
    assert summary({"peer0": sure}, labels)["ece/peer0"] == pytest.approx(0, abs=1e-9)
    assert summary({"peer0": sure}, 1 - labels)["ece/peer0"] == pytest.approx(1)
    assert summary({"peer0": torch.zeros(10, 2)}, labels)["ece/peer0"] == pytest.approx(0.5)


def test_copies_of_each_other_are_homogeneous() -> None:
    predictions, labels = random_logits("peer0")
    scores = summary({"peer0": predictions["peer0"], "peer1": predictions["peer0"]}, labels)
    assert [scores[f"{kind}/peers"] for kind in ("distance", "kl", "disagreement")] == [0, 0, 0]
