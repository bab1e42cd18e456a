"""The two ways to carry many runs out: side by side under Ray Tune, or one after the other in this process."""

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.datasets import Dataset
from benchmark.scheduling import preflight
from benchmark.scheduling.cluster import Cluster, ray_cluster, scratch_folder, set_environment
from benchmark.scheduling.progress import Observer
from benchmark.scheduling.time_limit import NOT_BEGUN, EpochTimer
from benchmark.store import Result

if TYPE_CHECKING:
    from benchmark.scheduling.execution import Job
    from benchmark.scheduling.trials import ListSearcher, ProgressCallback

LOSSES = 3  # times that a trial's process may die before its runs have failed
SHARE_AT_ONCE = 5  # a search that learns begins at most a fifth of its trials before the first result, or one per place
PATIENCE_S = 30.0  # for workers to store that their runs were stopped


def run_serially(jobs: Sequence["Job"], datasets: Mapping[str, Dataset], observer: Observer) -> list[Result]:
    """Carry out the jobs in this process, in order, and return how they ended; without time the rest is not begun."""
    from benchmark.scheduling.execution import Execution

    results: list[Result] = []
    timer = EpochTimer(jobs[0].limit if jobs else None)
    for job in jobs:
        execution = Execution(job, datasets[job.config.dataset], timer)
        if execution.has_time():
            observer.started(job.config)
            for kind, what in execution.train():
                getattr(observer, kind)(job.config, what)
        results.append(execution.result or NOT_BEGUN)
    return results


def run_under_ray(
    jobs: Sequence["Job"],
    datasets: Mapping[str, Dataset],
    observer: Observer,
    cluster: Cluster,
    say: Callable[[str], None] = lambda line: None,
) -> list[Result]:
    """Carry out jobs that differ in their runs alone as trials of Ray Tune, and return how they ended.

    Args and errors are those of :func:`run_trials`.
    """
    set_environment(cluster)
    from benchmark.scheduling.trials import ListSearcher, ProgressCallback

    runs = [job.config for job in jobs]
    callback = ProgressCallback(jobs[0], observer)
    run_trials(callback, ListSearcher([[run] for run in runs]), datasets, cluster, say)
    return callback.ends(runs)


def run_trials(
    callback: "ProgressCallback",
    searcher: "ListSearcher",
    datasets: Mapping[str, Dataset],
    cluster: Cluster,
    say: Callable[[str], None],
    scheduler: Any = None,
) -> None:
    """Carry out trials of Ray Tune; Ray keeps nothing, for what there is to know is in the store.

    A trial takes ``train.threads`` CPUs, and on machines with GPUs a share of one. The datasets, by name, are put into
    Ray's object store once. ``callback`` is told of everything and keeps how the runs ended, ``searcher`` names the
    trials, ``say`` prints a line about all of them, and ``scheduler`` stops some by their accuracy after each epoch.

    Raises:
        InputError: If no machine of the cluster can hold a run, or the cluster is not there.
        MachineError: If a machine of the cluster is not fit to carry out a run.
    """
    with ray_cluster(cluster):
        import ray
        from ray import tune

        from benchmark.scheduling.trials import ListSearcher, Trial

        template, count = callback.template, searcher.count
        runs = [run for trial in searcher.waiting for run in trial] or [template.config]
        placement = preflight.prepare(template, cluster, count, max(run.train.threads for run in runs), say)
        searcher.closed = lambda: callback.time_is_up
        trainable = tune.with_parameters(
            Trial,
            template=template,
            # on one machine the workers map the file that we have mapped; another may not have it
            datasets={
                name: ray.put(dataset.without_files() if cluster.address else dataset)
                for name, dataset in datasets.items()
            },
            folder=str(Path.cwd()),
            done=callback.done,
            each_epoch=searcher.learns or scheduler is not None,
        )
        at_once = max(2, math.ceil(count / SHARE_AT_ONCE), placement.places) if searcher.learns else None
        fit(trainable, callback, searcher, placement, at_once, scheduler)
        callback.end_stopped(PATIENCE_S)
        if hungry := list(callback.out_of_memory.values()):
            # what did not fit beside others may fit alone
            alone = placement._replace(gpus=float(placement.gpus > 0))
            fit(trainable, callback, ListSearcher([[run] for run in hungry]), alone, 1)


def fit(
    trainable: Any,
    callback: "ProgressCallback",
    searcher: "ListSearcher",
    placement: preflight.Placement,
    at_once: int | None = None,
    scheduler: Any = None,
) -> None:
    """Let a ``tune.Trainable`` carry out the trials that are named, ``at_once`` of them (None: as many as fit)."""
    from ray import tune

    # Ray unpickles this function for every trial: what it refers to is small
    gpus, options = placement.gpus, placement.options

    def place(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([{"CPU": config["threads"], "GPU": gpus}], **options)

    # as many workers may be starting side by side as there are places for
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(at_once or placement.places + 1)
    with scratch_folder() as folder, warnings.catch_warnings(action="ignore"):
        tune.Tuner(
            tune.with_resources(trainable, place),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=searcher.count,
                max_concurrent_trials=at_once,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                storage_path=str(folder),
                name=folder.name,
                verbose=0,
                callbacks=[callback],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                # a worker or node that dies costs the time since the run's checkpoint: the run is resumed elsewhere
                failure_config=tune.FailureConfig(max_failures=LOSSES),
            ),
        ).fit()
