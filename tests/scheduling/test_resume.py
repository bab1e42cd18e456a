"""A run that is killed resumes from its checkpoint as if nothing had happened."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import methods
from benchmark.configuration.run_config import RunConfig
from benchmark.datasets.catalogue import load
from benchmark.scheduling import Execution, Job
from benchmark.store import Result, Status, Store
from benchmark.training import checkpoints
from methods import registry
from tests.plans import advance, digits


def prepare(results: Path, method: str, **changes: Any) -> RunConfig:
    """A run of three short epochs."""
    small = {"data": {"train_per_class": 4, "test_per_class": 4}, "train": {"batch_size": 16, "epochs": 3}}
    (run,) = digits(results, method, **small | changes).runs
    return run


def execution(run: RunConfig, results: Path, **changes: Any) -> Execution:
    job = Job(results, device="cpu", save_students=True, **changes)
    return Execution(run, job, load("digits", run.data, Path()))


def finish(begun: Execution) -> Result:
    for _ in begun.train():
        pass
    assert begun.result is not None
    return begun.result


def first_epoch(begun: Execution) -> tuple[float, str]:
    """Train one epoch and return its number, and the note on where the run begins."""
    said = advance(begun)
    return said["epoch"]["epoch"], said.get("note", "")


def outcome(run: RunConfig, results: Path) -> tuple[list[dict[str, float]], dict[str, bytes]]:
    """The metrics without times, and the bytes of each of the students' tensors."""
    folder = Store(results).folder(run)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"]
    files = {path.name: load_file(path) for path in folder.glob("*.safetensors")}
    weights = {f"{file} {name}": x.numpy().tobytes() for file, tensors in files.items() for name, x in tensors.items()}
    return rows, weights


@pytest.mark.parametrize("method", methods.available())
def test_three_epochs_are_one_and_a_kill_and_two(method: str, tmp_path: Path) -> None:
    example = registry.load(method).example(tmp_path, "resnet8", 10, 1, 8)
    run = prepare(tmp_path / "whole", method, **({method: example} if example else {}))
    finish(execution(run, tmp_path / "whole"))
    killed = execution(run, tmp_path / "killed")
    advance(killed)
    killed.release()
    resumed = execution(run, tmp_path / "killed")
    assert "epoch 1" in first_epoch(resumed)[1]
    finish(resumed)
    whole, pieces = outcome(run, tmp_path / "whole"), outcome(run, tmp_path / "killed")
    assert whole == pieces
    assert len(whole[0]) == 3
    assert whole[1]


def test_a_finished_run_leaves_neither_checkpoint_nor_temporary_file(tmp_path: Path) -> None:
    run = prepare(tmp_path, "dml")
    finish(execution(run, tmp_path))
    names = {path.name for path in Store(tmp_path).folder(run).iterdir()}
    assert names == {"config.yaml", "metrics.jsonl", "result.json", "peer0.safetensors", "peer1.safetensors"}


