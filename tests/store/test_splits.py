"""Runs on held-out training images are no test results: the API gives what the table shows."""

from pathlib import Path

import pytest

import benchmark
from benchmark import store
from benchmark.store import Store
from methods.errors import InputError
from tests.tables.frames import config, put


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
