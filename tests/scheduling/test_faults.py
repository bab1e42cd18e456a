"""Machines that fail: killed processes, damaged files, full and read-only disks, and two commands at once."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark import datasets, store
from benchmark.configuration.run_config import DataConfig
from benchmark.datasets.images import Dataset
from benchmark.scheduling import execution
from benchmark.training import checkpoints
from tests import needs
from tools.stress import Command, Watch, fork, outcome, stress

RUN = (
    *("run", "--methods", "dml", "--dataset", "digits", "--seeds", "1", "--engine", "serial", "--device", "cpu"),
    *("--set", "data.train_per_class=10", "--set", "data.test_per_class=10", "--set", "train.batch_size=32"),
    *("--epochs", "8"),
)
ENDLESS = (*RUN, "--epochs", "100000")


def ended(command: Command, folder: Path) -> int:
    assert Watch(folder / "results").until(lambda: command.code() is not None, 90)
    return command.code() or 0


def bench(folder: Path, *words: str, before: Callable[[], object] | None = None) -> tuple[int, str]:
    """The command in a process of its own; its exit code, and what it prints on both streams."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    return ended(fork(words, log, folder, before), folder), log.read_text()


def has_checkpoint(folder: Path) -> Callable[[], bool]:
    return lambda: any(folder.glob(f"results/runs/*/{checkpoints.NAME}"))


def die_with_the_first_checkpoint() -> None:
    """A kill from outside may come late: the epochs take a moment each."""
    save = checkpoints.save

    def last(folder: Path, state: dict[str, Any]) -> None:
        save(folder, state)
        os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.save = last


def killed_in_second_epoch(folder: Path) -> Path:
    """Start the run and have it killed when it has a checkpoint, which is after its first epoch; return its folder."""
    assert bench(folder, *RUN, before=die_with_the_first_checkpoint)[0] == -signal.SIGKILL
    (run,) = folder.glob("results/runs/dml*")
    assert len((run / store.METRICS).read_text().splitlines()) == 1
    return run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert bench(folder, *RUN)[0] == 0
    return folder / "results"


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system in memory, mounted below a folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip(needs.MOUNT)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_kill_in_the_second_epoch_changes_no_number(tmp_path: Path, undisturbed: Path) -> None:
    killed_in_second_epoch(tmp_path)
    code, printed = bench(tmp_path, *RUN)
    assert code == 0
    assert "resumed after epoch" in printed
    assert outcome(tmp_path / "results") == outcome(undisturbed)


