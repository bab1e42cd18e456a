"""Several machines, as far as one can play them: two Ray nodes that share a results folder, or do not."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from benchmark import cli
from benchmark.training import checkpoints
from tests import needs
from tools.stress import BENCH, Command, Watch, outcome, working_folder

GRID = (
    *("run", "--methods", "dml", "--dataset", "digits", "--seeds", "4", "--epochs", "6"),
    *("--set", "data.train_per_class=10", "--set", "data.test_per_class=10", "--set", "train.batch_size=32"),
    *("--device", "cpu"),
)
WAITING = '''
import time
from pathlib import Path

from methods.dml import DML


class Waiting(DML):
    """DML that is in the middle of its run until it is told to continue."""

    name = "waiting"

    def after_step(self, progress):
        super().after_step(progress)
        while progress.epoch == 2 and not Path(__file__).with_name("go").exists():
            time.sleep(0.05)
'''
ROOT = Path(__file__).parents[2]
RAY = str(Path(BENCH).with_name("ray"))
SETTINGS = {
    **{"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_CHDIR_TO_TRIAL_DIR": "0"},
    # the nodes' ports are open to the network: only who knows this word may use them
    **{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid4().hex},
}


def started(words: list[str], folder: Path, log: str) -> Command:
    """Start a program in a session of its own."""
    environment = {**os.environ, **SETTINGS, "TMPDIR": str(folder)}
    with (folder / log).open("a") as stream:
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    return Command(process.pid, process.poll)


@contextmanager
def nodes(folder: Path, mount: str = "") -> Iterator[tuple[str, list[Command]]]:
    """A cluster's address and its two nodes of one CPU each; for the second one something may be mounted."""
    common = ["--num-cpus=1", "--num-gpus=0", "--block", "--disable-usage-stats"]
    # it takes a free port itself: one that is looked for here may be another's by then
    head = [RAY, "start", "--head", "--port=0", "--node-ip-address=127.0.0.2", *common]
    head += ["--include-dashboard=false", f"--temp-dir={folder / 'ray'}"]
    running = [started(head, folder, "head")]

    def said() -> str:
        found = re.search(r"--address='(127\.0\.0\.2:\d+)'", (folder / "head").read_text())
        return found[1] if found else ""

    try:
        assert Watch(folder).until(lambda: said() != "", 90)
        address = said()
        second = [RAY, "start", f"--address={address}", "--node-ip-address=127.0.0.3", *common]
        if mount:
            second = ["unshare", "--mount", "sh", "-c", f'mount {mount} && exec "$0" "$@"', *second]
        running.append(started(second, folder, "second"))
        assert Watch(folder).until(lambda: "Ray runtime started" in (folder / "second").read_text(), 90), (
            folder / "second"
        ).read_text()
        yield address, running
    finally:
        for node in running:
            node.kill_all()


def may_hide() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_a_grid_over_two_nodes_is_completed_by_one_when_the_other_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    with working_folder() as folder, nodes(folder) as (address, (_, second)):
        results = folder / "results"
        watch = Watch(results)
        (folder / "waiting.py").write_text(WAITING, encoding="utf-8")
        words = (*GRID, "--methods", "waiting", "--plugin", str(folder / "waiting.py"))
        driver = started([BENCH, *words, "--address", address], folder, "log")
        assert watch.until(lambda: len(list(results.glob(f"runs/*/{checkpoints.NAME}"))) == 2, 120)
        assert second.workers()
        second.kill_all()
        (folder / "go").touch()
        assert watch.until(lambda: driver.code() is not None, 240)
        printed = (folder / "log").read_text()
        assert driver.code() == 0, printed
        assert "resumed after epoch" in printed
        assert not watch.repeated
        monkeypatch.setattr("sys.argv", ["bench", *words, "--engine", "serial", "--results", str(folder / "alone")])
        cli.main()
        assert outcome(results) == outcome(folder / "alone")


SWEEP = (
    *("sweep", "--method", "dml", "--space", "train.lr=[0.1,0.2]", "--dataset", "digits", "--seeds", "1"),
    *("--epochs", "2", "--device", "cpu"),
)


def said_by(words: Sequence[str], address: str, folder: Path) -> tuple[int, list[str]]:
    """The exit code of a command that uses the cluster, and what it says on the error stream."""
    call = [BENCH, *words, "--address", address]
    done = subprocess.run(
        call, cwd=folder, env={**os.environ, **SETTINGS, "TMPDIR": str(folder)}, capture_output=True, text=True,
        timeout=240,
    )  # fmt: skip
    return done.returncode, done.stderr.splitlines()


@pytest.mark.thorough
@pytest.mark.timeout(900)
@pytest.mark.skipif(not may_hide(), reason=needs.MOUNT)
class TestUnfitNode:
    """It is named in one line before anything runs, whatever the command."""

    until = ("--methods", "dml,independent", "--until-decided", "1", "--baseline", "dml")
    commands = (
        GRID,
        ("run", *until, *GRID[3:5], *GRID[9:]),
        (*SWEEP, "--search", "optuna"),
        (*SWEEP, "--scheduler", "asha"),
    )

    def test_without_the_results_folder(self) -> None:
        with working_folder() as folder:
            (results := folder / "results").mkdir()
            with nodes(folder, f'-t tmpfs tmpfs "{results}"') as (address, _):
                for words in self.commands:
                    code, (line,) = said_by(words, address, folder)
                    assert code == 1
                    assert "127.0.0.3" in line
                    assert "does not see the results folder" in line
                    assert not list(results.glob("runs/dml*"))

    def test_with_other_code(self) -> None:
        with working_folder() as folder:
            other = shutil.copytree(ROOT / "methods", folder / "other")
            with (other / "dml.py").open("a", encoding="utf-8") as stream:
                stream.write("# other\n")
            with nodes(folder, f'--bind "{other}" "{ROOT / "methods"}"') as (address, _):
                for words in self.commands[::2]:
                    code, (line,) = said_by(words, address, folder)
                    assert code == 1
                    assert "127.0.0.3" in line
                    assert "other code" in line


@pytest.mark.thorough
def test_a_head_that_dies_is_said_within_seconds_with_the_command_to_resume() -> None:
    with working_folder() as folder, nodes(folder) as (address, (head, _)):
        driver = started([BENCH, *GRID, "--epochs", "3000", "--address", address], folder, "log")
        assert Watch(folder).until(lambda: len(list(folder.glob("results/runs/*/metrics.jsonl"))) == 2, 120)
        head.kill_all()
        assert Watch(folder).until(lambda: driver.code() is not None, 40)
        assert driver.code() == 1
        line = (folder / "log").read_text().splitlines()[-1]
        assert address in line
        assert line.endswith(f"--epochs 3000 --address {address}")


@pytest.mark.thorough
def test_a_missing_token_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with working_folder() as folder, nodes(folder) as (address, _):
        monkeypatch.setitem(SETTINGS, "RAY_AUTH_TOKEN", "another")
        code, (line,) = said_by(GRID, address, folder)
        assert code == 2
        assert "RAY_AUTH_TOKEN" in line


def test_an_address_where_no_cluster_is_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", *GRID, "--address", "127.0.0.1:1", "--results", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note")]
    assert line.startswith("bench: no Ray cluster at '127.0.0.1:1'")
