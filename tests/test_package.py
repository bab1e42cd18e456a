"""The package works away from its repository, and its start-up stays light."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_code_and_recipes_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    recipes = {path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"benchmark/configs/{name}" for name in recipes} <= set(names)
    assert {f"benchmark/reports/templates/report.{ending}" for ending in ("html.j2", "css", "js")} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"methods", "benchmark", "okdbench"}


def test_bench_runs_from_an_unpacked_wheel_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    zipfile.ZipFile(wheel).extractall(site)
    arguments = "run --methods dml --dataset digits --epochs 1 --seeds 1 --engine serial --set data.train_per_class=5"
    # the unpacked wheel comes first on the path, so that nothing of the repository is imported
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); import benchmark.cli as c; c.main()"
    run = subprocess.run(
        [sys.executable, "-I", "-c", program, str(site), *arguments.split()],
        cwd=work,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "| dml " in run.stdout
    assert list(work.glob("results/runs/dml-digits-resnet8-s0-*/result.json"))


def test_no_method_is_named_by_the_harness() -> None:
    from methods import available

    code = list((ROOT / "benchmark").rglob("*.py"))
    for name in set(available()) - {"one", "independent"}:  # two that are English words
        named = [path.name for path in code if f'"{name}"' in path.read_text() or f"'{name}'" in path.read_text()]
        assert named == [], name


def test_one_version_everywhere() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    released = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == "Unreleased"
    bench = subprocess.run(
        [Path(sys.executable).with_name("bench"), "--version"], check=True, capture_output=True, text=True
    )
    versions = {
        "CHANGELOG.md": released[1],
        "pyproject.toml": settings["project"]["version"],
        "CITATION.cff": yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"],
        "bench --version": bench.stdout.strip(),
    }
    assert len(set(versions.values())) == 1, versions


def test_what_the_source_archive_names_is_there() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [name for name in named if not (ROOT / name.removeprefix("/")).exists()] == []
