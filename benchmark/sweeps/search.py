"""A sweep through Ray Tune: Optuna's choice of configurations, ASHA's choice of what to stop."""

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher

from benchmark import paths
from benchmark.datasets import Dataset
from benchmark.scheduling import Job, Observer, check_room, gpus_of_a_run, ray_cluster, ray_run_config, scratch
from benchmark.scheduling.trial import Closing
from benchmark.store import Status, environment
from benchmark.sweeps.plan import Configuration, Sweep
from benchmark.sweeps.space import Assignment, Choice, Space, identity
from benchmark.sweeps.trial import ACCURACY, ConfigurationTrial, ProgressCallback, packed, unpacked

REDUCTION = 3
"""ASHA goes on with the best third of the configurations at each rung."""

RUNGS = 2
"""Rungs before the end: at a ninth and a third of the epochs."""

PATIENCE_S = 30.0
"""For workers to write down that they were stopped."""

ATTEMPTS = 50
"""Questions in a row that may be about what is known already."""

SHARE_AT_ONCE = 5
"""At most a fifth of the configurations are begun before the first result."""


class ListSearcher(Searcher):
    """Hands out configurations that are known from the start, in their order."""

    def __init__(self, configurations: Sequence[Configuration]) -> None:
        super().__init__(metric=ACCURACY, mode="max")
        self.waiting = list(configurations)
        self.closed: Callable[[], bool] = lambda: False

    def suggest(self, trial_id: str) -> Any:
        """Return the next one, unless there is no time for it."""
        if not self.waiting or self.closed():
            return Searcher.FINISHED
        configuration = self.waiting.pop(0)
        return packed(configuration.runs, configuration.number)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing is learnt."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is what is restored from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store is what is restored from."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the store is what is restored from."""


class Suggested(ListSearcher):
    """Optuna's tree-structured Parzen estimator, through Ray Tune's own searcher; no configuration comes twice.

    Attributes:
        tried: The configurations so far, as they are called, and how well they did; None while they are under way.
    """

    def __init__(
        self,
        sweep: Sweep,
        waiting: Sequence[Configuration],
        scores: Mapping[str, float],
        record: Callable[[Assignment], Configuration],
    ) -> None:
        """Tell Optuna of what is known.

        Args:
            sweep: The sweep.
            waiting: Recorded configurations that have to be carried out before there are new ones.
            scores: The accuracy of the recorded configurations that are done, by their identity.
            record: Writes a new configuration down and returns it.
        """
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        super().__init__(waiting)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = sweep.space
        self.record = record
        self.tried: dict[str, float | None] = {**scores, **{identity(x.assignment): None for x in waiting}}
        self._last: Assignment = {}
        self._asked: dict[str, tuple[str, str]] = {}
        storage = optuna.storages.InMemoryStorage()
        study = optuna.create_study(storage=storage, study_name="sweep", direction="maximize")
        for key, score in scores.items():
            told = optuna.trial.FixedTrial(_encoded(sweep.space, json.loads(key)))
            sweep.space.suggest(told)
            trial = optuna.trial.create_trial(params=told.params, distributions=told.distributions, value=score)
            study.add_trial(trial)
        for configuration in waiting:
            study.enqueue_trial(_encoded(sweep.space, configuration.assignment))
        # begun again with the same numbers it would only repeat its first guesses
        sampler = optuna.samplers.TPESampler(seed=(sweep.search_seed + len(self.tried)) % 2**32)
        self.optuna = OptunaSearch(
            self._ask,
            metric=ACCURACY,
            mode="max",
            sampler=sampler,
            storage=storage,
            study_name="sweep",
        )

    def suggest(self, trial_id: str) -> Any:
        """Return what Optuna wants to know next; None if it only asks for what is under way already."""
        if self.closed():
            return Searcher.FINISHED
        for attempt in range(ATTEMPTS):
            own = f"{trial_id}-{attempt}"
            self.optuna.suggest(own)
            if self.waiting:
                # these were put at the head of Optuna's queue in this order
                self._asked[trial_id] = own, identity(self.waiting[0].assignment)
                return super().suggest(trial_id)
            key = identity(self._last)
            if key not in self.tried:
                self.tried[key] = None
                self._asked[trial_id] = own, key
                configuration = self.record(self._last)
                return packed(configuration.runs, configuration.number)
            known = self.tried[key]
            self.optuna.on_trial_complete(own, None if known is None else {ACCURACY: known}, error=known is None)
        return None if None in self.tried.values() else Searcher.FINISHED

    def _ask(self, trial: Any) -> dict[str, Any]:
        self._last = self.space.suggest(trial)
        return {}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch is done."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A configuration is done: Optuna learns how well it did, also where it was stopped."""
        own, key = self._asked[trial_id]
        self.tried[key] = float(result[ACCURACY]) if result else 0.0
        self.optuna.on_trial_complete(own, result, error)


