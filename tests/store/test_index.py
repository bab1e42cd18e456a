"""The index beside the runs: what is read for a table, and that nothing that befalls it makes a table wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from benchmark import store
from benchmark.configuration import DataConfig, RunConfig, TrainConfig
from benchmark.store import METRICS, RESULT, Result, Status, Store, environment, files, index
from benchmark.store.index import INDEX, brief
from methods.errors import InputError

HOUR_AGO = 1_700_000_000
EPOCHS = 4


def config(seed: int, epochs: int = EPOCHS, method: str = "dml") -> RunConfig:
    return RunConfig(
        method=method, dataset="digits", backbone="resnet8", seed=seed, train=TrainConfig(epochs=epochs),
        data=DataConfig(), hyperparameters={"peers": 2}, method_version=1, dataset_checksum="0" * 64,
    )  # fmt: skip


def finish(root: Path, seed: int, level: float = 50.0, when: int = HOUR_AGO, **settings: object) -> Path:
    """A finished run whose files were last changed at a given second."""
    run = config(seed, **settings)  # type: ignore[arg-type]
    folder = Store(root).begin(run)
    accuracies = [level + (epoch * 3) % 4 for epoch in range(run.train.epochs)]
    rows = [{"epoch": e, "student": x, "top1/peer0": x, "loss": 1.0} for e, x in enumerate(accuracies)]
    Store(root).write_metrics(run, rows)
    Store(root).write_result(run, Result(Status.FINISHED, "", 2.0, {"torch": "2"}, {"parameters": 5.0}, ("peer0",)))
    for path in folder.iterdir():
        os.utime(path, (when, when))
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for seed in range(6):
        finish(tmp_path, seed, 50.0 + seed)
    return tmp_path


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose metrics were parsed, as they are."""
    read: list[str] = []
    real = files.content_of

    def counted(folder: Path, name: str) -> bytes | None:
        if name == METRICS:
            read.append(folder.name)
        return real(folder, name)

    monkeypatch.setattr(files, "content_of", counted)
    return read


def table(root: Path) -> pd.DataFrame:
    return store.load(root, "last")


class TestWhatIsRead:
    def test_metrics_are_read_once_whatever_the_number_of_tables(self, results: Path, parsed: list[str]) -> None:
        first = table(results)
        assert len(parsed) == 6
        for _ in range(3):
            pd.testing.assert_frame_equal(table(results), first)
        assert len(parsed) == 6

    def test_only_what_changed_is_read_again(self, results: Path, parsed: list[str]) -> None:
        table(results)
        changed = finish(results, 2, 80.0, HOUR_AGO + 1)
        new = finish(results, 9, 60.0)
        parsed.clear()
        frame = table(results)
        assert sorted(parsed) == sorted([changed.name, new.name])
        assert dict(zip(frame["seed"], frame["student"], strict=True))[2] == 81.0
        assert 9 in set(frame["seed"])

    def test_a_file_that_changed_a_moment_ago_is_not_trusted_to_stay(self, results: Path, parsed: list[str]) -> None:
        folder = finish(results, 7)
        os.utime(folder / METRICS)
        table(results)
        parsed.clear()
        table(results)
        assert parsed == [folder.name]

    def test_curves_of_the_chosen_runs_alone(self, results: Path, parsed: list[str]) -> None:
        table(results)
        parsed.clear()
        frame = store.load(results, where={"seed": [1, 4]})
        assert len(frame) == 2 * EPOCHS
        assert len(parsed) == 2

    def test_a_run_that_is_gone_leaves_the_table(self, results: Path) -> None:
        table(results)
        gone = finish(results, 3, 53.0)
        for path in gone.iterdir():
            path.unlink()
        gone.rmdir()
        assert set(table(results)["seed"]) == {0, 1, 2, 4, 5}
        assert len(index.read_index(results)) == 5


class TestSameNumbers:
    def test_the_last_epochs_are_those_of_all_epochs(self, results: Path) -> None:
        finish(results, 8, 40.0, epochs=2, method="one")
        for _ in range(2):
            last, every = table(results), store.load(results)
            ends = every.drop_duplicates("run", keep="last").reset_index(drop=True)
            pd.testing.assert_frame_equal(last.drop(columns="best_epoch"), ends)
            assert last["best_epoch"].tolist() == every.groupby("run", sort=False)["student"].max().tolist()

    def test_records_and_curves_come_back_as_they_were(self, results: Path) -> None:
        made, again = store.read(results).found, store.read(results)
        curves = dict(again.curves([found.name for found in again.found]))
        for one, other in zip(made, again.found, strict=True):
            contents = files.read_files(one.folder)
            assert one.config == other.config == contents.config
            assert one.result == other.result == contents.result
            assert one.last_metrics == other.last_metrics == contents.rows[-1]
            assert one.digest == other.digest
            assert curves.pop(other.name) == contents.rows
        assert curves == {}

    def test_curves_of_files_are_not_those_of_an_index_that_is_old(self, results: Path) -> None:
        table(results)
        changed = finish(results, 2, 90.0, HOUR_AGO + 5)
        for by_index, runs in ((by_index, store.read(results, by_index=by_index)) for by_index in (False, True)):
            curve = dict(runs.curves([changed.name]))[changed.name]
            assert curve[0]["student"] == 90.0, by_index


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "text": lambda path: path.write_text("no index" * 1000),
    "a number altered": lambda path: path.write_bytes(path.read_bytes().replace(b"53.0", b"99.0")),
}


