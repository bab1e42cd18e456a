"""A teacher of other classes than the data's is refused before anything is trained."""

from pathlib import Path

import numpy as np
import pytest

from tests.command_line import Bench
from tests.images import random_pixels

NAMES = ("caf\u00e9", "dog", "fox")


def photos(path: Path, *names: str) -> str:
    arrays = {f"x_{part}": random_pixels(12, 8, 8) for part in ("train", "test")}
    labels = {f"y_{part}": np.arange(12) % 3 for part in ("train", "test")}
    np.savez(path, **arrays, **labels, classes=np.array(names))  # type: ignore[arg-type]
    return f"npz:{path}"


USUAL = (
    *("run", "--backbone", "resnet8", "--epochs", "1", "--seeds", "1", "--engine", "serial", "--device", "cpu"),
    "--results",
)


@pytest.fixture
def teacher(tmp_path: Path, bench: Bench) -> Path:
    words = ("--dataset", photos(tmp_path / "first.npz", *NAMES), "--methods", "independent", "--save-students")
    assert bench(*USUAL, "results", *words).code == 0
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
    teacher: Path, tmp_path: Path, bench: Bench, names: tuple[str, ...], fact: str
) -> None:
    words = ("--dataset", photos(tmp_path / "other.npz", *names), "--methods", "kd", "--set", f"kd.teacher={teacher}")
    bench(*USUAL, "second", *words).assert_refused(f"kd.teacher {teacher}: ", fact)
    assert not list((tmp_path / "second").rglob("config.yaml"))


def test_the_same_classes_in_another_form_of_unicode(teacher: Path, tmp_path: Path, bench: Bench) -> None:
    dataset = photos(tmp_path / "other.npz", "cafe\u0301", *NAMES[1:])
    assert bench(*USUAL, "second", "--dataset", dataset, "--methods", "kd", "--set", f"kd.teacher={teacher}").code == 0
