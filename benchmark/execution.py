"""One run from its folder to its result: what every engine does with it."""

import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from benchmark import atomic, environment
from benchmark.config import RunConfig
from benchmark.datasets import Dataset
from benchmark.devices import choose_device
from benchmark.store import Result, Status, Store
from benchmark.training import DivergedError, Row, Trainer


@dataclass(frozen=True)
class Job:
    """A run and how to carry it out; nothing here beside ``config`` changes its numbers on a given device.

    Attributes:
        config: The run.
        results: The results folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        save_students: Whether the students' weights are kept.
        plugins: Python files that define further methods.
    """

    config: RunConfig
    results: Path
    device: str = "auto"
    save_students: bool = False
    plugins: tuple[str, ...] = ()


class Execution:
    """A job under way: call :meth:`advance` until :attr:`result` is there.

    Whatever goes wrong inside the run becomes its result; it never disturbs another run.
    """

    def __init__(self, job: Job, dataset: Dataset) -> None:
        self.job = job
        self.dataset = dataset
        self.result: Result | None = None
        self._store = Store(job.results)
        self._trainer: Trainer | None = None
        self._rows: list[Row] = []
        self._begin = time.perf_counter()

    def advance(self) -> Row | None:
        """Train one epoch and return its metrics; None if the run ended without it."""
        try:
            return self._advance()
        except DivergedError as error:
            self._end(Result(Status.DIVERGED, str(error)))
        except Exception as error:
            folder = self._store.folder(self.job.config)
            folder.mkdir(parents=True, exist_ok=True)
            atomic.write_text(folder / "error.txt", traceback.format_exc())
            message = str(error).splitlines()[0] if str(error) else "no message"
            self._end(Result(Status.FAILED, f"{type(error).__name__}: {message}"))
        return None

    def _advance(self) -> Row:
        if self._trainer is None:
            self._store.begin(self.job.config)
            device = choose_device(self.job.device)
            self._trainer = Trainer(self.job.config, self.dataset, device, self.job.plugins)
        row = self._trainer.epoch()
        self._rows.append(row)
        self._store.write_metrics(self.job.config, self._rows)
        if self._trainer.done:
            if self.job.save_students:
                self._trainer.save_students(self._store.folder(self.job.config))
            self._end(Result(Status.FINISHED))
        return row

    def _end(self, result: Result) -> None:
        trainer = self._trainer
        described = Result(
            status=result.status,
            reason=result.reason,
            seconds=time.perf_counter() - self._begin,
            environment=environment.versions() | self._device(),
            cost={"parameters": sum(parameter.numel() for parameter in trainer.parameters)} if trainer else None,
            students=trainer.method.students if trainer else (),
        )
        self._store.write_result(self.job.config, described)
        self.result = described
        self._trainer = None

    def _device(self) -> dict[str, str]:
        if self._trainer is None:
            return {}
        arithmetic = self._trainer.arithmetic
        return {
            "device": arithmetic.device.type,
            "hardware": environment.device_name(str(arithmetic.device)),
            "precision": arithmetic.precision,
            "deterministic": str(arithmetic.deterministic).lower(),
        }
