"""Predictions on the disk: what is read back is what was written, and damage is named."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.store import PREDICTIONS, Predictions, read_predictions, students_files, write_predictions
from methods.errors import InputError


@pytest.fixture
def predictions() -> Predictions:
    """Two predictors, four images, three classes."""
    logits = np.random.default_rng(0).normal(0, 5, (2, 4, 3)).astype(np.float32)
    return Predictions(
        run="abc",
        logits={"peer0": logits[0], "ensemble": logits[1]},
        labels=np.array([0, 1, 2, 1]),
        images=np.array([7, -8, 9, 10]),
        classes=("a", "b", "ß/c"),
        students=("peer0",),
        split="validation",
    )


class TestFile:
    def test_everything_comes_back_and_logits_to_eleven_bits(self, predictions: Predictions, tmp_path: Path) -> None:
        write_predictions(tmp_path, predictions)
        found = read_predictions(tmp_path)
        for name in ("run", "classes", "students", "split"):
            assert getattr(found, name) == getattr(predictions, name)
        assert list(found.logits) == ["peer0", "ensemble"]
        for name, logits in predictions.logits.items():
            assert found.logits[name].dtype == np.float32
            np.testing.assert_allclose(found.logits[name], logits, rtol=2**-11)
        np.testing.assert_array_equal(found.labels, predictions.labels)
        np.testing.assert_array_equal(found.images, predictions.images)
        assert not list(tmp_path.glob(".*"))

    def test_float32_is_exact_and_what_float16_cannot_hold_stays_that(
        self, predictions: Predictions, tmp_path: Path
    ) -> None:
        small = write_predictions(tmp_path, predictions).stat().st_size
        assert write_predictions(tmp_path, predictions, "float32").stat().st_size - small == 2 * 4 * 3 * 2
        found = read_predictions(tmp_path)
        assert all((found.logits[name] == logits).all() for name, logits in predictions.logits.items())
        large = predictions.logits["peer0"] * 1e5
        write_predictions(tmp_path, replace(predictions, logits={**predictions.logits, "peer0": large}))
        found = read_predictions(tmp_path)
        np.testing.assert_array_equal(found.logits["peer0"], large)
        assert not np.array_equal(found.logits["ensemble"], predictions.logits["ensemble"])

    @pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 1.0])
    def test_a_changed_byte_and_a_cut_are_damage(self, place: float, predictions: Predictions, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"kept no predictions: bench run --save-predictions"):
            read_predictions(tmp_path)
        path = write_predictions(tmp_path, predictions)
        whole = path.read_bytes()
        at = round(place * (len(whole) - 1))
        for content in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:at]):
            path.write_bytes(content)
            with pytest.raises(InputError, match=re.escape(f"{path} is damaged: ")):
                read_predictions(tmp_path)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"classes": ("a", "b")}, "its tensors are not of 4 images and 2 classes"),
            ({"labels": np.array([0, 1, 2, 3])}, "its labels are no classes"),
            ({"images": np.array([1])}, "its tensors are not of 4 images"),
        ],
    )
    def test_parts_that_do_not_fit_are_damage(
        self, change: dict[str, object], reason: str, predictions: Predictions, tmp_path: Path
    ) -> None:
        write_predictions(tmp_path, replace(predictions, **change))  # type: ignore[arg-type]
        with pytest.raises(InputError, match=reason):
            read_predictions(tmp_path)

    def test_other_weights_are_no_predictions(self, finished_runs: Path, tmp_path: Path) -> None:
        weights = students_files(next(iter(sorted((finished_runs / "runs").glob("dml-*")))))[0]
        (tmp_path / PREDICTIONS).write_bytes(weights.read_bytes())
        with pytest.raises(InputError, match="is damaged: it lacks 'format'"):
            read_predictions(tmp_path)


class TestPredictions:
    def test_confusion_of_known_logits(self, predictions: Predictions) -> None:
        said = np.eye(3, dtype=np.float32)[[0, 2, 2, 1]]
        known = replace(predictions, logits={"peer0": said})
        np.testing.assert_array_equal(known.predicted("peer0"), [0, 2, 2, 1])
        np.testing.assert_array_equal(known.confusion("peer0"), [[1, 0, 0], [0, 1, 1], [0, 0, 1]])

    def test_an_unknown_predictor_is_answered_with_those_there_are(self, predictions: Predictions) -> None:
        with pytest.raises(
            InputError, match=r"unknown predictor 'peer1', did you mean 'peer0'\? \(valid: ensemble, pe"
        ):
            predictions.predicted("peer1")
