"""What ``bench run`` says on the CPU before it starts: how long a plan takes, and what makes a long one shorter."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from benchmark import cli, datasets, running
from benchmark.configuration import DataConfig
from benchmark.datasets import Shape
from benchmark.running import Command
from benchmark.running.command import forecast
from benchmark.speed.cost import ImageCost, kind_of, timed_alone
from benchmark.store import environment
from tests.command_line import Bench
from tests.datasets.test_datasets import cifar

CIFAR100 = Shape(50_000, 10_000, 100, 3, 32)
SERIAL = {"engine": "serial", "device": "cpu"}


def planned(results: Path, **layer: Any) -> Command:
    return running.prepare([{"dataset": "cifar100", "results": str(results), **SERIAL, **layer}])


def lines(command: Command) -> list[str]:
    return forecast(command, command.missing(), {"cifar100": CIFAR100})


def know(command: Command, pace: ImageCost) -> None:
    """Let the results folder know how fast its runs are."""
    kinds = {kind_of(run, CIFAR100, torch.device("cpu")): asdict(pace) for run in command.runs}
    command.store.root.mkdir(parents=True, exist_ok=True)
    (command.store.root / "pace.json").write_text(json.dumps(kinds))


def test_a_plan_of_days_is_told_its_time_and_what_is_shorter(tmp_path: Path) -> None:
    command = planned(tmp_path, methods=["pcl", "dkel"], seeds=1)
    # slower than any machine, so that what is timed for the advice is faster
    know(command, ImageCost(0.1, 0.01))
    told, advice = forecast(command, command.missing(), {"cifar100": replace(CIFAR100, train=20_000, test=1000)})
    # 300 epochs of 20,000 images at 100 ms and 1,000 at 10 ms, twice
    assert told == "about 13 d 23 h on this machine (2 runs)"
    assert ("train.precision=bf16" in advice) == environment.multiplies_bfloat16()
    assert all(word in advice for word in ("data.train_per_class", "a smaller network", "--epochs", "GPU"))


def test_what_all_runs_have_is_not_offered(tmp_path: Path) -> None:
    command = planned(tmp_path, methods=["pcl"], seeds=1, backbone="resnet8", train={"precision": "bf16"})
    know(command, ImageCost(0.1, 0.01))
    assert not any(offer in lines(command)[1] for offer in ("train.precision", "network"))


def test_what_is_trained_already_takes_no_time(tmp_path: Path) -> None:
    layer = {"dataset": "cifar100", "methods": ["dml"], "backbone": "resnet8", "seeds": 1, "results": str(tmp_path)}
    command = running.prepare([layer | SERIAL])
    know(command, ImageCost(0.01, 0.0))
    (run,) = command.runs
    assert lines(command)[0].startswith("about 41 h 40 min on")
    command.store.begin(run)
    command.store.write_metrics(run, [{"epoch": float(epoch), "student": 1.0} for epoch in range(290)])
    assert lines(command)[0].startswith("about 83 min on")
    # who repeats it trains all of it again
    assert lines(running.prepare([layer | SERIAL], force=True))[0].startswith("about 41 h 40 min on")


def test_other_work_on_the_machine_is_told_apart_from_the_runs_own(tmp_path: Path) -> None:
    # who sleeps takes no processor: all that passes is others' time
    assert timed_alone(lambda: time.sleep(0.02), 3, torch.device("cpu")) < 0.01
    assert timed_alone(lambda: torch.randn(600, 600) @ torch.randn(600, 600), 3, torch.device("cpu")) > 0


@pytest.mark.thorough
def test_it_is_said_that_other_programs_ran_while_it_was_measured(tmp_path: Path) -> None:
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4 * (os.cpu_count() or 1))]
    try:
        told = lines(planned(tmp_path, methods=["dml"], backbone="resnet8", seeds=1))[0]
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert "other load" in told


def test_two_hours_are_not_yet_long(tmp_path: Path) -> None:
    command = planned(tmp_path, methods=["dml"], backbone="resnet8", seeds=1, epochs=100)
    know(command, ImageCost(0.00143, 0.0))
    assert lines(command) == ["about 1 h 59 min on this machine (1 run)"]


def test_no_time_is_said_of_minutes_and_nothing_of_other_machines(tmp_path: Path) -> None:
    short = planned(tmp_path, methods=["dml"], seeds=1, epochs=1)
    assert forecast(short, short.missing(), {"cifar100": Shape(1000, 100, 100, 3, 32)}) == ["1 run"]
    assert not (tmp_path / "pace.json").exists()
    assert lines(planned(tmp_path, methods=["dml"], address="10.0.0.7:6379", engine="ray")) == []


def test_a_method_that_takes_no_step_is_left_to_its_run(tmp_path: Path) -> None:
    plugin = tmp_path / "broken.py"
    plugin.write_text(
        "from methods.independent import Independent\n\n\n"
        'class Broken(Independent):\n    """Fails."""\n\n    name = "broken"\n\n'
        "    def losses(self, outputs, labels, progress):\n        raise RuntimeError\n"
    )
    layer = {"dataset": "cifar100", "methods": ["broken"], "backbone": "resnet8", "results": str(tmp_path), **SERIAL}
    assert lines(running.prepare([layer], (str(plugin),))) == ["3 runs"]


def test_it_is_said_before_the_first_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cifar(tmp_path, monkeypatch, torchvision.datasets.CIFAR100, "fine_labels", 100)
    # the files of a test are no plan of hours
    monkeypatch.setattr("benchmark.running.command.WORTH_IT_PIXELS", 0)
    monkeypatch.setattr("benchmark.running.command.LONG_S", 0.01)
    monkeypatch.chdir(tmp_path)
    words = "run --methods pcl,dkel --backbone resnet8 --dataset cifar100 --data-root . --epochs 1 --seeds 1"
    monkeypatch.setattr("sys.argv", ["bench", *words.split(), "--engine", "serial", "--device", "cpu"])
    cli.main()
    said = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("note: ")]
    assert re.match(r"about \d+ s on this machine \(2 runs", said[0])
    assert said[1].startswith("what makes it shorter: ")
    assert said[1].endswith("a machine with a GPU")
    assert said[2] == "started   pcl cifar100 resnet8 seed 0"


@pytest.mark.parametrize("words", [[], ["--equal-cost", "dml"]])
def test_a_plan_asks_once_per_dataset_what_it_looks_like(
    words: list[str], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(name: str, data: DataConfig, *rest: Any) -> datasets.Shape:
        asked.append((name, data))
        return shape(name, data, *rest)

    shape = datasets.shape
    monkeypatch.setattr(datasets, "shape", counted)
    said = bench("run", "--methods", "independent,dml", "--dataset", "digits", "--seeds", "9", "--dry-run", *words)
    assert said.code == 0
    # a plan of equal cost asks for itself
    assert len(asked) == 1 + len(words) // 2
