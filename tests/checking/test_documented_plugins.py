"""The plug-ins of docs/adding_a_method.md and docs/adding_a_backbone.md work as the pages say, installed ones too."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import methods
from benchmark import running
from benchmark.checking.check import check, faults
from benchmark.checking.networks import check_network
from methods import Outputs, Progress, backbones
from tests.command_line import Bench

ROOT = Path(__file__).parents[2]
PAGES = {kind: (ROOT / "docs" / f"adding_a_{kind}.md").read_text(encoding="utf-8") for kind in ("method", "backbone")}


def blocks(kind: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[kind], re.MULTILINE | re.DOTALL)


def commands(kind: str) -> list[str]:
    return re.findall(r"^```\nbench (.*)\n```$", PAGES[kind], re.MULTILINE)


(CONSENSUS,) = blocks("method", "python")
SLIM, READY = blocks("backbone", "python")
PROGRAMS = {"consensus": CONSENSUS, "slim": SLIM, "ready": READY}


@pytest.fixture
def plugins(tmp_path: Path) -> dict[str, Path]:
    """The files that the pages name."""
    for name, program in PROGRAMS.items():
        (tmp_path / f"{name}.py").write_text(program, encoding="utf-8")
    return {name: tmp_path / f"{name}.py" for name in PROGRAMS}


def test_the_documented_plugins_are_short() -> None:
    lengths = {name: len(program.splitlines()) for name, program in PROGRAMS.items()}
    assert lengths["consensus"] <= 40
    assert max(lengths["slim"], lengths["ready"]) <= 30


@pytest.mark.thorough
def test_the_documented_method_keeps_the_contract(plugins: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    # the larger backbones have tests of their own
    monkeypatch.setattr("benchmark.checking.cases.families", tuple)
    assert faults(check("consensus", [plugins["consensus"]])) == []


@pytest.mark.parametrize("name", ["slim", "ready"])
def test_the_documented_networks_keep_the_contract(name: str, plugins: dict[str, Path]) -> None:
    assert faults(check_network(name, [str(plugins[name])])) == []


def test_a_network_of_a_library_is_split_as_the_page_says(plugins: dict[str, Path]) -> None:
    backbone = backbones.make("ready", 10, plugins=[plugins["ready"]])
    assert (tuple(backbone.channels), backbone.split()) == ((24, 48, 96), 2)


def test_the_documented_method_learns_from_the_mean_of_the_probabilities(plugins: dict[str, Path]) -> None:
    given = [plugins["consensus"]]
    method = methods.build(
        "consensus", backbone="resnet8", num_classes=7, plugins=given, peers=3, temperature=2.0, weight=0.5
    )
    peers = torch.randn(3, 20, 7, dtype=torch.float64).requires_grad_()
    terms = method.losses(Outputs(peers), torch.arange(20) % 7, Progress(100, 0, 300))
    students = (peers / 2).softmax(-1)
    mean = students.mean(0).detach()
    divergence = (mean * (mean.log() - students.log())).sum(-1).mean(-1).sum()
    torch.testing.assert_close(terms["distillation"], 0.5 * 4 * divergence)


def test_the_documented_method_trains(plugins: dict[str, Path], tmp_path: Path, bench: Bench) -> None:
    words = (
        f"run --plugin {plugins['consensus']} --methods independent,consensus --dataset digits --backbone resnet8"
        f" --seeds 1 --epochs 2 --engine serial --device cpu --results {tmp_path}/results"
        " --set data.train_per_class=10 --set consensus.weight=0.5"
    )
    answer = bench(*words.split())
    assert answer.code == 0
    assert re.search(r"^\| consensus +\|", answer.out, re.MULTILINE)
    (stored,) = tmp_path.glob("results/runs/consensus-*/result.json")
    assert json.loads(stored.read_text())["status"] == "finished"


@pytest.mark.thorough
@pytest.mark.usefixtures("plugins")
def test_the_documented_networks_train_and_are_exported(tmp_path: Path, bench: Bench) -> None:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    words = (
        "run --plugin slim.py --plugin ready.py --methods dml,pcl --backbone slim,ready --dataset digits --seeds 1"
        " --epochs 1 --engine serial --device cpu --set data.train_per_class=4 --set data.test_per_class=2"
        " --save-students"
    )
    answer = bench(*words.split())
    assert answer.code == 0
    assert re.search(r"^\| method +\| digits/ready +\| digits/slim", answer.out, re.MULTILINE)
    # bare weights need the file that the network is from; an ONNX file needs nothing
    bench(*["export", "dml-digits-slim", "--to", "slim.safetensors"]).assert_refused("'slim'")
    assert bench(*["export", "dml-digits-slim", "--to", "slim.safetensors", "--plugin", "slim.py"]).code == 0
    assert bench(*["export", "pcl-digits-ready", "--to", "ready.onnx", "--plugin", "ready.py"]).code == 0


def test_the_code_of_a_network_is_part_of_the_run(plugins: dict[str, Path]) -> None:
    slim = plugins["slim"]

    def identities() -> list[str]:
        layer = {"methods": ["dml"], "dataset": "digits", "backbone": ["slim", "resnet8+slim", "resnet8"], "seeds": 1}
        runs = running.prepare([layer], (str(slim), str(plugins["ready"]))).runs
        assert [set(run.sources) for run in runs] == [{"backbone"}, {"backbone.slim"}, set()]
        return [run.identity for run in runs]

    before = identities()
    slim.write_text(SLIM + "# a comment\n")
    assert identities() == before
    slim.write_text(SLIM.replace("stride=2, padding=1", "stride=2, padding=2"))
    assert [one == other for one, other in zip(identities(), before, strict=True)] == [False, False, True]


@pytest.mark.parametrize(("kind", "command"), [(kind, command) for kind in PAGES for command in commands(kind)])
@pytest.mark.usefixtures("plugins")
def test_the_documented_commands_are_valid(
    kind: str, command: str, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    # the check itself has tests of its own, and the plan's time is not of interest
    monkeypatch.setattr("benchmark.checking.check.check", lambda name, plugins: [])
    monkeypatch.setattr("benchmark.checking.networks.check_network", lambda name, plugins: [])
    monkeypatch.setattr("benchmark.running.command.estimated", lambda *given: (0.0, ""))
    answer = bench(*command.split(), *(["--dry-run"] if command.startswith("run") else []))
    assert answer.code == 0
    assert {"method": "consensus", "backbone": "slim"}[kind] in answer.out


def test_a_file_may_define_several_methods(plugins: dict[str, Path]) -> None:
    path = plugins["consensus"]
    path.write_text(CONSENSUS + '\n\nclass Second(Consensus):\n    """Another."""\n\n    name = "second"\n')
    assert {"consensus", "second"} <= set(methods.available([path]))
    assert methods.registry.load("second", [path]).__name__ == "Second"


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "name"), [("method", "consensus"), ("backbone", "slim")])
def test_an_installed_package_is_found(kind: str, name: str, plugins: dict[str, Path], tmp_path: Path) -> None:
    package, declared = tmp_path / "site" / "my_package", tmp_path / "site" / "my_package-1.0.dist-info"
    package.mkdir(parents=True)
    declared.mkdir()
    (package / "__init__.py").touch()
    plugins[name].rename(package / f"{name}.py")
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (block,) = blocks(kind, "toml")
    header, *points = block.splitlines()
    assert header == f'[project.entry-points."okdbench.{kind}s"]'
    lines = [f"[okdbench.{kind}s]", *(point.replace('"', "") for point in points), "gone = my_package.gone"]
    (declared / "entry_points.txt").write_text("\n".join(lines) + "\n")
    program = (
        "import json, methods; from methods import backbones;"
        "entry = backbones.describe('slim').distribution if 'slim' in backbones.available() else '';"
        "print(json.dumps([methods.available(), backbones.available(), entry]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path / "site"), str(ROOT)))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    *listed, distribution = json.loads(found)
    own, catalogue = ((methods.available(), listed[0]), (backbones.available(), listed[1]))[kind == "backbone"]
    assert catalogue.keys() - own.keys() == {name, "gone"}
    assert name.capitalize() in catalogue[name]
    assert all(fact in catalogue["gone"] for fact in ("broken", "my_package.gone"))
    assert distribution == ("my-package 1.0" if kind == "backbone" else "")
