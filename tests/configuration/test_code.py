"""What of a plug-in's code tells two programs apart, and which files belong to it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.configuration.code import SourceCode, code_hash, hash_of, source_of, source_of_method
from methods.errors import InputError
from methods.plugins import import_plugin

PLUGIN = '''"""A method."""

from methods.independent import Independent

WEIGHT = 1.0


class Mine(Independent):
    """Mine."""

    name = "mine"

    def losses(self, outputs, labels, progress):
        """Weigh them."""
        return {name: WEIGHT * term for name, term in super().losses(outputs, labels, progress).items()}
'''
SAME = {
    "comment": PLUGIN.replace("WEIGHT = 1.0", "WEIGHT = 1.0  # as in the paper"),
    "docstrings": PLUGIN.replace('"""Weigh them."""', '"""Weigh all of them."""').replace("A method", "My method"),
    "no docstring": PLUGIN.replace('        """Weigh them."""\n', ""),
    "a note below a constant": PLUGIN.replace("WEIGHT = 1.0", 'WEIGHT = 1.0\n"""Of every term."""'),
    "formatting": PLUGIN.replace("WEIGHT = 1.0", "WEIGHT=(1.0)").replace("{name: WEIGHT", "{\n name: WEIGHT"),
    "another way to write a number": PLUGIN.replace("1.0", "1.00"),
}
OTHER = {
    "number": PLUGIN.replace("1.0", "0.0"),
    "whole number": PLUGIN.replace("1.0", "1"),
    "name": PLUGIN.replace("WEIGHT", "FACTOR"),
    "order": PLUGIN.replace("WEIGHT * term", "term * WEIGHT"),
    "operator": PLUGIN.replace("WEIGHT * term", "WEIGHT / term"),
    "statement": PLUGIN + "\n    views = 2\n",
    "nothing for None": PLUGIN.replace("1.0", "None"),
    "string in use": PLUGIN.replace('"mine"', '"yours"'),
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_what_a_program_does_not_see_does_not_count(text: str) -> None:
    assert text != PLUGIN
    assert code_hash(text) == code_hash(PLUGIN)


def test_every_change_of_code_counts() -> None:
    assert len({code_hash(PLUGIN), *map(code_hash, OTHER.values())}) == 1 + len(OTHER)


def test_the_hash_is_the_same_wherever_it_is_computed() -> None:
    # identities of stored runs hang on it: it must not change with a version of Python or of this project
    text = "def f(x, *, y=1.5):\n    return [x, -y, f'{x!r:>{y}}', b'a', None, ..., lambda: x]\n"
    assert code_hash(text) == "aaa93a678a18ad38942e68c3fa9ead60f2a5e447126d53356d4b57d4dc26f478"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules are imported from; they are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def written(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class TestFiles:
    def source(self, path: Path, text: str = PLUGIN) -> SourceCode:
        path.write_text(text)
        found = source_of_method("mine", [path])
        assert found is not None
        return found

    def test_an_edited_file_is_imported_anew_with_what_it_says_now(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.py"
        first = self.source(path)
        assert import_plugin(str(path)).WEIGHT == 1.0
        # of the same length, within a second: bytecode would be taken for fresh
        second = self.source(path, OTHER["number"])
        assert import_plugin(str(path)).WEIGHT == 0.0
        assert first.hash != second.hash
        assert PLUGIN in first.text
        assert OTHER["number"] in second.text
        assert (hash_of(first.text), hash_of(second.text)) == (first.hash, second.hash)

    def test_the_place_and_the_name_of_the_file_do_not_count(self, tmp_path: Path) -> None:
        assert self.source(tmp_path / "mine.py").hash == self.source(tmp_path / "other.py").hash

    def test_a_file_of_nothing_is(self, tmp_path: Path) -> None:
        path = tmp_path / "nothing.py"
        path.write_text("X = 1\n")
        with pytest.raises(InputError, match=r"'nothing' is broken: InputError: .* defines no method"):
            source_of_method("nothing", [path])


class TestModules:
    def test_what_a_plug_in_imports_from_beside_it_belongs_to_it(self, folder: Path) -> None:
        def source(weight: str) -> SourceCode:
            written(folder, {f"terms{weight[0]}.py": f"W = {weight}\n", "far.py": "import json\n"})
            path = folder / "mine.py"
            path.write_text(f"import far\nfrom terms{weight[0]} import W\nimport torch, methods.dml\n")
            return source_of(import_plugin(str(path)))

        found = source("1.0")
        heads = [line for line in found.text.splitlines() if line.startswith("# okdbench module: ")]
        assert heads == [f"# okdbench module: {name}" for name in ("", "far", "terms1")]
        assert hash_of(found.text) == found.hash
        assert "W = 1.0" in found.text

    def test_a_package_counts_whole_with_its_version(self, folder: Path) -> None:
        def hash_of(name: str, term: str, version: str = "1.0", note: str = "") -> str:
            files = {"__init__.py": "", "method.py": f"from . import terms\n{note}", "terms.py": term}
            written(folder / name, files)
            return source_of(import_plugin(f"{name}.method"), f"pack {version}").hash

        # each under a name of its own, as it is in another process
        hashes = [hash_of("pack_a", "W = 1\n"), hash_of("pack_b", "W = 1\n"), hash_of("pack_c", "W = 2\n")]
        assert len(set(hashes)) == 3, "a module's name is a part of what is imported"
        assert source_of(sys.modules["pack_a.method"], "pack 1.0").hash == hashes[0]
        assert source_of(sys.modules["pack_a.method"], "pack 1.1").hash != hashes[0]
        text = source_of(sys.modules["pack_c.method"]).text
        assert "pack_c.terms\nW = 2" in text


class TestWhatNoImportNames:
    @pytest.mark.parametrize(
        "line",
        [
            "import importlib\nhelper = importlib.import_module('helper')",
            "from importlib import import_module\nhelper = import_module('helper')",
            "helper = __import__('helper')",
            "from importlib import util\nutil.module_from_spec(s := util.find_spec('helper'))\ns.loader.exec_module(s)",
            "exec(open('helper.py').read())",
            "import runpy\nhelper = runpy.run_path('helper.py')",
        ],
    )
    def test_it_is_refused_unless_its_files_are_declared(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "helper.py").write_text("W = 1\n")
        program = f"def load():\n    {line.replace(chr(10), chr(10) + '    ')}\n"
        (tmp_path / "mine.py").write_text(f"{program}\nclass Mine: ...\n")
        with pytest.raises(InputError, match=r"Method\.sources"):
            source_of(import_plugin(str(tmp_path / "mine.py")))
        (tmp_path / "mine.py").write_text(f"{program}\nclass Mine:\n    sources = ('helper.py',)\n")
        before = source_of(import_plugin(str(tmp_path / "mine.py")))
        assert hash_of(before.text) == before.hash
        (tmp_path / "helper.py").write_text("W = 2\n")
        assert source_of(import_plugin(str(tmp_path / "mine.py"))).hash != before.hash

    def test_a_data_file_that_is_declared_counts(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text("class Mine:\n    sources = ('weights.bin',)\n")
        with pytest.raises(InputError, match=r"weights\.bin"):
            source_of(import_plugin(str(tmp_path / "mine.py")))
        hashes = set()
        for content in (b"\0", b"\1"):
            (tmp_path / "weights.bin").write_bytes(content)
            hashes.add(source_of(import_plugin(str(tmp_path / "mine.py"))).hash)
        assert len(hashes) == 2

    def test_a_helper_in_a_folder_without_init_counts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "laboratory" / "lib").mkdir(parents=True)
        (tmp_path / "laboratory" / "method.py").write_text("from laboratory.lib import helper\n")
        (tmp_path / "laboratory" / "lib" / "helper.py").write_text("W = 12345\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        assert "12345" in source_of(import_plugin("laboratory.method")).text
