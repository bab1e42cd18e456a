"""The pages' commands and programs: each one is carried out, or planned where it would train, or at least read."""

import itertools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
import yaml

from benchmark import cli, exchange, load, running
from benchmark.configuration import layer_from_file, suites
from benchmark.console import new_console
from tests.tables.frames import Story

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TESTED_ELSEWHERE = {
    "adding_a_backbone.md": "tests/checking/test_documented_plugins.py",
    "adding_a_dataset.md": "tests/datasets/test_adding_a_dataset.py",
    "adding_a_method.md": "tests/checking/test_documented_plugins.py",
    "more_than_logits.md": "tests/checking/test_more_than_logits.py",
    "notebook.md": "tests/test_notebook.py",
}
"""Pages with whole programs, and what runs them."""

PLUGIN = re.compile(r"Save this as `(\w+\.py)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PLANNED = ("run", "sweep")
READ = ("check", "doctor", "export", "speed", "study", "submit", "verify")
"""What takes long and has tests of its own, or speaks of this machine: only its words are checked."""


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def commands(page: Path) -> list[str]:
    """The lines of a page's blocks that begin with ``bench``, without their comments."""
    text = "\n".join(blocks(page, "", "bash")).replace("\\\n", " ")
    lines = [re.sub(r"\s+#.*", "", line).removeprefix("exec ") for line in text.splitlines()]
    parts = [part.strip() for line in lines for part in line.split(";")]
    return list(dict.fromkeys(part for part in parts if part.startswith("bench ")))


# what several pages say is carried out once; a page's commands build on each other, so they keep their order
ALL = list(dict.fromkeys(command for page in PAGES for command in commands(page)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a person's, with runs under the names that the pages use."""
    place = tmp_path_factory.mktemp("place")
    story = Story(place / "results")
    for method in ("independent", "dml", "dkel", "cl"):
        for number, network in enumerate(("resnet8", "resnet14")):
            for seed in range(3):
                story.tell(method, f"digits/{network}", seed, 60.0 + len(method) + number + seed, epochs=100)
    kept = {"methods": ["dml"], "dataset": "digits", "seeds": 2, "epochs": 1}
    kept |= {"save_predictions": True, "save_students": True}
    small = {"data": {"train_per_class": 2, "test_per_class": 2}, "engine": "serial", "device": "cpu"}
    command = running.prepare([kept | small | {"results": str(place / "results")}])
    assert running.carry_out(command, new_console(quiet=True))
    names = [command.store.folder(run).name for run in command.runs]
    (place / "runs.txt").write_text("\n".join(names), encoding="utf-8")
    shutil.copy(next((place / "results").rglob("peer0.safetensors")), place / "teacher.safetensors")
    for other in ("a/results", "lab1/results", "mine", "teacher"):
        shutil.copytree(place / "results", place / other)
    exchange.merge([ROOT / "results" / "digits" / "runs.tar.gz"], place / "of-a-suite")
    for name, program in PLUGIN.findall("\n".join(page.read_text(encoding="utf-8") for page in PAGES)):
        (place / name).write_text(program, encoding="utf-8")
    # of a bundle that is submitted
    (place / "submissions" / "consensus").mkdir(parents=True)
    (place / "docs").symlink_to(ROOT / "docs")
    return place


@contextmanager
def words(*given: str) -> Iterator[None]:
    before, sys.argv = sys.argv, ["bench", *given]
    try:
        yield
    finally:
        sys.argv = before


def carried_out(command: str) -> int:
    # of two runs that are named, each is another
    runs = itertools.cycle(Path("runs.txt").read_text(encoding="utf-8").split())
    given = [next(runs) if word == "RUN" else word for word in shlex.split(command)[1:]]
    # the other runs are made up, and none of a suite's
    given += ["--results", "of-a-suite"] if "--suite" in given and given[0] not in PLANNED else []
    with words(*given, *(["--dry-run"] if given[0] in PLANNED and "--dry-run" not in given else [])):
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def test_there_are_commands_and_those_of_the_readme_among_them() -> None:
    assert len(ALL) > 40
    assert {"bench list", "bench doctor", "bench table --published"} <= set(ALL)
    assert len(commands(ROOT / "README.md")) > 5


def test_the_commands_work(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    # a plan's time is measured, and there are tests of it
    monkeypatch.setattr("benchmark.running.command.estimated", lambda *given: (0.0, ""))
    program = cli.program()
    for command in ALL:
        name, *options = shlex.split(command)[1:]
        if name in READ:
            found = program.commands[name]
            assert found.make_context(name, options, parent=typer.Context(program)), command
        else:
            assert carried_out(command) == 0, (command, capsys.readouterr().err)


def test_every_program_on_a_page_is_run_by_a_test() -> None:
    with_programs = {page.name for page in PAGES if blocks(page, "python")}
    assert with_programs == {"README.md", *TESTED_ELSEWHERE}
    assert [path for path in TESTED_ELSEWHERE.values() if not (ROOT / path).is_file()] == []
    languages = {language for page in PAGES for language, _ in BLOCK.findall(page.read_text(encoding="utf-8"))}
    # a block of another kind has no test yet
    assert languages == {"", "bash", "mermaid", "python", "text", "toml", "yaml"}


def test_the_readme_s_program_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    names: dict[str, object] = {}
    (program,) = blocks(ROOT / "README.md", "python")
    exec(program, names)
    # the other folders are copies, and a run counts once
    assert len(names["ends"]) == len(load("results", "last"))  # type: ignore[arg-type]
    assert set(names["some"]["method"]) == {"dml"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("page", "block"),
    [
        (page, block)
        for page in PAGES
        for block in blocks(page, "yaml")
        if "methods" in yaml.safe_load(block) and "tasks" not in yaml.safe_load(block)
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_the_configurations_are_plans(page: Path, block: str, tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(block, encoding="utf-8")
    runs = running.prepare([layer_from_file(str(path), ()), {"dataset": "digits", "seeds": 1}]).runs
    assert len(runs) == len(yaml.safe_load(block)["methods"])


def test_the_suite_is_one(tmp_path: Path) -> None:
    (block,) = [block for block in blocks(ROOT / "docs" / "suites.md", "yaml") if "tasks" in yaml.safe_load(block)]
    (tmp_path / "own.yaml").write_text(block, encoding="utf-8")
    assert suites.read(str(tmp_path / "own.yaml")).methods == ["independent", "dml", "pcl"]


def test_the_scripts_are_whole(tmp_path: Path) -> None:
    scripts = [block for page in PAGES for block in blocks(page, "bash")]
    assert len(scripts) >= 3
    for script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), script


def test_the_targets_that_are_named_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(
        re.findall(r"\bmake ([a-z-]+)(?= |`|\n)", "\n".join(re.findall(r"`[^`\n]*`|^make .*$", text, re.MULTILINE)))
    )
    assert {"demo", "test", "docs"} <= named <= targets
