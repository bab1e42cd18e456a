"""A dataset is its content: a run that was made from one path is finished from another."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import benchmark
from benchmark.running import prepare
from benchmark.store import load
from tests.images import random_pixels, tree


def test_paths_to_one_file_and_a_copy_of_it_are_one_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images, labels = random_pixels(8, 8, 8), np.arange(8) % 2
    np.savez("ok.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    shutil.copy("ok.npz", "copy.npz")
    common: dict[str, Any] = {"methods": "independent", "backbone": "resnet8", "engine": "serial", "epochs": 1}
    benchmark.run(dataset="npz:ok.npz", seeds="0,", **common)
    names = ["npz:ok.npz", "npz:./ok.npz", f"npz:{tmp_path}/ok.npz", "npz:copy.npz"]
    for name in names:
        assert prepare([{**common, "dataset": name, "seeds": "0,"}]).missing() == [], name
    benchmark.run(dataset="npz:copy.npz", seeds="1,", **common)
    frame = load("results", "last")
    assert sorted(frame["seed"]) == [0, 1]
    assert frame["dataset"].nunique() == 1


def test_folders_of_the_same_files_are_one_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "again"):
        tree(tmp_path / name, 8, 8)
    common: dict[str, Any] = {"methods": "independent", "backbone": "resnet8", "engine": "serial", "epochs": 1}
    common |= {"seeds": "0,"}
    benchmark.run(dataset="folder:photos", **common)
    assert prepare([{**common, "dataset": "folder:again"}]).missing() == []
