"""A sweep through Ray Tune: Optuna's choice of configurations, ASHA's choice of what to stop."""

import json
from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console

from benchmark import running
from benchmark.datasets import Dataset
from benchmark.scheduling import ACCURACY, Display, ListSearcher, ProgressCallback, packed, run_trials
from benchmark.sweeps.outcomes import Outcome, complete, complete_statuses
from benchmark.sweeps.plan import REDUCTION, Configuration, Sweep, first_rung
from benchmark.sweeps.space import Assignment, identity

ATTEMPTS = 50  # suggestions in a row that may be of what is known already


class OptunaSearcher(ListSearcher):
    """Optuna's tree-structured Parzen estimator as a searcher of Ray Tune; no configuration comes twice.

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
        from optuna.trial import FixedTrial, TrialState, create_trial

        super().__init__([configuration.runs for configuration in waiting])
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.record = sweep.space, record
        self.tried: dict[str, float | None] = {**scores, **{identity(x.assignment): None for x in waiting}}
        self._asked: dict[str, tuple[optuna.Trial, str]] = {}
        # with the same seed a resumed search would only repeat its first suggestions
        sampler = optuna.samplers.TPESampler(seed=(sweep.search_seed + len(self.tried)) % 2**32)
        storage = optuna.storages.get_storage(sweep.storage)
        name = f"{sweep.name}-{sweep.definition}"
        self.study = optuna.create_study(
            storage=storage, sampler=sampler, study_name=name, direction="maximize", load_if_exists=True
        )
        kept = set()
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state is TrialState.COMPLETE:
                kept.add(identity(sweep.space.suggest(FixedTrial(trial.params))))
            elif not trial.state.is_finished():
                # what an earlier command left there is on record, and enqueued again
                storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        for key, score in scores.items():
            told = FixedTrial(self._encoded(json.loads(key)))
            sweep.space.suggest(told)
            if key not in kept:
                self.study.add_trial(create_trial(params=told.params, distributions=told.distributions, value=score))
        for configuration in waiting:
            self.study.enqueue_trial(self._encoded(configuration.assignment))

    def _encoded(self, assignment: Assignment) -> dict[str, Any]:
        """Return a configuration in Optuna's terms, where the values of a list are texts."""
        lists = {parameter.key for parameter in self.space.parameters if parameter.form == "list"}
        return {key: json.dumps(x) if key in lists else x for key, x in assignment.items()}

    def suggest(self, trial_id: str) -> Any:
        """Return what Optuna suggests next; None if it only suggests what is under way already."""
        if self.closed():
            return Searcher.FINISHED
        for _ in range(ATTEMPTS):
            trial = self.study.ask()
            assignment = self.space.suggest(trial)
            key = identity(assignment)
            # Optuna's queue begins with the configurations that are waiting, in their order
            if self.waiting or key not in self.tried:
                self.tried[key] = None
                self._asked[trial_id] = trial, key
                return super().suggest(trial_id) if self.waiting else packed(self.record(assignment).runs)
            self._tell(trial, self.tried[key])
        return None if None in self.tried.values() else Searcher.FINISHED

    def _tell(self, trial: Any, score: float | None) -> None:
        from optuna.trial import TrialState

        self.study.tell(trial, score, TrialState.FAIL if score is None else TrialState.COMPLETE)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A configuration is done: Optuna learns its accuracy, also where it was stopped."""
        trial, key = self._asked[trial_id]
        score = float(result[ACCURACY]) if result and not error else None
        self.tried[key] = score or 0.0
        self._tell(trial, score)


class Asha(ASHAScheduler):
    """Ray Tune's successive halving; the worker of a configuration that it stops is notified.

    Ray adds rungs up to the last epoch, where stopping saves nothing: those above a third of the epochs are left out.
    """

    def __init__(self, callback: ProgressCallback, epochs: int) -> None:
        rung = first_rung(epochs)
        super().__init__(metric=ACCURACY, mode="max", max_t=epochs, grace_period=rung, reduction_factor=REDUCTION)
        self.callback = callback
        self.last_rung = max(rung, epochs // REDUCTION)

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
    todo: Sequence[Outcome],
    wanted: int,
    record: Callable[[Assignment], Configuration],
    images: Mapping[str, Dataset],
    console: Console,
) -> str:
    """Carry out configurations as trials of Ray Tune, which hold all their seeds; return why to try again later.

    Args:
        todo: The configurations that are chosen, as far as they are.
        wanted: How many are to be chosen beside them.
        record: As :class:`OptunaSearcher` takes it.
        images: By the dataset's name.
    """
    command, asha = sweep.command, sweep.scheduler == "asha"
    # with ASHA what is done is reported again, an epoch at a time, so that the scheduler compares with it
    waiting = [x for x in todo if asha or not all(complete(sweep, run) for run in x.configuration.runs)]
    configurations = [x.configuration for x in waiting]
    searcher = ListSearcher([x.runs for x in configurations])
    if sweep.search == "optuna":
        done = [x for x in todo if x not in waiting]
        # a run without a result counts as 0
        means = [mean(x.scores.get(seed, 0.0) for seed in sweep.seeds) for x in done]
        scores = dict(zip((identity(x.configuration.assignment) for x in done), means, strict=True))
        searcher = OptunaSearcher(sweep, configurations, scores, record)
    job = running.job(command)
    searcher.count = len(waiting) + wanted
    runs = sum(not complete(sweep, run) for x in todo for run in x.configuration.runs) + wanted * len(sweep.seeds)
    with Display(runs, console, sweep.label, command.log, command.store) as display:
        callback = ProgressCallback(job, display, complete_statuses(sweep))
        threads = max(run.train.threads for run in [sweep.base, *(run for x in configurations for run in x.runs)])
        scheduler = Asha(callback, sweep.base.train.epochs) if asha else None
        run_trials(callback, searcher, images, command.cluster, threads, scheduler)
    return running.TIME_IS_UP if callback.time_is_up else running.why_later(callback.results.values())
