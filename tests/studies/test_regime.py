"""The study of regimes: what has converged, which condition a recipe breaks, and the recipe that is chosen."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from benchmark import running, studies
from benchmark.configuration import layer_from_file
from benchmark.studies import regime
from benchmark.studies.regime import fall_in_the_last_part, faults, plans, read_grid, table_hours
from benchmark.studies.runs import RunSettings
from methods.errors import InputError

GRID = """
description: "Recipes for thirty digits"
dataset: digits
reference: independent
methods: [independent, pcl]
images_per_class: [6, 3]
held_out_per_class: 5
backbones: [resnet8]
epochs: [5]
warmup_epochs: [0.0, 0.4]
train: {batch_size: 16, lr: 0.05}
data: {pad: 1}
"""


@pytest.fixture
def grid(tmp_path: Path) -> str:
    path = tmp_path / "grid.yaml"
    path.write_text(GRID, encoding="utf-8")
    return str(path)


def unconditional(grid: str, folder: Path, **changes: Any) -> regime.Settings:
    """Settings whose conditions every recipe meets."""
    conditions: dict[str, Any] = {"max_fall": 100.0, "max_behind": 100.0, "min_gap": 0.0, **changes}
    return regime.Settings(grid=grid, seeds=1, results=str(folder / "results"), engine="serial", **conditions)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1 - 0.1 * epoch for epoch in range(10)], pytest.approx(50)),  # the last two of ten count: 0.2 to 0.1
        ([2.0] * 10, pytest.approx(0, abs=1e-9)),
        # a fitted line, not the two ends: those differ by a tenth here
        ([9.0] * 36 + [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 1.0, 0.9], pytest.approx(0, abs=2.5)),
        ([1.0, 1.0, 1.0, 2.0], pytest.approx(-100)),
    ],
    ids=["straight line", "constant", "noise around a level", "rising"],
)
def test_fall_in_the_last_part(losses: list[float], expected: object) -> None:
    assert fall_in_the_last_part(losses) == expected


class TestConditions:
    def rows(self, **changed: float) -> pd.DataFrame:
        good = {"fall": 1.0, "held_out": 50.0, "training": 80.0, "seconds": 100.0}
        return pd.DataFrame([{"method": "alone", **good}, {"method": "other", **good, **changed}])

    @pytest.mark.parametrize(
        ("changed", "facts"),
        [
            ({}, []),
            ({"fall": 2.0}, [["other", "2.0 %"]]),
            ({"fall": float("nan")}, [["other", "nan %"]]),
            ({"held_out": 46.9}, [["other", "3.1 points", "alone"]]),
            ({"held_out": 47.0}, []),
            ({"seconds": 3600.0}, [["15.1 h"]]),
            ({"training": 64.9}, []),
        ],
    )
    def test_each(self, changed: dict[str, float], facts: list[list[str]]) -> None:
        found = faults(self.rows(**changed), regime.Settings(), "alone", "")
        assert len(found) == len(facts)
        for line, words in zip(found, facts, strict=True):
            assert [word for word in words if word not in line] == []

    def test_nothing_to_regularise(self) -> None:
        [line] = faults(self.rows().assign(training=64.9), regime.Settings(), "alone", "")
        assert "alone" in line
        assert "14.9 points" in line

    def test_hours_of_the_table(self) -> None:
        seconds = pd.Series({"alone": 60.0, "other": 120.0, "expensive": 300.0})
        # ten seeds, two at a time: once each method's own seconds, once the most expensive one's, or a chosen one's
        assert table_hours(seconds, "") == pytest.approx(10 * (480 + 900) / 2 / 3600)
        assert table_hours(seconds, "other") == pytest.approx(10 * (480 + 360) / 2 / 3600)
        # before it has been trained the most expensive so far is all that is known
        assert table_hours(seconds[["alone"]], "other") == pytest.approx(10 * (60 + 60) / 2 / 3600)


class TestGrid:
    def test_the_cheapest_comes_first_and_mean_teachers_look_back_a_tenth_of_the_steps(
        self, grid: str, tmp_path: Path
    ) -> None:
        found = plans(read_grid(grid), 1, RunSettings(results=str(tmp_path)))
        varied = [(layer["data"]["train_per_class"], layer["train"]["warmup_epochs"]) for _, layer, _ in found]
        assert varied == [(3, 0.0), (3, 0.4), (6, 0.0), (6, 0.4)]
        assert found[-1][0] == "6 images per class, resnet8, 5 epochs, warm-up 0.4"
        decays = {run.method: run.hyperparameters.get("ema_decay") for run in found[-1][-1].runs}
        # sixty images in batches of 16 are four steps per epoch, twenty in all
        assert decays == {"independent": None, "pcl": 0.5}

    def test_the_packaged_one_takes_every_method_that_needs_nothing(self) -> None:
        found = read_grid("studies/regime").methods
        assert {"independent", "dml", "pcl", "dkel"} <= set(found)
        assert "kd" not in found

    def test_a_reference_that_is_not_compared_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "grid.yaml"
        path.write_text(GRID.replace("reference: independent", "reference: dml"), encoding="utf-8")
        with pytest.raises(InputError, match="'dml'"):
            read_grid(str(path))


@pytest.mark.thorough
def test_the_study_ends_in_a_recipe_that_runs(grid: str, tmp_path: Path) -> None:
    settings = unconditional(grid, tmp_path)
    result = regime.run(settings)
    files = {path.name for path in studies.write("regime", settings, result, tmp_path / "out")}
    assert {"regime.svg", "regime.csv", "candidates.csv", "README.md"} <= files
    content = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text(encoding="utf-8"))
    assert content["data"]["train_per_class"] in (3, 6)
    assert content["train"].pop("warmup_epochs") in (0.0, 0.4)
    assert content["train"] == {"batch_size": 16, "lr": 0.05, "epochs": 5}
    assert content["data"]["pad"] == 1
    command = running.prepare([layer_from_file(str(tmp_path / "out" / "recipe.yaml")), {}])
    assert {run.method for run in command.runs} == {"independent", "pcl"}
    assert {run.data.holdout for run in command.runs} == {0.0}
    # again: nothing is trained
    again = regime.run(settings)
    pd.testing.assert_frame_equal(again.tables["regime"], result.tables["regime"])


class TestPrecision:
    """How wide a table's intervals will be, from the spread of paired differences over the seeds."""

    def test_a_recipe_that_takes_too_many_seeds_is_not_taken(self, grid: str, tmp_path: Path) -> None:
        Path(grid).write_text(GRID + "paired_with: pcl\n", encoding="utf-8")
        settings = unconditional(grid, tmp_path, precision_seeds=2, max_half_width=1e-6)
        found = regime.run(settings)
        assert not found.files
        assert len(found.tables["precision"]) == len(found.tables["candidates"]) == 4
        wanted = found.tables["precision"]["seeds for it"]
        assert (wanted.isna() | (wanted > settings.max_seeds)).all()
        wide = settings.model_copy(update={"max_half_width": 100.0})
        kept = regime.run(wide)
        assert yaml.safe_load(kept.files["recipe.yaml"])["seeds"] >= 2
        assert studies.write("regime", wide, kept, tmp_path / "out")

    def test_precision_needs_a_second_method(self, grid: str) -> None:
        with pytest.raises(InputError, match="paired_with"):
            regime.run(regime.Settings(grid=grid, precision_seeds=2))
