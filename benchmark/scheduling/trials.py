"""What Ray Tune is given: the worker that carries a trial out, and the driver's list of trials and listener.

A trial is one run, or the seeds of a sweep's configuration, which take turns in one process.
"""

import gc
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.search import Searcher

from benchmark.configuration import RunConfig
from benchmark.datasets import Dataset
from benchmark.scheduling.cluster import cause_of
from benchmark.scheduling.execution import Execution, Job
from benchmark.scheduling.progress import Observer
from benchmark.scheduling.time_limit import NOT_BEGUN, EpochTimer
from benchmark.store import ERROR, Result, Status, Store, atomic

REPORT_S = 2.0  # between a worker's reports at least, unless its trial ends: each costs Ray's driver a share of a core
ACCURACY = "accuracy"  # what a search maximises: the mean over a trial's runs of the students' accuracy, now

Event = tuple[str, int, Any]
"""``note``, ``epoch`` or ``ended``; which of the trial's runs; and the line, the metrics or the result."""


def packed(runs: Sequence[RunConfig]) -> dict[str, Any]:
    """Return a trial's runs in the form in which Ray Tune hands them to a worker."""
    return {
        "threads": max(run.train.threads for run in runs),
        "runs": json.dumps([run.model_dump(mode="json") for run in runs]),
    }


def unpacked(config: Mapping[str, Any]) -> list[RunConfig]:
    """Return the runs of a trial."""
    return [RunConfig(**run) for run in json.loads(config["runs"])]


def _stop_mark(store: Store, run: RunConfig) -> Path:
    """Return the file that tells a worker that the scheduler, and nobody else, has stopped a trial."""
    return store.runs / ".stops" / run.identity


class Trial(tune.Trainable):
    """A worker that carries out trials one after the other, so that torch is imported once.

    One step is one epoch of every run where a search wants to know of each, else several if they are short. Runs of
    one trial train side by side, so that the mean over all seeds is known after every epoch.
    """

    def setup(self, config: dict[str, Any], **given: Any) -> None:
        """Take the first trial; what all trials share comes from :func:`benchmark.scheduling.engines.run_trials`."""
        # plug-ins may read files by relative paths
        with suppress(OSError):
            os.chdir(given["folder"])
        self.template: Job = given["template"]
        self.datasets: Mapping[str, ray.ObjectRef[Dataset]] = given["datasets"]
        self.done: Sequence[Status] = given["done"]
        self.each_epoch: bool = given["each_epoch"]
        self.store = Store(self.template.results)
        self.timer = EpochTimer(self.template.limit)
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
        mark = _stop_mark(self.store, self.runs[0].job.config)
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
            job, dataset = replace(self.template, config=run), ray.get(self.datasets[run.dataset])
            execution = Execution(job, dataset, self.timer)
            ended = self.store.result(run) if self.done else None
            if ended is not None and ended.status in self.done:
                execution.result, execution.rows = ended, self.store.metrics(run)
            self.runs.append(execution)
        _stop_mark(self.store, self.runs[0].job.config).unlink(missing_ok=True)

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