def test_checkpoint_that_was_cut_in_half_costs_one_line_and_its_epochs(tmp_path: Path, undisturbed: Path) -> None:
    path = killed_in_second_epoch(tmp_path) / checkpoints.NAME
    os.truncate(path, path.stat().st_size // 2)
    code, printed = bench(tmp_path, *RUN)
    assert code == 0
    (line,) = [line for line in printed.splitlines() if "cut short" in line]
    assert "the run starts from its beginning" in line
    assert outcome(tmp_path / "results") == outcome(undisturbed)


def test_folder_that_cannot_be_written_ends_in_one_line(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        answer = bench(tmp_path, *RUN, "--results", "disk/results")
        assert answer == (1, f"bench: cannot write results to {disk}/results: Read-only file system\n")


def test_disk_that_is_full_from_the_start_ends_in_one_line(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "512k") as disk:
        answer = bench(tmp_path, *RUN, "--results", "disk/results")
        assert answer == (1, f"bench: cannot write results to {disk}/results: No space left on device\n")


def test_disk_that_fills_up_ends_the_run_and_leaves_nothing_half_written(tmp_path: Path, undisturbed: Path) -> None:
    # room for the first epoch's metrics, but not for its checkpoint
    with small_disk(tmp_path / "disk", "1100k") as disk:
        code, printed = bench(tmp_path, *RUN, "--results", "disk/results")
        assert code == 1
        (line,) = [line for line in printed.splitlines() if line.startswith("failed")]
        assert "no space left on the disk" in line
        assert "Traceback" not in printed
        assert not list(disk.rglob(".*.tmp"))
        (run,) = disk.glob("results/runs/dml*")
        assert json.loads((run / store.RESULT).read_text())["status"] == "failed"
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        assert bench(tmp_path, *RUN, "--results", "disk/results")[0] == 0
        assert outcome(disk / "results") == outcome(undisturbed)


def photographs(folder: Path) -> Path:
    for part in ("train", "test"):
        for label in ("cats", "dogs"):
            for index in range(4):
                path = folder / part / label / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((8, 8), 40 * index + len(label), dtype=np.uint8)).save(path)
    return folder


def lose_a_photograph() -> None:
    """Let a file go between the plan and the loading."""
    load = datasets.load

    def late(name: str, config: DataConfig, root: Path, plugins: Sequence[str] = ()) -> Dataset:
        Path("photos/train/cats/2.png").unlink()
        return load(name, config, root, plugins)

    datasets.load = late


def test_data_file_that_disappears_after_planning_ends_in_one_line(tmp_path: Path) -> None:
    photographs(tmp_path / "photos")
    words = ("run", "--methods", "dml", "--dataset", "folder:photos", "--backbone", "resnet8", "--engine", "serial")
    code, printed = bench(tmp_path, *words, before=lose_a_photograph)
    assert code == 1
    (line,) = printed.splitlines()
    assert line.startswith("bench: the files of folder:photos have changed since its runs were planned")
    assert not list(tmp_path.glob("results/runs/dml*"))


def test_so_few_images_that_guessing_gets_all_of_them_show_no_collapse(tmp_path: Path) -> None:
    photographs(tmp_path / "photos")
    words = ("run", "--methods", "independent", "--dataset", "folder:photos", "--backbone", "resnet8", "--seeds", "1")
    code, printed = bench(tmp_path, *words, "--epochs", "12", "--engine", "serial")
    assert "collapsed" not in printed
    assert code == 0


def have_little_patience() -> None:
    execution.PATIENCE_S = 0.5


def test_second_command_names_the_runs_that_the_first_is_busy_with(tmp_path: Path) -> None:
    first = fork(ENDLESS, tmp_path / "first", tmp_path)
    assert Watch(tmp_path / "results").until(has_checkpoint(tmp_path), 90)
    code, printed = bench(tmp_path, *ENDLESS, before=have_little_patience)
    assert code == 75
    assert [line for line in printed.splitlines() if line.startswith("busy      dml digits resnet8 seed 0")]
    assert "resume with: bench run" in printed.splitlines()[-1]
    assert first.code() is None
    os.kill(first.pid, signal.SIGTERM)
    assert ended(first, tmp_path) == 130, (tmp_path / "first").read_text()
    assert has_checkpoint(tmp_path)()


def test_two_commands_at_once_share_the_work(tmp_path: Path, undisturbed: Path) -> None:
    words = (*RUN, "--methods", "independent,dml,one,pcl")
    commands = [fork(words, tmp_path / f"log{number}", tmp_path) for number in range(2)]
    watch = Watch(tmp_path / "results")
    assert watch.until(lambda: all(command.code() is not None for command in commands), 120)
    assert [command.code() for command in commands] == [0, 0]
    assert not watch.repeated
    table, metrics = outcome(tmp_path / "results")
    assert {len(rows) for rows in metrics.values()} == {8}
    assert len(metrics) == 4
    assert outcome(undisturbed)[1].items() <= metrics.items()
    assert "failed" not in table


# on a machine that is busy with other things a command takes ten times as long
@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_killed_commands_go_on_and_end_with_the_undisturbed_table() -> None:
    # the short form of make stress, with moments that are always the same
    figures = stress(kills=4, seeds=3, seed=0)
    assert figures.good, str(figures)
    assert figures.kills.total() == 4
