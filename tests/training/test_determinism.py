"""One run gives the same bits in this process, under Ray, beside another run, and when it was interrupted."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from benchmark.configuration.run_config import RunConfig
from benchmark.console import new_console
from benchmark.datasets.catalogue import load
from benchmark.datasets.images import Dataset
from benchmark.scheduling import Cluster, Display, Execution, Job, run_serially, run_under_ray
from benchmark.scheduling.jobs import TimeLimit
from benchmark.store import METRICS, Result, Status, Store
from benchmark.training.trainer import Row
from tests import plans

Outcome = dict[str, tuple[list[Row], dict[str, bytes]]]

two_cores = pytest.mark.skipif(
    (os.cpu_count() or 1) < 2, reason="one core: two runs side by side need a machine with two"
)

EPOCHS = 6
NAMES = ("dkel_beside", "dml_beside")
BESIDE = '''
import time
from pathlib import Path

from methods.dkel import DKEL
from methods.dml import DML


class Beside:
    """Waits for the other run before its first step, however much longer that one's process takes to begin."""

    def start(self, batches):
        super().start(batches)
        here = Path(__file__)
        here.with_name(self.name).touch()
        while not all(here.with_name(name).exists() for name in ("dkel_beside", "dml_beside")):
            time.sleep(0.05)


class DKELBeside(Beside, DKEL):
    """DKEL, under way at the same time as another run."""

    name = "dkel_beside"


class DMLBeside(Beside, DML):
    """DML, likewise."""

    name = "dml_beside"
'''


class Listener(Display):
    """A display that keeps the order of events."""

    def __init__(self) -> None:
        super().__init__(0, new_console(quiet=True))
        self.events: list[str] = []

    def started(self, run: RunConfig) -> None:
        self.events.append("started")

    def note(self, run: RunConfig, line: str) -> None:
        self.events.append("note")

    def epoch(self, run: RunConfig, row: Mapping[str, float]) -> None:
        self.events.append("epoch")

    def ended(self, run: RunConfig, result: Result) -> None:
        assert result.status is Status.FINISHED, result.reason
        self.events.append("ended")


class Pausing(Listener):
    """A display of runs that there may be no time for."""

    def ended(self, run: RunConfig, result: Result) -> None:
        assert result.status is Status.UNFINISHED, result.reason


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The methods' file, in a folder of its own."""
    path = tmp_path_factory.mktemp("plugin") / "beside.py"
    path.write_text(BESIDE, encoding="utf-8")
    return path


@pytest.fixture
def waiting(plugin: Path) -> None:
    """Let the runs wait for each other."""
    for name in NAMES:
        plugin.with_name(name).unlink(missing_ok=True)


def alone(plugin: Path) -> None:
    """Let them not wait."""
    for name in NAMES:
        plugin.with_name(name).touch()


def planned(results: Path, plugin: Path) -> tuple[Sequence[RunConfig], Job]:
    """Two runs, and how they are carried out."""
    plugins = (str(plugin),)
    few = {"data": {"train_per_class": 10, "test_per_class": 5}, "train": {"batch_size": 16}}
    runs = plans.digits(results, ",".join(NAMES), plugins, epochs=EPOCHS, **few).runs
    return runs, Job(results, "cpu", save_students=True, plugins=plugins, predictions="float32")


def outcome(results: Path, chosen: Sequence[RunConfig]) -> Outcome:
    """The metrics without times, and the bytes of the students' weights and of all predictions."""
    found = {}
    for run in chosen:
        folder = Store(results).folder(run)
        rows = [json.loads(line) | {"seconds": 0.0} for line in (folder / METRICS).read_text().splitlines()]
        # the files' own bytes differ in the order of their metadata
        tensors = {path.stem: load_file(path) for path in folder.glob("*.safetensors")}
        weights = {f"{file} {name}": x.numpy().tobytes() for file, part in tensors.items() for name, x in part.items()}
        found[run.method] = rows, weights
    return found


def digits(chosen: Sequence[RunConfig]) -> dict[str, Dataset]:
    return {"digits": load("digits", chosen[0].data, Path())}


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Outcome:
    results = tmp_path_factory.mktemp("serial")
    alone(plugin)
    chosen, job = planned(results, plugin)
    run_serially(chosen, job, digits(chosen), Listener())
    whole = outcome(results, chosen)
    assert all(len(rows) == EPOCHS and weights for rows, weights in whole.values())
    return whole


@pytest.mark.thorough
@two_cores
@pytest.mark.usefixtures("waiting")
def test_side_by_side_under_ray(tmp_path: Path, serial: Outcome, plugin: Path) -> None:
    chosen, job = planned(tmp_path, plugin)
    run_under_ray(chosen, job, digits(chosen), listener := Listener(), Cluster())
    assert listener.events.index("ended") > [i for i, event in enumerate(listener.events) if event == "started"][1]
    assert outcome(tmp_path, chosen) == serial


@dataclass(frozen=True)
class EpochsDone:
    """A clock that all processes share and no machine makes faster: the epochs so far."""

    results: Path

    def __call__(self) -> float:
        return sum(path.read_text().count("\n") for path in self.results.glob(f"runs/*/{METRICS}"))


@pytest.mark.thorough
@two_cores
@pytest.mark.usefixtures("waiting")
def test_ray_ends_in_time_and_this_process_goes_on(tmp_path: Path, serial: Outcome, plugin: Path) -> None:
    (chosen, job), now = planned(tmp_path, plugin), EpochsDone(tmp_path)
    limited = replace(job, limit=TimeLimit(EPOCHS, now))
    ends = run_under_ray(chosen, limited, digits(chosen), Pausing(), Cluster())
    assert [end.status for end in ends] == [Status.UNFINISHED] * 2
    # side by side each of the two may be in an epoch at the end
    assert 1 <= now() <= EPOCHS + 1
    assert [Store(tmp_path).result(run) for run in chosen] == [None, None]
    run_serially(chosen, job, digits(chosen), Listener())
    assert outcome(tmp_path, chosen) == serial


@pytest.mark.thorough
def test_interrupted_after_every_epoch(tmp_path: Path, serial: Outcome, plugin: Path) -> None:
    alone(plugin)
    chosen, job = planned(tmp_path, plugin)
    for run in chosen:
        dataset = load("digits", run.data, Path())
        result = None
        while result is None:
            execution = Execution(run, job, dataset)
            plans.advance(execution)
            if (result := execution.result) is None:
                execution.stop("between two epochs")
    assert outcome(tmp_path, chosen) == serial
