"""The networks of docs/adding_a_backbone.md work as the document says, and so does their installation."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark import cli, running
from benchmark.checking.check import faults
from benchmark.checking.network_check import check_network
from methods import backbones

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "adding_a_backbone.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
SLIM, READY = PROGRAMS


@pytest.fixture
def slim(tmp_path: Path) -> Path:
    path = tmp_path / "slim.py"
    path.write_text(SLIM, encoding="utf-8")
    return path


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    path = tmp_path / "ready.py"
    path.write_text(READY, encoding="utf-8")
    return path


def bench(monkeypatch: pytest.MonkeyPatch, words: str) -> int:
    monkeypatch.setattr("sys.argv", ["bench", *words.split()])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_documented_networks_have_at_most_30_lines() -> None:
    assert [len(program.splitlines()) <= 30 for program in PROGRAMS] == [True, True]


def test_the_documented_networks_keep_the_contract(slim: Path, ready: Path) -> None:
    assert faults(check_network("slim", [str(slim)])) == []
    assert faults(check_network("ready", [str(ready)])) == []


def test_a_network_that_is_there_is_cut_as_the_document_says(ready: Path) -> None:
    backbone = backbones.make("ready", 10, plugins=[ready])
    assert (tuple(backbone.channels), backbone.split()) == ((24, 48, 96), 2)


@pytest.mark.thorough
def test_the_documented_network_trains_and_is_taken_away(
    slim: Path, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    words = (
        f"run --plugin {slim} --plugin {ready} --methods dml,pcl --backbone slim,ready --dataset digits --seeds 1"
        " --epochs 1 --engine serial --device cpu --set data.train_per_class=4 --set data.test_per_class=2"
        " --save-students"
    )
    assert bench(monkeypatch, words) == 0
    assert re.search(r"^\| method +\| digits/ready +\| digits/slim", capsys.readouterr().out, re.MULTILINE)
    # bare weights need the file that the network is from; an ONNX file needs nothing
    assert bench(monkeypatch, "export dml-digits-slim --to slim.safetensors") == 2
    assert "unknown backbone 'slim'" in capsys.readouterr().err
    assert bench(monkeypatch, f"export dml-digits-slim --to slim.safetensors --plugin {slim}") == 0
    assert bench(monkeypatch, f"export pcl-digits-ready --to ready.onnx --plugin {ready}") == 0
    assert "read back: the student's logits" in capsys.readouterr().out
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("a.png")
    assert bench(monkeypatch, f"predict slim.safetensors a.png --plugin {slim}") == 0
    assert bench(monkeypatch, "predict ready.onnx a.png") == 0
    assert capsys.readouterr().out.count("a.png  ") == 2


def test_the_code_of_a_network_is_part_of_the_run(slim: Path, ready: Path) -> None:
    def identities() -> list[str]:
        layer = {"methods": ["dml"], "dataset": "digits", "backbone": ["slim", "resnet8+slim", "resnet8"], "seeds": 1}
        runs = running.prepare([layer], (str(slim), str(ready))).runs
        assert [set(run.sources) for run in runs] == [{"backbone"}, {"backbone.slim"}, set()]
        return [run.identity for run in runs]

    before = identities()
    slim.write_text(SLIM + "# a comment\n")
    assert identities() == before
    slim.write_text(SLIM.replace("stride=2, padding=1", "stride=2, padding=2"))
    assert [one == other for one, other in zip(identities(), before, strict=True)] == [False, False, True]


@pytest.mark.parametrize("command", re.findall(r"^```\nbench (.*)\n```$", DOCUMENT, re.MULTILINE))
def test_the_documented_commands_are_valid(
    command: str, slim: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(slim.parent)
    # the check itself has a test of its own, and the plan's time is not of interest
    monkeypatch.setattr("benchmark.checking.network_check.check_network", lambda name, plugins: [])
    monkeypatch.setattr("benchmark.running.planning._estimated", lambda command, runs: "")
    assert bench(monkeypatch, command + (" --dry-run" if command.startswith("run") else "")) == 0
    assert "slim" in capsys.readouterr().out


@pytest.mark.thorough
def test_an_installed_package_is_found_by_its_entry_point(slim: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    package, declared = site / "my_package", site / "my_package-1.0.dist-info"
    package.mkdir(parents=True)
    declared.mkdir()
    (package / "__init__.py").touch()
    slim.rename(package / "slim.py")
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (block,) = re.findall(r"^```toml\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    header, *points = block.splitlines()
    assert header == '[project.entry-points."okdbench.backbones"]'
    lines = ["[okdbench.backbones]", *(point.replace('"', "") for point in points), "gone = my_package.gone"]
    (declared / "entry_points.txt").write_text("\n".join(lines) + "\n")
    program = (
        "import json, sys; from methods import backbones; listed = backbones.available();"
        "entry = backbones.describe('slim'); made = backbones.make('slim', 7);"
        "print(json.dumps([listed['slim'], listed['gone'], entry.distribution, len(made.stages), len(listed)]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(found) == [
        "Slim: three stages of one strided convolution, 16 to 64 channels.",
        "broken: ModuleNotFoundError: No module named 'my_package.gone'",
        "my-package 1.0",
        3,
        len(backbones.available()) + 2,
    ]
