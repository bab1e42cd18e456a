"""The dataset of docs/adding_a_dataset.md works as the document says, and what is wrong with one is told."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmark import datasets
from benchmark.configuration import DataConfig
from benchmark.datasets.images import Shape
from methods import registry
from methods.errors import InputError
from tests.command_line import Bench

DOCUMENT = (Path(__file__).parents[2] / "docs" / "adding_a_dataset.md").read_text(encoding="utf-8")


def only_block(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "shapes.py"
    path.write_text(only_block("python"), encoding="utf-8")
    return path


def test_the_documented_datasets_is_as_it_says(plugin: Path) -> None:
    files = [str(plugin)]
    loaded = datasets.load("shapes", DataConfig(), plugin.parent, files)
    assert loaded.shape == datasets.shape("shapes", DataConfig(), plugin.parent, files) == Shape(400, 200, 2, 1, 12)
    assert loaded.classes == ("square", "disc")
    # a square fills its box, a disc does not
    bright = loaded.train.images[:, 0] >= 200
    boxes = bright.any(1).sum(1) * bright.any(2).sum(1)
    assert np.array_equal(bright.sum((1, 2)) == boxes, loaded.train.labels == 0)
    assert datasets.load("shapes", DataConfig(image_size=16, holdout=0.5), plugin.parent, files).shape == Shape(
        200, 200, 2, 1, 16
    )
    assert datasets.present("shapes", plugin.parent, files)


def test_the_documented_command_trains(plugin: Path, bench: Bench) -> None:
    (command,) = re.findall(r"^```\nbench (.*)\n```$", DOCUMENT, re.MULTILINE)
    small = ("--set", "data.train_per_class=40", "--engine", "serial", "--device", "cpu", "--epochs", "1")
    answer = bench(*command.split(), *small)
    assert answer.code == 0
    assert re.search(r"^\| dml +\| .*\(1\)", answer.out, re.MULTILINE)
    names = sorted(path.name.rpartition("-")[0] for path in Path("results/runs").glob("*-*"))
    assert names == ["dml-shapes-resnet8-s0", "independent-shapes-resnet8-s0"]


def test_it_is_listed_and_no_broken_method(plugin: Path, bench: Bench) -> None:
    listed = bench("list", "datasets", "--plugin", plugin).out
    assert re.search(r"^ *shapes +Squares and discs, 600 drawings", listed, re.MULTILINE)
    for form in ("folder:PATH", "npz:FILE", "torchvision:NAME", "hf:PATH"):
        assert f"| `{form}` |" in DOCUMENT
        assert f"  {form} " in listed
    assert "broken" not in bench("list", "methods", "--plugin", plugin).out


def test_methods_and_datasets_in_one_file(plugin: Path) -> None:
    plugin.write_text(
        plugin.read_text()
        + "\n\nfrom methods.independent import Independent\n\n\n"
        + 'class Mine(Independent):\n    """Mine."""\n\n    name = "mine"\n'
    )
    assert registry.load("mine", [plugin]).name == "mine"
    assert "shapes" in datasets.available([str(plugin)])


@pytest.fixture
def site(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with the dataset, and one that names what is not there."""
    site = plugin.parent / "site"
    package, declared = site / "my_package", site / "my_package-1.0.dist-info"
    package.mkdir(parents=True)
    declared.mkdir()
    (package / "__init__.py").touch()
    plugin.rename(package / "shapes.py")
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    header, *points = only_block("toml").splitlines()
    assert header == '[project.entry-points."okdbench.datasets"]'
    lines = ["[okdbench.datasets]", *(point.replace('"', "") for point in points), "absent = my_package.absent:f"]
    (declared / "entry_points.txt").write_text("\n".join(lines) + "\n")
    before = set(sys.modules)
    monkeypatch.syspath_prepend(site)
    yield site
    for name in set(sys.modules) - before:
        if name.startswith("my_package"):
            del sys.modules[name]


def test_an_installed_package_is_found_by_its_entry_point(site: Path) -> None:
    found = datasets.available()
    assert found["shapes"].startswith("Squares and discs")
    assert found["absent"] == "broken: ModuleNotFoundError: No module named 'my_package.absent'"
    assert len(datasets.load("shapes", DataConfig(), site).train) == 400
    before = datasets.source("shapes")
    assert before is not None
    assert datasets.source("digits") is None
    # another version of the package is other code
    metadata = site / "my_package-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.0", "1.1"))
    after = datasets.source("shapes")
    assert after is not None
    assert after.hash != before.hash
    assert after.text == before.text.replace("my-package 1.0", "my-package 1.1")
    with pytest.raises(InputError, match="the dataset 'absent' is broken: ModuleNotFoundError"):
        datasets.checksum("absent", DataConfig(), site)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("astype(np.uint8)", "astype(np.float32)", "dataset 'shapes': x_train has the type float32: images must be"),
        ("% 2", "% 3", r"dataset 'shapes': y_train\[2\] is 2: labels must be in 0\.\.1 \(2 classes\)"),
        (
            "return Arrays(x_train, y_train, x_test, y_test, ",
            "return dict(",
            r"dataset 'shapes' returned dict: .*Arrays",
        ),
        ("seed=1", "seed=1 / 0", r"the dataset 'shapes' failed: ZeroDivisionError: .* \(shapes\.py, line 15\)"),
        ("import numpy", "import absent", r"the dataset 'shapes' is broken: ModuleNotFoundError, line 5: .* 'absent'"),
        (") -> Arrays", ")", r"unknown dataset 'shapes' \(valid: .*digits"),
    ],
)
def test_each_fault_has_one_line(plugin: Path, old: str, new: str, message: str, bench: Bench) -> None:
    text = plugin.read_text()
    assert old in text
    plugin.write_text(text.replace(old, new))
    words = ("--methods", "dml", "--dataset", "shapes", "--plugin", str(plugin), "--results", str(plugin.parent))
    answer = bench("run", *words)
    answer.assert_refused()
    assert re.match(f"bench: .*{message}", answer.err), answer.err


def test_a_broken_plug_in_is_named_where_no_datasets_is_found(plugin: Path) -> None:
    plugin.write_text("import absent\n")
    with pytest.raises(InputError, match=r"unknown dataset 'blobs', and the plug-in \S+shapes\.py is broken: Module"):
        datasets.checksum("blobs", DataConfig(), plugin.parent, [str(plugin)])


def test_the_name_of_an_own_set_stays_its_own(plugin: Path) -> None:
    plugin.write_text(plugin.read_text().replace("def shapes", "def digits"))
    assert np.array_equal(
        datasets.load("digits", DataConfig(), plugin.parent, [str(plugin)]).train.images,
        datasets.load("digits", DataConfig(), plugin.parent).train.images,
    )
