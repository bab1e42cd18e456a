"""Many runs, side by side under Ray Tune."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.datasets import Dataset
from benchmark.scheduling import scratch, shared_folder
from benchmark.scheduling.cluster import Cluster, ray_cluster
from benchmark.scheduling.observer import Observer
from benchmark.store import Result, Store
from methods.errors import InputError

if TYPE_CHECKING:
    from benchmark.scheduling.execution import Job
    from benchmark.scheduling.trial import Progress

LOSSES = 3
"""Times that a run's process may die before the run has failed."""


def run_under_ray(
    jobs: Sequence["Job"], datasets: Mapping[str, Dataset], observer: Observer, cluster: Cluster
) -> list[Result]:
    """Carry out the jobs as trials of Ray Tune and return how they ended.

    A run takes ``train.threads`` CPUs, and on machines with GPUs a share of one. The data sets are put into Ray's
    object store once. Ray keeps nothing: what there is to know stands in the store.

    Raises:
        InputError: If no machine of the cluster can hold a run, or the cluster is not there.
        MachineError: If a machine of the cluster does not see the results folder.
    """
    with ray_cluster(cluster):
        import ray
        from ray import tune

        from benchmark.scheduling.trial import Progress, Trial

        gpus = gpus_of_a_run(jobs, cluster)
        check_room(jobs)
        if cluster.address:
            for results in {job.results for job in jobs}:
                shared_folder.check(Store(results).runs)
        progress = Progress(jobs, observer)
        trainable = tune.with_parameters(
            Trial,
            jobs=list(jobs),
            folder=str(Path.cwd()),
            # on one machine the workers map the file that we have mapped; another may not have it
            datasets={
                name: ray.put(dataset.without_files() if cluster.address else dataset)
                for name, dataset in datasets.items()
            },
        )
        _fit(trainable, jobs, range(len(jobs)), progress, gpus, alone=False)
        if hungry := progress.take_out_of_memory():
            # what did not fit beside others may fit alone
            _fit(trainable, jobs, hungry, progress, float(gpus > 0), alone=True)
        return progress.results()


def _fit(
    trainable: Any, jobs: Sequence["Job"], chosen: Sequence[int], progress: "Progress", gpus: float, alone: bool
) -> None:
    from ray import tune

    from benchmark.scheduling.trial import Closing

    def place(config: dict[str, int]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([{"CPU": jobs[config["job"]].config.train.threads, "GPU": gpus}])

    with scratch.folder() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, place),
            param_space={"job": tune.grid_search(list(chosen))},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=1 if alone else None),
            run_config=ray_run_config(folder, progress, Closing(progress.nothing_left)),
        )
        tuner.fit()


def ray_run_config(folder: Path, callback: Any, stop: Any = None) -> Any:
    """Return how Ray Tune keeps files, which is hardly at all, whom it tells and asks, and how often it tries again."""
    from ray import tune

    return tune.RunConfig(
        storage_path=str(folder),
        name="runs",
        verbose=0,
        callbacks=[callback],
        stop=stop,
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        # a worker or node that dies costs the time since the run's checkpoint: the run goes on elsewhere
        failure_config=tune.FailureConfig(max_failures=LOSSES),
    )


def gpus_of_a_run(jobs: Sequence["Job"], cluster: Cluster) -> float:
    """Return the share of a GPU that each of the jobs takes: ``1 / min(N, ceil(runs / GPUs))``.

    Runs are spread first: a GPU is shared, by N = ``trials_per_gpu`` at most, only where there are more runs than GPUs.
    """
    import ray

    wanted = {job.device.partition(":")[0] for job in jobs}
    if wanted == {"cpu"}:
        return 0.0
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if gpus == 0:
        if "cuda" in wanted:
            raise InputError("no node of the Ray cluster has a GPU (valid devices: auto, cpu)")
        return 0.0
    return 1.0 / min(cluster.trials_per_gpu, math.ceil(len(jobs) / gpus))


def check_room(jobs: Sequence["Job"]) -> None:
    """Raise an InputError if no machine has the CPUs that a job asks for."""
    import ray

    threads = max(job.config.train.threads for job in jobs)
    largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    if threads > largest:
        raise InputError(f"train.threads is {threads}, but no machine here has more than {largest} CPUs")
