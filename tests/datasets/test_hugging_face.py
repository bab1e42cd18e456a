"""``hf:PATH`` on datasets that Hugging Face's own library has written."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets as library
import numpy as np
import pytest
from PIL import Image

from benchmark import datasets
from benchmark.configuration import DataConfig
from benchmark.datasets.images import Dataset
from methods.errors import InputError
from tests.images import Pixels, random_pixels, same

NAMES = ["cat", "dog", "fox"]
SIZES = ((8, 8), (8, 12), (10, 9))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    library.disable_progress_bars()
    yield
    library.enable_progress_bars()


def encoded(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def split(images: list[Pixels], labels: list[int], label: Any = None, **columns: list[Any]) -> Any:
    features = library.Features({"image": library.Image(), "label": label or library.ClassLabel(names=NAMES)})
    for name in columns:
        features[name] = library.Value("int64")
    rows = {"image": [{"bytes": encoded(image), "path": None} for image in images], "label": labels, **columns}
    return library.Dataset.from_dict(rows, features=features)


def pictures(count: int, seed: int = 0, sizes: tuple[tuple[int, int], ...] = SIZES[:1]) -> list[Pixels]:
    return [random_pixels(*sizes[index % len(sizes)], 3, seed=seed + index) for index in range(count)]


def numbers(count: int) -> list[int]:
    return [index % 3 for index in range(count)]


def save(folder: Path, **splits: Any) -> Path:
    library.DatasetDict(splits).save_to_disk(str(folder))
    return folder


def load(folder: Path, **config: Any) -> Dataset:
    return datasets.load(f"hf:{folder}", DataConfig(**config), folder.parent / "data")


def checksum(folder: Path, **config: Any) -> str:
    return datasets.checksum(f"hf:{folder}", DataConfig(**config), folder.parent / "data")


def test_images_labels_and_names_of_a_saved_folder(tmp_path: Path) -> None:
    train, test = pictures(9), pictures(6, seed=50)
    folder = save(tmp_path / "photos", train=split(train, numbers(9)), test=split(test, numbers(6)))
    loaded = load(folder)
    assert np.array_equal(loaded.train.images.transpose(0, 2, 3, 1), np.stack(train))
    assert np.array_equal(loaded.test.images.transpose(0, 2, 3, 1), np.stack(test))
    assert (loaded.train.labels.tolist(), loaded.test.labels.tolist()) == (numbers(9), numbers(6))
    assert loaded.classes == tuple(NAMES)
    # decoded once
    cached = sorted(folder.parent.glob("data/.cache/images/*.npy"))
    assert len(cached) == 2
    assert same(load(folder), loaded)


def test_checksum_is_of_the_images_in_use_wherever_and_however_they_are_stored(tmp_path: Path) -> None:
    images = pictures(9)
    first = save(tmp_path / "one", train=split(images, numbers(9)), test=split(images[:3], numbers(3)))
    moved = library.load_from_disk(str(first))
    # chosen rows are an index into the rows of another
    again = moved["train"].select([*range(3), *range(3, 9)])
    second = save(tmp_path / "two", train=again, validation=moved["test"])
    assert checksum(first) == checksum(second)
    assert checksum(first, holdout=0.4) != checksum(first)
    other = save(tmp_path / "other", train=split(images[::-1], numbers(9)), test=split(images[:3], numbers(3)))
    assert checksum(other) != checksum(first)


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    images = pictures(6)
    folder = tmp_path / "table"
    folder.mkdir()
    for part in ("train", "test"):
        split(images, numbers(6)).to_parquet(str(folder / f"{part}-00000-of-00001.parquet"))
    loaded = load(folder)
    assert np.array_equal(loaded.train.images.transpose(0, 2, 3, 1), np.stack(images))


def test_numbers_serve_as_labels(tmp_path: Path) -> None:
    whole = library.Value("int32")
    folder = save(
        tmp_path / "a", train=split(pictures(6), numbers(6), whole), test=split(pictures(3), [0, 1, 2], whole)
    )
    assert load(folder).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": ([0, 1, 2], {})}, r"has no split test or validation .*; data\.test_split=NAME .*\(found: train\)"),
        ({"test": ([0, 1, 2], {})}, r"has no split train; data\.train_split=NAME .*\(found: test\)"),
        ({"train": ([], {}), "test": ([0], {})}, r"cannot open hf:\S+: IndexError"),
    ],
    ids=["no test", "no train", "empty"],
)
def test_other_splits_are_refused(
    tmp_path: Path, splits: Mapping[str, tuple[list[int], dict[str, Any]]], message: str
) -> None:
    made = {name: split(pictures(len(labels)), labels) for name, (labels, _) in splits.items()}
    with pytest.raises(InputError, match=message) as caught:
        checksum(save(tmp_path / "photos", **made))
    assert "\n" not in str(caught.value)


def test_other_columns_are_listed(tmp_path: Path) -> None:
    renamed = split(pictures(3), [0, 1, 2], library.Value("int64"), weight=[1, 2, 3]).rename_column("label", "age")
    with pytest.raises(InputError, match=r"ClassLabel \(found: image \(Image\), age \(Value\), weight \(Value\)\)"):
        checksum(save(tmp_path / "a", train=renamed, test=renamed))


def test_one_split_alone_and_no_dataset(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    split(pictures(3), [0, 1, 2]).save_to_disk(str(alone))
    with pytest.raises(InputError, match="is one split: a dataset of several is needed"):
        checksum(alone)
    with pytest.raises(InputError, match=r"no such folder: .*/nowhere .*as save_to_disk writes it"):
        checksum(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"^cannot open hf:.*empty: ") as caught:
        checksum(tmp_path / "empty")
    assert "\n" not in str(caught.value)


def test_a_name_is_taken_from_the_cache_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(6)
    folder, cache = tmp_path / "photos", tmp_path / "cache"
    folder.mkdir()
    for part in ("train", "test"):
        split(images, numbers(6)).to_parquet(str(folder / f"{part}-00000-of-00001.parquet"))
    library.load_dataset(str(folder), cache_dir=str(cache))
    # what was fetched from the Hub is there under its owner's name
    (cache / "photos").rename(cache / "owner___photos")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", str(cache))
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    loaded = datasets.load("hf:owner/photos", DataConfig(), tmp_path / "data")
    assert np.array_equal(loaded.train.images.transpose(0, 2, 3, 1), np.stack(images))
    with pytest.raises(InputError, match=r"^cannot open hf:owner/others: "):
        datasets.load("hf:owner/others", DataConfig(), tmp_path / "data")
