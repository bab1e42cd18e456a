"""``--log``: what other tools are told is what the store holds, and no tool can hurt a run."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark import running
from benchmark.configuration.run_config import RunConfig
from benchmark.scheduling import progress
from benchmark.scheduling.progress import BACKENDS, Display
from benchmark.store import Store
from methods.errors import InputError
from tests import needs
from tests.command_line import SMALL
from tests.plans import digits

TWO: dict[str, Any] = {**SMALL, "seeds": 2, "epochs": 2}


def run_with(name: str, results: Path) -> list[tuple[RunConfig, list[dict[str, float]]]]:
    """Carry the runs out with a backend and return what the store holds."""
    command = digits(results, "dml", **TWO, log=name)
    assert running.carry_out(command, Console(quiet=True))
    return [(run, rows_of(command.store.folder(run) / "metrics.jsonl")) for run in command.runs]


def rows_of(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbers(row: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if key != "epoch" and value is not None}


def test_tensorboard_gets_every_metric_of_every_epoch(tmp_path: Path) -> None:
    needs.extra("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for run, rows in run_with("tensorboard", tmp_path):
        events = EventAccumulator(str(Store(tmp_path).folder(run) / "tensorboard"))
        events.Reload()
        assert set(events.Tags()["scalars"]) == set(numbers(rows[-1]))
        for key in numbers(rows[0]):
            stored = [(int(row["epoch"]), pytest.approx(row[key], rel=1e-6)) for row in rows]
            assert [(event.step, event.value) for event in events.Scalars(key)] == stored


def test_wandb_writes_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs.extra("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for run, _ in run_with("wandb", tmp_path):
        written = list((Store(tmp_path).folder(run) / "wandb").glob(f"offline-run-*/run-{run.identity}*.wandb"))
        assert len(written) == 1
        assert b"top1/peer0" in written[0].read_bytes()


def test_mlflow_writes_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs.extra("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    stored = run_with("mlflow", tmp_path)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = (found for found in client.search_experiments() if found.name == "okdbench")
    found = {entry.data.tags["identity"]: entry for entry in client.search_runs([experiment.experiment_id])}
    assert set(found) == {run.identity for run, _ in stored}
    for run, rows in stored:
        entry = found[run.identity]
        assert entry.info.status == "FINISHED"
        assert entry.data.params["train.epochs"] == "2"
        history = client.get_metric_history(entry.info.run_id, "student")
        assert [(point.step, point.value) for point in history] == [(row["epoch"], row["student"]) for row in rows]


def fragile(run: RunConfig, folder: Path, first_epoch: int) -> progress.Log:
    """A backend that fails at its second epoch."""

    def epoch(number: int, metrics: Mapping[str, float]) -> None:
        if number > 0:
            raise RuntimeError("the service is down")

    return epoch, lambda result: pytest.fail("never reached")


def test_a_backend_that_fails_says_so_once_and_the_runs_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "BACKENDS", {**BACKENDS, "json": fragile})
    command = digits(tmp_path, "dml", **TWO, log=["json"])
    assert running.carry_out(command, Console(force_terminal=False))
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note ") and "--log" in line]
    assert len(notes) == 1
    assert all(fact in notes[0] for fact in ("--log json", "the service is down"))


def test_a_run_that_goes_on_opens_its_log_where_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    def recorder(run: RunConfig, folder: Path, first_epoch: int) -> progress.Log:
        opened.append(first_epoch)
        return lambda number, metrics: None, lambda result: None

    monkeypatch.setattr(progress, "BACKENDS", {"recorder": recorder})
    (run,) = digits(tmp_path, "dml").runs
    quiet = Console(quiet=True)
    with Display(1, quiet, lambda run: run.label, ["recorder"], Store(tmp_path)) as display:
        display.started(run)
        display.epoch(run, {"epoch": 7})
        display.epoch(run, {"epoch": 8})
    assert opened == [7]


@pytest.mark.parametrize(("value", "fragment"), [("tensorbord", "'tensorboard'? (valid: mlflow, "), (3, "3")])
def test_bad_words(value: Any, fragment: str) -> None:
    with pytest.raises(InputError, match=re.escape(fragment)):
        progress.check_log(value)


def test_a_backend_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "BACKENDS", {"no_such_module": fragile})
    with pytest.raises(InputError, match=r"pip install 'okdbench\[no_such_module\]'"):
        progress.check_log("no_such_module")
    assert progress.check_log(None) == ()
