"""The package works away from its repository, and its start-up stays light."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tools import release

ROOT = Path(__file__).parents[1]
STUBS = sorted((ROOT / "benchmark").glob("**/__init__.pyi"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_code_and_recipes_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    recipes = {path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"benchmark/configs/{name}" for name in recipes} <= set(names)
    assert {f"benchmark/reports/templates/report.{ending}" for ending in ("html.j2", "css", "js")} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"methods", "benchmark", "okdbench"}
    assert "all of them on the list" in release.check_contents(wheel, release.tracked_files())


@pytest.mark.parametrize("stub", STUBS, ids=lambda path: path.parent.name)
def test_a_public_name_is_no_file_s_name(stub: Path) -> None:
    # whoever imports the file first would find it under the name, and not what it holds
    assert public(stub, of_modules=False)
    assert public(stub, of_modules=False) & {path.stem for path in stub.parent.glob("*.py")} == set()


def public(stub: Path, of_modules: bool = True) -> set[str]:
    """The names that a package offers, with its modules or without."""
    nodes = [node for node in ast.walk(ast.parse(stub.read_text())) if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in nodes if node.module or of_modules for alias in node.names}


@pytest.mark.thorough
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
    bench = subprocess.run(
        [Path(sys.executable).with_name("bench"), "--version"], check=True, capture_output=True, text=True
    )
    version = release.agreed(release.stated_versions() | {"bench --version": bench.stdout.strip()})
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    with pytest.raises(release.ReleaseError, match=r"versions differ: a 1\.0, b 1\.1"):
        release.agreed({"a": "1.0", "b": "1.1"})


def test_what_the_source_archive_names_is_there() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [name for name in named if not (ROOT / name.removeprefix("/")).exists()] == []


def test_packages_import_the_public_names_of_one_another() -> None:
    """A package with ``__init__.pyi`` is imported through it alone: each name in there, loaded when it is asked for."""
    root = ROOT / "benchmark"
    offered = {stub.parent.name: public(stub) for stub in root.glob("*/__init__.pyi")}
    others = []
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom):
                continue
            module = node.module or ""
            package, _, inside = module.removeprefix("benchmark.").partition(".")
            if package not in offered or path.is_relative_to(root / package):
                continue
            names = (
                [f"{inside}."] if inside else [alias.name for alias in node.names if alias.name not in offered[package]]
            )
            others += [f"{path.relative_to(root)}: benchmark.{package}.{name}" for name in names]
    assert others == []
