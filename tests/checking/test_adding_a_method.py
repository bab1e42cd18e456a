"""The method of docs/adding_a_method.md works as the document says, and so does its installation."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import methods
from benchmark import cli
from benchmark.checking.check import check, faults
from methods import Outputs, Progress

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "adding_a_method.md").read_text(encoding="utf-8")


def only_block(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "consensus.py"
    path.write_text(only_block("python"), encoding="utf-8")
    return path


def test_the_documented_method_has_at_most_40_lines() -> None:
    assert len(only_block("python").splitlines()) <= 40


@pytest.mark.thorough
def test_the_documented_method_keeps_the_contract(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the larger backbones have tests of their own
    monkeypatch.setattr("benchmark.checking.cases.families", tuple)
    assert faults(check("consensus", [plugin])) == []


def test_the_documented_method_learns_from_the_mean_of_the_probabilities(plugin: Path) -> None:
    method = methods.build(
        "consensus", backbone="resnet8", num_classes=7, plugins=[plugin], peers=3, temperature=2.0, weight=0.5
    )
    peers = torch.randn(3, 20, 7, dtype=torch.float64).requires_grad_()
    terms = method.losses(Outputs(peers), torch.arange(20) % 7, Progress(100, 0, 300))
    students = (peers / 2).softmax(-1)
    mean = students.mean(0).detach()
    divergence = (mean * (mean.log() - students.log())).sum(-1).mean(-1).sum()
    torch.testing.assert_close(terms["distillation"], 0.5 * 4 * divergence)


def test_the_documented_method_trains(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        f"run --plugin {plugin} --methods independent,consensus --dataset digits --backbone resnet8 --seeds 1"
        f" --epochs 2 --engine serial --device cpu --results {tmp_path}/results"
        " --set data.train_per_class=10 --set consensus.weight=0.5"
    )
    monkeypatch.setattr("sys.argv", ["bench", *words.split()])
    cli.main()
    assert re.search(r"^\| consensus +\|", capsys.readouterr().out, re.MULTILINE)
    (stored,) = tmp_path.glob("results/runs/consensus-*/result.json")
    assert json.loads(stored.read_text())["status"] == "finished"


@pytest.mark.parametrize("command", re.findall(r"^```\nbench (.*)\n```$", DOCUMENT, re.MULTILINE))
def test_the_documented_commands_are_valid(
    command: str, plugin: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(plugin.parent)
    what, *words = command.split()
    # the check itself has a test of its own
    monkeypatch.setattr("benchmark.checking.reports", lambda name, plugins: [(name == "consensus", str(plugins))])
    monkeypatch.setattr("sys.argv", ["bench", what, *words, *(["--dry-run"] if what == "run" else [])])
    cli.main()
    assert "consensus" in capsys.readouterr().out


def test_a_file_may_define_several_methods(plugin: Path) -> None:
    plugin.write_text(plugin.read_text() + '\n\nclass Second(Consensus):\n    """Another."""\n\n    name = "second"\n')
    assert {"consensus", "second"} <= set(methods.available([plugin]))
    assert methods.registry.load("second", [plugin]).__name__ == "Second"


@pytest.mark.thorough
def test_an_installed_package_is_found_by_its_entry_point(plugin: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    package, declared = site / "my_package", site / "my_package-1.0.dist-info"
    package.mkdir(parents=True)
    declared.mkdir()
    (package / "__init__.py").touch()
    plugin.rename(package / "consensus.py")
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    header, *points = only_block("toml").splitlines()
    assert header == '[project.entry-points."okdbench.methods"]'
    broken = "broken = my_package.absent"
    lines = ["[okdbench.methods]", *(point.replace('"', "") for point in points), broken]
    (declared / "entry_points.txt").write_text("\n".join(lines) + "\n")
    listed = subprocess.run(
        [sys.executable, "-c", "from benchmark.cli import main; main()", "list", "methods"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    shown = dict(line.strip().split("  ", 1) for line in listed.splitlines())
    described = {name: text.strip() for name, text in shown.items()}
    assert described["consensus"].startswith("Consensus: separate networks that all learn")
    assert described["broken"] == "broken: ModuleNotFoundError: No module named 'my_package.absent'"
    assert set(methods.available()) <= described.keys()
