"""The studies against closed forms: quadratic bowls, moving averages, linear pulls."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from benchmark import studies
from benchmark.studies import convergence, geometry
from methods.schedules import ema_decay_at

Array = npt.NDArray[np.float64]


def small(**changes: Any) -> geometry.Settings:
    return geometry.Settings(**{"samples": 7, "steps": 120, **changes})


def few(**changes: Any) -> convergence.Settings:
    return convergence.Settings(**{"trials": 60, "epochs": 40, "early_epochs": 5, **changes})


@pytest.fixture(scope="module")
def found() -> studies.Report:
    return convergence.run(few())


# geometry


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_a_teacher_of_free_descent_follows_the_closed_form(decay: float) -> None:
    settings = geometry.Settings(samples=5, steps=80, weight=0.0, ema_decay=decay)
    generator = np.random.default_rng(1)
    student, teacher = generator.standard_normal((2, 5, 2))
    path = geometry.simulate(settings, student, teacher, np.zeros(80), np.full(80, decay), np.zeros(80))
    rate = 1 - settings.learning_rate * settings.curvature
    for step in (0, 1, 2, 17, 80):
        # x_t = r^t x_0 and m_t = a^t m_0 + (1 - a) r (r^t - a^t)/(r - a) x_0
        caught = (1 - decay) * rate * (rate**step - decay**step) / (rate - decay)
        np.testing.assert_allclose(path[0, step], rate**step * student, atol=1e-12)
        np.testing.assert_allclose(path[1, step], decay**step * teacher + caught * student, atol=1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("ramp", ["none", "intended", "released"])
@pytest.mark.parametrize("weight", [0.1, 1.0])
def test_closed_forms_and_simulation_agree(ramp: str, weight: float, noise: float) -> None:
    settings = small(ramp=ramp, weight=weight, noise=noise, steps_per_epoch=2, ema_decay=0.9)
    *_, table = geometry.simulate_cases(settings)
    assert table["coupling_error"].max() < 1e-9
    assert table["separation_error"].max() < 1e-9
    assert (table["same_after_closed"] == table["same_after_simulated"]).all()


def test_separation_is_the_product_of_the_factors_whatever_the_path() -> None:
    generator = np.random.default_rng(2)
    path = generator.standard_normal((31, 4, 2))
    copy, other = generator.standard_normal((2, 4, 2))
    factors = generator.uniform(0.5, 1.0, 30)
    simulated, closed = geometry.separation(path, copy, other, factors)
    expected = np.linalg.norm(other - copy, axis=-1) / np.linalg.norm(path[0], axis=-1) * factors.prod()
    np.testing.assert_allclose(simulated[-1], expected, atol=1e-9)
    np.testing.assert_allclose(closed[-1], expected, atol=1e-9)


def test_a_first_factor_of_zero_erases_the_start_at_once() -> None:
    paths, separations, table = geometry.simulate_cases(small())
    for name, (_, warmup) in geometry.CASES.items():
        simulated, closed = separations[name]
        if warmup:
            assert (simulated[1:] == 0).all()
            assert (closed[1:] == 0).all()
            student, teacher = paths[name][:, 1]
            np.testing.assert_array_equal(teacher, student)
        else:
            assert (simulated > 0).all()
    assert table.set_index("case").loc["independent, first factor 0", "same_after_simulated"] == 1


def test_steps_until_two_teachers_are_the_same() -> None:
    """For a constant factor a it is ``ceil(log(tolerance/start)/log(a))``."""
    starts = np.array([0.0, 0.005, 0.01, 0.5, 1.0])
    teachers, copies = np.stack([starts, np.zeros(5)], axis=-1), np.zeros((5, 2))
    path = np.ones((101, 5, 2)) / math.sqrt(2)
    half, whole = (math.ceil(math.log(tolerance) / math.log(0.9)) for tolerance in (0.02, 0.01))
    warm = np.array([ema_decay_at(step, 0.9, warmup=True) for step in range(100)])
    for factors, expected in (
        (np.full(100, 0.9), [0, 0, 0, half, whole]),
        (np.full(10, 0.9), [0, 0, 0, math.inf, math.inf]),
        (warm, [0, 0, 0, 1, 1]),
    ):
        apart = geometry.separation(path[: len(factors) + 1], copies, teachers, factors)
        for each in apart:
            np.testing.assert_array_equal(geometry.first_step(each <= 0.01 + 1e-12), expected)


def test_angles_of_the_pull() -> None:
    student: Array = np.array([[1.0, 0.0]] * 4)
    teacher: Array = np.array([[0.5, 0.0], [2.0, 0.0], [1.0, 3.0], [1.0, 0.0]])
    np.testing.assert_allclose(geometry.pull_angles(student, teacher), [0, 180, 90, math.nan])


# convergence


def points(seed: int) -> tuple[convergence.Floats, convergence.Floats]:
    students, teachers = np.random.default_rng(seed).standard_normal((2, 3, 2, 50), dtype=np.float32)
    return students, teachers


def test_with_a_linear_pull_an_ensemble_changes_nothing() -> None:
    students, teachers = points(3)
    pulls = [convergence.pull(students, teachers, share, 1000.0) for share in (0.0, 0.3, 1.0)]
    others = (teachers.sum(0) - teachers) / 2
    for pulled in pulls:
        np.testing.assert_allclose(pulled, students - others, atol=1e-4)
    curved = [convergence.pull(students, teachers, share, 1.0) for share in (0.0, 1.0)]
    assert np.abs(curved[0] - curved[1]).max() > 0.1


@pytest.mark.parametrize("saturation", [0.5, 1.0])
def test_the_pull_is_the_formula(saturation: float) -> None:
    students, teachers = points(4)
    expected = np.zeros_like(students)
    for i in range(3):
        others = [j for j in range(3) if j != i]
        mean = sum(saturation * np.tanh((students[i] - teachers[j]) / saturation) for j in others) / 2
        ensemble = saturation * np.tanh((students[i] - sum(teachers[j] for j in others) / 2) / saturation)
        expected[i] = 0.3 * ensemble + 0.7 * mean
    np.testing.assert_allclose(convergence.pull(students, teachers, 0.3, saturation), expected, atol=1e-5)


def test_without_noise_and_teacher_steps_follow_the_closed_form() -> None:
    # one axis: |r^t x_0| <= tolerance from t = ceil(log(tolerance/|x_0|)/log(r)) on, and never outside again
    settings = few(noise=0.0, dimensions=1, curvature_low=1.0, curvature_high=1.0, epochs=60)
    outcome = convergence.simulate_all(settings, [convergence.NO_TEACHER])[convergence.NO_TEACHER]
    seed = np.random.SeedSequence(settings.seed).spawn(1)[0]
    starts = convergence.sample_trials(settings, settings.trials, np.random.default_rng(seed)).students[0, 0]
    needed = np.ceil(np.log(settings.tolerance / np.abs(starts.astype(np.float64))) / math.log(0.9))
    np.testing.assert_array_equal(outcome.reached, np.maximum(needed, 0))
    np.testing.assert_array_equal(outcome.settled, outcome.reached)
    np.testing.assert_allclose(outcome.final_distance, np.abs(starts) * 0.9**60, rtol=1e-3)


@pytest.mark.parametrize("name", [convergence.PCL, convergence.RELEASED])
def test_without_noise_the_descent_is_monotone_and_a_lagging_teacher_slows_it(name: str) -> None:
    settings = few(noise=0.0, start_spread=0.0, rampup_epochs=5, ema_decay=0.9, early_epochs=1)
    names = (name, convergence.NO_TEACHER)
    found = [convergence.simulate_all(settings.model_copy(update={"epochs": n}), names) for n in range(1, 13)]
    taught, free = (np.array([outcomes[one].final_distance for outcomes in found]) for one in names)
    assert (np.diff(taught, axis=0) < 0).all()
    assert (taught[-1] > free[-1]).all()


def test_trials_that_never_reach_the_optimum_count_one_step_more() -> None:
    settings = few(tolerance=1e-6)
    outcome = convergence.simulate_all(settings, [convergence.PCL])[convergence.PCL]
    assert (outcome.reached == settings.steps + 1).all()
    assert (outcome.settled == settings.steps + 1).all()
    assert convergence.median_interval(outcome["reached"].to_numpy(), settings.steps) == (math.inf, math.inf, math.inf)


def test_every_condition_sees_the_same_random_numbers() -> None:
    # without weight all conditions are the same descent, whatever their teachers
    settings = few(pcl_weight=0.0, dkel_weight=0.0)
    outcomes = convergence.simulate_all(settings)
    assert len(outcomes) == 28
    reference = outcomes[convergence.NO_TEACHER]
    for outcome in outcomes.values():
        np.testing.assert_array_equal(outcome.reached, reference.reached)
        np.testing.assert_array_equal(outcome.final_distance, reference.final_distance)


def test_convergence_has_its_columns_and_intervals(found: studies.Report) -> None:
    table, claims = found.tables["convergence"], found.tables["claims"]
    assert table["condition"].tolist() == [*convergence.conditions(few())]
    names = ["reach_median", "reach_never", "settle_median", "settle_never", "teacher_settle_never", "reach_later"]
    for name in [*names, "early_gap", "final_gap", "early_spread", "early_distance", "final_distance"]:
        assert (table[f"{name}_low"] <= table[name]).all(), name
        assert (table[name] <= table[f"{name}_high"]).all(), name
    never = table[["reach_never_low", "reach_never_high"]].to_numpy()
    assert (never >= 0).all()
    assert (never <= 1).all()
    assert len(claims) == 17
    assert {*claims["condition"], *claims["reference"]} <= {*table["condition"]}
    assert (claims["difference_low"] <= claims["difference"]).all()
    findings = {"borne out", "too small", "too small, opposite", "no difference", "contradicted"}
    assert set(claims["finding"]) <= findings
    assert set(convergence.variants(few())) <= set(claims.columns)
    # an independent teacher starts further away
    gap = table.set_index("condition")["early_gap"].astype(float)
    assert gap[convergence.INDEPENDENT] > 1.5 * gap[convergence.DEFAULT]


def test_intervals_of_medians() -> None:
    steps = np.arange(1, 101, dtype=np.int32)
    assert convergence.median_interval(steps, 100) == (50.0, 40.0, 61.0)
    assert convergence.median_interval(steps, 55) == (50.0, 40.0, math.inf)


def test_the_same_seed_gives_the_same_numbers(found: studies.Report) -> None:
    again = convergence.run(few())
    for name, table in found.tables.items():
        assert again.tables[name].equals(table)
    assert not convergence.run(few(seed=1)).tables["convergence"].equals(found.tables["convergence"])
    first, second, other = (geometry.simulate_cases(small(seed=seed))[-1] for seed in (0, 0, 1))
    assert first.equals(second)
    assert not first.equals(other)


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        (geometry.Settings, {"ema_decay": 1.0}),
        (geometry.Settings, {"curvature_x": 20.0, "learning_rate": 0.5}),
        (geometry.Settings, {"samples": 10_000, "steps": 10_000}),
        (geometry.Settings, {"spread": 0.0, "start_x": 0.0, "start_y": 0.0}),
        (geometry.Settings, {"unknown": 1}),
        (convergence.Settings, {"saturation": math.inf}),
        (convergence.Settings, {"curvature_low": 6.0}),
        (convergence.Settings, {"curvature_high": 19.0}),
        (convergence.Settings, {"epochs": 300, "steps_per_epoch": 300}),
        (convergence.Settings, {"epochs": 5}),
    ],
)
def test_settings_out_of_range_are_refused(model: type[studies.Strict], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model(**wrong)


@pytest.mark.thorough
def test_studies_write_figure_table_and_page(tmp_path: Path, found: studies.Report) -> None:
    files = studies.write("convergence", few(), found, tmp_path)
    names = {"convergence.svg", "convergence.png", "convergence.csv", "claims.csv", "README.md"}
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in files} == names
    assert "--seed 0" in (tmp_path / "README.md").read_text()
    before = [path.read_bytes() for path in files]
    studies.write("convergence", few(), convergence.run(few()), tmp_path)
    assert [path.read_bytes() for path in files] == before


def test_tables_of_pages_have_columns_of_one_width() -> None:
    table = studies.aligned("| a | long |\n|:-|-:|\n| b\\|c | 1 |\n")
    assert table.split("\n") == ["| a    |   long |", "|:-----|-------:|", "| b\\|c |      1 |"]
