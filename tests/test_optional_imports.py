"""Without the libraries that only a part needs, the rest works, and the part says in one line what is missing."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.thorough

LACKING = ("ray", "matplotlib", "scipy", "sklearn", "torchvision", "optuna", "pyarrow", "numexpr", "bottleneck")

PROGRAM = f"""
import contextlib, io, json, sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    # what is on the path, but not what is lacking
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {LACKING!r} else PathFinder.find_spec(name, path, target)

# editable installations have finders of their own, which find nothing of the sort
sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
import benchmark.cli

answers = []
for words in json.loads(sys.argv[1]):
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ["bench", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            benchmark.cli.main()
        except SystemExit as end:
            code = end.code or 0
    answers.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(answers))
"""

TRAIN = (
    *("run", "--methods", "dml,independent", "--dataset", "folder:images", "--backbone", "resnet8", "--seeds", "3"),
    *("--epochs", "1", "--engine", "serial", "--device", "cpu"),
)
PARTS = {
    "run --dataset digits": (
        "engine ray needs ray, which is not installed: pip install 'ray[tune]', or give --engine serial"
    ),
    "run --dataset digits --engine serial": "the dataset digits needs scikit-learn, which is not installed: ",
    "run --dataset cifar10 --engine serial --epochs 1": "bench run needs torchvision, which is not installed: ",
    "table --baseline dml --columns nll": "bench table needs scipy, which is not installed: pip install scipy",
    "plot curves --out curves.svg": "bench plot needs matplotlib, which is not installed: pip install matplotlib",
    "sweep decay --engine serial --dataset folder:images": "the report of a sweep needs matplotlib, which is ",
}


Answer = tuple[int, str, str]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What the commands say, all in one process."""
    folder = tmp_path_factory.mktemp("bare")
    random = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 9)):
        for label in ("cat", "dog"):
            (place := folder / "images" / part / label).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(place / f"{number}.png")
    commands = [["--help"], TRAIN, ["table"], ["doctor"], ["list"], *(words.split() for words in PARTS)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    said = json.loads(done.stdout)
    names = ["help", "run", "table", "doctor", "list", *PARTS]
    return {name: (code, out, err) for name, (code, out, err) in zip(names, said, strict=True)}


def test_trains_and_tables(answers: dict[str, Answer]) -> None:
    code, out, err = answers["run"]
    assert (code, err) == (0, ""), out
    assert "finished  dml folder:images resnet8 seed 1: " in out
    code, out, err = answers["table"]
    assert (code, err) == (0, "")
    assert "| dml" in out
    assert " ± " in out


def test_looks_the_machine_over(answers: dict[str, Answer]) -> None:
    # here the libraries are installed, and cannot be imported
    code, out, _ = answers["doctor"]
    assert code == 0, out
    assert "it comes with scikit-learn" in out


@pytest.mark.parametrize("name", ["help", "list"])
def test_helps(name: str, answers: dict[str, Answer]) -> None:
    code, out, err = answers[name]
    assert (code, err) == (0, "")
    assert "table" in out or "dml" in out


@pytest.mark.parametrize("words", PARTS)
def test_one_line_says_what_is_missing_for_what(words: str, answers: dict[str, Answer]) -> None:
    code, out, err = answers[words]
    assert code == 1, (err, out)
    (line,) = err.splitlines()
    assert line.startswith(f"bench: {PARTS[words]}")