NO_FILES: dict[str, Callable[[Path, Path], object]] = {
    "symbolic link": lambda path, other: path.symlink_to(other),
    "hard link": lambda path, other: path.hardlink_to(other),
    "FIFO": lambda path, other: os.mkfifo(path),
    "folder": lambda path, other: path.mkdir(),
}


class TestBefallsTheIndex:
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_the_table_is_right_and_the_index_is_made_anew(self, results: Path, damage: str, parsed: list[str]) -> None:
        expected = table(results)
        DAMAGES[damage](results / "runs" / INDEX)
        pd.testing.assert_frame_equal(table(results), expected)
        parsed.clear()
        pd.testing.assert_frame_equal(table(results), expected)
        assert parsed == []

    def test_another_version_made_it(self, results: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        expected = table(results)
        monkeypatch.setattr(environment, "source_hash", lambda parts: "another")
        parsed.clear()
        pd.testing.assert_frame_equal(table(results), expected)
        assert len(parsed) == 6

    @pytest.mark.parametrize("kind", NO_FILES)
    def test_what_is_no_regular_file_is_one_line_and_stays(self, results: Path, tmp_path: Path, kind: str) -> None:
        path = results / "runs" / INDEX
        other = tmp_path / "other.txt"
        other.write_text("somebody's\n")
        NO_FILES[kind](path, other)
        with pytest.raises(InputError, match=re.escape(str(path))):
            table(results)
        assert other.read_text() == "somebody's\n"

    def test_an_index_that_came_with_copied_results_is_not_believed(self, results: Path, tmp_path: Path) -> None:
        expected = table(results)
        copy = tmp_path / "copy"
        shutil.copytree(results / "runs", copy / "runs")
        for path in sorted((results / "runs").rglob("*")):
            state = path.stat()
            os.utime(copy / "runs" / path.relative_to(results / "runs"), ns=(state.st_atime_ns, state.st_mtime_ns))
        folder = next(path for path in sorted((copy / "runs").iterdir()) if path.is_dir())
        state = (folder / METRICS).stat()
        (folder / METRICS).write_text((folder / METRICS).read_text().replace('"student": 5', '"student": 9'))
        os.utime(folder / METRICS, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert table(copy)["student"].max() > 90 > expected["student"].max()

    def test_a_folder_that_cannot_be_written(self, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(path: Path) -> None:
            raise PermissionError(path)

        # for the superuser no folder is read-only
        monkeypatch.setattr(index, "replacing", refused)
        assert len(table(results)) == 6
        assert not (results / "runs" / INDEX).exists()

    @pytest.mark.thorough
    def test_two_tables_at_once_while_runs_are_written(self, results: Path) -> None:
        program = (
            "import sys, pathlib\n"
            "from benchmark import store\n"
            "for _ in range(40):\n"
            "    frame = store.load(pathlib.Path(sys.argv[1]), 'last')\n"
            "    assert not frame.attrs['damaged'], frame.attrs\n"
            "    done = frame[frame['status'] == 'finished']\n"
            "    assert len(done) >= 6\n"
            "    assert (done['student'] == 51.0 + done['seed']).all(), done\n"
        )
        readers = [
            subprocess.Popen([sys.executable, "-c", program, str(results)], stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        seed = 6
        while any(reader.poll() is None for reader in readers):
            finish(results, seed, 50.0 + seed)
            seed = seed + 1 if seed < 40 else 6
        for reader in readers:
            _, errors = reader.communicate(timeout=240)
            assert reader.returncode == 0, errors
        frame = table(results)
        assert (frame["student"] == 51.0 + frame["seed"]).all()


def test_a_command_that_is_interrupted_leaves_what_it_has_indexed(
    results: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = brief

    def killed(root: Path, contents: files.Contents) -> store.StoredRun:
        if contents.config.seed == 4:
            raise KeyboardInterrupt
        return real(root, contents)

    monkeypatch.setattr("benchmark.store.collection.brief", killed)
    with pytest.raises(KeyboardInterrupt):
        table(results)
    monkeypatch.setattr("benchmark.store.collection.brief", real)
    parsed.clear()
    assert len(table(results)) == 6
    assert len(parsed) == 2


def test_result_of_an_older_version_is_read(results: Path) -> None:
    folder = finish(results, 0)
    path = folder / RESULT
    content = json.loads(path.read_text())
    path.write_text(json.dumps({"status": content["status"], "students": content["students"]}))
    frame = table(results)
    assert frame["cost.seconds"].isna().sum() == 0
    assert len(frame) == 6
