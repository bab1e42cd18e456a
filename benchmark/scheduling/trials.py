"""The worker of Ray Tune that carries trials out.

A trial is one run, or the seeds of a sweep's configuration, which take turns in one process.
"""

import gc
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from benchmark.configuration import RunConfig
from benchmark.datasets import Dataset
from benchmark.scheduling.execution import Execution
from benchmark.scheduling.jobs import EpochTimer, Job
from benchmark.store import Status, Store

REPORT_S = 2.0  # between a worker's reports at least, unless its trial ends: each costs Ray's driver a share of a core
ACCURACY = "accuracy"  # what a search maximises: the mean over a trial's runs of the students' accuracy, now

Event = tuple[str, int, Any]
"""``note``, ``epoch`` or ``ended``; which of the trial's runs; and the line, the metrics or the result."""


def packed(runs: Sequence[RunConfig]) -> dict[str, Any]:
    """Return a trial's runs in the form in which Ray Tune hands them to a worker."""
    contents = [run.model_dump(mode="json") for run in runs]
    return {"threads": max(run.train.threads for run in runs), "runs": json.dumps(contents)}


def unpacked(config: Mapping[str, Any]) -> list[RunConfig]:
    """Return the runs of a trial."""
    return [RunConfig(**run) for run in json.loads(config["runs"])]


def stop_mark(store: Store, run: RunConfig) -> Path:
    """Return the file that tells a worker that the scheduler, and nobody else, has stopped a trial."""
    return store.runs / ".stops" / run.identity


class Trial(tune.Trainable):
    """A worker that carries out trials one after the other, so that torch is imported once.

    One step is one epoch of every run where a search wants to know of each, else several if they are short. Runs of
    one trial train side by side, so that the mean over all seeds is known after every epoch.
    """

    def setup(self, config: dict[str, Any], **given: Any) -> None:
        """Take the first trial; what all trials share comes from :func:`benchmark.scheduling.ray_engine.run_trials`."""
        # plug-ins may read files by relative paths
        with suppress(OSError):
            os.chdir(given["folder"])
        self.job: Job = given["job"]
        self.datasets: Mapping[str, ray.ObjectRef[Dataset]] = given["datasets"]
        self.done: Sequence[Status] = given["done"]
        self.each_epoch: bool = given["each_epoch"]
        self.store = Store(self.job.results)
        self.timer = EpochTimer(self.job.limit)
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another trial, with the GPU's memory given back."""
        self.cleanup()
        self.runs: list[Execution] = []
        if torch.cuda.is_initialized():
            gc.collect()
            torch.cuda.empty_cache()
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train for a while; report what happened, and the runs' mean accuracy."""
        begin = time.perf_counter()
        events: list[Event] = []
        done = False
        while not done:
            self.epochs += 1
            events += self._train(self.epochs)
            if self.timer.over:
                # a run before the one that there was no time for is to be resumed too
                events += self._train(self.epochs + 1)
            done = self.timer.over or all(run.result and len(run.rows) <= self.epochs for run in self.runs)
            if self.each_epoch or time.perf_counter() - begin >= REPORT_S:
                break
        accuracy = sum(map(self._accuracy, self.runs)) / len(self.runs)
        return {ACCURACY: accuracy, "events": events, "done": done}

    def cleanup(self) -> None:
        """Let go of the trial in hand: its runs are stopped if the scheduler wants so, otherwise only not finished."""
        mark = stop_mark(self.store, self.runs[0].config)
        stopped = mark.is_file()
        for run in self.runs:
            if run.result is None and stopped and run.rows:
                run.stop(f"stopped at epoch {len(run.rows)}")
            else:
                run.release()
        mark.unlink(missing_ok=True)

    def _take(self, config: dict[str, Any]) -> None:
        self.epochs = 0
        self._random: dict[int, list[torch.Tensor]] = {}
        self.runs = []
        for run in unpacked(config):
            execution = Execution(run, self.job, ray.get(self.datasets[run.dataset]), self.timer)
            ended = self.store.result(run) if self.done else None
            if ended is not None and ended.status in self.done:
                execution.result, execution.rows = ended, self.store.metrics(run)
            self.runs.append(execution)
        stop_mark(self.store, self.runs[0].config).unlink(missing_ok=True)

    def _train(self, epochs: int) -> list[Event]:
        events: list[Event] = []
        for index, run in enumerate(self.runs):
            # the runs take turns in one process, and each must see the random numbers that it would see alone
            if state := self._random.get(index):
                torch.set_rng_state(state[0])
                if len(state) > 1:
                    torch.cuda.set_rng_state_all(state[1:])
            events += [(kind, index, what) for kind, what in run.train(epochs)]
            if len(self.runs) > 1:
                on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
                self._random[index] = [torch.get_rng_state(), *on_gpus]
        return events

    def _accuracy(self, run: Execution) -> float:
        """Return a run's accuracy now, or the last one before; 0 if the run came to nothing."""
        if run.result and run.result.status not in (Status.FINISHED, Status.STOPPED, Status.UNFINISHED):
            return 0.0
        return next((row["student"] for row in reversed(run.rows[: self.epochs]) if "student" in row), 0.0)
