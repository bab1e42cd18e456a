"""What makes the command line pleasant: one run shown, runs listed, the machine looked over, words completed."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark import datasets, store
from benchmark.configuration.planning import Request, layer_from_assignments, plan
from benchmark.configuration.run_config import RunConfig
from benchmark.hardware import machine
from benchmark.reports import run_text
from benchmark.store import Result, Status, Store, environment
from methods.errors import InputError
from tests.command_line import BENCH, Bench


def planned_by(command: str) -> list[RunConfig]:
    """The runs that a printed command plans."""
    words = [word for word in shlex.split(command) if word != "--save-students"]
    assert words[:2] == ["bench", "run"]
    pairs = list(zip(words[2::2], words[3::2], strict=True))
    flags: dict[str, Any] = {flag.removeprefix("--"): value for flag, value in pairs if flag != "--set"}
    settings = layer_from_assignments(value for flag, value in pairs if flag == "--set")
    return plan(Request([flags | settings]), datasets)


class TestRepeat:
    @pytest.mark.parametrize(
        "layer",
        [
            {"methods": ["pcl"], "dataset": "digits", "seeds": [3]},
            {"methods": ["dml"], "dataset": "digits", "backbone": "resnet8+resnet14", "seeds": 1},
            {
                "methods": ["dkel"],
                "dataset": "digits",
                "seeds": [11],
                "train": {"weight_decay": 1e-5, "milestones": [0.25, 0.5, 0.9], "precision": "bf16", "nesterov": False},
                "data": {"train_per_class": 5, "holdout": 0.2},
                "dkel": {"ema_decay": 0.5},
            },
        ],
    )
    def test_the_command_means_the_same_run(self, layer: dict[str, Any]) -> None:
        (run,) = plan(Request([layer]), datasets)
        (again,) = planned_by(run_text.command(run))
        assert again == run
        assert again.identity == run.identity

    def test_the_device_belongs_to_it(self) -> None:
        (run,) = plan(Request([{"methods": ["dml"], "dataset": "digits", "seeds": 1}]), datasets)
        result = Result(Status.FINISHED, environment={"device": "cuda"})
        assert "--device cuda" in run_text.command(run, result)

    def test_words_with_spaces_are_quoted(self) -> None:
        (run,) = plan(Request([{"methods": ["dml"], "dataset": "digits", "seeds": 1}]), datasets)
        command = run_text.command(run.model_copy(update={"dataset": "folder:/a b/$c"}))
        assert "--dataset 'folder:/a b/$c'" in command


class TestShow:
    def test_it_prints_the_run_and_how_to_repeat_it(self, finished_runs: Path, bench: Bench) -> None:
        run = store.find(finished_runs, "pcl-digits-resnet8-s1")
        answer = bench("show", run.identity, "--results", finished_runs)
        assert answer.code == 0
        assert answer.out.splitlines()[0] == run.name
        student = run.last_metrics()["student"]
        for text in (
            "status          finished",
            "train_per_class  3",
            "ema_decay",
            f"{student:.12g}",
            "saved students",
        ):
            assert text in answer.out
        (again,) = planned_by(answer.out.splitlines()[-1].strip())
        assert again.identity == run.identity

    @pytest.mark.parametrize("cut", [0, 3, 9])
    def test_a_run_is_found_by_its_name_identity_or_beginning(self, finished_runs: Path, cut: int) -> None:
        run = store.find(finished_runs, store.names(finished_runs)[0])
        for word in (run.name[: len(run.name) - cut], run.identity[: len(run.identity) - cut], str(run.folder)):
            assert store.find(finished_runs, word) == run

    def test_what_is_not_unique_or_not_there_is_refused(self, finished_runs: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"run 'dml' .* 2 runs: dml-digits-resnet8-s0-"):
            store.find(finished_runs, "dml")
        with pytest.raises(InputError, match=r"unknown run 'dmml-digits.*did you mean 'dml-digits-resnet8-s"):
            store.find(finished_runs, "dmml-digits-resnet8-s0")
        for word in ("", "/", "."):
            with pytest.raises(InputError, match="unknown run"):
                store.find(finished_runs, word)
        with pytest.raises(InputError, match="no such results folder"):
            store.find(tmp_path / "nowhere", "dml")


class TestListRuns:
    @pytest.fixture
    def results(self, tmp_path: Path) -> Path:
        folder = Store(tmp_path)
        runs = plan(Request([{"methods": ["dml"], "dataset": "digits", "seeds": 3, "epochs": 1}]), datasets)
        for run, status in zip(runs, (Status.FINISHED, Status.FAILED, None), strict=True):
            folder.begin(run)
            folder.write_metrics(run, [{"epoch": 0, "student": 12.5}])
            if status:
                folder.write_result(run, Result(status, "the fuse was short" if status is Status.FAILED else ""))
        return tmp_path

    def test_all_or_those_of_a_status(self, results: Path, bench: Bench) -> None:
        answer = bench("list", "runs", "--results", results)
        assert [line.split()[0] for line in answer.out.splitlines()] == ["finished", "failed", "unfinished", "3"]
        assert "12.50 %" in answer.out
        answer = bench("list", "runs", "--results", results, "--status", "failed")
        assert answer.out.splitlines()[-1] == f"1 failed run in {results}"
        assert answer.out.splitlines()[0].endswith("the fuse was short")

    def test_bad_words(self, results: Path, bench: Bench) -> None:
        for words, fragment in (
            (("runs", "--status", "faild"), "did you mean 'failed'?"),
            (("runs", "--results", results / "no"), "no such results folder"),
            (("methods", "--status", "failed"), "--status goes with 'bench list runs'"),
            (("rnus",), "did you mean 'runs'?"),
        ):
            bench("list", *words).assert_refused(fragment)


class TestDoctor:
    def test_it_names_what_is_there(self, tmp_path: Path, bench: Bench) -> None:
        answer = bench("doctor", "--results", tmp_path / "new", "--data-root", tmp_path)
        assert answer.code == 0
        for subject in ("python", "torch", "ray", "results folder", "digits", "cifar100", "processor"):
            assert subject in answer.out
        assert f"-> bench run --dataset cifar10 --data-root {tmp_path}" in answer.out
        assert list(tmp_path.iterdir()) == []

    def test_a_processor_that_multiplies_bfloat16_is_recognised_by_its_flags(self) -> None:
        assert environment.has_bfloat16("model name\t: X\nflags\t\t: fpu avx512f avx512_bf16 sse\n")
        assert environment.has_bfloat16("Features\t: fp asimd bf16\n")
        assert not environment.has_bfloat16("model name\t: bf16 of avx512_bf16\nflags\t\t: fpu avx512f\n")
        found = {finding.subject for finding in machine.findings(Path(), Path())}
        assert ("bfloat16" in found) == environment.multiplies_bfloat16()

    def test_every_problem_has_a_remedy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, "NEEDED", ("torch", "no-such-package"))
        monkeypatch.setattr(machine, "LOW_DISK_GIB", 1e9)
        monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
        found = {finding.subject: finding for finding in machine.findings(tmp_path, tmp_path)}
        assert found["no-such-package"].grade is machine.Grade.PROBLEM
        assert "make room" in found["results folder"].remedy
        assert "--address 10.0.0.1:6379" in found["ray"].remedy
        assert all(finding.remedy for finding in found.values() if finding.grade is not machine.Grade.GOOD)


class TestCompletion:
    def words(self, line: str, folder: Path) -> list[str]:
        count = len(line.split()) if line.endswith(" ") else len(line.split()) - 1
        environment = {"_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(count)}
        done = subprocess.run(
            [BENCH], cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}, timeout=240
        )
        assert done.stderr == ""
        return done.stdout.split()

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("bench run --methods dk", {"dkel"}),
            ("bench run --methods dml,pc", {"dml,pcl"}),
            ("bench run --dataset cifar", {"cifar10", "cifar100"}),
            ("bench run --backbone resnet11", {"resnet110", "resnet110_basic"}),
            ("bench run --config dem", {"demo"}),
            ("bench list ru", {"runs"}),
            ("bench list runs --status fa", {"failed"}),
        ],
    )
    def test_words_are_completed(self, line: str, expected: set[str], tmp_path: Path) -> None:
        assert set(self.words(line, tmp_path)) == expected

    def test_runs_are_completed_by_name_and_identity(self, finished_runs: Path, tmp_path: Path) -> None:
        names = [name for name in store.names(finished_runs) if name.startswith("dml")]
        assert self.words(f"bench show --results {finished_runs} dml", tmp_path) == names
        identity = names[0].rpartition("-")[2]
        assert self.words(f"bench export --results {finished_runs} {identity[:6]}", tmp_path) == [identity]


@pytest.mark.parametrize(
    "words", ["--help", "list", "table --results RESULTS", "show dml-digits-resnet8-s0 --results RESULTS"]
)
def test_light_commands_import_neither_torch_nor_ray(words: str, finished_runs: Path) -> None:
    program = (
        "import sys, atexit\n"
        "from benchmark import cli\n"
        "atexit.register(lambda: print('heavy:', sorted({'torch', 'ray'} & set(sys.modules))))\n"
        "cli.main()"
    )
    arguments = words.replace("RESULTS", str(finished_runs)).split()
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "heavy: []", done.stderr


def test_a_damaged_run_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "dml-digits-resnet8-s0-0123456789ab"
    folder.mkdir(parents=True)
    for content in ("[", "- 1", "method: dml"):
        (folder / store.CONFIG).write_text(content)
        with pytest.raises(InputError, match=r"config\.yaml"):
            store.find(tmp_path, "dml")
