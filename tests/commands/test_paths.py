"""Paths as people write them: with the home folder, with commas, by another spelling."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import benchmark
from benchmark import cli, store
from benchmark.commands.options import as_path
from benchmark.configuration.planning import joined, split
from benchmark.reports.run_text import command
from benchmark.running import prepare
from tests.command_line import Bench
from tests.images import random_pixels

COMMON: dict[str, Any] = {
    "methods": "independent",
    "backbone": "resnet8",
    "engine": "serial",
    "epochs": 1,
    "seeds": "0,",
}
PLUGIN = '''
from methods.independent import Independent

class Mine(Independent):
    """Mine."""
    name = "mine"
'''


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and another folder in which commands are given."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def arrays(path: Path) -> None:
    images, labels = random_pixels(8, 8, 8), np.arange(8) % 2
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)


def test_a_tilde_is_the_home_folder_in_every_path(bench: Bench, home: Path) -> None:
    arrays(home / "few.npz")
    (home / "mine.py").write_text(PLUGIN)
    Path("c.yaml").write_text(yaml.safe_dump(COMMON | {"results": "~/yaml", "dataset": "npz:~/few.npz"}))
    small = ["--plugin=~/mine.py", "--methods=mine"]
    assert bench("run", "--config", "c.yaml", *small).code == 0
    assert bench("run", "--config", "c.yaml", *small, "--results=~/flag", "--data-root=~/data").code == 0
    assert bench("table", "--results=~/flag", "--out=~/out/table.md").code == 0
    assert bench("schedules", "--method", "dkel", "--out=~/out").code == 0
    assert {"yaml", "flag", "out"} <= {path.name for path in home.iterdir()}
    assert not Path("~").exists()
    frame = benchmark.load("~/yaml", "last")
    assert list(frame["dataset"]) == [f"npz:{home}/few.npz"]
    assert len(benchmark.run("mine", plugins=["~/mine.py"], config="c.yaml", results="~/yaml", quiet=True)) == 1


def test_every_option_that_is_a_path_is_read_by_one_function() -> None:
    def options(command: Any) -> Iterator[tuple[str, Any]]:
        for parameter in command.params:
            name = f"{command.name} {parameter.name}"
            if (described := getattr(parameter, "type_descriptor", None)) is not None:
                if "Path" in str(described.annotation):
                    yield name, described.parameter_info.parser
            elif parser := getattr(getattr(parameter, "type", None), "func", None):
                # older versions of Typer keep the parser alone
                yield name, parser
        for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
            yield from options(command.resolve_command(None, [name])[1])

    paths = dict(options(cli.program()))
    assert {"run results", "table out", "merge bundles", "report layout_file"} <= set(paths)
    assert [name for name, parser in paths.items() if parser is not as_path] == []


def test_a_home_that_nobody_has_is_one_line(bench: Bench) -> None:
    bench("table", "--results=~nobody-here/x").assert_refused("~nobody-here/x")


def test_commas_in_paths_are_no_separators(bench: Bench) -> None:
    arrays(Path("a,b.npz"))
    Path("c,d.py").write_text(PLUGIN)
    words = ["run", "--methods", "mine", "--plugin", "c,d.py", "--results", "e,f", "--epochs", "1", "--seeds", "0,"]
    words += ["--backbone", "resnet8", "--engine", "serial", "--dataset", '"npz:a,b.npz",npz:./a,b.npz']
    assert bench(*words).code == 2
    assert bench(*words[:-1], '"npz:a,b.npz","npz:./a,b.npz"').code == 0
    frame = store.load("e,f", "last")
    assert list(frame["dataset"]) == ["npz:a,b.npz"]
    found = store.find("e,f", frame["run"][0])
    again = shlex.split(command(found.config, found.result, Path("e,f")))
    assert found.config.identity in bench(*again[1:], "--engine", "serial", "--dry-run").out
    Path("e,f").rename("results")
    assert prepare([COMMON | {"dataset": ["npz:a,b.npz"], "methods": "mine"}], ("c,d.py",)).missing() == []


def test_words_between_commas_come_back() -> None:
    for words in (["a"], ["a", "b"], ["folder:a,b", "c"], ['it"s', "d"], ['"x"', 'y,"z']):
        assert split(joined(words)) == words
    assert split("a, b") == ["a", "b"]
    assert split('digits, "folder:a,b"') == ["digits", "folder:a,b"]


def test_a_place_has_one_spelling_in_its_plain_form(home: Path) -> None:
    arrays(home / "ok.npz")
    arrays(Path("ok.npz"))
    for written, plain in (
        ("npz:./ok.npz", "npz:ok.npz"),
        ("npz:.//ok.npz", "npz:ok.npz"),
        ("npz:~/ok.npz", f"npz:{home}/ok.npz"),
    ):
        assert [run.dataset for run in prepare([COMMON | {"dataset": written}]).runs] == [plain]
    both = prepare([COMMON | {"dataset": "npz:ok.npz,npz:./ok.npz"}]).runs
    assert [run.dataset for run in both] == ["npz:ok.npz"]
