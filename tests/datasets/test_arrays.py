"""``npz:FILE`` and the form that all arrays must have."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import datasets
from benchmark.configuration import DataConfig
from benchmark.datasets.images import Dataset, Shape, channel_statistics
from methods.errors import InputError
from tests.images import random_pixels, same

NOWHERE = Path("no-such-folder")
Content = dict[str, Any]


def content(*shape: int, train: int = 12, test: int = 6, classes: int = 3) -> Content:
    return {
        "x_train": random_pixels(train, *shape),
        "y_train": np.arange(train) % classes,
        "x_test": random_pixels(test, *shape, seed=1),
        "y_test": np.arange(test, dtype=np.uint8) % classes,
    }


def write(path: Path, found: Content) -> Path:
    with path.open("wb") as stream:
        np.savez(stream, **found)
    return path


def load(path: Path, **config: Any) -> Dataset:
    return datasets.load(f"npz:{path}", DataConfig(**config), NOWHERE)


def checksum(path: Path, **config: Any) -> str:
    return datasets.checksum(f"npz:{path}", DataConfig(**config), NOWHERE)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3)])
def test_images_and_labels_are_those_of_the_file(tmp_path: Path, shape: tuple[int, ...]) -> None:
    found = content(*shape)
    loaded = load(write(tmp_path / "a.npz", found))
    for part, name in ((loaded.train, "train"), (loaded.test, "test")):
        assert np.array_equal(part.images.transpose(0, 2, 3, 1).reshape(found[f"x_{name}"].shape), found[f"x_{name}"])
        assert part.labels.tolist() == found[f"y_{name}"].tolist()
    assert loaded.classes == ("0", "1", "2")
    assert (loaded.mean, loaded.std) == channel_statistics(loaded.train.images)


def test_size_subset_and_held_out_part(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", content(20, 13, 3, train=30))
    assert load(path, image_size=8, train_per_class=6, holdout=0.5).shape == Shape(9, 9, 3, 3, 8)
    assert load(path, image_size=8, test_per_class=1).shape == Shape(30, 3, 3, 3, 8)


def test_held_out_part_needs_no_test_images(tmp_path: Path) -> None:
    found = content(8, 8)
    whole = write(tmp_path / "whole.npz", found)
    part = write(tmp_path / "part.npz", {key: found[key] for key in ("x_train", "y_train")})
    assert same(load(part, holdout=0.5), load(whole, holdout=0.5))
    assert checksum(part, holdout=0.5) == checksum(whole, holdout=0.5)


def test_checksum_is_of_the_arrays_and_not_of_the_file(tmp_path: Path) -> None:
    found = content(8, 8)
    first = write(tmp_path / "first.npz", found)
    compressed = tmp_path / "second.npz"
    np.savez_compressed(compressed, **found, notes=np.zeros(3))
    assert checksum(first) == checksum(compressed)
    for key in found:
        other = {**found, key: found[key][::-1]}
        assert checksum(write(tmp_path / "other.npz", other)) != checksum(first), key
    named = found | {"classes": np.array(["a", "b", "c"])}
    assert checksum(write(tmp_path / "named.npz", named)) != checksum(first)


def without(key: str) -> Callable[[Content], Content]:
    return lambda found: {name: value for name, value in found.items() if name != key}


def changed(key: str, change: Callable[[Any], Any]) -> Callable[[Content], Content]:
    return lambda found: {**found, key: change(found[key])}


BAD: list[tuple[Callable[[Content], Content], str]] = [
    (without("y_test"), r"has no y_test \(it must hold x_train, y_train, x_test, y_test; found: x_train, y_train"),
    (changed("x_train", lambda x: x / 255), "x_train has the type float64: images must be uint8, from 0 to 255"),
    (changed("x_test", lambda x: x.astype(np.int64)), "x_test has the type int64: images must be uint8"),
    (changed("x_train", lambda x: x.transpose(0, 3, 1, 2)), r"the shape \(12, 3, 8, 8\): .*; channels come last$"),
    (changed("x_train", lambda x: x[..., :2]), r"x_train has the shape \(12, 8, 8, 2\): it must be \[N, H, W\] or"),
    (changed("x_train", lambda x: x[0, 0]), r"x_train has the shape \(8, 3\): it must be"),
    (changed("x_test", lambda x: x[:0]), r"x_test has the shape \(0, 8, 8, 3\): it holds no image"),
    (changed("x_test", lambda x: x[..., :1]), "x_train has 3 channels, x_test 1"),
    (changed("y_train", lambda y: y.astype(float)), "y_train has the type float64: labels must be whole numbers"),
    (changed("y_train", lambda y: np.eye(3, dtype=int)[y]), r"y_train has the shape \(12, 3\): it must be \[N\]"),
    (changed("y_train", lambda y: y[:-1]), "y_train has 11 labels for 12 images"),
    (lambda found: found | {"classes": np.array(["a", "b"])}, r"y_train\[2\] is 2: labels must be in 0\.\.1"),
    (lambda found: found | {"classes": np.array(["a", "b", "a"])}, "2 classes in 3 names: .* each once"),
    (lambda found: found | {"classes": np.arange(3)}, "classes must be the classes' names"),
    (changed("x_train", lambda x: x.astype(object)), "is not a readable .npz file: Object arrays cannot be loaded"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD, ids=[message[:25] for _, message in BAD])
def test_each_fault_has_one_line_with_the_file(
    tmp_path: Path, spoil: Callable[[Content], Content], message: str
) -> None:
    path = write(tmp_path / "a.npz", spoil(content(8, 8, 3)))
    for function in (load, checksum):
        with pytest.raises(InputError, match=message) as caught:
            function(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "message"),
    [((9, 8), "images of 8x9 are not square: data.image_size=N resizes"), ((7, 7), "the test images 7x7: data")],
)
def test_sizes_that_only_resizing_brings_together(tmp_path: Path, images: tuple[int, int], message: str) -> None:
    path = write(tmp_path / "a.npz", content(8, 8) | {"x_test": random_pixels(6, *images)})
    with pytest.raises(InputError, match=message):
        load(path)
    assert load(path, image_size=8).test.shape == (1, 8, 8)


def claim_more(path: Path) -> None:
    """Write the file with a shape in an array's header for which no memory is large enough."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, raw in members.items():
            archive.writestr(name, raw.replace(b"(12, 8, 8), }" + 10 * b" ", b"(999999999999, 8, 8), }"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), r"^no such file: .* \(a dataset is named npz:FILE, with x_train, y_train"),
        (lambda path: path.write_text("x_train"), "is not a readable .npz file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-500]), "is not a readable .npz file"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"descr", b"dascr")), "is not a readable .npz file"),
        (lambda path: np.save(path.open("wb"), np.zeros(3)), "is not a readable .npz file"),
        (claim_more, r"x_train\.npy claims the shape \(999999999999"),
    ],
    ids=["missing", "text", "truncated", "damaged", "one array", "larger than it is"],
)
def test_other_files_are_refused(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    path = write(tmp_path / "a.npz", content(8, 8))
    spoil(path)
    with pytest.raises(InputError, match=message):
        checksum(path)
