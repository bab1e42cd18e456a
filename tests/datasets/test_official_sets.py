"""An official set is its content: the archive, its unpacked form and a folder of PNG files are one dataset."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from benchmark import datasets
from benchmark.configuration import RunConfig
from benchmark.configuration.run_config import DataConfig
from benchmark.datasets import files
from benchmark.running import prepare
from benchmark.training import Trainer
from tests.images import cifar_archive, random_pixels, same, save

CLASSES = ("airplane", "automobile", "bird", "cat", "deer")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A data root with ``cifar10/{train,test}/<class>/*.png``."""
    root = tmp_path / "as_png"
    for part, count in (("train", 6), ("test", 3)):
        for label, name in enumerate(CLASSES):
            for index in range(count):
                pixels = random_pixels(32, 32, 3, seed=1000 * label + 10 * index + (part == "test"))
                save(root / "cifar10" / part / name / f"{name}_s_{index:06d}.png", pixels)
    return root


@pytest.fixture
def packed(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with the same images as an official archive, in another order and with classes in another order."""
    names = CLASSES[::-1]
    parts = {}
    for seed, part in enumerate(("train", "test")):
        files = sorted((tree / "cifar10" / part).rglob("*.png"))
        order = np.random.default_rng(seed).permutation(len(files))
        pixels = np.stack([np.asarray(Image.open(files[index])) for index in order])
        parts[part] = pixels, [names.index(files[index].parent.name) for index in order]
    cifar_archive(tmp_path / "as_archive", monkeypatch, torchvision.datasets.CIFAR10, parts, names)
    return tmp_path / "as_archive"


def planned(root: Path, results: Path, **data: Any) -> RunConfig:
    layer = {"methods": "dml", "dataset": "cifar10", "backbone": "resnet8", "seeds": [3], "data": data}
    folders = {"data_root": str(root), "results": str(results)}
    [run] = prepare([{**layer, **folders, "train": {"epochs": 1, "batch_size": 8}}]).runs
    return run


@pytest.mark.parametrize("data", [{}, {"holdout": 0.5}, {"train_per_class": 2, "test_per_class": 1}, {"image_size": 8}])
def test_archive_and_image_files_are_one_dataset(tree: Path, packed: Path, tmp_path: Path, data: Any) -> None:
    first, second = (planned(root, tmp_path, **data) for root in (tree, packed))
    assert first.identity == second.identity
    loaded = [datasets.load("cifar10", first.data, root) for root in (tree, packed)]
    assert same(*loaded)
    assert datasets.shape("cifar10", first.data, tree) == loaded[0].shape
    rows = [Trainer(first, dataset, torch.device("cpu")).epoch() for dataset in loaded]
    scores = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    assert scores[0] == scores[1]


def test_order_is_by_class_and_pixels(tree: Path) -> None:
    loaded = datasets.load("cifar10", DataConfig(), tree)
    assert loaded.classes == CLASSES
    keys = [
        (int(label), image.tobytes()) for label, image in zip(loaded.train.labels, loaded.train.images, strict=True)
    ]
    assert keys == sorted(keys)


@pytest.mark.parametrize("part", ["train", "test"])
def test_one_pixel_tells(tree: Path, part: str) -> None:
    before = datasets.checksum("cifar10", DataConfig(), tree)
    path = tree / "cifar10" / part / "bird" / "bird_s_000001.png"
    pixels = np.array(Image.open(path))
    pixels[4, 5, 0] ^= 1
    save(path, pixels)
    assert datasets.checksum("cifar10", DataConfig(), tree) != before


def test_file_names_do_not_tell(tree: Path) -> None:
    before = datasets.checksum("cifar10", DataConfig(), tree)
    (tree / "cifar10/train/cat/cat_s_000000.png").rename(tree / "cifar10/train/cat/z.png")
    assert datasets.checksum("cifar10", DataConfig(), tree) == before


def test_held_out_runs_need_no_test_images(tree: Path) -> None:
    config = DataConfig(holdout=0.5)
    before = datasets.checksum("cifar10", config, tree)
    shutil.rmtree(tree / "cifar10/test")
    assert datasets.checksum("cifar10", config, tree) == before
    assert len(datasets.load("cifar10", config, tree).test) == 15


class TestKnownContent:
    """CIFAR-100's content hashes are constants: what is there is compared with them."""

    def test_before_the_files_are_there_the_constant_is_planned_with(self, tmp_path: Path) -> None:
        whole, held_out = (datasets.checksum("cifar100", DataConfig(holdout=share), tmp_path) for share in (0, 0.1))
        assert whole == "6a741571707ca1e7d790febc9859c9d8e4a2f23dcf9e1d39ef78d3f7291b8b1b"
        assert held_out != whole

    def test_other_content_has_its_own_checksum_and_is_said(
        self, tree: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tree / "cifar10").rename(tree / "cifar100")
        known = datasets.checksum("cifar100", DataConfig(), tree / "nothing")
        assert datasets.checksum("cifar100", DataConfig(), tree) != known
        [line] = capsys.readouterr().err.splitlines()
        assert str(tree / "cifar100") in line
        assert datasets.shape("cifar100", DataConfig(), tree).num_classes == len(CLASSES)

    def test_content_that_is_the_expected_one_is_not_remarked(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cifar10 = files.OFFICIAL["cifar10"]
        place = cifar10.place(tree)
        assert place is not None
        contents = tuple(cifar10.content(place, part, tree) for part in ("train", "test"))
        monkeypatch.setattr(cifar10, "contents", contents)
        assert datasets.checksum("cifar10", DataConfig(), tree) == datasets.checksum(
            "cifar10", DataConfig(), tree / "nothing"
        )
        assert capsys.readouterr().err == ""
