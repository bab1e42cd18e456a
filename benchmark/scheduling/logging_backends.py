"""``--log``: the runs' metrics for TensorBoard, Weights & Biases and MLflow.

They are written by the driver, so that under Ray and in one process the same is written, and no run depends on it.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark.configuration import RunConfig
from benchmark.scheduling.progress import Observer
from benchmark.store import Result, Store
from methods.errors import InputError, message_of, unknown

Row = Mapping[str, float]

PROJECT = "okdbench"


class TensorBoardLog:
    """Event files in ``<run folder>/tensorboard``: ``tensorboard --logdir results/runs`` shows them all."""

    def __init__(self, config: RunConfig, folder: Path, first_epoch: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # what an earlier attempt wrote from here on is hidden
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_epoch)
        self.writer.add_text("configuration", "\n".join(f"    {key}: {value}" for key, value in _flat(config).items()))

    def epoch(self, row: Row) -> None:
        """Write a scalar per metric."""
        for key, value in _metrics(row).items():
            self.writer.add_scalar(key, value, int(row["epoch"]))
        self.writer.flush()

    def end(self, result: Result) -> None:
        """Note how the run ended."""
        self.writer.add_text("result", f"{result.status} {result.reason}".strip())
        self.writer.close()


class WandbLog:
    """A run of Weights & Biases; offline, in ``<run folder>/wandb``, unless WANDB_MODE says otherwise."""

    def __init__(self, config: RunConfig, folder: Path, first_epoch: int) -> None:
        import wandb

        self.run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=f"{config.identity}-{first_epoch}" if first_epoch else config.identity,
            name=config.label,
            group=f"{config.method} {config.dataset} {config.backbone}",
            dir=str(folder),
            config=_flat(config),
            # without an account there would be a question to answer, and nothing here asks questions
            mode=os.environ.get("WANDB_MODE", "offline"),
            # under Ray several runs are open side by side
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )

    def epoch(self, row: Row) -> None:
        """Log the metrics as one step."""
        self.run.log(_metrics(row), step=int(row["epoch"]))

    def end(self, result: Result) -> None:
        """Note how the run ended."""
        self.run.summary["status"] = str(result.status)
        self.run.finish(exit_code=0 if result.status.final else 1)


class MlflowLog:
    """A run of MLflow in ``<results>/mlflow.db`` unless MLFLOW_TRACKING_URI names another place."""

    def __init__(self, config: RunConfig, folder: Path, first_epoch: int) -> None:
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        results = folder.parents[1]
        self.metric = Metric
        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{results.absolute()}/mlflow.db"))
        found = self.client.get_experiment_by_name(PROJECT)
        artifacts = (results.absolute() / "mlflow-artifacts").as_uri()
        experiment = found.experiment_id if found else self.client.create_experiment(PROJECT, artifacts)
        tags = {"mlflow.runName": config.label, "identity": config.identity}
        self.run_id = self.client.create_run(experiment, tags=tags).info.run_id
        self.client.log_batch(self.run_id, params=[Param(key, str(value)) for key, value in _flat(config).items()])

    def epoch(self, row: Row) -> None:
        """Log the metrics as one batch."""
        epoch = int(row["epoch"])
        metrics = [self.metric(key, value, int(1000 * time.time()), epoch) for key, value in _metrics(row).items()]
        self.client.log_batch(self.run_id, metrics=metrics)

    def end(self, result: Result) -> None:
        """Note how the run ended."""
        self.client.set_tag(self.run_id, "status", str(result.status))
        self.client.set_terminated(self.run_id, "FINISHED" if result.status.final else "FAILED")


BACKENDS: Mapping[str, Callable[[RunConfig, Path, int], Any]] = {
    "tensorboard": TensorBoardLog,
    "wandb": WandbLog,
    "mlflow": MlflowLog,
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


class LoggingObserver:
    """Tells a display and some backends of everything; a backend that fails says so once and is left alone."""

    def __init__(self, display: Observer, names: Iterable[str], store: Store) -> None:
        self.display = display
        self.store = store
        self.names = list(names)
        self._open: dict[tuple[str, str], Any] = {}

    def started(self, run: RunConfig) -> None:
        """A run has begun; no log is opened before there is something to write."""
        self.display.started(run)

    def note(self, run: RunConfig, line: str) -> None:
        """There is something to say to a person."""
        self.display.note(run, line)

    def epoch(self, run: RunConfig, row: Any) -> None:
        """Pass the metrics on."""
        self.display.epoch(run, row)
        for name in tuple(self.names):
            with self._guarded(run, name):
                if (name, run.identity) not in self._open:
                    log = BACKENDS[name](run, self.store.folder(run), int(row["epoch"]))
                    self._open[name, run.identity] = log
                self._open[name, run.identity].epoch(row)

    def ended(self, run: RunConfig, result: Result) -> None:
        """Close the run's logs."""
        self.display.ended(run, result)
        for name in tuple(self.names):
            if (log := self._open.pop((name, run.identity), None)) is not None:
                with self._guarded(run, name):
                    log.end(result)

    @contextmanager
    def _guarded(self, run: RunConfig, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.names.remove(name)
            self.display.note(run, f"--log {name} failed and is left alone from here on: {message_of(error)}")


def with_logs(display: Observer, names: Sequence[str], store: Store) -> Observer:
    """Return an observer that tells the display and each of the backends."""
    return LoggingObserver(display, names, store) if names else display


def _metrics(row: Row) -> dict[str, float]:
    return {key: float(value) for key, value in row.items() if key != "epoch" and value is not None}


def _flat(config: RunConfig) -> dict[str, Any]:
    content = config.model_dump(mode="json")
    flat = {key: value for key, value in content.items() if not isinstance(value, dict)}
    for section in ("train", "data", "hyperparameters"):
        flat |= {f"{section}.{key}": value for key, value in content[section].items()}
    return flat | {"identity": config.identity}
