"""Predictions that runs keep: those of the run itself, outside its identity."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import benchmark
from benchmark import datasets, exchange, running, store
from benchmark.store import PREDICTIONS, Status, read_predictions, students_files
from benchmark.training import Trainer
from methods.errors import InputError
from tests.command_line import SMALL

LAYER: dict[str, Any] = {"methods": "pcl", "dataset": "digits", "backbone": "resnet8", "seeds": 1, **SMALL}
LAYER |= {"data": {"train_per_class": 3, "test_per_class": 5}}
PREDICTORS = [*(f"{kind}{index}" for kind in ("teacher", "peer") for index in range(3)), "ensemble", "teacher_ensemble"]


def command(results: Path, force: bool = False, **changes: object) -> running.Command:
    return running.prepare([LAYER | {"results": str(results)} | changes], force=force)


def carried_out(results: Path, force: bool = False, **changes: object) -> tuple[Path, str]:
    """The run's folder, and what was printed."""
    asked = command(results, force, **changes)
    console = Console(file=io.StringIO(), width=1000)
    assert running.carry_out(asked, console)
    assert isinstance(console.file, io.StringIO)
    return asked.store.folder(asked.runs[0]), console.file.getvalue()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with predictions and students; to be read alone."""
    return carried_out(tmp_path_factory.mktemp("kept"), save_predictions=True, save_students=True)[0]


def test_they_are_the_logits_of_the_run_and_joined_with_its_images(kept: Path) -> None:
    found = benchmark.predictions("pcl", kept.parents[1])
    (run,) = command(kept.parents[1]).runs
    dataset = datasets.load("digits", run.data, Path())
    trainer = Trainer(run, dataset, torch.device("cpu"))
    row = trainer.epoch()
    exact = trainer.predictions()
    assert list(found.logits) == PREDICTORS == list(exact.logits)
    for name, logits in exact.logits.items():
        np.testing.assert_allclose(found.logits[name], logits, rtol=2**-11, atol=1e-7)
        assert 100 * (exact.predicted(name) == exact.labels).mean() == pytest.approx(row[f"top1/{name}"])
        own = exact.confusion(name)
        assert min(100 * own.diagonal() / own.sum(axis=1)) == pytest.approx(row[f"worst_class/{name}"])
    assert (found.run, found.students, found.split) == (run.identity, ("teacher0", "teacher1", "teacher2"), "test")
    assert found.classes == dataset.classes
    np.testing.assert_array_equal(found.labels, dataset.test.labels)
    # an image is known by its pixels, wherever it is stored
    np.testing.assert_array_equal(found.images[::-1], datasets.image_digests(dataset.test.take(np.arange(50)[::-1])))
    assert len(set(found.images.tolist())) == 50


def test_keeping_them_is_no_part_of_the_identity_and_changes_no_number(kept: Path, tmp_path: Path) -> None:
    plain, _ = carried_out(tmp_path)
    assert plain.name == kept.name
    assert not (plain / PREDICTIONS).exists()
    rows, others = (store.load(folder.parents[1]).drop(columns=["seconds", "cost.seconds"]) for folder in (plain, kept))
    same = [name for name in rows.columns if not name.startswith(("cost.", "environment."))]
    assert rows[same].equals(others[same])


def test_a_line_says_how_to_get_them_for_a_finished_run_and_force_does(tmp_path: Path) -> None:
    folder, _ = carried_out(tmp_path)
    _, said = carried_out(tmp_path, save_predictions=True)
    assert [line for line in said.splitlines() if line.startswith("1 run ") and "--force" in line]
    assert not (folder / PREDICTIONS).exists()
    with pytest.raises(InputError, match="kept no predictions"):
        benchmark.predictions(folder.name, tmp_path)
    carried_out(tmp_path, force=True, save_predictions=True)
    assert list(read_predictions(folder).logits) == PREDICTORS
    # those of an earlier training do not stay beside the numbers of a later one
    carried_out(tmp_path, force=True)
    assert not (folder / PREDICTIONS).exists()


def test_bundles_have_them_where_asked(kept: Path, tmp_path: Path) -> None:
    for weights, predictions in ((True, False), (False, True)):
        bundle, into = tmp_path / f"{weights}.tar.gz", tmp_path / str(weights)
        exchange.pack(kept.parents[1], bundle, weights, predictions)
        exchange.merge([bundle], into)
        folder = into / "runs" / kept.name
        assert bool(students_files(folder)) is weights
        assert (folder / PREDICTIONS).is_file() is predictions
    assert (folder / PREDICTIONS).read_bytes() == (kept / PREDICTIONS).read_bytes()
    # and leave with their run
    moved = store.find(into, kept.name)
    assert store.Store(into).move_to_trash(moved.folder, moved.config) == ""
    assert (into / store.TRASH / kept.name / PREDICTIONS).is_file()
    assert store.find(kept.parents[1], kept.name).status is Status.FINISHED


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"save_predictions": "yes"}, "save_predictions must be true or false"),
        ({"save_predictions": True, "predictions_type": "float8"}, "valid: float16, float32"),
        ({"predictions_type": "float32"}, "predictions_type says what save_predictions keeps: give both"),
    ],
)
def test_bad_options_are_one_line(options: dict[str, object], fragment: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=fragment):
        running.prepare([LAYER | {"results": str(tmp_path)} | options])
