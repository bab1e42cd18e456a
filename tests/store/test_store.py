"""Runs on disk: what counts as finished, what is tried again, and the one table of all of them."""

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import benchmark
from benchmark import datasets, running, store
from benchmark.configuration.run_config import RunConfig
from benchmark.scheduling import Execution, Job
from benchmark.store import Result, Status, Store, atomic, environment
from methods.errors import InputError
from tests.images import random_pixels, tree
from tests.plans import advance, digits

FINISHED = Result(Status.FINISHED, students=("peer0", "peer1"))
FAILED = Result(Status.FAILED, "RuntimeError: it broke")


def command(results: Path) -> running.Command:
    """Two seeds of DML on thirty digits, in this process."""
    data = {"train_per_class": 3, "test_per_class": 5}
    return digits(results, "dml", seeds=2, epochs=2, data=data)


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    return command(tmp_path).runs[0]


@pytest.fixture
def stored(tmp_path: Path) -> Store:
    return Store(tmp_path)


def finish(stored: Store, run: RunConfig) -> None:
    """Write a finished run of as many epochs as it has."""
    stored.write_result(run, FINISHED)
    stored.write_metrics(run, [{"epoch": epoch, "student": 50.0} for epoch in range(run.train.epochs)])


def frame_of(stored: Store) -> pd.DataFrame:
    return store.load(stored.root)


class TestLoad:
    def test_a_row_a_run_and_epoch_with_metrics_and_settings_as_columns(self, finished_runs: Path) -> None:
        frame = store.load(finished_runs)
        assert not frame.duplicated(["run", "epoch"]).any()
        rows = frame[["method", "dataset", "backbone", "seed", "epoch", "status"]].itertuples(index=False, name=None)
        names = [("dml", "digits", "resnet8"), ("pcl", "digits", "resnet8")]
        expected = {(*name, seed, epoch, "finished") for name in names for seed in (0, 1) for epoch in (0, 1)}
        assert set(rows) == expected
        leading = ["run", "method", "dataset", "backbone", "seed", "epoch", "status", "reason", "students"]
        assert list(frame.columns[: len(leading)]) == leading
        assert {"loss", "student", "top1/peer0", "nll/ensemble", "train.lr", "data.pad"} <= set(frame.columns)
        dml = frame[frame["method"] == "dml"]
        assert set(dml["hyperparameters.temperature"]) == {1.0}
        assert dml["hyperparameters.ema_decay"].isna().all()
        assert (dml["student"] == dml[["top1/peer0", "top1/peer1"]].mean(axis=1)).all()
        assert set(dml["students"]) == {"peer0,peer1"}

    def test_run_without_an_epoch_has_one_row(self, stored: Store, run: RunConfig) -> None:
        stored.write_result(run, FAILED)
        (row,) = frame_of(stored).to_dict("records")
        assert (row["status"], row["reason"]) == ("failed", "RuntimeError: it broke")
        assert pd.isna(row["epoch"])

    def test_other_things_are_passed_over_and_a_missing_folder_is_an_error(self, stored: Store, run: RunConfig) -> None:
        stored.runs.mkdir()
        assert frame_of(stored).empty
        finish(stored, run)
        (stored.runs / "notes").mkdir()
        (stored.runs / "todo.txt").touch()
        assert set(frame_of(stored)["run"]) == {stored.folder(run).name}
        with pytest.raises(InputError, match="no such results folder"):
            store.load(stored.root / "nowhere")


class TestFinished:
    def test_interrupted_run_is_not(self, tmp_path: Path) -> None:
        run = command(tmp_path).runs[0]
        execution = Execution(run, Job(tmp_path, "cpu"), datasets.load(run.dataset, run.data, tmp_path))
        advance(execution)
        assert not Store(tmp_path).ended(run)
        assert list(store.load(tmp_path)["status"]) == ["unfinished"]
        advance(execution)
        assert Store(tmp_path).ended(run)
        assert list(store.load(tmp_path)["status"]) == ["finished", "finished"]

    @pytest.mark.parametrize("damaged", [b"", b"null", b"\xff", b'{"status": "finished"}'])
    def test_damaged_result_is_none(self, stored: Store, run: RunConfig, damaged: bytes) -> None:
        stored.write_result(run, FINISHED)
        (stored.folder(run) / "result.json").write_bytes(damaged)
        assert not stored.ended(run)
        (line,) = frame_of(stored).attrs[store.DAMAGED].values()
        assert "result.json: " in line

    @pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text('{"epoch": 0}\n')])
    def test_finished_run_without_all_its_metrics_is_repeated(
        self, stored: Store, run: RunConfig, damage: Callable[[Path], object]
    ) -> None:
        finish(stored, run)
        assert stored.ended(run)
        damage(stored.folder(run) / "metrics.jsonl")
        assert not stored.ended(run)

    def test_a_result_comes_back_and_a_new_attempt_leaves_nothing_of_it(self, stored: Store, run: RunConfig) -> None:
        stored.begin(run)
        stored.write_metrics(run, [{"epoch": 0}])
        (stored.folder(run) / "error.txt").touch()
        result = Result(Status.DIVERGED, "loss", 1.5, {"torch": "2"}, {"parameters": 3.0}, ("peer0",))
        stored.write_result(run, result)
        assert stored.result(run) == result
        stored.begin(run)
        assert {path.name for path in stored.folder(run).iterdir()} == {"config.yaml", "metrics.jsonl"}


