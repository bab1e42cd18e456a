"""A sweep through Ray Tune: Optuna's choice of configurations, ASHA's choice of what to stop."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher

from benchmark import running
from benchmark.datasets import Dataset
from benchmark.scheduling import ACCURACY, ListSearcher, Observer, ProgressCallback, packed, run_trials
from benchmark.store import Status
from benchmark.sweeps.plan import REDUCTION, Configuration, Sweep, first_rung
from benchmark.sweeps.space import Assignment, Choice, Space, identity

ATTEMPTS = 50  # suggestions in a row that may be of what is known already


class OptunaSearcher(ListSearcher):
    """Optuna's tree-structured Parzen estimator, through Ray Tune's own searcher; no configuration comes twice.

    Attributes:
        tried: The accuracy of the configurations so far, by their identity; None while they are under way.
    """

    learns = True

    def __init__(
        self,
        sweep: Sweep,
        waiting: Sequence[Configuration],
        scores: Mapping[str, float],
        record: Callable[[Assignment], Configuration],
    ) -> None:
        """Give Optuna what is known.

        Args:
            waiting: Recorded configurations that have to be carried out before there are new ones.
            scores: The accuracy of the recorded configurations that are done, by their identity.
            record: Appends a new configuration to the history and returns it.
        """
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        super().__init__([configuration.runs for configuration in waiting])
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = sweep.space
        self.record = record
        self.tried: dict[str, float | None] = {**scores, **{identity(x.assignment): None for x in waiting}}
        self._enqueued = [identity(x.assignment) for x in waiting]
        self._last: Assignment = {}
        self._asked: dict[str, tuple[str, str]] = {}
        storage = optuna.storages.get_storage(sweep.storage)
        name = f"{sweep.name}-{sweep.definition}"
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        kept = set()
        for trial in study.get_trials(deepcopy=False):
            if trial.state is optuna.trial.TrialState.COMPLETE:
                kept.add(identity(sweep.space.suggest(optuna.trial.FixedTrial(trial.params))))
            elif not trial.state.is_finished():
                # what an earlier command left there is on record, and enqueued again
                storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.FAIL)
        for key, score in scores.items():
            told = optuna.trial.FixedTrial(_encoded(sweep.space, json.loads(key)))
            sweep.space.suggest(told)
            if key not in kept:
                study.add_trial(
                    optuna.trial.create_trial(params=told.params, distributions=told.distributions, value=score)
                )
        for configuration in waiting:
            study.enqueue_trial(_encoded(sweep.space, configuration.assignment))
        # with the same seed a resumed search would only repeat its first suggestions
        sampler = optuna.samplers.TPESampler(seed=(sweep.search_seed + len(self.tried)) % 2**32)
        self.optuna = OptunaSearch(
            self._ask,
            metric=ACCURACY,
            mode="max",
            sampler=sampler,
            storage=storage,
            study_name=name,
        )

    def suggest(self, trial_id: str) -> Any:
        """Return what Optuna suggests next; None if it only suggests what is under way already."""
        if self.closed():
            return Searcher.FINISHED
        for attempt in range(ATTEMPTS):
            own = f"{trial_id}-{attempt}"
            self.optuna.suggest(own)
            if self.waiting:
                # Optuna's queue begins with these, in this order
                self._asked[trial_id] = own, self._enqueued.pop(0)
                return super().suggest(trial_id)
            key = identity(self._last)
            if key not in self.tried:
                self.tried[key] = None
                self._asked[trial_id] = own, key
                return packed(self.record(self._last).runs)
            known = self.tried[key]
            self.optuna.on_trial_complete(own, None if known is None else {ACCURACY: known}, error=known is None)
        return None if None in self.tried.values() else Searcher.FINISHED

    def _ask(self, trial: Any) -> dict[str, Any]:
        self._last = self.space.suggest(trial)
        return {}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch is done."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A configuration is done: Optuna learns its accuracy, also where it was stopped."""
        own, key = self._asked[trial_id]
        self.tried[key] = float(result[ACCURACY]) if result else 0.0
        self.optuna.on_trial_complete(own, result, error)


def _encoded(space: Space, assignment: Assignment) -> dict[str, Any]:
    """Return a configuration in Optuna's terms, where the values of a list are texts."""
    domains = {parameter.key: parameter.domain for parameter in space.parameters}
    return {key: json.dumps(x) if isinstance(domains[key], Choice) else x for key, x in assignment.items()}


class Asha(ASHAScheduler):
    """Ray Tune's successive halving; the worker of a configuration that it stops is notified.

    Ray adds rungs up to the last epoch, where stopping saves nothing: those above a third of the epochs are left out.
    """

    def __init__(self, callback: ProgressCallback, epochs: int) -> None:
        super().__init__(
            metric=ACCURACY,
            mode="max",
            max_t=epochs,
            grace_period=first_rung(epochs),
            reduction_factor=REDUCTION,
        )
        self.callback = callback
        self.last_rung = max(first_rung(epochs), epochs // REDUCTION)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a configuration continues."""
        if result["training_iteration"] > self.last_rung:
            return str(TrialScheduler.CONTINUE)
        decision = str(super().on_trial_result(tune_controller, trial, result))
        if decision == TrialScheduler.STOP:
            self.callback.stop(trial, result["training_iteration"])
        return decision


def carry_out(
    sweep: Sweep,
    searcher: ListSearcher,
    count: int,
    done: Sequence[Status],
    dataset: Dataset,
    observer: Observer,
    say: Callable[[str], None],
) -> str:
    """Carry out configurations as trials of Ray Tune, which hold all their seeds; return why to try again later.

    Args:
        count: How many configurations it gives at most.
        done: The statuses of runs that need no training.
    """
    template = running.job(sweep.command, sweep.base)
    callback = ProgressCallback(template, observer, done)
    scheduler = Asha(callback, sweep.base.train.epochs) if sweep.scheduler == "asha" else None
    sets = {sweep.base.dataset: dataset}
    searcher.count = count
    run_trials(callback, searcher, sets, sweep.command.cluster, say, scheduler)
    return running.TIME_IS_UP if callback.time_is_up else running.why_later(callback.results.values())