def _encoded(space: Space, assignment: Assignment) -> dict[str, Any]:
    """Return a configuration in Optuna's terms, where the values of a list are words."""
    domains = {parameter.key: parameter.domain for parameter in space.parameters}
    return {key: json.dumps(x) if isinstance(domains[key], Choice) else x for key, x in assignment.items()}


class Asha(ASHAScheduler):
    """Ray Tune's successive halving; the worker of a configuration that it stops is told so."""

    def __init__(self, callback: ProgressCallback, epochs: int) -> None:
        super().__init__(
            metric=ACCURACY,
            mode="max",
            max_t=epochs,
            grace_period=max(1, epochs // REDUCTION**RUNGS),
            reduction_factor=REDUCTION,
        )
        self.callback = callback
        self.epochs = epochs

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a configuration goes on."""
        decision = str(super().on_trial_result(tune_controller, trial, result))
        if decision == TrialScheduler.STOP and result["training_iteration"] < self.epochs:
            self.callback.stop(trial.config, result["training_iteration"])
        return decision


def carry_out(
    sweep: Sweep,
    searcher: ListSearcher,
    count: int,
    done: Sequence[Status],
    dataset: Dataset,
    observer: Observer,
) -> bool:
    """Carry out configurations as trials of Ray Tune, which hold all their seeds; return whether time was short.

    Args:
        sweep: The sweep.
        searcher: What to try.
        count: How many configurations it gives at most.
        done: How a run may stand that needs no training.
        dataset: The images.
        observer: Is told of everything.
    """
    command = sweep.command
    template = Job(
        sweep.base,
        command.store.root,
        command.worker_device,
        command.save_students,
        tuple(str(paths.plugin_file(plugin)) for plugin in command.plugins),
        predictions=command.predictions,
        limit=command.limit,
        code=environment.source_hash(),
    )
    with ray_cluster(command.cluster):
        gpus = gpus_of_a_run([template] * count, command.cluster)
        check_room([template])
        callback = ProgressCallback(command.store, observer, command.limit)
        searcher.closed = callback.closes
        trainable = tune.with_parameters(
            ConfigurationTrial,
            template=template,
            folder=str(Path.cwd()),
            # on one machine the workers map the file that we have mapped; another may not have it
            dataset=dataset.without_files() if command.cluster.address else dataset,
            done=list(done),
        )

        def place(config: dict[str, Any]) -> tune.PlacementGroupFactory:
            return tune.PlacementGroupFactory([{"CPU": unpacked(config)[0].train.threads, "GPU": gpus}])

        # a search that learns from results must not start everything before there are any
        side_by_side = max(2, math.ceil(count / SHARE_AT_ONCE)) if isinstance(searcher, Suggested) else None
        with scratch.folder() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tuner = tune.Tuner(
                tune.with_resources(trainable, place),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=Asha(callback, sweep.base.train.epochs) if sweep.scheduler == "asha" else None,
                    num_samples=count,
                    max_concurrent_trials=side_by_side,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: str(trial.trial_id),
                ),
                run_config=ray_run_config(folder, callback, Closing(callback.nothing_left)),
            )
            tuner.fit()
        patience = time.monotonic() + PATIENCE_S
        while not callback.all_written() and time.monotonic() < patience:
            time.sleep(0.1)
        callback.finish()
    return callback.time_is_up
