"""The engine that carries runs out side by side, under Ray Tune: the driver's side.

Ray reads settings when it is imported: whoever uses this calls :func:`benchmark.scheduling.set_environment` before.
"""

import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from benchmark.configuration import RunConfig
from benchmark.console import say
from benchmark.datasets import Dataset
from benchmark.scheduling import preflight
from benchmark.scheduling.cluster import Cluster, cause_of, ray_cluster, scratch_folder
from benchmark.scheduling.jobs import NOT_BEGUN, Job
from benchmark.scheduling.progress import Display
from benchmark.scheduling.trials import ACCURACY, Trial, packed, stop_mark, unpacked
from benchmark.store import ERROR, Result, Status, Store, atomic

LOSSES = 3  # times that a trial's process may die before its runs have failed
SHARE_AT_ONCE = 5  # a search that learns begins at most a fifth of its trials before the first result, or one per place
PATIENCE_S = 30.0  # for workers to store that their runs were stopped


class ListSearcher(Searcher):
    """Hands out trials that are known from the start, in their order."""

    learns = False  # whether it needs results of some trials before it chooses others

    def __init__(self, trials: Sequence[Sequence[RunConfig]]) -> None:
        super().__init__(metric=ACCURACY, mode="max")
        self.waiting = list(reversed(trials))
        self.count = len(trials)  # how many it names at most
        self.closed: Callable[[], bool] = lambda: False  # whether there is no time for another one

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
    """The driver's side: passes what the trials report on to the display, and keeps how the runs ended."""

    def __init__(self, job: Job, display: Display, done: Sequence[Status] = ()) -> None:
        """Take how runs are carried out, who is told, and the statuses of stored runs that need no training."""
        self.job, self.display, self.done = job, display, done
        self.store = Store(job.results)
        self.results: dict[str, Result] = {}  # how runs ended, by identity
        # by identity, those that ran out of memory beside others: each is tried once more, alone
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
        limit = self.job.limit
        self._time_is_up = self._time_is_up or (limit is not None and limit.left <= 0)
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
                getattr(self.display, kind)(run, what)

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
        mark = stop_mark(self.store, runs[0][1])
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        result = Result(Status.STOPPED, f"stopped at epoch {epochs}")
        self._stopped += [(identity, run, result) for identity, run in runs if self.store.result(run) is None]

    def end_stopped(self) -> None:
        """Say how the stopped runs ended; one whose worker does not store it in some seconds is marked here."""
        end = time.monotonic() + PATIENCE_S
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
            self.display.started(run)

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
            self.display.note(run, "out of memory: tried once more when it has the device alone")
        else:
            self.results[identity] = result
            self.display.ended(run, result)

    def _lose(self, identity: str, run: RunConfig, reason: str, traceback: str = "") -> None:
        self.results[identity] = self._stored(run, Result(Status.FAILED, reason), traceback)
        self.display.ended(run, self.results[identity])

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


def run_under_ray(
    runs: Sequence[RunConfig], job: Job, datasets: Mapping[str, Dataset], display: Display, cluster: Cluster
) -> list[Result]:
    """Carry out runs as trials of Ray Tune, and return how they ended; for errors see :func:`run_trials`."""
    callback = ProgressCallback(job, display)
    threads = max(run.train.threads for run in runs)
    run_trials(callback, ListSearcher([[run] for run in runs]), datasets, cluster, threads)
    return callback.ends(runs)


def run_trials(
    callback: ProgressCallback,
    searcher: ListSearcher,
    datasets: Mapping[str, Dataset],
    cluster: Cluster,
    threads: int,
    scheduler: Any = None,
) -> None:
    """Carry out trials of Ray Tune; Ray keeps nothing, for what there is to know is in the store.

    A trial takes ``train.threads`` CPUs, ``threads`` at most, and on machines with GPUs a share of one. The datasets,
    by name, are put into Ray's object store once. ``callback`` is told of everything and keeps how the runs ended,
    ``searcher`` names the trials, and ``scheduler`` stops some by their accuracy after each epoch.

    Raises:
        InputError: If no machine of the cluster can hold a run, or the cluster is not there.
        MachineError: If a machine of the cluster is not fit to carry out a run.
    """
    with ray_cluster(cluster):
        job, count = callback.job, searcher.count
        placement = preflight.prepare(job, cluster, count, threads, partial(say, callback.display.console))
        searcher.closed = lambda: callback.time_is_up
        # on one machine the workers map the file that we have mapped; another may not have it
        sent = {name: ray.put(one.without_files() if cluster.address else one) for name, one in datasets.items()}
        trainable = tune.with_parameters(
            Trial,
            job=job,
            datasets=sent,
            folder=str(Path.cwd()),
            done=callback.done,
            each_epoch=searcher.learns or scheduler is not None,
        )
        at_once = max(2, math.ceil(count / SHARE_AT_ONCE), placement.places) if searcher.learns else None
        fit(trainable, callback, searcher, placement, at_once, scheduler)
        callback.end_stopped()
        if hungry := list(callback.out_of_memory.values()):
            # what did not fit beside others may fit alone
            alone = placement._replace(gpus=float(placement.gpus > 0))
            fit(trainable, callback, ListSearcher([[run] for run in hungry]), alone, 1)


def fit(
    trainable: Any,
    callback: ProgressCallback,
    searcher: ListSearcher,
    placement: preflight.Placement,
    at_once: int | None = None,
    scheduler: Any = None,
) -> None:
    """Let a ``tune.Trainable`` carry out the trials that are named, ``at_once`` of them (None: as many as fit)."""
    # Ray unpickles this function for every trial: what it refers to is small
    gpus, options = placement.gpus, placement.options

    def place(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([{"CPU": config["threads"], "GPU": gpus}], **options)

    # as many workers may be starting side by side as there are places for
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(at_once or placement.places + 1)
    with scratch_folder() as folder, warnings.catch_warnings(action="ignore"):
        tune.run(
            tune.with_resources(trainable, place),
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=searcher.count,
            max_concurrent_trials=at_once,
            reuse_actors=True,
            storage_path=str(folder),
            name=folder.name,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
            verbose=0,
            callbacks=[callback],
            # a worker or node that dies costs the time since the run's checkpoint: the run is resumed elsewhere
            max_failures=LOSSES,
            raise_on_failed_trial=False,
        )