class TestFiles:
    def test_of_every_run_with_the_result_as_the_last_and_no_temporary_ones(self, finished_runs: Path) -> None:
        for folder in finished_runs.glob("runs/*-*"):
            kind, peers = ("peer", 2) if folder.name.startswith("dml") else ("teacher", 3)
            students = {f"{kind}{index}.safetensors" for index in range(peers)}
            assert {path.name for path in folder.iterdir()} == {store.CONFIG, store.METRICS, store.RESULT} | students
            assert max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns).name == store.RESULT
            lines = (folder / store.METRICS).read_text().splitlines()
            assert [json.loads(line)["epoch"] for line in lines] == [0, 1]
        days = store.load(finished_runs)["environment.date"]
        assert [date.fromisoformat(day).isoformat() for day in days] == days.tolist()
        assert len(days) == 8

    def test_failed_write_keeps_what_is_there(self, tmp_path: Path) -> None:
        path, taken = tmp_path / "file.txt", tmp_path / "folder"
        taken.mkdir()
        atomic.write_text(path, "old")
        with pytest.raises(UnicodeEncodeError):
            atomic.write_text(path, "new\ud800")
        with pytest.raises(IsADirectoryError):
            atomic.write_text(taken, "new")
        assert path.read_text() == "old"
        assert set(tmp_path.iterdir()) == {path, taken}


class TestEnvironment:
    def test_variables_that_choose_instructions_are_recorded_and_part_of_the_group(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
        found = environment.versions.__wrapped__()
        assert found["ATEN_CPU_CAPABILITY"] == "avx2"
        assert "ATEN_CPU_CAPABILITY avx2" in environment.group({"hardware": "a CPU", **found})
        assert len(found["source"]) == 32

    @pytest.mark.parametrize(
        ("key", "same"), [("hardware", False), ("torch", False), ("cuda", False), ("commit", True), ("date", True)]
    )
    def test_what_tells_environments_apart(self, key: str, same: bool) -> None:
        made = {"hardware": "a CPU", "torch": "2"}
        assert (environment.group(made) == environment.group({**made, key: "another"})) is same

    def test_the_hash_of_the_code_that_trains_is_another_than_that_of_all(self) -> None:
        assert environment.source_hash() != environment.source_hash(environment.TRAINING)


ONE_EPOCH: dict[str, Any] = {"methods": "independent", "backbone": "resnet8", "engine": "serial", "epochs": 1}


def test_paths_to_one_file_and_a_copy_of_it_are_one_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images, labels = random_pixels(8, 8, 8), np.arange(8) % 2
    np.savez("ok.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    shutil.copy("ok.npz", "copy.npz")
    benchmark.run(dataset="npz:ok.npz", seeds="0,", **ONE_EPOCH)
    names = ["npz:ok.npz", "npz:./ok.npz", f"npz:{tmp_path}/ok.npz", "npz:copy.npz"]
    for name in names:
        assert running.prepare([{**ONE_EPOCH, "dataset": name, "seeds": "0,"}]).missing() == [], name
    benchmark.run(dataset="npz:copy.npz", seeds="1,", **ONE_EPOCH)
    frame = store.load("results", "last")
    assert sorted(frame["seed"]) == [0, 1]
    assert frame["dataset"].nunique() == 1


def test_folders_of_the_same_files_are_one_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "again"):
        tree(tmp_path / name, 8, 8)
    common = {**ONE_EPOCH, "seeds": "0,"}
    benchmark.run(dataset="folder:photos", **common)
    assert running.prepare([{**common, "dataset": "folder:again"}]).missing() == []


@pytest.mark.parametrize("text", ["", "method: dml", "a: [", "- 1"])
def test_a_damaged_configuration_is_named_and_left_out(stored: Store, run: RunConfig, text: str) -> None:
    path = stored.begin(run) / "config.yaml"
    path.write_text(text, encoding="utf-8")
    frame = store.load(stored.root)
    assert frame.empty
    (line,) = frame.attrs[store.DAMAGED].values()
    assert str(path.parent) in line
    assert "config.yaml" in line
