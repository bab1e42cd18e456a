"""Linear CKA: closed forms, and whose features it is computed on."""

import itertools
import math

import pytest
import torch
from torch import Tensor

import methods
from benchmark.training.diagnostics import FeatureSimilarity, PeerSimilarity
from methods.networks import whole_network
from methods.peers import SeparatePeers


def drawn(images: int, features: int, seed: int = 0) -> Tensor:
    return torch.randn(images, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear_cka(*features: Tensor) -> float:
    similarity = FeatureSimilarity()
    similarity.add(features)
    return float(similarity.mean())


class TestLinearCKA:
    def test_of_the_same_features_it_is_one(self) -> None:
        assert linear_cka(drawn(50, 4), drawn(50, 4)) == pytest.approx(1, abs=1e-12)

    def test_rotation_scale_and_shift_change_nothing(self) -> None:
        x, y = drawn(50, 4), drawn(50, 6, 1) + drawn(50, 4) @ drawn(4, 6, 2)
        rotation, _ = torch.linalg.qr(drawn(4, 4, 3))
        assert linear_cka(x, x @ rotation) == pytest.approx(1, abs=1e-12)
        assert linear_cka(-3 * x @ rotation + 7, y) == pytest.approx(linear_cka(x, y), abs=1e-12)
        # a linear map that is no rotation does
        assert linear_cka(x @ torch.diag(torch.tensor([9.0, 1, 1, 1], dtype=torch.float64)), x) < 0.9

    def test_of_uncorrelated_features_it_is_zero(self) -> None:
        # the columns of a Hadamard matrix but the first: centred and orthogonal to each other
        columns = torch.tensor(list(itertools.product([1.0, -1.0], repeat=3)), dtype=torch.float64)
        x, y = columns[:, :1], torch.stack([columns[:, 1], columns[:, 0] * columns[:, 2]], dim=1)
        assert linear_cka(x, y) == pytest.approx(0, abs=1e-15)

    def test_of_independent_features_it_vanishes_with_more_images(self) -> None:
        # for independent standard normals its expectation is sqrt(d e) / N to first order
        few, many = (linear_cka(drawn(count, 5), drawn(count, 5, 1)) for count in (50, 5000))
        assert 0 < many < 0.003 < few

    def test_it_is_the_formula(self) -> None:
        x, y = drawn(30, 3), drawn(30, 5, 1) + 2
        x_, y_ = x - x.mean(0), y - y.mean(0)
        expected = (y_.T @ x_).norm() ** 2 / ((x_.T @ x_).norm() * (y_.T @ y_).norm())
        assert linear_cka(x, y) == pytest.approx(float(expected), rel=1e-12)
        assert linear_cka(y, x) == pytest.approx(float(expected), rel=1e-12)

    def test_features_that_do_not_vary_have_none(self) -> None:
        for value in (0.0, 0.1, 1e6):
            assert math.isnan(linear_cka(torch.full((10, 2), value, dtype=torch.float64), drawn(10, 2)))

    def test_batches_add_up_and_pairs_are_averaged(self) -> None:
        features = [drawn(40, 3), drawn(40, 4, 1) + drawn(40, 3) @ drawn(3, 4, 4), drawn(40, 5, 2)]
        similarity = FeatureSimilarity()
        for start, end in ((0, 7), (7, 8), (8, 40)):
            similarity.add([own[start:end] for own in features])
        mean = sum(linear_cka(x, y) for x, y in itertools.combinations(features, 2)) / 3
        assert float(similarity.mean()) == pytest.approx(mean, rel=1e-10)


def watched(method: methods.Method, images: Tensor) -> dict[str, Tensor]:
    similarity = PeerSimilarity(method.eval())
    with torch.no_grad(), similarity.watching() as read:
        for part in images.split(6):
            method.predict(part)
            similarity.add(read)
            read.clear()
    return similarity.scores()


class TestPeers:
    def test_it_is_that_of_the_peers_pooled_features(self) -> None:
        method = methods.build("dml", backbone="resnet8", num_classes=3, in_channels=1, image_size=8, peers=3)
        images = torch.randn(12, 1, 8, 8)
        assert isinstance(method, SeparatePeers)
        pooled = [whole_network(own).features_and_logits(images)[0].detach() for own in method.eval().networks]
        expected = sum(linear_cka(x, y) for x, y in itertools.combinations(pooled, 2)) / 3
        assert watched(method, images)["cka/peers"].tolist() == [pytest.approx(expected, rel=1e-5)]

    def test_copies_are_the_same_and_other_networks_may_have_other_sizes(self) -> None:
        def built(backbone: str) -> methods.Method:
            return methods.build("dml", backbone=backbone, num_classes=3, in_channels=1, image_size=8)

        method = built("resnet8")
        assert isinstance(method, SeparatePeers)
        method.networks[1].load_state_dict(method.networks[0].state_dict())
        assert watched(method, torch.randn(12, 1, 8, 8))["cka/peers"].tolist() == [pytest.approx(1, abs=1e-9)]
        mixed = built("resnet8+wide_resnet20_8")
        assert 0 < float(watched(mixed, torch.randn(12, 1, 8, 8))["cka/peers"]) < 1

    def test_one_peer_has_none(self) -> None:
        method = methods.build("independent", backbone="resnet8", num_classes=3, in_channels=1, image_size=8, peers=1)
        assert watched(method, torch.randn(6, 1, 8, 8)) == {}

    def test_peers_that_are_too_wide_together_have_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        method = methods.build("dml", backbone="resnet8", num_classes=3, in_channels=1, image_size=8)
        monkeypatch.setattr("benchmark.training.diagnostics.MOST_FEATURES", 128)
        assert "cka/peers" in watched(method, torch.randn(6, 1, 8, 8))
        assert not any(module._forward_pre_hooks for module in method.modules())
        monkeypatch.setattr("benchmark.training.diagnostics.MOST_FEATURES", 127)
        assert watched(method, torch.randn(6, 1, 8, 8)) == {}
