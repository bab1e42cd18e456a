"""A plug-in imports the modules beside its file; they hide nothing that is installed and nothing of another plug-in."""

import sys
import types
from pathlib import Path

import pytest

import benchmark
from benchmark.configuration.code import hash_of, source_of
from methods import registry
from methods.errors import InputError
from methods.plugins import import_plugin
from tests.command_line import process

PLUGIN = '''from methods.independent import Independent
from utils import WEIGHT


class Mine(Independent):
    """Mine."""

    name = "NAME"

    def losses(self, outputs, labels, progress):
        from helpers.deep import twice

        return {name: twice(WEIGHT) * term for name, term in super().losses(outputs, labels, progress).items()}
'''


def plugin(folder: Path, name: str = "mine", weight: float = 0.5, **files: str) -> Path:
    """Write a plug-in with a module and a package beside it."""
    (folder / "helpers").mkdir(parents=True)
    (folder / "helpers" / "__init__.py").write_text("")
    (folder / "helpers" / "deep.py").write_text(
        "from . import more\nimport utils\n\n\ndef twice(x):\n    return 2 * x\n"
    )
    (folder / "helpers" / "more.py").write_text("MORE = 1\n")
    (folder / "utils.py").write_text(f"WEIGHT = {weight}\n")
    for file, text in files.items():
        (folder / f"{file}.py").write_text(text)
    path = folder / f"{name}.py"
    path.write_text(PLUGIN.replace("NAME", name))
    return path


def test_a_plugin_imports_the_modules_next_to_it_and_they_count(tmp_path: Path) -> None:
    path = plugin(tmp_path)
    assert registry.broken_files([path]) == []
    found = source_of(import_plugin(str(path)))
    for part in ("WEIGHT = 0.5", "def twice", "MORE = 1"):
        assert part in found.text
    assert hash_of(found.text) == found.hash


def test_modules_next_to_it_count_the_same_in_every_folder(tmp_path: Path) -> None:
    paths = [plugin(tmp_path / "a"), plugin(tmp_path / "b"), plugin(tmp_path / "c", weight=0.75)]
    same, again, other = (source_of(import_plugin(str(path))).hash for path in paths)
    assert same == again != other


def test_two_plugins_have_modules_of_one_name_each(tmp_path: Path) -> None:
    one, two = plugin(tmp_path / "one", "one_more", 0.5), plugin(tmp_path / "two", "two_more", 0.25)
    assert [vars(import_plugin(str(path)))["WEIGHT"] for path in (one, two)] == [0.5, 0.25]
    assert "utils" not in sys.modules


def test_what_is_installed_is_not_hidden_by_a_file(tmp_path: Path) -> None:
    bad = "raise RuntimeError('hidden')\n"
    path = plugin(tmp_path, torch=bad, methods=bad, benchmark=bad, json=bad, numpy=bad)
    path.write_text("import json, torch, numpy, methods, benchmark\n" + path.read_text())
    module = import_plugin(str(path))
    assert vars(module)["torch"] is sys.modules["torch"]
    assert "hidden" not in source_of(module).text


def test_the_folder_comes_before_others_that_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "utils.py").write_text("WEIGHT = 9.0\n")
    monkeypatch.syspath_prepend(tmp_path / "here")
    monkeypatch.setitem(sys.modules, "utils", types.ModuleType("utils"))
    path = plugin(tmp_path / "there")
    assert vars(import_plugin(str(path)))["WEIGHT"] == 0.5
    assert "9.0" not in source_of(import_plugin(str(path))).text


def test_a_module_that_is_missing_is_named_and_found_once_it_is_there(tmp_path: Path) -> None:
    path = plugin(tmp_path)
    (tmp_path / "utils.py").rename(tmp_path / "away.py")
    assert "utils" in registry.broken_files([path])[0]
    with pytest.raises(InputError, match="utils"):
        registry.load("mine", [path])
    (tmp_path / "away.py").rename(tmp_path / "utils.py")
    assert registry.load("mine", [path]).name == "mine"


def test_its_runs_train_and_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = plugin(tmp_path / "code")
    settings = {"data.train_per_class": 2, "data.test_per_class": 2}
    frame = benchmark.run(
        "mine", backbone="resnet8", seeds="0,", epochs=1, engine="serial", plugins=[path], settings=settings, quiet=True
    )
    assert list(frame["status"]) == ["finished"]
    assert "WEIGHT = 0.5" in next(Path("results/sources").glob("*.py")).read_text()


@pytest.mark.thorough
def test_workers_import_it_too(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    path = plugin(tmp_path / "code")
    words = f"run --methods mine --plugin {path} --backbone resnet8 --epochs 1 --set data.train_per_class=2"
    answer = process(tmp_path, *words.split(), "--set", "data.test_per_class=2")
    assert answer.code == 0, answer.out + answer.err
