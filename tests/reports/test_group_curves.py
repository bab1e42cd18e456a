"""Means and deviations of curves over runs, beside what pandas makes of the same numbers."""

import numpy as np
import pandas as pd

from benchmark.reports.page_data import group_curves, joined, mean_of
from benchmark.store import Scores
from methods.metrics import Role


def test_means_and_deviations_leave_out_what_is_missing() -> None:
    values = np.random.default_rng(0).normal(50, 9, (6, 8))
    values[2, 3] = values[:, 5] = values[1:, 6] = np.nan
    mean, deviation = mean_of(values)
    frame = pd.DataFrame(values)
    np.testing.assert_allclose(mean, frame.mean(), rtol=1e-14)
    np.testing.assert_allclose(deviation, frame.std(ddof=1), rtol=1e-12)


def test_equal_numbers_deviate_by_nothing() -> None:
    mean, deviation = mean_of(np.full((3, 1), 0.05 / (1 - 0.5**20)))
    assert (mean.item(), deviation.item()) == (0.05 / (1 - 0.5**20), 0.0)


def test_runs_of_different_length_and_metrics() -> None:
    whole = Scores(("epoch", "student", "top1/peer0", "top1/peer1"), np.array([[0, 10, 1, 3], [1, 20, 2, 4.0]]))
    short = Scores(("epoch", "student", "loss"), np.array([[0, 30, 7.0]]))
    curves = group_curves([whole, short], ["peer0", "peer1"], dict.fromkeys(("peer0", "peer1"), "peer"))
    assert curves.epochs == [0, 1]
    np.testing.assert_array_equal(curves.means["student accuracy"], [20, 20])
    np.testing.assert_array_equal(curves.means["top1: peers"], [2, 3])
    np.testing.assert_array_equal(curves.means["loss"], [7, np.nan])
    np.testing.assert_allclose(curves.deviations["student accuracy"], [200**0.5, np.nan])


def test_metrics_of_many_predictors_are_joined() -> None:
    names = ("epoch", "seconds", "student", "nll/peer0", "nll/peer1", "nll/teacher", "nll/ensemble", "loss/kl")
    roles: dict[str, Role] = {"peer0": "peer", "peer1": "peer", "teacher": "teacher", "ensemble": "ensemble"}
    assert joined(names, ["teacher"], roles) == {
        "student accuracy": [2],
        "nll: students": [5],
        "nll: peers": [3, 4],
        "nll: ensemble": [6],
        "loss: kl": [7],
    }
