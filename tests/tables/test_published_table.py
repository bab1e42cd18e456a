"""Our numbers beside published ones."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import store
from benchmark.configuration.run_config import RunConfig
from benchmark.tables import published
from benchmark.tables.rendering import TEXT_FORMATS as FORMATS
from tests.tables.test_tables import Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """DML on what is called CIFAR-100, with resnet32 and three seeds, and one on a validation split."""
    filled = Runs(tmp_path)
    for seed, accuracy in enumerate((70.0, 71.0, 72.0)):
        run = filled.add(seed=seed)
        moved = {"dataset": "folder:/somewhere/cifar100", "backbone": "resnet32"}
        filled.put(run.model_copy(update=moved), accuracy)
    return filled


def cells(comparisons: list[published.Comparison], form: str = "csv") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(FORMATS[form](published.typed_comparison(comparisons)))))


def test_without_runs_every_published_number_is_shown() -> None:
    rows = cells(published.compare(None))
    assert len(rows) == len(published.load())
    for row in rows:
        assert row["source"] in published.sources()
        assert row["protocol of the source"]
        assert (row["ours"], row["difference"]) == ("", "")


def test_ours_stand_first_with_the_difference(runs: Runs) -> None:
    rows = cells(published.compare(store.load(runs.store.root)))
    ours = [row for row in rows if row["ours"]]
    assert rows[: len(ours)] == ours
    assert {row["source"] for row in ours} == {
        number.source for number in published.find("dml", "cifar100", "resnet32")
    }
    for row in ours:
        assert (row["method"], row["ours"]) == ("dml", "71.00 ± 1.00 (3)")
        number = float(row["published"].split()[0])
        assert float(row["difference"]) == pytest.approx(71 - number, abs=0.006)
        # what our own runs did otherwise than the protocol is said as well
        assert "epochs=20" in row["ours differs"]
        assert "dataset=folder:cifar100" in row["ours differs"]
    assert len(rows) == len(published.load())


def test_validation_scores_are_never_compared(tmp_path: Path) -> None:
    filled = Runs(tmp_path)
    run: RunConfig = filled.add(data={"holdout": 0.25})
    filled.put(run.model_copy(update={"dataset": "cifar100", "backbone": "resnet32"}), 70.0)
    assert not any(row["ours"] for row in cells(published.compare(store.load(tmp_path, split="all"))))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_names_the_source(form: str) -> None:
    text = FORMATS[form](published.typed_comparison(published.compare(None)))
    assert "pcl-paper" in text
    assert "quoted at second hand" in text
    if form == "json":
        assert all(item["source_url"] and item["protocol"] for item in json.loads(text))


def test_the_command_needs_neither_runs_nor_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom benchmark import cli\nsys.argv = ['bench', 'table', '--published']\ncli.main()\n"
        "assert not {'torch', 'ray', 'scipy', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "github.com" in done.stdout
