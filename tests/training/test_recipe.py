"""Learning rate, weight decay and padding: each value as its formula or its like in PyTorch gives it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

from benchmark.configuration import DataConfig, TrainConfig
from benchmark.datasets import Dataset, LabelledImages
from benchmark.training import Augmentation, Normalisation, Trainer
from benchmark.training.steps import decayed_groups, make_optimizer, set_rates
from methods import ParameterGroup, Progress
from methods.errors import InputError
from methods.objectives import soft_labels
from tests.plans import on_noise

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

    @pytest.mark.parametrize("epochs", [2.0, 0.25])
    def test_warm_up_is_that_of_pytorch(self, epochs: float) -> None:
        train, theirs = TrainConfig(epochs=8, lr=0.2, warmup_epochs=epochs, warmup_from=0.05), optimizer()
        # two epochs of five steps either way: a quarter of eight epochs is two
        scheduler = LinearLR(theirs, start_factor=0.05, total_iters=10)
        for step in range(14):
            assert 0.2 * train.warmup_at(step, 5) == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
            theirs.step()
            scheduler.step()

    def test_a_run_trains_at_these_rates(self, monkeypatch: pytest.MonkeyPatch) -> None:
        warming: dict[str, Any] = {"warmup_epochs": 2.0, "warmup_from": 0.1, "momentum": 0.0, "nesterov": False}
        trainer, rates = trained(TrainConfig(epochs=4, lr=0.2, schedule="cosine", batch_size=4, **warming)), []
        step = trainer.train_step

        def spied(*arguments: object) -> dict[str, torch.Tensor]:
            terms = step(*arguments)  # type: ignore[arg-type]
            rates.append(trainer.optimizer.param_groups[0]["lr"])
            return terms

        monkeypatch.setattr(trainer, "train_step", spied)
        rows = [trainer.epoch() for _ in range(4)]
        # nine images are batches of 4 and 5, since a batch of one has no variance: two steps per epoch
        shape = [0.2 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
        warm = [0.1, 0.325, 0.55, 0.775, 1, 1, 1, 1]
        expected = [shape[index // 2] * factor for index, factor in enumerate(warm)]
        assert rates == pytest.approx(expected, rel=1e-12)
        assert [row["lr"] for row in rows] == pytest.approx(expected[1::2], rel=1e-12)


def trained(
    train: TrainConfig,
    data: DataConfig | None = None,
    method: str = "independent",
    plugins: tuple[Path, ...] = (),
    **hyperparameters: Any,
) -> Trainer:
    source = np.random.default_rng(0)
    pixels = source.integers(0, 256, (9, 1, 8, 8), dtype=np.uint8)
    part = LabelledImages(pixels, source.integers(0, 3, 9))
    dataset = Dataset("digits", part, part, ("a", "b", "c"), (0.5,), (0.25,))
    config = on_noise(method, data, plugins, hyperparameters, **train.model_dump())
    return Trainer(config, dataset, CPU, plugins)


class TestWeightDecay:
    def test_spares_norms_and_biases(self) -> None:
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
        groups = [ParameterGroup(list(network.parameters()))]
        spared = decayed_groups(groups, TrainConfig(no_decay="norm_and_bias"))
        shapes = [[tuple(x.shape) for x in group.parameters] for group in spared]
        assert shapes == [[(2, 1, 3, 3), (2, 2)], [(2,), (2,), (2,), (2,)]]
        assert [group.weight_decay for group in spared] == [5e-4, 0.0]

    def test_a_step_without_gradient_shrinks_what_decays_and_nothing_else(self) -> None:
        trainer = trained(TrainConfig(no_decay="norm_and_bias", weight_decay=0.5, lr=0.1, momentum=0.0, nesterov=False))
        before = [parameter.detach().clone() for parameter in trainer.parameters]
        for parameter in trainer.parameters:
            parameter.grad = torch.zeros_like(parameter)
        trainer.optimizer.step()
        for old, new in zip(before, trainer.parameters, strict=True):
            torch.testing.assert_close(new.detach(), old * (0.95 if old.ndim > 1 else 1.0))


class TestAdamW:
    RECIPE = TrainConfig(optimizer="adamw", lr=0.01, schedule="cosine", weight_decay=0.1, no_decay="norm_and_bias")
    TRAIN = RECIPE.model_copy(update={"epochs": 4, "batch_size": 4})

    def test_two_epochs_are_those_of_the_formula(self) -> None:
        """Every step of a run with its schedule and its spared parameters, in double precision by hand."""
        trainer = trained(self.TRAIN)
        weights = [parameter.detach().double().clone() for parameter in trainer.parameters]
        first, second = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
        step = 0

        def by_hand(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            nonlocal step
            step += 1
            rate = 0.01 * (1 + math.cos(math.pi * trainer.next_epoch / 4)) / 2
            for own, m, v, parameter in zip(weights, first, second, trainer.parameters, strict=True):
                assert parameter.grad is not None
                gradient = parameter.grad.double()
                m.mul_(0.9).add_(0.1 * gradient)
                v.mul_(0.999).add_(0.001 * gradient**2)
                decay = 0.1 if parameter.ndim > 1 else 0.0
                own.mul_(1 - rate * decay)
                own.sub_(rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8))

        trainer.optimizer.register_step_pre_hook(by_hand)
        trainer.epoch()
        trainer.epoch()
        assert step == 4
        for ours, parameter in zip(weights, trainer.parameters, strict=True):
            torch.testing.assert_close(parameter.detach().double(), ours, rtol=1e-4, atol=1e-6)

    def test_a_group_of_the_method_keeps_its_rate(self) -> None:
        groups = [ParameterGroup([nn.Parameter(torch.ones(2, 2))], lr_factor=0.5)]
        decayed = decayed_groups(groups, self.TRAIN)
        optimizer = make_optimizer(decayed, self.TRAIN)
        set_rates(optimizer, decayed, self.TRAIN, 0, 0.1)
        assert isinstance(optimizer, torch.optim.AdamW)
        [group] = optimizer.param_groups
        assert group["lr"] == pytest.approx(0.01 * 0.5 * 0.1)
        assert (group["weight_decay"], group["betas"], group["eps"]) == (0.1, (0.9, 0.999), 1e-8)


class TestLabels:
    def test_smoothed_labels_are_what_all_losses_are_given(self) -> None:
        trainer = trained(TrainConfig(epochs=1, batch_size=4, label_smoothing=0.3))
        batch, _ = next(trainer.batches.of_epoch("order", "augmentation", 0))
        assert batch.targets is not None
        torch.testing.assert_close(batch.targets, soft_labels(batch.labels, 3, 0.3))
        outputs = trainer.method(batch.views)
        [term] = trainer.method.losses(outputs, batch.given, Progress(0, 0, 1)).values()
        theirs = nn.functional.cross_entropy(outputs.peers[0], batch.labels, label_smoothing=0.3)
        assert term.item() == pytest.approx(theirs.item(), rel=1e-6)

    def test_mixed_labels_are_smoothed_after_they_are_mixed(self) -> None:
        train = TrainConfig(epochs=1, batch_size=4, label_smoothing=0.3)
        smoothed, plain = (trained(each, DataConfig(pad=1, mix="mixup")) for each in (train, TrainConfig(batch_size=4)))
        ours, theirs = (next(one.batches.of_epoch("order", "augmentation", 0))[0] for one in (smoothed, plain))
        assert ours.targets is not None
        assert theirs.targets is not None
        assert torch.equal(ours.views, theirs.views)
        torch.testing.assert_close(ours.targets, 0.7 * theirs.targets + 0.1)

    @pytest.mark.parametrize(
        ("method", "chosen"),
        [
            *(("kdcl", {"variant": "general"}), ("kdcl", {"variant": "naive"})),
            *(("mcl", {}), ("mcl_okd", {}), ("switokd", {})),
        ],
    )
    def test_what_needs_the_class_of_an_image_finds_it_in_smoothed_labels(self, method: str, chosen: Any) -> None:
        trainers = [
            trained(TrainConfig(epochs=2, batch_size=4, label_smoothing=share), None, method, **chosen)
            for share in (0.0, 0.3)
        ]
        plain, smoothed = (trainer.epoch() for trainer in trainers)
        assert plain["loss/cross_entropy"] != smoothed["loss/cross_entropy"]
        assert all(trainer.epoch()["loss"] < 100 for trainer in trainers)
        if chosen == {"variant": "general"}:
            # what is looked at before the first step is of the same classes
            assert torch.equal(*(trainer.method.probe_labels for trainer in trainers))  # type: ignore[arg-type]

    def test_a_plug_in_that_uses_the_common_cross_entropy_needs_nothing_else(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(MINE)
        train = TrainConfig(epochs=2, batch_size=4, label_smoothing=0.3)
        data = DataConfig(pad=1, mix="cutmix")
        mine, ours = trained(train, data, "mine", (tmp_path / "mine.py",)), trained(train, data)
        assert [mine.epoch()["loss"] for _ in range(2)] == [ours.epoch()["loss"] for _ in range(2)]
        # a hook before the forward pass is told the images' own classes
        assert mine.method.seen == [mine.labels[indices].tolist() for indices in mine.method.indices]  # type: ignore[union-attr]


MINE = '''
from methods.independent import Independent


class Mine(Independent):
    """As the method that it is made from."""

    name = "mine"

    def __init__(self, backbones, hyperparameters):
        super().__init__(backbones, hyperparameters)
        self.seen, self.indices = [], []

    def begin_step(self, indices, labels):
        self.seen.append(labels.tolist())
        self.indices.append(indices)
'''

EVERYTHING = DataConfig(crop="resized", augment="randaugment", erase=0.5, mix="cutmix")


class TestEverythingAtOnce:
    TRAIN = TrainConfig(epochs=3, batch_size=4, optimizer="adamw", lr=0.01, label_smoothing=0.1)

    def test_what_a_method_prepares_itself_on_is_of_the_same_recipe(self) -> None:
        views, labels = next(trained(self.TRAIN, EVERYTHING).batches.endless("start"))
        assert views.shape[:2] == (1, 4)
        assert labels.shape == (4, 3)
        assert labels.sum(1).tolist() == pytest.approx([1] * 4)
        # no entry is 0: they are smoothed
        assert labels.amin() > 0.03

    def test_a_run_goes_on_bit_for_bit(self) -> None:
        whole, begun, resumed = (trained(self.TRAIN, EVERYTHING, "dml") for _ in range(3))
        rows = [whole.epoch() for _ in range(3)]
        again = [begun.epoch()]
        resumed.load_state(begun.state())
        again += [resumed.epoch() for _ in range(2)]
        assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in rows]
        for ours, theirs in zip(whole.parameters, resumed.parameters, strict=True):
            assert torch.equal(ours, theirs)
        states = (trainer.optimizer.state_dict()["state"] for trainer in (whole, resumed))
        for one, other in zip(*(state.values() for state in states), strict=True):
            assert set(one) == {"step", "exp_avg", "exp_avg_sq"}
            assert all(torch.equal(value, other[key]) for key, value in one.items())

    def test_methods_of_one_seed_see_the_same_images_and_labels(self) -> None:
        one, several = trained(self.TRAIN, EVERYTHING, "dml"), trained(self.TRAIN, EVERYTHING, "pcl")
        assert (one.method.views, several.method.views) == (1, 3)
        batches = [list(trainer.batches.of_epoch("order", "augmentation", 1)) for trainer in (one, several)]
        for (ours, _), (theirs, _) in zip(*batches, strict=True):
            assert torch.equal(ours.views[0], theirs.views[0])
            assert ours.targets is not None
            assert theirs.targets is not None
            assert torch.equal(ours.targets, theirs.targets)
            assert not torch.equal(theirs.views[0], theirs.views[1])


class TestPadding:
    IMAGE = torch.tensor([[10, 20, 30], [40, 50, 60], [70, 80, 90]], dtype=torch.uint8)

    def padded(self, padding: str) -> list[list[int]]:
        """The corner crop of a padded image: two rows and columns of border and one pixel of it."""
        normalisation = Normalisation(torch.tensor([1.0]), torch.tensor([-33.4]))
        images = self.IMAGE[None, None]
        augmentation = Augmentation(images, normalisation, DataConfig(pad=2, flip=False, padding=padding))  # type: ignore[arg-type]
        return augmentation._windows(images)[0, 0, 0, :, :, 0].tolist()

    # the mean is the pixel that networks see as zero
    @pytest.mark.parametrize(("padding", "value"), [("black", 0), ("mean", 33)])
    def test_one_colour(self, padding: str, value: int) -> None:
        assert self.padded(padding) == [[value] * 3, [value] * 3, [value, value, 10]]

    def test_reflect_is_that_of_pytorch(self) -> None:
        whole = nn.functional.pad(self.IMAGE[None, None].float(), (2, 2, 2, 2), mode="reflect")
        assert self.padded("reflect") == whole[0, 0, :3, :3].tolist()

    def test_reflect_needs_images_wider_than_the_border(self) -> None:
        with pytest.raises(InputError, match=r"data\.pad.* 8 "):
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
