"""How Ray is started or joined: nothing in a person's folder, environment or machine decides what is trained."""

import fcntl
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmark.console import same_command
from benchmark.errors import MachineError
from benchmark.store import environment
from methods.errors import InputError, message_of
from methods.plugins import OWN_PACKAGES

# Ray reads these when it is imported: no telemetry, no log files per trial, no chatter
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # no process per core in advance: a trial gets one of its own in any case
    "RAY_prestart_worker_first_driver": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_SYNCER": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

# what Ray calls clusters on other systems; without them its servers listen on the loopback address alone
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

KNOCK_S = 10.0  # for a cluster's address to answer
KNOCKS = 3  # in vain, after which the head is dead
WATCH_S = 0.5  # between two looks at Ray's processes

SOCKET_NAME = 107  # bytes that the name of a Unix socket may have
# bytes that Ray adds to the folder in which it keeps its sockets
SOCKET_BELOW = len("/session_2026-12-31_23-59-59_999999_9999999/sockets/plasma_store.1")
SCRATCH = "okdbench-ray-"
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Cluster:
    """Where Ray runs and how it shares the machine out."""

    address: str | None = None  # of an existing cluster; None starts one on this machine for this command alone
    trials_per_gpu: int = 1  # runs in parallel on one GPU, at most
    gpus: tuple[int, ...] = ()  # of this machine that runs may use, as torch numbers them; empty for all


def set_environment(cluster: Cluster) -> None:
    """Set what Ray reads when it is imported, unless the person has set it."""
    settings = RAY_ENVIRONMENT if cluster.address else {**RAY_ENVIRONMENT, **LOOPBACK}
    os.environ.update({key: os.environ.get(key, value) for key, value in settings.items()})


@contextmanager
def ray_cluster(cluster: Cluster) -> Iterator[None]:
    """Start Ray, or join a cluster, for as long as the context lasts.

    Raises:
        InputError: If there is no cluster at the address that was given.
        MachineError: If Ray does not start on this machine.
    """
    set_environment(cluster)
    import ray

    # a trial whose process died is reported by us, in one line
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    answer_to_sigterm = signal.getsignal(signal.SIGTERM)
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(_base_of_sockets()))
        # before the folder is removed
        stack.callback(ray.shutdown)
        (empty := folder / "empty").mkdir()
        try:
            # workers import from the working directory before they look elsewhere
            with chdir(empty):
                _connect(cluster, folder)
        except SystemExit:
            # Ray's own answer to SIGTERM, which it installs while it starts
            raise KeyboardInterrupt from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, answer_to_sigterm)
        stack.enter_context(_watched(cluster))
        yield


def _connect(cluster: Cluster, folder: Path) -> None:
    import ray
    from ray.job_config import JobConfig

    # Ray lets workers import from the folder of the command before anything else; that of this process is added here
    job = JobConfig(_py_driver_sys_path=own_folders())
    common: dict[str, Any] = {"job_config": job, "log_to_driver": False, "logging_level": logging.ERROR}
    if cluster.address is None:
        try:
            with _visible(cluster.gpus):
                ray.init(
                    # never a cluster that happens to be there, whatever RAY_ADDRESS or an earlier `ray start` says
                    address="local",
                    num_cpus=usable_cpus(),
                    num_gpus=len(cluster.gpus) or None,
                    include_dashboard=False,
                    configure_logging=True,
                    _temp_dir=str(folder),
                    **common,
                )
        except Exception as error:
            raise MachineError(f"Ray does not start on this machine: {message_of(error)}") from None
        return
    raw = folder / "stderr"
    try:
        host, port = _host_and_port(cluster.address)
        if port and not _answers(host, port):
            raise ConnectionError("nothing answers there")
        with _error_stream_in(raw):
            ray.init(address=cluster.address, **common)
    except (ConnectionError, RuntimeError, ValueError, OSError, OverflowError) as error:
        if raw.is_file() and "AuthToken" in raw.read_text(errors="replace"):
            raise InputError(
                f"the Ray cluster at {cluster.address!r} does not accept this command's token: "
                "export RAY_AUTH_MODE=token and the RAY_AUTH_TOKEN that its nodes were started with"
            ) from None
        raise InputError(f"no Ray cluster at {cluster.address!r}: {message_of(error)}") from None


def usable_cpus() -> int:
    """Return how many CPUs this process may use: ``taskset``, a batch system or a container may leave it a share."""
    import joblib

    return int(joblib.cpu_count())


def own_folders() -> list[str]:
    """Return the folders from which this process imports this project's packages."""
    found = [Path(str(import_module(name).__file__)).resolve().parents[1] for name in OWN_PACKAGES]
    return list(dict.fromkeys(map(str, found)))


def check_code(planned: str) -> None:
    """Raise a RuntimeError unless this process runs the code with this hash; empty where nobody asks."""
    if planned and planned != environment.source_hash():
        raise RuntimeError(
            f"the worker on {socket.gethostname()} runs other code than the command, from {own_folders()[0]}: "
            "install the same version on every machine, and give the command again after a change"
        )


