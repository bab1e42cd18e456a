"""Numbers that are no numbers: a run whose outputs are not finite has diverged, and guessing is said to be guessing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import datasets
from benchmark.running import remarks
from benchmark.scheduling import Execution, Job
from benchmark.store import Result, Status
from benchmark.training.trainer import DivergedError, Trainer
from methods.errors import InputError
from tests.plans import digits


def planned(results: Path, **changes: Any) -> Any:
    layer: dict[str, Any] = {"methods": "dml", "backbone": "resnet8", "epochs": 1}
    layer |= {"data": {"train_per_class": 5}, "train": {"batch_size": 16}}
    [run] = digits(results, **layer | changes).runs
    return run


def ended(results: Path, **changes: Any) -> tuple[Result, list[str]]:
    """How a run ended, and its notes."""
    run = planned(results, **changes)
    execution = Execution(run, Job(results, "cpu"), datasets.load(run.dataset, run.data, results))
    events = list(execution.train())
    return events[-1][1], [what for kind, what in events if kind == "note"]


@pytest.mark.parametrize("epochs", [1, 2])
def test_outputs_that_are_not_finite_are_no_result(tmp_path: Path, epochs: int) -> None:
    result, _ = ended(tmp_path, dml={"temperature": 1e10}, epochs=epochs)
    assert result.status is Status.DIVERGED
    assert "finite" in result.reason


def test_accuracy_at_chance_after_training_is_said(tmp_path: Path) -> None:
    result, notes = ended(tmp_path, methods="independent", train={"batch_size": 16, "lr": 1e-9})
    assert result.status is Status.FINISHED
    assert any("guessing" in note for note in notes)


def test_accuracy_above_chance_is_not_remarked(tmp_path: Path) -> None:
    _, notes = ended(tmp_path, methods="independent", epochs=12, train={"batch_size": 16, "lr": 0.05})
    assert not any("guessing" in note for note in notes)


def test_training_images_that_are_all_the_same_are_said(tmp_path: Path) -> None:
    labels = np.arange(40) % 2
    for name, pixels in (
        ("same", np.full((40, 8, 8), 7)),
        ("different", np.random.default_rng(0).integers(256, size=(40, 8, 8))),
    ):
        path = tmp_path / f"{name}.npz"
        np.savez(path, x_train=pixels.astype(np.uint8), y_train=labels, x_test=pixels.astype(np.uint8), y_test=labels)
        run = planned(tmp_path, dataset=f"npz:{path}", data={})
        lines = remarks([run], {run.dataset: datasets.load(run.dataset, run.data, tmp_path)})
        assert any("all the same" in line for line in lines) == (name == "same")


def test_weights_and_predictions_that_are_not_finite_are_not_kept(tmp_path: Path) -> None:
    run = planned(tmp_path)
    dataset = datasets.load("digits", run.data, tmp_path)
    trainer = Trainer(run, dataset, torch.device("cpu"))
    with torch.no_grad():
        next(trainer.method.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="peer0"):
        trainer.save_students(tmp_path)
    with pytest.raises(DivergedError, match="peer0"):
        trainer.evaluate()
    with pytest.raises(InputError, match="peer0"):
        trainer.predictions()
