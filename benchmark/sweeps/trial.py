"""The two sides of a configuration under Ray Tune: the worker that trains all its seeds, the driver that listens."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ray import tune

from benchmark.configuration import RunConfig
from benchmark.datasets import Dataset
from benchmark.scheduling import Execution, Job, Observer, Pace, TimeLimit, worker_folder
from benchmark.store import Result, Status, Store
from benchmark.training import Row

ACCURACY = "accuracy"
"""What the search maximises: the mean over the seeds of the students' accuracy on the validation part, now."""

Event = tuple[str, int, Any]
"""What happened, to which of the seeds, and what there is to say of it."""


def packed(runs: Sequence[RunConfig], number: int) -> dict[str, Any]:
    """Return a configuration in the form in which Ray Tune hands it to a worker."""
    return {"number": number, "runs": json.dumps([run.model_dump(mode="json") for run in runs])}


def unpacked(config: Mapping[str, Any]) -> list[RunConfig]:
    """Return the runs of a configuration that Ray Tune was handed."""
    return [RunConfig(**run) for run in json.loads(config["runs"])]


def stop_mark(store: Store, run: RunConfig) -> Path:
    """Return the file that tells a worker that the scheduler, and nobody else, has stopped a configuration."""
    return store.runs / ".stops" / run.identity


