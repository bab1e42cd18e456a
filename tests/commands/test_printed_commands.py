"""Every command that the program prints is whole: given again, it runs and means the same."""

import html
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from benchmark import store
from tests.command_line import CALM, SMALL, Bench

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture
def made(bench: Bench, tmp_path: Path) -> Bench:
    """Runs of a plug-in, with results and data in folders of their own."""
    (tmp_path / "plug in.py").write_text(CALM)
    (tmp_path / "my data").mkdir()
    words = ["run", "--config", "small", "--methods", "explosive", "--seeds", "2", "--plugin", "plug in.py"]
    answer = bench(*words, "--results", "my results", "--data-root", "my data", "--save-students")
    assert answer.code == 0, answer.err
    return bench


def again(bench: Bench, command: str, *more: str) -> str:
    """Give a printed command again and return what it prints."""
    words = shlex.split(command)
    assert words[0] == "bench"
    answer = bench(*words[1:], *more)
    assert answer.code == 0, (command, answer.err)
    return answer.out


def test_show_and_report(made: Bench, tmp_path: Path) -> None:
    results = tmp_path / "my results"
    for run in [store.find(results, name) for name in store.scan(results)]:
        command = made("show", run.identity, "--results", "my results").out.splitlines()[-1].strip()
        assert "--plugin" in command
        assert "1 of 1 runs are finished already" in again(made, command)
        assert "finished" in again(made, command, "--dry-run")
    assert made("report", "--results", "my results", "--out", "page.html").code == 0
    commands = re.findall(r'"command":"((?:[^"\\]|\\.)*)"', html.unescape((tmp_path / "page.html").read_text()))
    assert len(commands) == 2
    for text in commands:
        assert "1 of 1 runs are finished already" in again(made, json.loads(f'"{text}"'))
    assert len(list(tmp_path.glob("my results/runs/explosive-*"))) == 2
    assert not (tmp_path / "results").exists()


def test_best_of_a_sweep(made: Bench, tmp_path: Path) -> None:
    space = {"data": {"train_per_class": 6}, "method": "explosive", "space": {"train.lr": [0.1, 0.2]}, "seeds": 1}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SMALL | space))
    places = ["--plugin", "plug in.py", "--results", "my results", "--data-root", "my data"]
    answer = made("sweep", "space.yaml", *places, "--search", "grid", "--engine", "serial")
    assert answer.code == 0, answer.err
    (line,) = [line for line in answer.out.splitlines() if line.startswith("Best: ")]
    command = line.partition("on the test set: ")[2].strip("`")
    again(made, command, "--engine", "serial")
    assert f"`{command}`" in (tmp_path / "my results/sweeps/space-digits/README.md").read_text()
    assert not (tmp_path / "results").exists()


def test_what_there_was_no_time_for_resumes(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "plug in.py").write_text(CALM)
    words = ["run", "--config", "small", "--methods", "explosive", "--seeds", "2", "--plugin", "plug in.py"]
    words += ["--results", "my results", "--stop-after", "0.001s"]
    answer = bench(*words)
    assert answer.code == 75
    (line,) = answer.err.splitlines()
    command = line.partition("; resume with: ")[2]
    assert shlex.split(command) == ["bench", *words]
    assert "2 runs, 0 finished already" in again(bench, command, "--dry-run")
    # the last word counts: now there is time
    assert "| explosive " in again(bench, command, "--stop-after", "100d")
    assert "2 of 2 runs are finished already" in again(bench, command)
