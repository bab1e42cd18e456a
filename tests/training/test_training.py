"""Runs are paired by seed and reproducible."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

from benchmark import running
from benchmark.configuration.run_config import DataConfig, RunConfig
from benchmark.datasets.catalogue import load
from benchmark.training.batches import Augmentation, Normalisation
from benchmark.training.initialisation import axis_seed
from benchmark.training.trainer import Trainer
from tests.plans import digits

CPU = torch.device("cpu")
SIX = "independent,dml,one,okddip,pcl,dkel"


def small(results: Path, **changes: Any) -> running.Command:
    """A command of a few seconds: few digits, two epochs."""
    layer: dict[str, Any] = {
        "epochs": 2,
        "data": {"train_per_class": 5, "test_per_class": 5},
        "train": {"batch_size": 16},
    }
    return digits(results, **layer | changes)


def trainer(run: RunConfig) -> Trainer:
    return Trainer(run, load(run.dataset, run.data, Path("data")), CPU)


def test_every_method_sees_the_same_batches_and_first_view(tmp_path: Path) -> None:
    seen = {}
    for run in small(tmp_path, methods=SIX).runs:
        batches = trainer(run).batches.of_epoch("order", "augmentation", 1)
        seen[run.method] = [(batch.views[0], batch.labels) for batch, _ in batches]
    for found in seen.values():
        for (views, labels), (expected_views, expected_labels) in zip(found, seen["independent"], strict=True):
            assert torch.equal(views, expected_views)
            assert torch.equal(labels, expected_labels)


def test_methods_with_the_same_network_start_from_the_same_weights(tmp_path: Path) -> None:
    one, pcl = (trainer(run).method for run in small(tmp_path, methods="one,pcl").runs)
    for name, weights in one.get_submodule("network").state_dict().items():
        assert torch.equal(weights, pcl.get_submodule("network.network").state_dict()[name])


@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 1000))
def test_axes_of_randomness_do_not_meet(seed: int, epoch: int) -> None:
    seeds = {axis_seed(seed, axis, epoch) for axis in ("weights", "order", "augmentation", "method")}
    assert len(seeds | {axis_seed(seed, "order", epoch + 1), axis_seed(seed + 1, "order", epoch)}) == 6


def test_a_view_is_a_shifted_and_mirrored_image_with_black_around_it() -> None:
    image = torch.arange(1, 17, dtype=torch.uint8).view(1, 1, 4, 4)
    identity = Normalisation.of((0.0,), (1 / 255,), CPU)
    augmentation = Augmentation(image, identity, DataConfig(pad=1))
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1)).float()
    crops = [padded[..., y : y + 4, x : x + 4] for y in range(3) for x in range(3)]
    allowed = {tuple(crop.flatten().tolist()) for full in crops for crop in (full, full.flip(-1))}
    samples = (augmentation.sample(0, "augmentation", epoch, 1) for epoch in range(300))
    views = (augmentation.views(torch.tensor([0]), sampled) for sampled in samples)
    assert {tuple(view.flatten().tolist()) for view in views} == allowed


def test_views_of_one_image_are_independent() -> None:
    images = torch.randint(0, 256, (400, 1, 6, 6), dtype=torch.uint8)
    augmentation = Augmentation(images, Normalisation.of((0.5,), (0.5,), CPU), DataConfig(pad=2, flip=False))
    sampled = augmentation.sample(0, "augmentation", 0, 3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        same = (sampled.windows[first, 0] == sampled.windows[second, 0]).float().mean()
        assert 0.1 < same < 0.3  # one in five by chance


def test_no_batch_of_one_image_is_left_over(tmp_path: Path) -> None:
    (run,) = small(tmp_path, methods="dml", train={"batch_size": 7}).runs  # 50 images: 7 batches of 7, and 1
    sizes = [len(batch.labels) for batch, _ in trainer(run).batches.of_epoch("order", "augmentation", 0)]
    assert sizes == [7, 7, 7, 7, 7, 7, 8]


@pytest.mark.thorough
def test_digits_recipe_reaches_96_percent(tmp_path: Path) -> None:
    (run,) = digits(tmp_path, "independent").runs
    begun = trainer(run)
    while not begun.done:
        row = begun.epoch()
    assert row["student"] >= 96.0


def test_the_mean_teacher_gets_no_gradient_and_keeps_its_own_statistics(tmp_path: Path) -> None:
    (run,) = small(tmp_path, methods="pcl").runs
    begun = trainer(run)
    begun.epoch()
    teacher, student = begun.method.get_submodule("teacher"), begun.method.get_submodule("network")
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    key = "network.stem.0.1.running_mean"
    assert not torch.equal(teacher.state_dict()[key], student.state_dict()[key])


def test_the_loss_of_an_epoch_is_the_mean_over_images(tmp_path: Path) -> None:
    (run,) = small(tmp_path, methods="independent", epochs=1).runs
    row = trainer(run).epoch()
    assert row["loss"] == pytest.approx(sum(value for key, value in row.items() if key.startswith("loss/")))
    assert 0.5 < row["loss"] < 10
