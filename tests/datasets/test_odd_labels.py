"""Datasets of every form with odd labels: each is loaded as it is, or refused in one line."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from benchmark import datasets
from benchmark.configuration.run_config import DataConfig
from benchmark.datasets.arrays import Arrays, checked
from methods.errors import InputError

LABEL = st.one_of(
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([-1, -(2**31), 255, 2**31 - 1, 2**62, 20_240_000, 1_700_000_000]),
)
DTYPES = st.sampled_from([np.int64, np.int32, np.uint8, np.float64, np.int16])


@st.composite
def labels(draw: st.DrawFn) -> Any:
    values = draw(st.lists(LABEL, min_size=0, max_size=8))
    dtype: Any = draw(DTYPES)
    info = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else None
    kept = [value for value in values if info is None or info.min <= value <= info.max]
    made = np.array(kept, dtype=dtype)
    return made.reshape(-1, 1) if draw(st.integers(0, 9)) == 0 else made


CASES = st.tuples(
    labels(), labels(), st.integers(0, 8), st.integers(0, 8), st.sampled_from([None, ("a", "b"), ("a", "a")])
)


def unless_refused(action: Callable[[], Any]) -> Any:
    """What an action gives; None where it is refused, in one line."""
    try:
        return action()
    except InputError as error:
        if len(str(error).splitlines()) != 1:
            pytest.fail(f"more than one line: {error}")
        return None


def is_sound(train: Any, test: Any, classes: tuple[str, ...]) -> bool:
    there = set(train.tolist()) == set(range(len(classes))) and len(set(classes)) == len(classes) >= 2
    return there and set(test.tolist()) <= set(range(len(classes)))


@given(CASES)
def test_arrays(case: tuple[Any, Any, int, int, tuple[str, ...] | None]) -> None:
    y_train, y_test, train, test, classes = case
    images = [np.zeros((count, 8, 8), dtype=np.uint8) for count in (train, test)]
    parts = unless_refused(lambda: checked(Arrays(images[0], y_train, images[1], y_test, classes), "mine"))
    if parts is not None:
        first, second = (part.labels for part in parts.images)
        assert is_sound(first, second, parts.classes)
        assert [len(part.labels) for part in parts.images] == [train, test]


@given(CASES)
def test_npz(case: tuple[Any, Any, int, int, tuple[str, ...] | None]) -> None:
    y_train, y_test, train, test, _ = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "odd.npz"
        images = [np.zeros((count, 8, 8), dtype=np.uint8) for count in (train, test)]
        np.savez(path, x_train=images[0], y_train=y_train, x_test=images[1], y_test=y_test)
        loaded = unless_refused(lambda: datasets.load(f"npz:{path}", DataConfig(), Path(folder)))
        assert loaded is None or is_sound(loaded.train.labels, loaded.test.labels, loaded.classes)


@given(train=labels(), test=labels())
def test_hugging_face(train: Any, test: Any) -> None:
    library = pytest.importorskip("datasets")
    from PIL import Image

    grey = Image.fromarray(np.zeros((8, 8), dtype=np.uint8))

    def split(own: Any) -> Any:
        rows = {"image": [grey] * len(own), "label": own.ravel().tolist()}
        kind = "float64" if own.dtype.kind == "f" else "int64"
        features = library.Features({"image": library.Image(), "label": library.Value(kind)})
        return library.Dataset.from_dict(rows, features=features)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "odd"
        library.DatasetDict({"train": split(train), "test": split(test)}).save_to_disk(str(place))
        loaded = unless_refused(lambda: datasets.load(f"hf:{place}", DataConfig(), Path(folder)))
        assert loaded is None or is_sound(loaded.train.labels, loaded.test.labels, loaded.classes)
