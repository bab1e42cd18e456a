"""What a command writes, to a file or to its standard output, is there or one line says why it is not."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import benchmark
from tests.command_line import Bench

RUN = {"backbone": "resnet8", "seeds": "0,", "epochs": 1, "engine": "serial", "quiet": True}
SMALL = {"data.train_per_class": 2, "data.test_per_class": 2}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two methods."""
    results = tmp_path_factory.mktemp("stored") / "results"
    options = {"save_students": True, "save_predictions": True, "results": str(results)}
    benchmark.run("independent,dml", settings=SMALL, **RUN, **options)  # type: ignore[arg-type]
    return results


WRITING = {
    "plot": "plot cost --results {results} --out {out}/x.svg",
    "schedules": "schedules --method dkel --out {out}/x",
    "pack": "pack {results} --out {out}/x.tar.gz",
    "report": "report --results {results} --out {out}/x.html",
    "site": "site --results {results} --out {out}/x",
    "table": "table --results {results} --out {out}/x.md",
    "study": "study geometry --out {out}/x",
    "export": "export {run} --results {results} --to {out}/x.safetensors",
    "predict": "predict {run} --results {results} --out {out}/x.npz",
    "doctor": "doctor --deep --minutes 0.1 --device cpu --out {out}/x",
}


@pytest.mark.parametrize("words", WRITING.values(), ids=WRITING)
def test_a_place_that_cannot_be_written_is_one_line(words: str, stored: Path, tmp_path: Path, bench: Bench) -> None:
    # as a read-only folder would be, also for root
    (tmp_path / "file").write_text("")
    run = next((stored / "runs").glob("independent*")).name
    given = words.format(results=stored, out=tmp_path / "file", run=run).split()
    answer = bench(*given)
    assert answer.code == 2
    assert answer.err.startswith(f"bench: cannot write {tmp_path / 'file'}")
    assert answer.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("name", ["plot", "schedules", "pack", "report", "table"])
def test_a_folder_that_is_missing_is_made(name: str, stored: Path, tmp_path: Path, bench: Bench) -> None:
    given = WRITING[name].format(results=stored, out=tmp_path / "new" / "folder").split()
    assert bench(*given).code == 0
    assert [*(tmp_path / "new" / "folder").iterdir()]
    assert not [*tmp_path.rglob(".*")]


def printed(words: Sequence[str], to: int, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmark.cli", *words],
        stdout=to,
        stderr=subprocess.PIPE,
        env={name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"} | environment,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("environment", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("words", [["list"], ["--help"], ["--version"], ["table"]])
def test_a_full_disk_below_the_output_is_one_line(words: list[str], environment: dict[str, str], stored: Path) -> None:
    given = [*words, "--results", str(stored)] if words[0] == "table" else words
    with Path("/dev/full").open("w") as full:
        code, error = printed(given, full.fileno(), **environment)
    assert (code, error) == (1, "bench: cannot write the output: No space left on device\n")


@pytest.mark.parametrize("environment", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("words", [["list"], ["--help"], ["run", "--dry-run"]])
def test_a_reader_that_has_gone_ends_the_command_quietly(words: list[str], environment: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code, error = printed(words, writing, **environment)
    os.close(writing)
    assert (code, error) == (141, "")
