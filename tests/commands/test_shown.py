"""What the command line shows: methods, runs, what takes space, the machine; and the words that it completes."""

import json
import os
import shlex
import shutil
import subprocess
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
from tests.command_line import BENCH, PLUGIN, Bench


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


class TestShow:
    def test_it_prints_the_run_and_how_to_repeat_it(self, finished_runs: Path, bench: Bench) -> None:
        run = store.find(finished_runs, "pcl-digits-resnet8-s1")
        answer = bench("show", run.identity, "--results", finished_runs)
        assert answer.code == 0
        assert answer.out.splitlines()[0] == run.name
        student = run.last_metrics["student"]
        status = "status          finished"
        for text in (status, "train_per_class  3", "ema_decay", f"{student:.12g}", "saved students"):
            assert text in answer.out
        (again,) = planned_by(answer.out.splitlines()[-1].strip())
        assert again.identity == run.identity

    @pytest.mark.parametrize("cut", [0, 3, 9])
    def test_a_run_is_found_by_its_name_identity_or_beginning(self, finished_runs: Path, cut: int) -> None:
        run = store.find(finished_runs, next(iter(store.scan(finished_runs))))
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


class TestList:
    def test_all_that_is_known_of_a_method(self, bench: Bench) -> None:
        out = bench("list", "dkel").out
        for text in (
            "Source: ",
            "decay                  exp|linear|cosine|step|constant|none  default exp",
            "rampup_epochs          whole number at least 0               default 80 of 300 epochs",
            "ema_decay              number at least 0 below 1",
            "teacher0, teacher1, teacher2",
            "bench schedules --method dkel",
            "released: ramp-up divided by the weight 0.1 (D1); here: `ramp: intended`",
        ):
            assert text in out
        assert "teacher      word               must be given" in bench("list", "kd").out

    def test_a_plugin_s_method_too(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(PLUGIN)
        assert "defined in: " in bench("list", "explosive", "--plugin", "mine.py").out
        bench("list", "explosive").assert_refused("unknown kind or method 'explosive'")

    def test_hyperparameters_scores_and_settings(self, bench: Bench) -> None:
        assert "  dml.temperature" in bench("list", "hyperparameters").out
        assert "lower is better" in bench("list", "metrics").out
        assert "  train.lr  " in bench("list", "settings").out


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

    def test_runs_that_fit(self, bench: Bench, finished_runs: Path) -> None:
        words = ["list", "runs", "--results", str(finished_runs)]
        assert bench(*words, "--where", "method=pcl and seed=1").out.splitlines()[-1].startswith("1 run in ")
        assert bench(*words, "--where", "seed=1", "--where", "method=pcl").out.splitlines()[-1].startswith("1 run in ")
        assert bench(*words, "--hide", "pcl").out.count("dml-digits") == 2
        assert "pcl" not in bench(*words, "--hide", "pcl").out


class TestSpace:
    @pytest.fixture
    def mine(self, finished_runs: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(finished_runs, tmp_path / "mine"))

    def test_runs_move_to_the_trash_after_they_were_shown(self, bench: Bench, mine: Path) -> None:
        words = ["rm", "--results", "mine", "--where", "method=dml", "--where", "seed=0"]
        shown = bench(*words)
        assert shown.out.splitlines()[-1] == "1 run; nothing is moved yet: --yes moves them to mine/trash"
        assert len(store.scan(mine)) == 4
        assert bench(*words, "--yes").out.splitlines()[-1].startswith("1 of 1 run moved to mine/trash")
        assert len(store.scan(mine)) == 3
        (gone,) = (mine / "trash").iterdir()
        gone.rename(mine / "runs" / gone.name)
        assert len(store.scan(mine)) == 4
        # one of the same name is there already
        for _ in range(2):
            bench("rm", gone.name, "--results", "mine", "--yes")
            shutil.copytree(mine / "trash" / gone.name, mine / "runs" / gone.name)
        assert [path.name for path in sorted((mine / "trash").iterdir())] == [gone.name, f"{gone.name}.1"]

    def test_failed_ones_and_none_without_a_word(self, bench: Bench, mine: Path) -> None:
        (path,) = mine.glob("runs/pcl-*-s1-*/result.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "failed"}))
        assert "pcl-digits-resnet8-s1" in bench("rm", "--failed", "--results", "mine").out
        assert bench("rm", "--failed", "dml-digits-resnet8-s0", "--results", "mine").out == "no matching runs in mine\n"

    def test_what_another_process_works_on_stays(self, bench: Bench, mine: Path) -> None:
        run = store.find(mine, "dml-digits-resnet8-s0")
        with Store(mine).lock(run.config, patience=0) as held:
            assert held
            answer = bench("rm", run.identity, "--results", "mine", "--yes")
        assert (answer.code, "another process works on it" in answer.out) == (1, True)
        assert run.folder.is_dir()


class TestDoctor:
    def test_it_names_what_is_there(self, tmp_path: Path, bench: Bench) -> None:
        answer = bench("doctor", "--results", tmp_path / "new", "--data-root", tmp_path)
        assert answer.code == 0
        for subject in ("python", "torch", "ray", "results folder", "digits", "cifar100", "processor"):
            assert subject in answer.out
        assert f"-> bench run --dataset cifar10 --data-root {tmp_path}" in answer.out
        assert list(tmp_path.iterdir()) == []

    def test_a_processor_that_multiplies_bfloat16_is_recognised_by_its_flags(self) -> None:
        assert environment.multiplies_bfloat16("model name\t: X\nflags\t\t: fpu avx512f avx512_bf16 sse\n")
        assert environment.multiplies_bfloat16("Features\t: fp asimd bf16\n")
        assert not environment.multiplies_bfloat16("model name\t: bf16 of avx512_bf16\nflags\t\t: fpu avx512f\n")

    def test_every_problem_has_a_remedy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, "NEEDED", ("torch", "no-such-package"))
        monkeypatch.setattr(machine, "LOW_DISK_GIB", 1e9)
        monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
        found = {finding.subject: finding for finding in machine.findings(tmp_path, tmp_path)}
        assert found["no-such-package"].problem
        assert "make room" in found["results folder"].remedy
        assert "--address 10.0.0.1:6379" in found["ray"].remedy
        assert all(finding.remedy for finding in found.values() if not finding.lines()[0].startswith("ok "))


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
        names = [name for name in store.scan(finished_runs) if name.startswith("dml")]
        assert self.words(f"bench show --results {finished_runs} dml", tmp_path) == names
        identity = names[0].rpartition("-")[2]
        assert self.words(f"bench export --results {finished_runs} {identity[:6]}", tmp_path) == [identity]
