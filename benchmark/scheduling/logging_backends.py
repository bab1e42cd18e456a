"""``--log``: the runs' metrics for TensorBoard, Weights & Biases and MLflow.

They are written by the driver, so that under Ray and in one process the same is written, and no run depends on it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.configuration import RunConfig
from benchmark.scheduling.progress import Display
from benchmark.store import Result, Store
from methods.errors import InputError, message_of, unknown

if TYPE_CHECKING:
    from rich.console import Console

PROJECT = "okdbench"

Log = tuple[Callable[[int, Mapping[str, float]], None], Callable[[Result], None]]
"""What writes an epoch's metrics, for its number; and what closes the log, for how the run ended."""


def tensorboard(run: RunConfig, folder: Path, first_epoch: int) -> Log:
    """Open event files in ``<run folder>/tensorboard``: ``tensorboard --logdir results/runs`` shows them all."""
    from torch.utils.tensorboard import SummaryWriter

    # what an earlier attempt wrote from here on is hidden
    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_epoch)
    writer.add_text("configuration", "\n".join(f"    {key}: {value}" for key, value in _flat(run).items()))

    def epoch(number: int, metrics: Mapping[str, float]) -> None:
        for key, value in metrics.items():
            writer.add_scalar(key, value, number)
        writer.flush()

    def end(result: Result) -> None:
        writer.add_text("result", f"{result.status} {result.reason}".strip())
        writer.close()

    return epoch, end


def wandb(run: RunConfig, folder: Path, first_epoch: int) -> Log:
    """Open a run of Weights & Biases; offline, in ``<run folder>/wandb``, unless WANDB_MODE says otherwise."""
    import wandb as library

    log: Any = library.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        id=f"{run.identity}-{first_epoch}" if first_epoch else run.identity,
        name=run.label,
        group=f"{run.method} {run.dataset} {run.backbone}",
        dir=str(folder),
        config=_flat(run),
        # without an account there would be a question to answer, and nothing here asks questions
        mode=os.environ.get("WANDB_MODE", "offline"),
        # under Ray several runs are open side by side
        reinit="create_new",
        settings=library.Settings(console="off", silent=True),
    )

    def end(result: Result) -> None:
        log.summary["status"] = str(result.status)
        log.finish(exit_code=0 if result.status.final else 1)

    return lambda number, metrics: log.log(metrics, step=number), end


def mlflow(run: RunConfig, folder: Path, first_epoch: int) -> Log:
    """Open a run of MLflow in ``<results>/mlflow.db`` unless MLFLOW_TRACKING_URI names another place."""
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    results = folder.parents[1].absolute()
    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{results}/mlflow.db"))
    found = client.get_experiment_by_name(PROJECT)
    artifacts = (results / "mlflow-artifacts").as_uri()
    experiment = found.experiment_id if found else client.create_experiment(PROJECT, artifacts)
    log = client.create_run(experiment, tags={"mlflow.runName": run.label, "identity": run.identity}).info.run_id
    client.log_batch(log, params=[Param(key, str(value)) for key, value in _flat(run).items()])

    def epoch(number: int, metrics: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        client.log_batch(log, metrics=[Metric(key, value, now, number) for key, value in metrics.items()])

    def end(result: Result) -> None:
        client.set_tag(log, "status", str(result.status))
        client.set_terminated(log, "FINISHED" if result.status.final else "FAILED")

    return epoch, end


BACKENDS: Mapping[str, Callable[[RunConfig, Path, int], Log]] = {
    "tensorboard": tensorboard,
    "wandb": wandb,
    "mlflow": mlflow,
}
"""By the words that ``--log`` takes, the names of packages: each opens a run's log in its folder, from an epoch on."""


def check(value: Any) -> tuple[str, ...]:
    """Return the backends' names for what ``log`` says: words between commas, a list, or None.

    Raises:
        InputError: For an unknown name, or a backend that is not installed.
    """
    words = value.split(",") if isinstance(value, str) else value or []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InputError(f"log takes names separated by commas (given: {value!r})")
    names = tuple(dict.fromkeys(word.strip() for word in words if word.strip()))
    for name in names:
        if name not in BACKENDS:
            raise unknown("log", name, BACKENDS)
        if find_spec(name) is None:
            raise InputError(f"--log {name} needs a package: pip install 'okdbench[{name}]'")
    return names


class LoggingDisplay(Display):
    """A display that tells some backends of everything; one that fails says so once and is left alone."""

    def __init__(
        self, total: int, console: "Console", name: Callable[[RunConfig], str], backends: Sequence[str], store: Store
    ) -> None:
        super().__init__(total, console, name)
        self.store = store
        self.backends = list(backends)
        self._open: dict[tuple[str, str], Log] = {}

    def epoch(self, run: RunConfig, row: Mapping[str, float]) -> None:
        """Pass the metrics on; no log is opened before there is something to write."""
        super().epoch(run, row)
        number = int(row["epoch"])
        metrics = {key: float(value) for key, value in row.items() if key != "epoch" and value is not None}
        for backend in tuple(self.backends):
            key = backend, run.identity
            with self._guarded(run, backend):
                if key not in self._open:
                    self._open[key] = BACKENDS[backend](run, self.store.folder(run), number)
                self._open[key][0](number, metrics)

    def ended(self, run: RunConfig, result: Result) -> None:
        """Close the run's logs."""
        super().ended(run, result)
        for backend in tuple(self.backends):
            if log := self._open.pop((backend, run.identity), None):
                with self._guarded(run, backend):
                    log[1](result)

    @contextmanager
    def _guarded(self, run: RunConfig, backend: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.backends.remove(backend)
            self.note(run, f"--log {backend} failed and is left alone from here on: {message_of(error)}")


def _flat(config: RunConfig) -> dict[str, Any]:
    content = config.model_dump(mode="json")
    flat = {key: value for key, value in content.items() if not isinstance(value, dict)}
    for section in ("train", "data", "hyperparameters"):
        flat |= {f"{section}.{key}": value for key, value in content[section].items()}
    return flat | {"identity": config.identity}