@pytest.mark.parametrize("damage", ["cut", "altered", "emptied"])
def test_a_damaged_checkpoint_is_set_aside_and_the_run_begins_anew(damage: str, tmp_path: Path) -> None:
    run = prepare(tmp_path, "pcl")
    begun = execution(run, tmp_path)
    advance(begun)
    begun.release()
    path = Store(tmp_path).folder(run) / checkpoints.NAME
    content = path.read_bytes()
    altered = content[:-7] + bytes([content[-7] ^ 1]) + content[-6:]
    path.write_bytes({"cut": content[: len(content) // 2], "altered": altered, "emptied": b""}[damage])
    resumed = execution(run, tmp_path)
    epoch, note = first_epoch(resumed)
    assert epoch == 0
    assert "cut short or altered" in note
    assert "from its beginning" in note
    assert finish(resumed).status is Status.FINISHED


@pytest.mark.parametrize(
    "kind", ["another run's", "of other code", "of an unknown version", "of other networks", "text"]
)
def test_a_checkpoint_that_is_not_the_runs_own_is_set_aside_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepare(tmp_path, "dml")
    begun = execution(run, tmp_path)
    advance(begun)
    begun.stop("enough")
    folder = Store(tmp_path).folder(run)
    state = checkpoints.load(folder)
    assert state is not None
    if kind == "another run's":
        state["run"]["identity"] = "0" * 12
    elif kind == "of other code":
        state["run"]["code"] = "0" * 32
    elif kind == "of an unknown version":
        del state["run"]
    elif kind == "of other networks":
        state["trainer"]["method"] = {}
    checkpoints.save(folder, {"text": "words"} if kind == "text" else state)
    resumed = execution(run, tmp_path)
    epoch, note = first_epoch(resumed)
    assert epoch == 0
    assert f"set aside as {checkpoints.DAMAGED}" in note
    resumed.stop("enough")
    epoch, note = first_epoch(execution(run, tmp_path))
    assert epoch == 1
    assert "set aside" not in note


def test_no_code_is_run_by_loading_a_checkpoint(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, {"path": tmp_path})  # an object that is no plain data
    with pytest.raises(checkpoints.DamagedError, match="UnpicklingError"):
        checkpoints.load(tmp_path)


def test_a_teacher_that_is_another_file_by_now_is_not_trained_with(tmp_path: Path) -> None:
    example = registry.load("kd").example(tmp_path, "resnet8", 10, 1, 8)
    run = prepare(tmp_path / "results", "kd", kd=example)
    path = Path(example["teacher"])
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({name: tensor * 2 for name, tensor in tensors.items()}, path, metadata)
    result = finish(execution(run, tmp_path / "results"))
    assert result.status is Status.FAILED
    assert "teacher has changed" in result.reason


def test_a_run_that_another_process_holds_is_not_run_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.scheduling.execution.PATIENCE_S", 0.2)
    run = prepare(tmp_path, "dml")
    first, second = execution(run, tmp_path), execution(run, tmp_path)
    advance(first)
    assert finish(second).status is Status.BUSY
    finish(first)
    third = execution(run, tmp_path)
    assert "epoch" not in advance(third)
    assert finish(third).status is Status.FINISHED


def test_force_begins_anew_and_ignores_the_checkpoint(tmp_path: Path) -> None:
    run = prepare(tmp_path, "dml")
    begun = execution(run, tmp_path)
    advance(begun)
    begun.release()
    assert first_epoch(execution(run, tmp_path, force=True))[0] == 0


def test_a_stopped_run_can_be_gone_on_with(tmp_path: Path) -> None:
    run = prepare(tmp_path, "dkel")
    begun = execution(run, tmp_path)
    advance(begun)
    begun.stop("stopped at epoch 1")
    assert finish(begun).status is Status.STOPPED
    assert first_epoch(execution(run, tmp_path))[0] == 1


@pytest.mark.parametrize(
    ("method", "train", "status", "said"),
    [
        ("dml", {"lr": 100.0, "weight_decay": 1.0, "epochs": 60}, Status.DIVERGED, "finite"),
        ("independent", {"lr": 1e-9, "collapse_epochs": 2}, Status.COLLAPSED, "at chance"),
    ],
)
def test_a_run_that_comes_to_nothing_has_a_status_of_its_own(
    method: str, train: dict[str, float], status: Status, said: str, tmp_path: Path
) -> None:
    result = finish(execution(prepare(tmp_path, method, train={"batch_size": 16, "epochs": 3, **train}), tmp_path))
    assert result.status is status
    assert said in result.reason


def test_running_out_of_memory_has_a_status_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = execution(prepare(tmp_path, "independent"), tmp_path)
    advance(begun)

    def exhausted(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr("benchmark.training.trainer.Trainer.train_step", exhausted)
    assert finish(begun).status is Status.OUT_OF_MEMORY
