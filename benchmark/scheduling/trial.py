"""The two sides of a run under Ray Tune: the worker that trains and the driver that listens."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray import tune

from benchmark.datasets import Dataset
from benchmark.scheduling.cluster import worker_folder
from benchmark.scheduling.execution import Execution, Job
from benchmark.scheduling.observer import Observer
from benchmark.scheduling.time_limit import NOT_BEGUN, Pace, TimeLimit
from benchmark.store import Result, Status, Store
from benchmark.training import Row

REPORT_S = 2.0
"""Between a worker's reports at least, unless its run ends: each costs Ray's driver a share of a core."""


class Trial(tune.Trainable):
    """A worker that carries out jobs one after the other: one step is an epoch, or several if they are short.

    Ray Tune gives the same process the next job when one is done, so that torch is imported once.
    """

    def setup(
        self,
        config: dict[str, Any],
        jobs: Sequence[Job] = (),
        datasets: Mapping[str, "ray.ObjectRef[Dataset]"] | None = None,
        folder: str = ".",
    ) -> None:
        """Take the first job; ``tune.with_parameters`` hands over all of them, the datasets and where to stand."""
        worker_folder(folder)
        self.jobs = jobs
        self.datasets = datasets or {}
        self.pace = Pace(_limit(jobs))
        self.execution = self._execution(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another job."""
        self.execution.release()
        self.execution = self._execution(new_config)
        return True

    def _execution(self, config: dict[str, Any]) -> Execution:
        job = self.jobs[config["job"]]
        return Execution(job, ray.get(self.datasets[job.config.dataset]), self.pace)

    def step(self) -> dict[str, Any]:
        """Train for a while; the report carries each epoch's metrics and, at the end, the result."""
        begin = time.perf_counter()
        rows: list[Row] = []
        while self.execution.result is None and (not rows or time.perf_counter() - begin < REPORT_S):
            if (row := self.execution.advance()) is not None:
                rows.append(row)
        result = self.execution.result
        return {"rows": rows, "result": result, "notes": self.execution.take_notes(), "done": result is not None}

    def cleanup(self) -> None:
        """Let go of the run in hand."""
        self.execution.release()


class Progress(tune.Callback):
    """The driver's ear: passes what the trials report on to the observer and keeps the results."""

    def __init__(self, jobs: Sequence[Job], observer: Observer) -> None:
        self.jobs = jobs
        self.observer = observer
        self.ended: dict[int, Result] = {}
        self.tried_alone: set[int] = set()
        self.limit = _limit(jobs)
        self._time_is_up = False
        self._told: set[int] = set()
        self._begun_in_time: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its callbacks to restore them, and here the store is what is restored from."""
        return {}

    def results(self) -> list[Result]:
        """Return how the jobs ended, in their order; one of which nothing was heard has failed, if there was time."""
        for index in range(len(self.jobs)):
            if index not in self.ended and index not in self._told and self.time_is_up:
                self.ended[index] = NOT_BEGUN
            elif index not in self.ended:
                self._lost(index, "its process never reported")
        return [self.ended[index] for index in range(len(self.jobs))]

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Ray has begun a trial."""
        if self.limit is not None and self.limit.left > 0:
            self._begun_in_time.add(trial.config["job"])
        if not self.time_is_up:
            self._tell_start(trial.config["job"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial has reported epochs, or its end, or both."""
        index = trial.config["job"]
        run = self.jobs[index].config
        unfinished = result["result"] is not None and result["result"].status is Status.UNFINISHED
        self._time_is_up = self._time_is_up or unfinished
        if result["result"] is not None:
            self._begun_in_time.discard(index)
        if unfinished and not result["rows"] and index not in self._told:
            # what a worker turns away at once was never begun
            self.ended[index] = NOT_BEGUN
            return
        self._tell_start(index)
        for line in result["notes"]:
            self.observer.note(run, line)
        for row in result["rows"]:
            self.observer.epoch(run, row)
        if result["result"] is not None:
            self.ended[index] = result["result"]
            if result["result"].status is Status.OUT_OF_MEMORY and index not in self.tried_alone:
                self.observer.note(run, "out of memory: tried once more when it has the device alone")
            else:
                self.observer.ended(run, result["result"])

    @property
    def time_is_up(self) -> bool:
        """Whether no further run is begun."""
        self._time_is_up = self._time_is_up or (self.limit is not None and self.limit.left <= 0)
        return self._time_is_up

    def nothing_left(self) -> bool:
        """Whether all that was begun has ended, and nothing more will be: Ray need not ask for the rest."""
        return self.limit is not None and self.limit.left <= 0 and not self._begun_in_time

    def _tell_start(self, index: int) -> None:
        if index not in self._told:
            self._told.add(index)
            self.observer.started(self.jobs[index].config)

    def take_out_of_memory(self) -> list[int]:
        """Return the jobs that ran out of memory, to be tried once more."""
        hungry = [index for index, result in self.ended.items() if result.status is Status.OUT_OF_MEMORY]
        self.tried_alone.update(hungry)
        for index in hungry:
            del self.ended[index]
        return hungry

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process has died: the run's own errors never come this way."""
        self._begun_in_time.discard(trial.config["job"])
        self._lost(trial.config["job"], "its process died (killed, or out of memory)")

    def _lost(self, index: int, reason: str) -> None:
        if index in self.ended:
            return
        job = self.jobs[index]
        result = self.ended[index] = _written(job, Result(Status.FAILED, reason))
        self.observer.ended(job.config, result)


class Closing(tune.Stopper):
    """Ends the experiment once the time is up and every run that was begun has ended: the queue is left alone."""

    def __init__(self, nothing_left: Callable[[], bool]) -> None:
        self.nothing_left = nothing_left

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return that no single trial is ended this way: the workers end them when it is time."""
        return False

    def stop_all(self) -> bool:
        """Return whether nothing is left to wait for."""
        return self.nothing_left()


def _limit(jobs: Sequence[Job]) -> TimeLimit | None:
    return jobs[0].limit if jobs else None


def _written(job: Job, result: Result) -> Result:
    """Write how a run ended whose process is gone, and return it; what the store knows better stays."""
    store = Store(job.results)
    with store.lock(job.config, patience=0) as held:
        # a process may die right after it has finished its run, and another command may have gone on with it
        ended = store.final_result(job.config)
        if ended is not None:
            return ended
        if held:
            try:
                store.write_result(job.config, result)
            except OSError as error:
                return replace(result, reason=f"{result.reason}; {error.strerror}")
    return result
