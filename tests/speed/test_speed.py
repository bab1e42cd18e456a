"""``bench speed`` measures, and ``bench run --dry-run`` says what a plan takes before it starts."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from benchmark.configuration.run_config import RunConfig
from benchmark.datasets.images import Shape
from benchmark.speed.cost import macs_per_image, plan_cost, side_by_side
from benchmark.speed.measure import measure, random_runs, speed_lines
from tests.pretended_device import PretendedDevice

SHAPE = Shape(train=1000, test=200, num_classes=10, in_channels=1, image_size=8)


def run_of(method: str = "independent", **train: Any) -> RunConfig:
    (run,) = random_runs(method, "resnet8", {"epochs": 4, "batch_size": 8, "threads": 1, **train}, {})
    return run


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure for moments: no rate is compared with another machine's."""
    monkeypatch.setattr("benchmark.speed.measure.MATRIX_SIDE", 128)
    monkeypatch.setattr("benchmark.speed.measure.MEASURED_S", 0.05)


@pytest.mark.usefixtures("brief")
class TestSpeed:
    def test_the_training_rate_is_compared_with_that_of_matrix_products(self) -> None:
        found = measure(run_of("pcl"), SHAPE, "cpu", repetitions=2)
        rates = (found.train_images_per_s, found.augmentation_images_per_s, found.evaluation_images_per_s)
        assert all(0 < rate.low <= rate.median <= rate.high for rate in rates)
        # of neighbouring measurements, however fast the machine is just then
        train, matmul = found.train_images_per_s, found.matmul_gflop_per_s
        low, high = (found.gflop_per_image * rate for rate in (train.low / matmul.high, train.high / matmul.low))
        assert low * (1 - 1e-9) <= found.fraction_of_matmul_rate <= high * (1 + 1e-9)
        assert found.peak_memory_mib > 50

    def test_json_has_an_object_for_one_method_and_a_list_for_several(self) -> None:
        for methods, kind in (("independent", dict), ("independent,dml", list)):
            runs = random_runs(methods, "resnet8", {"batch_size": 4, "threads": 1}, {})
            (text,) = speed_lines(runs, SHAPE, "cpu", 1, as_json=True)
            assert isinstance(json.loads(text), kind)

    def test_a_run_takes_what_its_images_take(self) -> None:
        found = measure(run_of(eval_every=3), SHAPE, "cpu", repetitions=1)
        training = 4 * 1000 * (1 / found.train_images_per_s.median + 1 / found.augmentation_images_per_s.median)
        evaluation = 2 * 200 / found.evaluation_images_per_s.median
        assert found.recipe_seconds == pytest.approx(training + evaluation)

    def test_steps_that_cannot_be_recorded_are_noted(self, tmp_path: Path) -> None:
        plugin = tmp_path / "reading.py"
        plugin.write_text(
            "from methods.independent import Independent\n\n\n"
            'class Reading(Independent):\n    """Reads the epoch."""\n\n    name = "reading"\n\n'
            "    def losses(self, outputs, labels, progress):\n"
            "        return {str(progress.epoch): super().losses(outputs, labels, progress)['cross_entropy']}\n"
        )
        (run,) = random_runs("reading", "resnet8", {"batch_size": 8, "threads": 1, "graph": True}, {}, (str(plugin),))
        with PretendedDevice():
            found = measure(run, SHAPE, "cuda", 1, (str(plugin),))
        assert ["progress.epoch" in note for note in found.notes] == [True]
        assert "progress.epoch" in str(found)


class TestMacs:
    def test_a_training_step_is_three_forward_passes_but_for_the_gradient_of_the_images(self) -> None:
        found = macs_per_image(run_of(), SHAPE)
        # the first convolution's: 8 x 8 places, 3 x 3 weights, 16 maps
        assert found.train == 3 * found.evaluation - 8 * 8 * 3 * 3 * 16


class TestEstimate:
    def test_time_grows_with_epochs_and_with_evaluations(self, tmp_path: Path) -> None:
        runs = [run_of(), run_of(epochs=8), run_of(eval_every=4)]
        once, twice, rarely = self.seconds(runs, tmp_path)
        assert twice == pytest.approx(2 * once)
        assert rarely < once

    def test_seconds_are_measured_once_and_kept(self, tmp_path: Path) -> None:
        first = self.seconds([run_of()], tmp_path)
        kept = (tmp_path / "pace.json").read_text()
        assert self.seconds([run_of()], tmp_path) == first
        assert (tmp_path / "pace.json").read_text() == kept

    @pytest.mark.parametrize("content", ["", "[]", '{"independent resnet8": 3}', '{"a": {"train": "fast"}}'])
    def test_a_damaged_file_of_seconds_is_measured_anew(self, content: str, tmp_path: Path) -> None:
        (tmp_path / "pace.json").write_text(content)
        assert self.seconds([run_of()], tmp_path)[0] > 0

    def test_kinds_beyond_the_budget_are_scaled_by_macs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("benchmark.speed.cost.BUDGET_S", 0.0)
        (two_peers, one), remark = plan_cost([run_of("dml"), run_of()], {"random": SHAPE}, tmp_path, "cpu")
        assert "1 of 2 kinds scaled" in remark
        assert two_peers.train == pytest.approx(2 * one.train, rel=0.5)

    @staticmethod
    def seconds(runs: list[RunConfig], folder: Path) -> list[float]:
        images, _ = plan_cost(runs, {"random": SHAPE}, folder, "cpu")
        return [image.total(run, SHAPE) for run, image in zip(runs, images, strict=True)]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.integers(1, 5))
def test_places_that_take_the_next_run_when_free_are_never_worse_than_one_and_never_better_than_even(
    seconds: list[float], places: int
) -> None:
    took = side_by_side(seconds, places)
    assert took <= sum(seconds) * (1 + 1e-9)
    assert took >= max(*seconds, sum(seconds) / places) * (1 - 1e-9)
