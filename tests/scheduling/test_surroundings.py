"""Whatever is in a person's folder or environment: workers train what the command trains, or say one line."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmark import datasets
from benchmark.scheduling import Execution, Job
from benchmark.scheduling.cluster import SOCKET_NAME
from benchmark.store import Status, environment, load
from tests.plans import advance, digits

ROOT = Path(__file__).parents[2]
BENCH = Path(sys.executable).with_name("bench")
WORDS = "--methods dml --dataset digits --seeds 1 --epochs 1 --set data.train_per_class=10"


def bench(place: Path, words: str, **changed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BENCH, "run", *words.split()],
        cwd=place, env={**os.environ, **changed}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def child_of(parent: int, name: str) -> int:
    for path in Path("/proc").glob("[0-9]*/stat"):
        # processes come and go meanwhile
        with suppress(OSError):
            head, _, tail = path.read_text().rpartition(")")
            if head.endswith(f"({name}") and int(tail.split()[1]) == parent:
                return int(head.partition(" ")[0])
    raise LookupError(name)


def started(parent: int, name: str) -> bool:
    with suppress(LookupError):
        return child_of(parent, name) > 0
    return False


def losses(results: Path) -> list[float]:
    return [float(loss) for loss in load(results)["loss"]]


def under_ray(place: Path, **changed: str) -> list[float]:
    """The losses of the run under Ray."""
    done = bench(place, f"{WORDS} --engine ray --results ray", **changed)
    assert done.returncode == 0, done.stderr
    return losses(place / "ray")


@pytest.mark.thorough
class TestUnderRay:
    @pytest.fixture
    def serial(self, tmp_path: Path) -> list[float]:
        assert bench(tmp_path, f"{WORDS} --engine serial --results {tmp_path}/serial").returncode == 0
        return losses(tmp_path / "serial")

    def test_another_checkout_in_the_working_directory_is_not_trained(
        self, tmp_path: Path, serial: list[float]
    ) -> None:
        for package in ("methods", "benchmark"):
            shutil.copytree(ROOT / package, tmp_path / package)
        path = tmp_path / "methods" / "dml.py"
        code, loss = path.read_text(encoding="utf-8"), "cross_entropy(peers, labels)"
        assert loss in code
        path.write_text(code.replace(loss, f"3 * {loss}"), encoding="utf-8")
        assert under_ray(tmp_path) == serial

    def test_files_of_generic_names_hide_nothing(self, tmp_path: Path, serial: list[float]) -> None:
        (tmp_path / "methods").mkdir()
        for name in ("methods/__init__.py", "benchmark.py", "torch.py", "ray.py"):
            (tmp_path / name).write_text("raise RuntimeError('another package')\n")
        assert under_ray(tmp_path) == serial

    @pytest.mark.parametrize("other", ["methods/__init__.py", "benchmark.py"])
    def test_a_script_beside_another_package_is_told_what_to_do(self, other: str, tmp_path: Path) -> None:
        (tmp_path / "methods").mkdir()
        (tmp_path / other).write_text("NAME = 'another package'\n")
        (tmp_path / "script.py").write_text(
            "import benchmark\n\nif __name__ == '__main__':\n"
            "    settings = {'data.train_per_class': 10}\n"
            "    benchmark.run('dml', seeds=1, epochs=1, settings=settings, results='ray', quiet=True)\n"
        )
        call = [sys.executable, "script.py"]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert done.returncode == 1
        if other.startswith("methods"):
            assert f"{tmp_path / other}" in done.stderr.splitlines()[-1]
            assert "-P" in done.stderr.splitlines()[-1]
        # what the lines say helps, and Ray's workers import what the script did
        call.insert(1, "-P")
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert len(losses(tmp_path / "ray")) == 1
        # the command says it of a script that would not find what it finds
        done = bench(tmp_path, f"{WORDS} --engine serial --results ray")
        assert [line for line in done.stdout.splitlines() if f"./{other}" in line and "-P" in line]

    def test_an_address_in_the_environment_is_not_joined(self, tmp_path: Path, serial: list[float]) -> None:
        begin = time.monotonic()
        assert under_ray(tmp_path, RAY_ADDRESS="127.0.0.1:1") == serial
        assert time.monotonic() - begin < 200

    def test_a_long_name_of_the_temporary_folder(self, tmp_path: Path, serial: list[float]) -> None:
        long = tmp_path / ("x" * (SOCKET_NAME + 13))
        long.mkdir()
        assert under_ray(tmp_path, TMPDIR=str(long)) == serial

    def test_a_plug_in_reads_files_where_the_command_was_given(self, tmp_path: Path) -> None:
        (tmp_path / "scale.txt").write_text("2")
        (tmp_path / "mine.py").write_text(
            "from methods.dml import DML\n\n\n"
            'class Mine(DML):\n    """Reads a file by a relative path."""\n\n    name = "mine"\n\n'
            "    def __init__(self, *given):\n        super().__init__(*given)\n"
            '        self.scale = float(open("scale.txt").read())\n'
        )
        words = WORDS.replace("dml", "mine")
        done = bench(tmp_path, f"{words} --plugin mine.py --engine ray --results ray")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_a_run_that_is_out_of_memory_is_tried_alone_once_and_says_what_helps(self, tmp_path: Path) -> None:
        (tmp_path / "large.py").write_text(
            "import torch\n\nfrom methods.dml import DML\n\n\n"
            'class Large(DML):\n    """Needs more than there is."""\n\n    name = "large"\n\n'
            "    def losses(self, outputs, labels, progress):\n"
            '        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB. GPU 0 has")\n'
        )
        done = bench(tmp_path, f"{WORDS} --methods large,dml --plugin large.py --engine ray --results ray")
        assert done.returncode == 1
        notes = [line for line in done.stdout.splitlines() if line.startswith("note      large")]
        assert len([line for line in notes if "once more" in line]) == 1
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("out-of-memory")]
        assert all(word in line for word in ("3.00 GiB", "train.batch_size", "train.precision=bf16", "peers"))
        assert [line for line in done.stdout.splitlines() if line.startswith("finished  dml")]

    def test_signals_while_ray_starts_and_afterwards_are_one_line(self, tmp_path: Path) -> None:
        words = "--methods dml --dataset digits --seeds 2 --epochs 3000 --engine ray --results results"
        for number, times in ((signal.SIGTERM, 1), (signal.SIGINT, 5)):
            process = subprocess.Popen([BENCH, "run", *words.split()], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
            try:
                while process.poll() is None and not started(process.pid, "gcs_server"):
                    time.sleep(0.02)
                for _ in range(times):
                    process.send_signal(number)
                    time.sleep(0.02)
                _, said = process.communicate(timeout=120)
            finally:
                process.kill()
            assert process.returncode == 130
            (line,) = [line for line in said.splitlines() if line.strip()]
            assert line.endswith(f"bench run {words}")

    def test_a_raylet_that_dies_is_said_in_one_line_with_the_command_to_resume(self, tmp_path: Path) -> None:
        words = "--methods dml --dataset digits --seeds 2 --epochs 3000 --engine ray --results results"
        process = subprocess.Popen(
            [BENCH, "run", *words.split()], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            while not process.stdout.readline().startswith("started"):
                assert process.poll() is None
            os.kill(child_of(process.pid, "raylet"), signal.SIGKILL)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 1
        lines = [line for line in said.splitlines() if line.strip()]
        assert len(lines) == 1
        assert lines[0].endswith(f"bench run {words}")


def test_other_code_than_the_command_runs_is_refused(tmp_path: Path) -> None:
    (run,) = digits(tmp_path, "dml", epochs=1).runs
    dataset = datasets.load("digits", run.data, tmp_path)
    for code, status in (("0" * 32, Status.FAILED), (environment.source_hash(), Status.FINISHED)):
        execution = Execution(run, Job(tmp_path, "cpu", code=code), dataset)
        advance(execution)
        assert execution.result is not None
        assert execution.result.status is status
        assert ("other code" in execution.result.reason) == (status is Status.FAILED)


@pytest.mark.skipif(shutil.which("taskset") is None, reason="no taskset: install util-linux")
def test_the_cpus_that_this_process_may_use_count() -> None:
    call = [sys.executable, "-c", "from benchmark.scheduling import usable_cpus; print(usable_cpus())"]
    done = subprocess.run(["taskset", "--cpu-list", "0", *call], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
