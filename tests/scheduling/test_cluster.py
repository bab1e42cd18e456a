"""Several machines, as far as one can play them: two Ray nodes that share a results folder, or do not."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
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
    """DML that is in the middle of its run until it is told to go on."""

    name = "waiting"

    def after_step(self, progress):
        super().after_step(progress)
        while progress.epoch == 2 and not Path(__file__).with_name("go").exists():
            time.sleep(0.05)
'''
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
def nodes(folder: Path, hidden: Path | None = None) -> Iterator[tuple[str, list[Command]]]:
    """A cluster's address and its two nodes of one CPU each; of the second one a folder may be hidden."""
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
        if hidden is not None:
            hide = f'mount -t tmpfs tmpfs "{hidden}" && exec "$0" "$@"'
            second = ["unshare", "--mount", "sh", "-c", hide, *second]
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
        assert "goes on after epoch" in printed
        assert not watch.repeated
        monkeypatch.setattr("sys.argv", ["bench", *words, "--engine", "serial", "--results", str(folder / "alone")])
        cli.main()
        assert outcome(results) == outcome(folder / "alone")


@pytest.mark.thorough
@pytest.mark.skipif(not may_hide(), reason=needs.MOUNT)
def test_a_node_without_the_results_folder_is_named_before_anything_runs() -> None:
    with working_folder() as folder:
        (results := folder / "results").mkdir()
        with nodes(folder, hidden=results) as (address, _):
            driver = started([BENCH, *GRID, "--address", address], folder, "log")
            assert Watch(results).until(lambda: driver.code() is not None, 120)
            assert driver.code() == 1
            (line,) = [line for line in (folder / "log").read_text().splitlines() if not line.startswith("note")]
            assert line.startswith("bench: the cluster's node ")
            assert "does not see the results folder: --results has to name a folder that all nodes share" in line
            assert [path.name for path in (results / "runs").iterdir()] == []


def test_an_address_where_no_cluster_is_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", *GRID, "--address", "127.0.0.1:1", "--results", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note")]
    assert line.startswith("bench: no Ray cluster at '127.0.0.1:1'")