class Lane:
    """One seed of a configuration: trained as far as it is asked for, or read from the store where it has ended."""

    def __init__(self, job: Job, dataset: Dataset, done: bool, pace: Pace) -> None:
        """Look at the store: of what is done there nothing is trained."""
        self.store = Store(job.results)
        self.run = job.config
        self.rows: list[Row] = self.store.metrics(job.config) if done else []
        self.execution = None if done else Execution(job, dataset, pace)
        self.begun = False
        self._random: list[torch.Tensor] = []

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to train."""
        return self.execution is None or self.execution.result is not None

    def train(self, epochs: int) -> list[tuple[str, Any]]:
        """Train until so many epochs are done, and return what happened."""
        events: list[tuple[str, Any]] = []
        if self.execution is None or self.ended:
            return events
        if not self.begun and self.execution.has_time():
            events.append(("started", None))
        self._give_back_random_state()
        while not self.ended and len(self.rows) < epochs:
            row = self.execution.advance()
            events += [("note", line) for line in self.execution.take_notes()]
            if row is not None:
                events.append(("epoch", row))
                # what was trained before an interruption stands in the store
                self.rows = [*self.rows, row] if self.begun else self.store.metrics(self.run)
            self.begun = True
        self._keep_random_state()
        if (result := self.execution.result) is not None:
            events.append(("ended", result))
        return events

    def accuracy(self, epochs: int) -> float:
        """Return the accuracy after so many epochs, or the last one before; 0 if the run came to nothing."""
        result = self.execution.result if self.execution else None
        if result is not None and result.status not in (Status.FINISHED, Status.STOPPED, Status.UNFINISHED):
            return 0.0
        return next((row["student"] for row in reversed(self.rows[:epochs]) if "student" in row), 0.0)

    def leave(self, stopped: bool) -> None:
        """Let go of the run; it is stopped if the scheduler wants so, and otherwise only not finished."""
        if self.execution is None or self.ended:
            return
        if stopped and self.begun:
            self.execution.stop(f"stopped at epoch {len(self.rows)}")
        else:
            self.execution.release()

    def _keep_random_state(self) -> None:
        self._random = [torch.get_rng_state()]
        if torch.cuda.is_available():
            self._random += torch.cuda.get_rng_state_all()

    def _give_back_random_state(self) -> None:
        # the seeds take turns in one process, and each must see the numbers that it would see alone
        if self._random:
            torch.set_rng_state(self._random[0])
            if len(self._random) > 1:
                torch.cuda.set_rng_state_all(self._random[1:])


class ConfigurationTrial(tune.Trainable):
    """A worker that carries out configurations: one step is one epoch of every seed, side by side.

    So the report of each epoch is the mean over all seeds, which is what the search compares and what the scheduler
    stops by.
    """

    def setup(self, config: dict[str, Any], **given: Any) -> None:
        """Take the first configuration; ``tune.with_parameters`` hands over the template, the images and the rest."""
        worker_folder(given.get("folder", "."))
        template: Job = given["template"]
        self.template = template
        self.dataset: Dataset = given["dataset"]
        self.done: Sequence[Status] = given["done"]
        self.store = Store(template.results)
        self.pace = Pace(template.limit)
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another configuration."""
        self.cleanup()
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train every seed by one epoch, and report their mean."""
        self.epochs += 1
        events: list[Event] = []
        for index, lane in enumerate(self.lanes):
            events += [(kind, index, what) for kind, what in lane.train(self.epochs)]
        if self.pace.over:
            # those before the seed that there was no time for are to be gone on with too
            for index, lane in enumerate(self.lanes):
                events += [(kind, index, what) for kind, what in lane.train(self.epochs + 1)]
        accuracy = sum(lane.accuracy(self.epochs) for lane in self.lanes) / len(self.lanes)
        done = self.pace.over or all(lane.ended and len(lane.rows) <= self.epochs for lane in self.lanes)
        return {ACCURACY: accuracy, "events": events, "done": done}

    def cleanup(self) -> None:
        """Let go of the configuration in hand."""
        mark = stop_mark(self.store, self.lanes[0].run)
        stopped = mark.is_file()
        for lane in self.lanes:
            lane.leave(stopped)
        mark.unlink(missing_ok=True)

    def _take(self, config: dict[str, Any]) -> None:
        self.epochs = 0
        runs = unpacked(config)
        stop_mark(self.store, runs[0]).unlink(missing_ok=True)
        jobs = [replace(self.template, config=run) for run in runs]
        endings = [self.store.result(run) for run in runs]
        self.lanes = [
            Lane(job, self.dataset, ending is not None and ending.status in self.done, self.pace)
            for job, ending in zip(jobs, endings, strict=True)
        ]


class ProgressCallback(tune.Callback):
    """The driver's side: passes what the seeds report on to the observer.

    Attributes:
        time_is_up: Whether a worker, or the next configuration, had no time left.
    """

    def __init__(self, store: Store, observer: Observer, limit: TimeLimit | None = None) -> None:
        self.store = store
        self.observer = observer
        self.limit = limit
        self.time_is_up = False
        self.started: set[str] = set()
        self.under_way: set[str] = set()
        self.ended: set[str] = set()
        self.stopped: dict[str, tuple[RunConfig, int]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its callbacks to restore them, and here the store is what is restored from."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker has taken a configuration up."""
        if self.limit is not None and self.limit.left > 0:
            self.under_way.add(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A configuration is done."""
        self.under_way.discard(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A configuration has reported an epoch."""
        runs = unpacked(trial.config)
        tell: dict[str, Callable[..., None]] = {
            "started": lambda run, _: self._start(run),
            "note": self.observer.note,
            "epoch": self.observer.epoch,
            "ended": self._end,
        }
        for kind, index, what in result["events"]:
            tell[kind](runs[index], what)

    def closes(self) -> bool:
        """Return whether no further configuration is begun, and remember that one was asked for."""
        self.time_is_up = self.time_is_up or (self.limit is not None and self.limit.left <= 0)
        return self.time_is_up

    def nothing_left(self) -> bool:
        """Return whether all that was begun has ended, and nothing more will be: workers may still be starting."""
        if self.limit is None or self.limit.left > 0 or self.under_way:
            return False
        self.time_is_up = True
        return True

    def stop(self, config: Mapping[str, Any], epochs: int) -> None:
        """The scheduler stops a configuration: its worker is told, which does not have to be alive to hear it."""
        runs = unpacked(config)
        mark = stop_mark(self.store, runs[0])
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        for run in runs:
            if self.store.result(run) is None:
                self.stopped[run.identity] = run, epochs

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A configuration's process has died: the runs' own errors never come this way."""
        self.under_way.discard(trial.trial_id)
        for run in unpacked(trial.config):
            if self.store.result(run) is None:
                self._write(run, Result(Status.FAILED, "its process died (killed, or out of memory)"))

    def all_written(self) -> bool:
        """Return whether every worker has written down that it was stopped."""
        return all(self.store.result(run) is not None for run, _ in self.stopped.values())

    def finish(self) -> None:
        """Say how the stopped runs ended; one whose worker could not say so itself is marked here."""
        for run, epochs in self.stopped.values():
            if (result := self.store.result(run)) is not None:
                self._end(run, result)
            else:
                self._write(run, Result(Status.STOPPED, f"stopped at epoch {epochs}"))

    def _start(self, run: RunConfig) -> None:
        self.started.add(run.identity)
        self.observer.started(run)

    def _write(self, run: RunConfig, result: Result) -> None:
        self.store.write_result(run, result)
        self._end(run, result)

    def _end(self, run: RunConfig, result: Result) -> None:
        self.time_is_up = self.time_is_up or result.status is Status.UNFINISHED
        # a run that there was no time to begin is not spoken of
        if run.identity not in self.ended and (result.status is not Status.UNFINISHED or run.identity in self.started):
            self.ended.add(run.identity)
            self.observer.ended(run, result)
