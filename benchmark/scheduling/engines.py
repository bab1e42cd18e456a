"""The two ways to carry many runs out: side by side under Ray Tune, or one after the other in this process."""

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
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

LOSSES = 3
"""Times that a trial's process may die before its runs have failed."""

SHARE_AT_ONCE = 5
"""A search that learns begins at most a fifth of its trials before the first result, or one in each place."""

PATIENCE_S = 30.0
"""For workers to store that their runs were stopped."""


def run_serially(jobs: Sequence["Job"], datasets: Mapping[str, Dataset], observer: Observer) -> list[Result]:
    """Carry out the jobs in this process, in order, and return how they ended; without time the rest is not begun."""
    from benchmark.scheduling.execution import Execution

    results: list[Result] = []
    timer = EpochTimer(jobs[0].limit if jobs else None)
    for job in jobs:
        execution = Execution(job, datasets[job.config.dataset], timer)
        if not execution.has_time():
            results.append(NOT_BEGUN)
            continue
        observer.started(job.config)
        while execution.result is None:
            row = execution.advance()
            for line in execution.take_notes():
                observer.note(job.config, line)
            if row is not None:
                observer.epoch(job.config, row)
        observer.ended(job.config, execution.result)
        results.append(execution.result)
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

    callback = ProgressCallback(jobs[0], observer)
    searcher = ListSearcher([[job.config] for job in jobs])
    threads = max(job.config.train.threads for job in jobs)
    run_trials(jobs[0], datasets, cluster, callback, searcher, len(jobs), say, threads)
    return callback.ends([job.config for job in jobs])


def run_trials(
    template: "Job",
    datasets: Mapping[str, Dataset],
    cluster: Cluster,
    callback: "ProgressCallback",
    searcher: "ListSearcher",
    count: int,
    say: Callable[[str], None],
    threads: int = 0,
    scheduler: Any = None,
) -> None:
    """Carry out trials of Ray Tune; Ray keeps nothing, for what there is to know is in the store.

    A trial takes ``train.threads`` CPUs, and on machines with GPUs a share of one. The datasets are put into Ray's
    object store once.

    Args:
        template: A job like all others, whatever its run.
        datasets: By name.
        cluster: Where.
        callback: Is told of everything, and keeps how the runs ended.
        searcher: Names the trials.
        count: How many trials it names at most.
        say: Prints a line about all of them.
        threads: Of the largest trial; those of the template for 0.
        scheduler: Stops trials early, by their accuracy after each epoch; None lets all of them end.

    Raises:
        InputError: If no machine of the cluster can hold a run, or the cluster is not there.
        MachineError: If a machine of the cluster is not fit to carry out a run.
    """
    with ray_cluster(cluster):
        import ray
        from ray import tune

        from benchmark.scheduling.trials import ListSearcher, Trial

        placement = preflight.prepare(template, cluster, count, threads or template.config.train.threads, say)
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
        _fit(trainable, callback, searcher, count, placement, placement.gpus, at_once, scheduler)
        callback.end_stopped(PATIENCE_S)
        if hungry := callback.take_out_of_memory():
            # what did not fit beside others may fit alone
            alone = ListSearcher([[run] for run in hungry])
            _fit(trainable, callback, alone, len(hungry), placement, float(placement.gpus > 0), 1)


def _fit(
    trainable: Any,
    callback: "ProgressCallback",
    searcher: "ListSearcher",
    count: int,
    placement: preflight.Placement,
    gpus: float,
    at_once: int | None,
    scheduler: Any = None,
) -> None:
    from ray import tune

    from benchmark.scheduling.trials import DeadlineStopper

    # Ray unpickles this function for every trial: what it refers to is small
    options = placement.options

    def place(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([{"CPU": config["threads"], "GPU": gpus}], **options)

    # as many workers may be starting side by side as there are places for
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(at_once or placement.places + 1)
    with scratch_folder() as folder, ExitStack() as stack:
        stack.callback(preflight.remove_all_artifacts, placement, folder.name)
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        tune.Tuner(
            tune.with_resources(trainable, place),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=count,
                max_concurrent_trials=at_once,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                storage_path=str(folder),
                name=folder.name,
                verbose=0,
                callbacks=[callback],
                stop=DeadlineStopper(callback.nothing_left),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                # a worker or node that dies costs the time since the run's checkpoint: the run is resumed elsewhere
                failure_config=tune.FailureConfig(max_failures=LOSSES),
            ),
        ).fit()
