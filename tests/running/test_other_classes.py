"""A teacher of other classes than the data's is refused before anything is trained."""

from pathlib import Path

import numpy as np
import pytest

from benchmark import cli
from tests.images import random_pixels

NAMES = ("caf\u00e9", "dog", "fox")


def photos(path: Path, *names: str) -> str:
    arrays = {f"x_{part}": random_pixels(12, 8, 8) for part in ("train", "test")}
    labels = {f"y_{part}": np.arange(12) % 3 for part in ("train", "test")}
    np.savez(path, **arrays, **labels, classes=np.array(names))  # type: ignore[arg-type]
    return f"npz:{path}"


def bench(monkeypatch: pytest.MonkeyPatch, results: Path, *words: str) -> int:
    usual = "run --backbone resnet8 --epochs 1 --seeds 1 --engine serial --device cpu --results"
    monkeypatch.setattr("sys.argv", ["bench", *usual.split(), str(results), *words])
    try:
        cli.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    words = ("--dataset", photos(tmp_path / "first.npz", *NAMES), "--methods", "independent", "--save-students")
    assert bench(monkeypatch, tmp_path / "results", *words) == 0
    capsys.readouterr()
    (found,) = (tmp_path / "results").rglob("peer0.safetensors")
    return found


@pytest.mark.parametrize(
    ("names", "fact"),
    [
        (("caf\u00e9", "wolf", "fox"), "its class 1 is 'dog', that of npz:"),
        (("caf\u00e9", "fox", "dog"), "'fox' (the same names in another order)"),
        (("0", "1", "2"), "its class 0 is 'caf\u00e9', that of npz:"),
    ],
)
def test_other_names_or_another_order(
    teacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    names: tuple[str, ...],
    fact: str,
) -> None:
    words = ("--dataset", photos(tmp_path / "other.npz", *names), "--methods", "kd", "--set", f"kd.teacher={teacher}")
    assert bench(monkeypatch, tmp_path / "second", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"bench: kd.teacher {teacher}: ")
    assert fact in line
    assert not list((tmp_path / "second").rglob("config.yaml"))


def test_the_same_classes_in_another_form_of_unicode(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = photos(tmp_path / "other.npz", "cafe\u0301", *NAMES[1:])
    words = ("--dataset", dataset, "--methods", "kd", "--set", f"kd.teacher={teacher}")
    assert bench(monkeypatch, tmp_path / "second", *words) == 0
