"""The workflow of continuous integration: it cannot run here, but it can be read."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import matrix

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    return loaded


def commands(jobs: dict[str, Any]) -> list[str]:
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("github-workflows", ".github/workflows/ci.yml"),
        ("github-workflows", ".github/workflows/site.yml"),
        ("citation-file-format", "CITATION.cff"),
    ],
)
def test_the_file_is_as_its_readers_expect_it(schema: str, path: str, tmp_path: Path) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*check, path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok -- validation done\n"), done.stdout + done.stderr
    # one that is not is refused
    wrong = tmp_path / Path(path).name
    wrong.write_text(
        (ROOT / path).read_text().replace("runs-on:", "run-on:").replace("cff-version:", "version-of-cff:")
    )
    assert subprocess.run([*check, str(wrong)], capture_output=True, check=False).returncode == 1


def test_every_step_is_a_target_of_the_makefile(jobs: dict[str, Any]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = [command.split()[:2] for command in commands(jobs)]
    assert {make for make, _ in called} == {"make"}
    assert {"lint", "test", "thorough", "matrix", "docs", "release-check", "submissions"} == {
        target for _, target in called
    }
    assert {target for _, target in called} <= targets


def test_the_matrix_has_every_combination_and_every_python_that_is_promised(jobs: dict[str, Any]) -> None:
    rows = jobs["matrix"]["strategy"]["matrix"]["include"]
    assert [(row["combination"], row["python"]) for row in rows] == [
        (combination.name, combination.python) for combination in matrix.COMBINATIONS
    ]
    assert "make matrix ONLY=${{ matrix.combination }}" in commands(jobs)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(settings["project"]["classifiers"]))
    assert promised == list(dict.fromkeys(row["python"] for row in rows))


def test_submissions_that_a_pull_request_changes_are_checked(jobs: dict[str, Any], tmp_path: Path) -> None:
    job = jobs["submissions"]
    assert job["if"] == "github.event_name == 'pull_request'"
    # what it is compared with has to be there
    assert job["steps"][0]["with"]["fetch-depth"] == 0
    # a repository with one submission that is changed, one that is not, and one that was removed
    repository = tmp_path / "repository"
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for name in ("changed", "kept", "removed"):
        (repository / "submissions" / name).mkdir(parents=True)
        (repository / "submissions" / name / "submission.yaml").write_text("who: a\n")
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    for words in (["add", "-A"], ["commit", "-qm", "first"], ["tag", "base"]):
        subprocess.run([*git, *words], check=True)
    (repository / "submissions/changed/submission.yaml").write_text("who: b\n")
    subprocess.run([*git, "rm", "-rq", "submissions/removed"], check=True)
    subprocess.run([*git, "commit", "-qam", "second"], check=True)
    make = ["make", "-f", str(ROOT / "Makefile"), "--assume-old=install", "submissions", "BASE=base", "BIN=missing"]
    # as if no make had started it
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(make, cwd=repository, env=alone, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["submissions/changed"], done.stderr
    # there is no command to check it with, which is no success
    assert done.returncode != 0


def test_no_job_runs_for_ever_nor_may_write(jobs: dict[str, Any]) -> None:
    assert all(0 < job["timeout-minutes"] <= 90 for job in jobs.values())
    assert yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}
