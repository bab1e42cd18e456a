"""``--stop-after``: no epoch is begun that would not end in time, and the same command resumes."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

import benchmark
from benchmark import running
from benchmark.configuration import RunConfig
from benchmark.datasets.catalogue import load
from benchmark.errors import TryAgainError
from benchmark.running import Command
from benchmark.scheduling import Display, Job, run_serially
from benchmark.scheduling.jobs import ENDING_S, EpochTimer, TimeLimit
from benchmark.scheduling.ray_engine import ListSearcher, ProgressCallback
from benchmark.scheduling.trials import Trial, packed, unpacked
from benchmark.store import Result, Status, Store
from benchmark.training import checkpoints
from methods.errors import InputError
from tests.command_line import SMALL, Bench
from tests.plans import digits
from tools.stress import Metrics, outcome

QUIET = Console(quiet=True)


@dataclass
class Clock:
    """A clock that a test sets, or that advances by a step whenever it is looked at."""

    now: float = 0.0
    step: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Listener(Display):
    """A display that remembers what it is told."""

    def __init__(self) -> None:
        super().__init__(0, QUIET)
        self.events: list[str] = []

    def started(self, run: RunConfig) -> None:
        self.events.append(f"started {run.seed}")

    def note(self, run: RunConfig, line: str) -> None:
        self.events.append(line)

    def epoch(self, run: RunConfig, row: Mapping[str, float]) -> None:
        self.events.append(f"epoch {row['epoch']:.0f}")

    def ended(self, run: RunConfig, result: Result) -> None:
        self.events.append(f"{result.status} {run.seed}: {result.reason}")


def prepared(results: Path, **changes: Any) -> Command:
    small = {"data": {"train_per_class": 4, "test_per_class": 4}, "train": {"batch_size": 20}}
    return digits(results, "dml", **{"seeds": 2, "epochs": 4, "device": "cpu", **small, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Metrics:
    """What runs give that were never interrupted."""
    results = tmp_path_factory.mktemp("whole")
    assert running.carry_out(prepared(results), QUIET)
    return outcome(results)[1]


class TestWords:
    @pytest.mark.parametrize(
        ("words", "seconds"),
        [
            ("90s", 90),
            ("9m", 540),
            ("2h", 7200),
            ("1h30m", 5400),
            ("1.5h", 5400),
            ("1d2h3m4s", 93784),
            (" 9m ", 540),
            ("20s", 20),
        ],
    )
    def test_a_time_is_kept_for_the_end(self, words: str, seconds: float) -> None:
        # of a short time a tenth is kept
        assert TimeLimit.after(words, begun=1000.0).end == 1000 + seconds - min(ENDING_S, seconds / 10)

    @pytest.mark.parametrize("words", ["", "9", "m", "9 minutes", "30m1h", "-9m", "0s", "0h0m", "1e3s", 9, True, []])
    def test_others_are_refused(self, words: Any, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="stop_after"):
            prepared(tmp_path, stop_after=words)

    def test_beginning_anew_each_time_would_never_end(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="leave out force"):
            running.prepare([{"dataset": "digits", "stop_after": "9m"}], force=True)


class TestEpochTimer:
    def epoch(self, timer: EpochTimer, clock: Clock, kind: str, seconds: float) -> None:
        with timer.epoch(kind):
            clock.now += seconds

    def test_the_first_epoch_is_begun_while_any_time_is_left(self) -> None:
        clock = Clock(99.9)
        assert EpochTimer(TimeLimit(100.0, clock)).allows("dml")
        clock.now = 100.0
        assert not EpochTimer(TimeLimit(100.0, clock)).allows("dml")

    def test_a_second_one_if_it_ends_in_time(self) -> None:
        for left, besides, allowed in ((10, 0, True), (9.9, 0, False), (10.5, 0.5, True), (10.4, 0.5, False)):
            clock = Clock()
            timer = EpochTimer(TimeLimit(10.0 + left, clock))
            self.epoch(timer, clock, "dml", 10)
            assert timer.allows("dml", besides) is allowed

    def test_the_longest_counts_but_not_the_one_that_warms_up(self) -> None:
        clock = Clock()
        timer = EpochTimer(TimeLimit(100.0, clock))
        for seconds in (50, 5, 7, 6):
            self.epoch(timer, clock, "dml", seconds)
        clock.now = 93.0
        assert timer.allows("dml")
        clock.now = 93.1
        assert not timer.allows("dml")

    def test_kinds_have_times_of_their_own_and_one_end(self) -> None:
        clock = Clock()
        timer = EpochTimer(TimeLimit(12.0, clock))
        self.epoch(timer, clock, "pcl", 1)
        self.epoch(timer, clock, "dml", 8)
        assert timer.allows("pcl")
        assert not timer.allows("dml")
        assert not timer.allows("pcl")
        assert not timer.allows("one")


class TestSerial:
    @pytest.mark.thorough
    def test_calls_until_all_is_done_are_one_call(self, tmp_path: Path, whole: Metrics) -> None:
        ends: list[str] = []
        while not ends or ends[-1]:
            # each look at the clock takes a second: a run is set up, and trains two or three epochs
            limit = TimeLimit(12.0, Clock(step=1.0))
            try:
                assert running.carry_out(replace(prepared(tmp_path), limit=limit), QUIET)
                ends.append("")
            except TryAgainError as error:
                ends.append(str(error))
            assert len(ends) < 9
        assert outcome(tmp_path)[1] == whole
        assert "2 of 2 runs" in ends[0]
        assert len(ends) > 2
        assert not list(tmp_path.rglob(f"*{checkpoints.NAME}"))

    def test_what_was_not_begun_leaves_nothing(self, tmp_path: Path) -> None:
        command = prepared(tmp_path)
        limit = TimeLimit(9.0, Clock(step=1.0))
        job = Job(tmp_path, "cpu", limit=limit)
        images = {"digits": load("digits", command.runs[0].data, Path())}
        results = run_serially(command.runs, job, images, listener := Listener())
        assert [result.status for result in results] == [Status.UNFINISHED, Status.UNFINISHED]
        done = ("started 0", "epoch 0", "epoch 1", "unfinished 0: time is up after epoch 2 of 4")
        assert listener.events == [*done]
        (folder,) = tmp_path.glob("runs/dml-*")
        state = checkpoints.load(folder)
        assert state is not None
        assert state["trainer"]["next_epoch"] == 2
        assert Store(tmp_path).result(command.runs[0]) is None


class TestUnderRay:
    """The driver's and the workers' sides, without Ray between them."""

    def trial(self, run: RunConfig) -> Any:
        trial = type("Trial", (), {"config": packed([run]), "trial_id": str(run.seed)})()
        trial.error_file = None
        return trial

    def test_what_a_worker_turns_away_was_never_begun(self, tmp_path: Path) -> None:
        clock = Clock()
        runs = prepared(tmp_path, seeds=4).runs
        job = Job(tmp_path, "cpu", limit=TimeLimit(10.0, clock))
        progress = ProgressCallback(job, listener := Listener())
        searcher = ListSearcher([[run] for run in runs])
        searcher.closed = lambda: progress.time_is_up
        ended = ("ended", 0, Result(Status.UNFINISHED, "time is up"))
        answer = {"events": [("epoch", 0, {"epoch": 0}), ended], "done": True}
        for run in runs[:2]:
            assert unpacked(searcher.suggest("a")) == [run]
            progress.on_trial_start(1, [], self.trial(run))
        clock.now = 9.0
        progress.on_trial_result(1, [], self.trial(runs[0]), answer)
        # Ray has asked for the next one before, and hands it to the worker
        progress.on_trial_start(1, [], self.trial(runs[2]))
        progress.on_trial_result(1, [], self.trial(runs[2]), {"events": [ended], "done": True})
        assert searcher.suggest("d") == "FINISHED"
        progress.on_trial_result(1, [], self.trial(runs[1]), answer)
        assert listener.events == [
            *("started 0", "started 1", "epoch 0", "unfinished 0: time is up"),
            *("epoch 0", "unfinished 1: time is up"),
        ]
        assert [result.reason for result in progress.ends(runs)] == [
            *("time is up", "time is up"),
            *("time was up before it began", "time was up before it began"),
        ]
        assert not list(tmp_path.rglob("result.json"))

    def test_without_a_limit_a_silent_run_has_failed(self, tmp_path: Path) -> None:
        (run,) = prepared(tmp_path, seeds=1).runs
        progress = ProgressCallback(Job(tmp_path, "cpu"), Listener())
        (result,) = progress.ends([run])
        assert result.status is Status.FAILED

    def test_what_failed_before_a_run_began_is_named_and_kept(self, tmp_path: Path) -> None:
        (run,) = prepared(tmp_path, seeds=1).runs
        progress = ProgressCallback(Job(tmp_path, "cpu"), listener := Listener())
        trial = self.trial(run)
        trial.error_file = str(tmp_path / "ray")
        Path(trial.error_file).write_text("ray::Trial.__init__()\nModuleNotFoundError: No module named 'timm'\n")
        progress.on_trial_error(1, [], trial)
        (event,) = listener.events
        assert event.startswith("failed 0")
        assert "No module named 'timm'" in event
        assert "Trial.__init__" in (Store(tmp_path).folder(run) / "error.txt").read_text()

    @pytest.mark.thorough
    def test_all_seeds_of_a_configuration_can_be_gone_on_with(
        self, tmp_path: Path, whole: Metrics, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ray.get", lambda reference: reference)
        command = prepared(tmp_path)
        for end in (11.0, 14.0, 200.0):
            # two seeds take turns: at one of the ends the second one has a shorter way behind it
            worker = object.__new__(Trial)
            worker.setup(
                packed(command.runs),
                job=Job(tmp_path, "cpu", limit=TimeLimit(end, Clock(step=1.0))),
                datasets={"digits": load("digits", command.runs[0].data, Path())},
                folder=".",
                done=[Status.FINISHED],
                each_epoch=True,
            )
            reports = [worker.step()]
            while not reports[-1]["done"]:
                reports.append(worker.step())
            worker.cleanup()
            trained = {path.parent.name: path.read_text().count("\n") for path in tmp_path.rglob("metrics.jsonl")}
            kept = {path.parent.name: checkpoints.load(path.parent) for path in tmp_path.rglob(checkpoints.NAME)}
            assert {name: state["trainer"]["next_epoch"] for name, state in kept.items() if state} == (
                trained if end < 200 else {}
            )
            events = [event for report in reports for event in report["events"]]
            endings = [what.status for kind, _, what in events if kind == "ended"]
            assert endings == [Status.UNFINISHED if end < 200 else Status.FINISHED] * 2
        assert outcome(tmp_path)[1] == whole


class TestCommands:
    WORDS = ("run", "--config", "small", "--methods", "dml", "--dataset", "digits", "--stop-after")

    @pytest.fixture(autouse=True)
    def small(self, tmp_path: Path) -> None:
        (tmp_path / "small").write_text(yaml.safe_dump(SMALL | {"seeds": 1}), encoding="utf-8")

    def test_75_and_the_line_that_goes_on_until_0(self, bench: Bench) -> None:
        # whatever the machine: a millisecond is over before anything begins
        answer = bench(*self.WORDS, "0.001s")
        assert answer.code == 75
        lines = answer.err.splitlines()
        said, _, command = lines[-1].partition("; resume with: ")
        assert "1 of 1 runs" in said
        assert shlex.split(command) == ["bench", *self.WORDS, "0.001s"]
        assert "dml" not in answer.out.partition("runs: ")[0].replace("note: dml", "")
        assert bench(*self.WORDS, "100d").code == 0
        again = bench(*shlex.split(command)[1:])
        assert again.code == 0
        assert "1 of 1 runs are finished already" in again.out

    def test_a_sweep_says_so_too(self, bench: Bench, tmp_path: Path) -> None:
        space = {"method": "dml", "space": {"train.lr": [0.1, 0.2]}, "search": "grid", "seeds": 1}
        (tmp_path / "space.yaml").write_text(yaml.safe_dump(SMALL | {"data": {"train_per_class": 6}} | space))
        words = ["sweep", "space.yaml", "--dataset", "digits", "--stop-after"]
        answer = bench(*words, "0.001s")
        assert answer.code == 75
        assert answer.err.splitlines()[-1].endswith(
            "resume with: bench sweep space.yaml --dataset digits --stop-after 0.001s"
        )
        assert not list(tmp_path.glob("results/runs/*"))

    def test_a_file_may_say_it_and_a_notebook_gets_what_there_is(self, tmp_path: Path) -> None:
        asked: dict[str, Any] = {"methods": "dml", "config": tmp_path / "small", "results": tmp_path / "results"}
        assert benchmark.run(stop_after="0.001s", quiet=True, **asked).empty
        assert len(benchmark.run(stop_after="100d", quiet=True, **asked)) == 1
