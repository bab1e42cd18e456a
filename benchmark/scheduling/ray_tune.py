"""Many runs, side by side under Ray Tune."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.datasets import Dataset
from benchmark.scheduling import scratch, shared_folder
from benchmark.scheduling.observer import Observer
from benchmark.store import Result, Store
from methods.errors import InputError

if TYPE_CHECKING:
    from benchmark.scheduling.execution import Job
    from benchmark.scheduling.trial import Progress

# Ray reads these when it is imported: no telemetry, no log files of its own for every trial, no chatter
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # no process a core in advance: a trial gets one of its own in any case
    "RAY_prestart_worker_first_driver": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_SYNCER": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

# what Ray calls clusters on other systems; without them its servers listen on the loopback address alone
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

KNOCK_S = 10.0
"""For a cluster's address to answer."""

LOSSES = 3
"""Times that a run's process may die before the run has failed."""


@dataclass(frozen=True)
class Cluster:
    """Where Ray runs and how it shares the machine out.

    Attributes:
        address: Of an existing cluster; None starts one on this machine, bound to the loopback address.
        trials_per_gpu: Runs side by side on one GPU.
    """

    address: str | None = None
    trials_per_gpu: int = 1


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


def set_environment(cluster: Cluster) -> None:
    """Set what Ray reads when it is imported, unless the person has set it."""
    settings = RAY_ENVIRONMENT if cluster.address else {**RAY_ENVIRONMENT, **LOOPBACK}
    os.environ.update({key: os.environ.get(key, value) for key, value in settings.items()})


@contextmanager
def ray_cluster(cluster: Cluster) -> Iterator[None]:
    """Start Ray, or join a cluster, for as long as the context lasts."""
    set_environment(cluster)
    import ray

    # a trial whose process died is reported by us, in one line
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    with _own_signals():
        _connect(cluster)
    try:
        yield
    finally:
        ray.shutdown()


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


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the answer to SIGTERM: Ray installs a handler of its own that ends the process with a stack trace."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _connect(cluster: Cluster) -> None:
    import ray

    common: dict[str, Any] = {
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": True,
    }
    if cluster.address is None:
        ray.init(**common)
        return
    try:
        _knock(cluster.address)
        ray.init(address=cluster.address, **{key: common[key] for key in ("log_to_driver", "logging_level")})
    except (ConnectionError, RuntimeError, ValueError, OSError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"no Ray cluster at {cluster.address!r}: {reason}") from None


def _knock(address: str) -> None:
    """Raise an OSError if nothing listens at ``HOST:PORT``: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isascii() and port.isdigit():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S):
            pass


def gpus_of_a_run(jobs: Sequence["Job"], cluster: Cluster) -> float:
    """Return the share of a GPU that each of the jobs takes."""
    import ray

    wanted = {job.device.partition(":")[0] for job in jobs}
    if wanted == {"cpu"}:
        return 0.0
    if ray.cluster_resources().get("GPU", 0) == 0:
        if "cuda" in wanted:
            raise InputError("no node of the Ray cluster has a GPU (valid devices: auto, cpu)")
        return 0.0
    return 1.0 / cluster.trials_per_gpu


def check_room(jobs: Sequence["Job"]) -> None:
    """Raise an InputError if no machine has the CPUs that a job asks for."""
    import ray

    threads = max(job.config.train.threads for job in jobs)
    largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    if threads > largest:
        raise InputError(f"train.threads is {threads}, but no machine here has more than {largest} CPUs")
