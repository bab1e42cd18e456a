"""What is said to words that are nearly right."""

from collections.abc import Callable
from pathlib import Path

import pytest

import benchmark
from benchmark import store
from benchmark.configuration import parse_yaml
from methods.errors import InputError, nearest
from tests.command_line import Bench
from tests.tables.frames import config, put

Refused = Callable[..., str]


@pytest.fixture
def refused(bench: Bench) -> Refused:
    """Give a command that is refused, and return its one line."""
    put(store.Store(Path("results")), config("dml", "digits", 0), 80.0)

    def give(*words: str) -> str:
        answer = bench(*words)
        answer.assert_refused()
        return answer.err

    return give


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["run", "--methods", "dml", "--set", "train.learning_rate=0.1"], "did you mean 'lr'"),
        (["run", "--methods", "dml", "--set", "train.wd=0"], "did you mean 'weight_decay'"),
        (["run", "--learning-rate", "0.1"], "--set train.lr=0.1"),
        (["run", "--methods", "dkel", "--set", "dkel.decayy=exp"], "did you mean 'decay'"),
        (["table", "--value", "acc"], "did you mean 'student'"),
        (["table", "--columns", "accuracy"], "did you mean 'student'"),
        (["table", "--where", "acc>50"], "did you mean 'student'"),
        (["plot", "ranks", "--value", "acc"], "did you mean 'student'"),
    ],
)
def test_the_nearest_valid_word_is_named(refused: Refused, words: list[str], meant: str) -> None:
    assert meant in refused(*words)


def test_a_word_that_is_like_none_gets_no_guess() -> None:
    assert nearest("xyz", ["lr", "weight_decay"]) is None


def test_a_teacher_that_is_missing_is_a_sentence(refused: Refused) -> None:
    line = refused("run", "--methods", "kd")
    assert "kd.teacher must be given" in line
    assert "--set kd.teacher=" in line


@pytest.mark.parametrize("text", ["0100", "-007", "1:30", "0_1"])
def test_a_number_that_means_another_is_refused(refused: Refused, text: str) -> None:
    assert text in refused("run", "--methods", "dml", "--set", f"train.batch_size={text}")


def test_usual_numbers_are_read() -> None:
    for text, value in (("0", 0), ("-0", 0), ("100", 100), ("0.5", 0.5), ("1e-3", 1e-3), (".inf", float("inf"))):
        assert parse_yaml(text, "") == value
    for word in ("0100", "'100'", "1:30", "1_000", "0x10", "on", "2026-01-01"):
        assert parse_yaml(word, "") == word.strip("'")


def test_a_duplicate_key_is_named(refused: Refused) -> None:
    Path("c.yaml").write_text("train:\n  lr: 1\n  momentum: 0\n  lr: 2\n")
    line = refused("run", "--config", "c.yaml")
    assert "duplicate key 'lr'" in line


def test_arguments_of_the_api_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'plugins'") as caught:
        benchmark.run("dml", plugin=["x.py"], results=tmp_path)
    for word in ("plugins", "settings", "config", "force", "quiet", "seeds", "results"):
        assert f" {word}" in str(caught.value)
