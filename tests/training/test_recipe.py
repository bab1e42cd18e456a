"""Learning rate, weight decay and padding: each value as its formula or its like in PyTorch gives it."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

from benchmark.configuration import DataConfig, RunConfig, TrainConfig
from benchmark.datasets import Dataset, LabelledImages
from benchmark.training import Augmentation, Normalisation, Trainer
from benchmark.training.optimizer import decayed_groups
from methods import ParameterGroup
from methods.errors import InputError

CPU = torch.device("cpu")


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2)


class TestSchedule:
    def test_cosine_is_that_of_pytorch(self) -> None:
        train, theirs = TrainConfig(epochs=7, lr=0.2, schedule="cosine"), optimizer()
        scheduler = CosineAnnealingLR(theirs, T_max=7)
        for epoch in range(7):
            assert train.lr_at(epoch) == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
            theirs.step()
            scheduler.step()

    def test_constant_is_constant(self) -> None:
        train = TrainConfig(epochs=9, lr=0.2, schedule="constant")
        assert {train.lr_at(epoch) for epoch in range(9)} == {0.2}

    @pytest.mark.parametrize("epochs", [2.0, 0.25])
    def test_warm_up_is_that_of_pytorch(self, epochs: float) -> None:
        train, theirs = TrainConfig(epochs=8, lr=0.2, warmup_epochs=epochs, warmup_from=0.05), optimizer()
        # two epochs of five steps either way: a quarter of eight epochs is two
        scheduler = LinearLR(theirs, start_factor=0.05, total_iters=10)
        for step in range(14):
            assert 0.2 * train.warmup_at(step, 5) == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
            theirs.step()
            scheduler.step()

    def test_without_a_warm_up_the_rate_is_the_schedules(self) -> None:
        assert [TrainConfig().warmup_at(step, 10) for step in (0, 1, 100)] == [1.0, 1.0, 1.0]

    def test_a_run_trains_at_these_rates(self, monkeypatch: pytest.MonkeyPatch) -> None:
        config = TrainConfig(
            epochs=4,
            lr=0.2,
            schedule="cosine",
            warmup_epochs=2.0,
            warmup_from=0.1,
            batch_size=4,
            momentum=0.0,
            nesterov=False,
        )
        trainer, rates = trained(config), []
        step = trainer.train_step

        def spied(*arguments: object) -> dict[str, torch.Tensor]:
            rates.append(trainer.optimizer.param_groups[0]["lr"])
            return step(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(trainer, "train_step", spied)
        rows = [trainer.epoch() for _ in range(4)]
        # nine images are batches of 4 and 5, since a batch of one has no variance: two steps an epoch
        shape = [0.2 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
        warm = [0.1, 0.325, 0.55, 0.775, 1, 1, 1, 1]
        expected = [shape[index // 2] * factor for index, factor in enumerate(warm)]
        assert rates == pytest.approx(expected, rel=1e-12)
        assert [row["lr"] for row in rows] == pytest.approx(expected[1::2], rel=1e-12)


def trained(train: TrainConfig, data: DataConfig | None = None) -> Trainer:
    source = np.random.default_rng(0)
    pixels = source.integers(0, 256, (9, 1, 8, 8), dtype=np.uint8)
    part = LabelledImages(pixels, source.integers(0, 3, 9))
    dataset = Dataset("digits", part, part, ("a", "b", "c"), (0.5,), (0.25,))
    config = RunConfig(
        method="independent",
        dataset="digits",
        backbone="resnet8",
        seed=0,
        train=train,
        data=data or DataConfig(pad=1),
        hyperparameters={},
        method_version=1,
        dataset_checksum="",
    )
    return Trainer(config, dataset, CPU)


class TestWeightDecay:
    def test_spares_norms_and_biases(self) -> None:
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
        groups = [ParameterGroup(list(network.parameters()))]
        spared = decayed_groups(groups, TrainConfig(no_decay="norm_and_bias"))
        assert [[tuple(x.shape) for x in group.parameters] for group in spared] == [
            [(2, 1, 3, 3), (2, 2)],
            [(2,), (2,), (2,), (2,)],
        ]
        assert [group.weight_decay for group in spared] == [5e-4, 0.0]

    def test_by_default_everything_decays(self) -> None:
        groups = [ParameterGroup(list(nn.Linear(2, 2).parameters()))]
        [group] = decayed_groups(groups, TrainConfig(weight_decay=0.01))
        assert (len(group.parameters), group.weight_decay) == (2, 0.01)

    def test_a_step_without_gradient_shrinks_what_decays_and_nothing_else(self) -> None:
        trainer = trained(TrainConfig(no_decay="norm_and_bias", weight_decay=0.5, lr=0.1, momentum=0.0, nesterov=False))
        before = [parameter.detach().clone() for parameter in trainer.parameters]
        for parameter in trainer.parameters:
            parameter.grad = torch.zeros_like(parameter)
        trainer.optimizer.step()
        for old, new in zip(before, trainer.parameters, strict=True):
            torch.testing.assert_close(new.detach(), old * (0.95 if old.ndim > 1 else 1.0))


class TestPadding:
    IMAGE = torch.tensor([[10, 20, 30], [40, 50, 60], [70, 80, 90]], dtype=torch.uint8)

    def padded(self, padding: str) -> list[list[int]]:
        """The corner crop of a padded image: two rows and columns of border and one pixel of it."""
        normalisation = Normalisation(torch.tensor([1.0]), torch.tensor([-33.4]))
        images = self.IMAGE[None, None]
        augmentation = Augmentation(images, normalisation, 2, False, padding)  # type: ignore[arg-type]
        return augmentation._windows(images)[0, 0, 0, 0, :, :, 0].tolist()

    def test_black(self) -> None:
        assert self.padded("black") == [[0, 0, 0], [0, 0, 0], [0, 0, 10]]

    def test_mean_is_the_pixel_that_networks_see_as_zero(self) -> None:
        assert self.padded("mean") == [[33, 33, 33], [33, 33, 33], [33, 33, 10]]

    def test_reflect_is_that_of_pytorch(self) -> None:
        whole = nn.functional.pad(self.IMAGE[None, None].float(), (2, 2, 2, 2), mode="reflect")
        assert self.padded("reflect") == whole[0, 0, :3, :3].tolist()

    def test_reflect_needs_images_wider_than_the_border(self) -> None:
        with pytest.raises(InputError, match=r"data.pad must be below 8 \(given: 8\)"):
            trained(TrainConfig(), DataConfig(pad=8, padding="reflect"))

    def test_a_run_is_trained_with_its_padding(self) -> None:
        losses = {
            padding: trained(TrainConfig(batch_size=4), DataConfig(pad=2, padding=padding)).epoch()["loss"]
            for padding in ("black", "mean", "reflect")
        }
        assert len({*losses.values()}) == 3


def test_accuracy_on_training_images_is_that_of_the_images_as_they_are() -> None:
    trainer = trained(TrainConfig(epochs=1, batch_size=4))
    row = trainer.epoch()
    # here the scored images are the training images
    assert row["train_student"] == row["student"]
