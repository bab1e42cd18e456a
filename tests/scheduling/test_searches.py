"""How a search uses Ray Tune: ASHA's rungs, and where Optuna's study is kept."""

from pathlib import Path
from typing import Any

import pytest

from benchmark import running
from benchmark.scheduling import ACCURACY, ProgressCallback, packed
from benchmark.sweeps import plan, sweeping
from benchmark.sweeps.search import Asha
from methods.errors import InputError
from tests.scheduling.test_time_limit import Listener

SPACE = ("train.lr=[0.1,0.2]",)


def sweep(results: Path, settings: dict[str, Any] | None = None, **given: Any) -> plan.Sweep:
    words = {"method": "dml", "dataset": "digits", "seeds": 1, "results": str(results), **given}
    return plan.prepare(None, words, settings or {}, SPACE)


def compared(results: Path, epochs: int) -> list[int]:
    """The epochs after which ASHA stops the worst of four configurations."""
    prepared = sweep(results, epochs=epochs, scheduler="asha")
    asha: Any = Asha(ProgressCallback(running.job(prepared.command), Listener()), epochs)
    trials = [
        type("Trial", (), {"trial_id": str(index), "config": packed(prepared.command.runs)})() for index in range(4)
    ]
    stopped = []
    for trial in trials:
        asha.on_trial_add(None, trial)
    for epoch in range(1, epochs):
        said = [
            asha.on_trial_result(None, trial, {"training_iteration": epoch, ACCURACY: 9.0 - int(trial.trial_id)})
            for trial in trials
        ]
        stopped += [epoch] * ("STOP" in said)
    return stopped


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [(300, [33, 99]), (30, [3, 9]), (27, [3, 9]), (9, [1, 3]), (3, [1]), (2, [1])],
)
def test_asha_has_no_rung_above_a_third_of_the_epochs(epochs: int, rungs: list[int], tmp_path: Path) -> None:
    assert compared(tmp_path, epochs) == rungs


def test_a_rung_before_the_first_evaluation_is_said(tmp_path: Path) -> None:
    for every, said in ((4, 1), (3, 0)):
        prepared = sweep(
            tmp_path, {"train": {"eval_every": every}}, epochs=30, scheduler="asha", data_root=str(tmp_path)
        )
        sets = running.load_sets(prepared.command, [prepared.base])
        assert sum("eval_every" in line for line in sweeping.notes(prepared, prepared.listed(), sets)) == said


def test_a_study_is_kept_in_a_file_or_at_an_url(tmp_path: Path) -> None:
    for given, expected in (("/a/study.db", "sqlite:////a/study.db"), ("mysql://a/b", "mysql://a/b")):
        assert sweep(tmp_path, search="optuna", storage=given).storage == expected
    with pytest.raises(InputError, match="optuna"):
        sweep(tmp_path, search="random", storage="study.db")
