"""Conditions on runs: what they mean, and how other words are answered."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, strategies as st

import benchmark
from benchmark import store
from benchmark.store import Store, fits, select
from methods.errors import InputError
from tests.tables.frames import config, put

FRAME = pd.DataFrame(
    {
        "run": ["a", "a", "b", "c", "d"],
        "method": ["dml", "dml", "dkel", "dkel", "kd"],
        "dataset": ["digits", "digits", "folder:/long/way/cifar5k", "digits", "digits"],
        "backbone": ["resnet8", "resnet8", "resnet14", "resnet8", "resnet8"],
        "seed": [0, 0, 1, 2, 0],
        "epoch": [0, 1, 0, 0, 0],
        "student": [50.0, 70.0, 60.0, 80.0, None],
        "train.lr": [0.1, 0.1, 0.05, 0.1, 0.1],
        "train.nesterov": [True, True, True, False, True],
        "data.train_per_class": [None, None, 5.0, None, None],
        "hyperparameters.temperature": [1, 1, 3, 3.0, None],
        "hyperparameters.decay": [None, None, "none", "exp", None],
        "cost.seconds": [1.0, 1.0, 2.0, 3.0, 4.0],
        "environment.seconds": ["x", "x", "x", "x", "x"],
    }
)


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        ("backbone=resnet8", "acd"),
        ("backbone=resnet8 and temperature=3", "c"),
        ("method=dml,dkel", "abc"),
        ("method=kd,dkel and backbone=resnet8", "cd"),
        ("method!=dkel,kd", "a"),
        ("backbone=resnet8 and method!=kd and lr=0.1", "ac"),
        ("method!=dkel", "ad"),
        ("lr<0.1", "b"),
        ("train.lr >= 0.1 and seed <= 1", "ad"),
        ("student > 60", "ac"),
        ("dataset=folder:cifar5k", "b"),
        ("dataset='folder:/long/way/cifar5k'", "b"),
        ("decay=none", "b"),
        ("decay != none", "acd"),
        ("train_per_class=null", "acd"),
        ("train_per_class!=null", "b"),
        ("nesterov=false", "c"),
        ("cost.seconds==4", "d"),
    ],
)
def test_what_a_condition_means(condition: str, runs: str) -> None:
    assert "".join(dict.fromkeys(select(FRAME, condition)["run"])) == runs


def test_all_epochs_of_a_run_are_kept_and_its_last_one_is_judged() -> None:
    assert select(FRAME, "student=70")["epoch"].tolist() == [0, 1]
    assert select(FRAME, "student=50").empty


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("bakcbone=resnet8", "unknown word in --where 'bakcbone', did you mean 'backbone'? (valid: backbone, "),
        ("tempratur=3", "did you mean 'temperature'?"),
        ("backbone=resnet9", "unknown backbone 'resnet9', did you mean 'resnet8'? (valid: resnet14, resnet8)"),
        ("seconds=1", "'seconds' names several columns: cost.seconds, environment.seconds"),
        *((words, repr(words)) for words in ("method", "method=", "=3", "method=dml backbone=resnet8", "(method=dml)")),
        ("method=dml or method=kd", "'method=dml or method=kd'"),
        ("not method=dml", "joined by 'and'"),
        ("method=dml and", "joined by 'and'"),
        ("method<dml", "method is a word, which is only = or !="),
        ("", "joined by 'and'"),
        ("__import__('os').system('x')", "joined by 'and'"),
        ("method='dml", "joined by 'and'"),
    ],
)
def test_other_words_are_answered(condition: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        fits(FRAME, condition)
    assert message in str(refused.value)


@given(
    st.lists(st.sampled_from(["method", "=", "dml", "(", ")", "not", "and", "or", "lr", "<", "0.1", "'"]), max_size=9)
)
def test_anything_is_read_or_refused(words: list[str]) -> None:
    try:
        found = fits(FRAME, " ".join(words))
    except InputError:
        return
    assert found.dtype == bool
    assert len(found) == len(FRAME)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """One run on the test set, at 80 %, and one of a sweep, at 20 %."""
    kept = Store(tmp_path)
    run = config("dml", "digits", 0)
    put(kept, run, 80.0)
    put(kept, run.model_copy(update={"data": run.data.model_copy(update={"holdout": 0.1})}), 20.0)
    return tmp_path


@pytest.mark.parametrize("epochs", ["all", "last"])
def test_what_is_averaged_is_what_the_table_shows(results: Path, epochs: store.Epochs) -> None:
    assert set(benchmark.load(results, epochs)["split"]) == {"test"}
    assert benchmark.load(results, epochs).groupby("method")["student"].max()["dml"] == pytest.approx(80.0)
    assert set(benchmark.load(results, epochs, split="validation")["split"]) == {"validation"}
    assert set(benchmark.load(results, epochs, split="all")["split"]) == {"test", "validation"}
    assert benchmark.load(results, epochs, where="holdout>0", split="all")["run"].nunique() == 1


def test_none_on_the_split_is_said(results: Path) -> None:
    with pytest.raises(InputError, match="split='all'"):
        benchmark.load(results, "last", where="holdout>0")
    with pytest.raises(InputError, match="did you mean 'validation'"):
        benchmark.load(results, "last", split="validatio")  # type: ignore[arg-type]