class ListSearcher(Searcher):
    """Hands out trials that are known from the start, in their order.

    Attributes:
        count: How many trials it names at most.
        closed: Says whether there is no time for another trial.
        learns: Whether it needs results of some before it chooses others.
    """

    learns = False

    def __init__(self, trials: Sequence[Sequence[RunConfig]]) -> None:
        super().__init__(metric=ACCURACY, mode="max")
        self.waiting = list(reversed(trials))
        self.count = len(trials)
        self.closed: Callable[[], bool] = lambda: False

    def suggest(self, trial_id: str) -> Any:
        """Return the next one, unless there is no time for it."""
        return packed(self.waiting.pop()) if self.waiting and not self.closed() else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing is learnt."""

    def save(self, *where: str, **named: str) -> None:
        """Save nothing: the store is what is restored from."""

    restore: Any = save
    save_to_dir: Any = save


class ProgressCallback(tune.Callback):
    """The driver's side: passes what the trials report on to the observer, and keeps how the runs ended.

    Attributes:
        results: How runs ended, by identity.
        out_of_memory: The runs that ran out of memory beside others, by identity: each is tried once more, alone.
    """

    def __init__(self, template: Job, observer: Observer, done: Sequence[Status] = ()) -> None:
        """Take a job like all others, whatever its run, and the statuses of stored runs that need no training."""
        self.template = template
        self.store = Store(template.results)
        self.observer = observer
        self.limit = template.limit
        self.done = done
        self.results: dict[str, Result] = {}
        self.out_of_memory: dict[str, RunConfig] = {}
        self._runs: dict[str, list[tuple[str, RunConfig]]] = {}
        self._time_is_up = False
        self._started: set[str] = set()
        self._stopped: list[tuple[str, RunConfig, Result]] = []

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its callbacks to restore them, and here the store is what is restored from."""
        return {}

    @property
    def time_is_up(self) -> bool:
        """Whether no further trial is begun."""
        self._time_is_up = self._time_is_up or (self.limit is not None and self.limit.left <= 0)
        return self._time_is_up

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker has taken a trial up."""
        if not self.time_is_up:
            for identity, run in self._runs_of(trial):
                if not self.done or (ended := self.store.result(run)) is None or ended.status not in self.done:
                    self._start(identity, run)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial has reported."""
        runs = self._runs_of(trial)
        for kind, index, what in result["events"]:
            identity, run = runs[index]
            if kind == "ended":
                self._end(identity, run, what)
            else:
                self._start(identity, run)
                getattr(self.observer, kind)(run, what)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process has died or did not begin: the runs' own errors never come this way."""
        path = Path(trial.error_file or os.devnull)
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        for identity, run in self._runs_of(trial):
            if identity not in self.results:
                self._lose(identity, run, cause_of(text), text)

    def stop(self, trial: Any, epochs: int) -> None:
        """Tell a trial's worker that the scheduler stops it; the worker does not have to be alive to hear it."""
        runs = self._runs_of(trial)
        mark = _stop_mark(self.store, runs[0][1])
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        result = Result(Status.STOPPED, f"stopped at epoch {epochs}")
        self._stopped += [(identity, run, result) for identity, run in runs if self.store.result(run) is None]

    def end_stopped(self, patience: float) -> None:
        """Say how the stopped runs ended; one whose worker does not store it in some seconds is marked here."""
        end = time.monotonic() + patience
        while any(self.store.result(run) is None for _, run, _ in self._stopped) and time.monotonic() < end:
            time.sleep(0.1)
        for identity, run, result in self._stopped:
            self._end(identity, run, self._stored(run, result))

    def ends(self, runs: Sequence[RunConfig]) -> list[Result]:
        """Return how the runs ended, in their order; one of which nothing was heard has failed, if there was time."""
        named = {run.identity: run for run in runs}
        for identity, run in named.items():
            if identity not in self.results and identity not in self._started and self.time_is_up:
                self.results[identity] = NOT_BEGUN
            elif identity not in self.results:
                self._lose(identity, run, "its process never reported")
        return [self.results[identity] for identity in named]

    def _runs_of(self, trial: Any) -> list[tuple[str, RunConfig]]:
        # kept, for to compute identities takes a share of a trial's time
        if trial.trial_id not in self._runs:
            self._runs[trial.trial_id] = [(run.identity, run) for run in unpacked(trial.config)]
        return self._runs[trial.trial_id]

    def _start(self, identity: str, run: RunConfig) -> None:
        if identity not in self._started:
            self._started.add(identity)
            self.observer.started(run)

    def _end(self, identity: str, run: RunConfig, result: Result) -> None:
        if identity in self.results:
            return
        if result.status is Status.UNFINISHED:
            self._time_is_up = True
            if identity not in self._started:
                # what a worker turns away at once was never begun
                self.results[identity] = NOT_BEGUN
                return
        self._start(identity, run)
        if result.status is Status.OUT_OF_MEMORY and identity not in self.out_of_memory:
            self.out_of_memory[identity] = run
            self.observer.note(run, "out of memory: tried once more when it has the device alone")
        else:
            self.results[identity] = result
            self.observer.ended(run, result)

    def _lose(self, identity: str, run: RunConfig, reason: str, traceback: str = "") -> None:
        self.results[identity] = self._stored(run, Result(Status.FAILED, reason), traceback)
        self.observer.ended(run, self.results[identity])

    def _stored(self, run: RunConfig, result: Result, traceback: str = "") -> Result:
        """Store how a run ended whose process is gone, and return it; what the store knows better stays."""
        with self.store.lock(run, patience=0) as held:
            # a process may die right after it has finished its run, and another command may have resumed it
            ended = self.store.result(run)
            if ended is not None and (self.store.ended(run) or ended.status is result.status):
                return ended
            if held:
                try:
                    self.store.write_result(run, result)
                    if traceback:
                        atomic.write_text(self.store.folder(run) / ERROR, traceback)
                except OSError as error:
                    return replace(result, reason=f"{result.reason}; {error.strerror}")
        return result
