"""How the runs get on: a live table on a terminal, else plain lines; and ``--log``, their metrics for other tools.

Both are written by the driver, so that under Ray and in one process the same is written, and no run depends on it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn

from benchmark.configuration import RunConfig, names
from benchmark.console import say
from benchmark.escaping import visible
from benchmark.formatting import duration
from benchmark.store import Result, Status, Store
from methods.errors import InputError, message_of, unknown

PLAIN_INTERVAL_S = 60.0
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


def check_log(value: Any) -> tuple[str, ...]:
    """Return the backends' names for what ``log`` says: words between commas, a list, or None.

    Raises:
        InputError: For an unknown name, or a backend that is not installed.
    """
    chosen = () if value is None else tuple(names("log", value))
    for name in chosen:
        if name not in BACKENDS:
            raise unknown("log", name, BACKENDS)
        if find_spec(name) is None:
            raise InputError(f"--log {name} needs a package: pip install 'okdbench[{name}]'")
    return chosen


class Display(Progress):
    """A line when a run begins and ends, and one per minute in between; on a terminal a live table of the runs.

    What ``--log`` names is told of every metric; what fails there is said once, and that backend is left alone.
    """

    def __init__(
        self,
        total: int,
        console: Console,
        name: Callable[[RunConfig], str] = attrgetter("label"),
        backends: Sequence[str] = (),
        store: Store | None = None,
    ) -> None:
        """Show so many runs, by what ``name`` says they are called; backends write to the runs' folders in a store."""
        # a string would be markup of Rich's, and an epoch may take longer than what its speed is estimated from
        labels, students = (TextColumn(form, markup=False) for form in ("{task.description}", "{task.fields[student]}"))
        super().__init__(
            *(labels, MofNCompleteColumn(), BarColumn(20), students, TimeRemainingColumn()),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            speed_estimate_period=float("inf"),
        )
        self.total, self.name, self.backends, self.store = total, name, list(backends), store
        self.all_runs = self.add_task("runs ended", total=total, student="")
        self._shown: dict[str, Task] = {}
        self._logs: dict[tuple[str, str], Log] = {}
        self._ended = self._failed = 0

    def started(self, run: RunConfig) -> None:
        """Show a run that has begun."""
        self.add_task(visible(self.name(run)), total=run.train.epochs, student="", said=time.monotonic())
        self._shown[run.identity] = self.tasks[-1]
        if self.disable:
            say(self.console, f"started   {self.name(run)}")

    def note(self, run: RunConfig, line: str) -> None:
        """Show what there is to say of a run."""
        say(self.console, f"note      {self.name(run)}: {line}")

    def epoch(self, run: RunConfig, row: Mapping[str, float]) -> None:
        """Show the end of an epoch."""
        task, number = self._shown[run.identity], int(row["epoch"])
        if (accuracy := row.get("student")) is not None:
            task.fields["student"] = f"{accuracy:.2f} %"
        self.update(task.id, completed=number + 1)
        if self.disable and time.monotonic() - task.fields["said"] >= PLAIN_INTERVAL_S:
            task.fields["said"] = time.monotonic()
            left = f"{duration(task.time_remaining)} left"
            parts = [f"epoch {number + 1}/{run.train.epochs}", task.fields["student"], left]
            say(self.console, f"running   {self.name(run)}: {', '.join(filter(None, parts))}")
        metrics = {key: float(value) for key, value in row.items() if key != "epoch" and value is not None}
        for backend in tuple(self.backends):
            with self._guarded(run, backend):
                key = backend, run.identity
                # no log is opened before there is something to write
                if key not in self._logs and self.store is not None:
                    self._logs[key] = BACKENDS[backend](run, self.store.folder(run), number)
                self._logs[key][0](number, metrics)

    def ended(self, run: RunConfig, result: Result) -> None:
        """Show how a run ended, and close its logs."""
        student = ""
        if task := self._shown.pop(run.identity, None):
            student = task.fields["student"]
            self.remove_task(task.id)
        self._ended += 1
        self._failed += result.status not in (Status.FINISHED, Status.UNFINISHED)
        failed = f"{self._failed} failed" if self._failed else ""
        self.update(self.all_runs, completed=self._ended, student=failed)
        took = f"({duration(result.seconds)}, {self._ended} of {self.total})"
        parts = filter(None, [self.name(run), student, result.reason])
        say(self.console, f"{result.status:<9} {': '.join(parts)} {took}")
        for backend in tuple(self.backends):
            if log := self._logs.pop((backend, run.identity), None):
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