@contextmanager
def _visible(gpus: Sequence[int]) -> Iterator[None]:
    """Let what is started here see these GPUs alone: a worker is given one of them, which it calls ``cuda``."""
    before = os.environ.get(VISIBLE)
    if gpus:
        names = before.split(",") if before else [str(number) for number in range(max(gpus) + 1)]
        os.environ[VISIBLE] = ",".join(names[number] for number in gpus)
    try:
        yield
    finally:
        if before is not None:
            os.environ[VISIBLE] = before
        elif gpus:
            del os.environ[VISIBLE]


@contextmanager
def _watched(cluster: Cluster) -> Iterator[None]:
    """End this process with one line if Ray dies: Ray would end it without a word, or after a minute.

    What is finished is stored, and runs under way have checkpoints: nothing is lost that an orderly end would keep.
    """
    import ray
    from ray._private.worker import _global_node

    started = getattr(_global_node, "all_processes", {})
    own = {kind: started[kind][0].process for kind in ("raylet", "gcs_server") if started.get(kind)}
    host, port = _host_and_port(ray.get_runtime_context().gcs_address)
    left = threading.Event()

    def dead() -> str:
        if cluster.address is None:
            return next((f"Ray's {kind}" for kind, process in own.items() if process.poll() is not None), "")
        # one refusal may be that of a busy machine
        for _ in range(KNOCKS):
            if _answers(host, port) or left.wait(WATCH_S):
                return ""
        return f"the head of the Ray cluster at {cluster.address}"

    def watch() -> None:
        while not left.wait(WATCH_S if cluster.address is None else 4 * WATCH_S):
            if (what := dead()) and not left.is_set():
                line = f"{what} has died (killed, or out of memory)"
                print(f"bench: {line}; what is finished is kept, resume with: {same_command()}", file=sys.stderr)
                os._exit(1)

    threading.Thread(target=watch, name="watch-ray", daemon=True).start()
    try:
        yield
    finally:
        left.set()


@contextmanager
def _error_stream_in(path: Path) -> Iterator[None]:
    """Let a file take what libraries write to the error stream past Python: lines of Ray's, which name no cause."""
    before = os.dup(2)
    try:
        with path.open("wb") as stream:
            os.dup2(stream.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _host_and_port(address: str) -> tuple[str, int]:
    """Return the parts of ``HOST:PORT``; no port for another form of address."""
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if host and "/" not in host and port.isascii() and port.isdigit() else ("", 0)


def _answers(host: str, port: int) -> bool:
    """Return whether something listens at a port: Ray would try for minutes."""
    with suppress(OSError), socket.create_connection((host, port), timeout=KNOCK_S):
        return True
    return False


# ---- folders that Ray writes to while it runs: of no use to anyone afterwards ----


def _base_of_sockets() -> Path:
    """Return a folder whose name leaves room for Ray's sockets, the usual one of temporary files if it does."""
    for base in _temporary_folders():
        room = SOCKET_NAME - SOCKET_BELOW - len(os.fsencode(base)) - len(f"/{SCRATCH}12345678")
        if room >= 0 and os.access(base, os.W_OK | os.X_OK):
            return base
    raise MachineError(
        f"the name of {tempfile.gettempdir()} is too long for Ray's sockets, and nothing shorter can be written to: "
        "set TMPDIR to a folder with a short name"
    )


@contextmanager
def scratch_folder(base: Path | None = None) -> Iterator[Path]:
    """Make a folder that is locked by this process and removed at the end; by default among the temporary files."""
    lock = 0
    while not lock:
        # another command may take it for one that nobody holds, and remove it
        path = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=base))
        lock = _locked(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def remove_scratch_folders() -> None:
    """Remove the folders of processes that were killed."""
    for path in (path for base in _temporary_folders() for path in base.glob(f"{SCRATCH}*")):
        if lock := _locked(path):
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _temporary_folders() -> list[Path]:
    """Return where folders may be made, the usual place of temporary files first."""
    return [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")]  # noqa: S108 - in a folder of our own


def _locked(path: Path) -> int:
    """Lock a folder, which the system undoes when the process dies; return 0 if another has it, or it is not ours."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            here, there = os.fstat(descriptor), path.stat()
            if here.st_uid == os.geteuid() and here.st_ino == there.st_ino:
                return descriptor
        os.close(descriptor)
    return 0


def cause_of(text: str) -> str:
    """Return on one line why a process of Ray ended, for what Ray says of it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    imports = [line for line in lines if line.startswith(("ModuleNotFoundError", "ImportError"))]
    if imports:
        return f"its process cannot import what the command imports ({imports[-1]})"
    if "ray::" in text and "died unexpectedly" not in text:
        return f"its process ended with an error: {lines[-1]}"
    return "its process died (killed, or out of memory)"
