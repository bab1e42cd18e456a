"""One run from its folder to its result, which every engine carries out so; and the engine for one after another."""

import errno
import re
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from benchmark import datasets, training
from benchmark.configuration import RunConfig, sources
from benchmark.datasets import Dataset
from benchmark.scheduling.cluster import check_code
from benchmark.scheduling.jobs import NOT_BEGUN, EpochTimer, Job
from benchmark.scheduling.progress import Display
from benchmark.speed.cost import run_cost
from benchmark.store import ERROR, Result, Status, Store, atomic, environment, write_predictions
from benchmark.training import CollapsedError, DivergedError, RecordingError, Row, Trainer, checkpoints
from methods.errors import message_of

# for another process to let go of a run: a worker whose driver was killed needs a moment to notice
PATIENCE_S = 20.0
# of a run's time that writing checkpoints may take; an epoch a hundred times as long as the writing is always kept
CHECKPOINT_SHARE = 0.01


class Execution:
    """A run under way.

    It resumes from the run's checkpoint, if there is one. Whatever goes wrong inside the run becomes its result; it
    never disturbs another run.
    """

    def __init__(self, config: RunConfig, job: Job, dataset: Dataset, timer: EpochTimer | None = None) -> None:
        """Take a run, how it is carried out, its images, and the times of this process's epochs (its own for None)."""
        self.config = config
        self.job = job
        self.dataset = dataset
        self.result: Result | None = None  # how the run ended, once it has
        self._notes: list[str] = []
        self.rows: list[Row] = []  # the metrics of its epochs so far, those before an interruption included
        self._store = Store(job.results)
        self._folder = self._store.folder(config)
        self._held = ExitStack()
        self._trainer: Trainer | None = None
        self._record = True
        self._seconds = self._saving_took = 0.0
        self._begun = self._saved = time.perf_counter()
        self._unsaved = False
        self._timer = timer or EpochTimer(job.limit)
        self._kind = config.model_copy(update={"seed": 0}).identity

    def has_time(self) -> bool:
        """Return whether an epoch that begins now would end in time."""
        return self._timer.allows(self._kind, self._saving_took)

    def train(self, epochs: float = float("inf")) -> Iterator[tuple[str, Any]]:
        """Train until so many epochs are done, or to the end, and yield what a display is told, and of what.

        That is ``note`` and a line, ``epoch`` and its metrics, or ``ended`` and the result.
        """
        result = self.result
        while result is None and len(self.rows) < epochs:
            row = None
            try:
                row = self._epoch()
            except RecordingError as error:
                again = "the run is repeated from its last checkpoint with standard steps"
                self._notes.append(f"{_first_line(error)}: {again}")
                self.release()
                self._record, self.rows, self._unsaved = False, [], False
            except (DivergedError, CollapsedError) as error:
                self._end(Status.DIVERGED if isinstance(error, DivergedError) else Status.COLLAPSED, str(error))
            except Exception as error:
                if training.is_out_of_memory(error):
                    self._end(Status.OUT_OF_MEMORY, self._memory(error))
                else:
                    # a full disk has no room for it: how the run ended says so
                    with suppress(OSError):
                        self._folder.mkdir(parents=True, exist_ok=True)
                        atomic.write_text(self._folder / ERROR, traceback.format_exc())
                    self._end(Status.FAILED, f"{type(error).__name__}: {_first_line(error)}")
            result = self.result
            yield from (("note", line) for line in self._notes)
            self._notes.clear()
            if row is not None:
                yield "epoch", row
            if result is not None:
                yield "ended", result

    def stop(self, reason: str) -> None:
        """End the run before its last epoch, in a way that it can be resumed."""
        self._save_checkpoint()
        self._end(Status.STOPPED, reason)

    def release(self) -> None:
        """Let go of the run without a result: another process may take it up from its checkpoint."""
        self._trainer = None
        self._held.close()

    def _epoch(self) -> Row | None:
        config = self.config
        trainer = (self._trainer or self._start()) if self.has_time() else None
        if self.result is not None:
            return None
        # another process may have been waited for, or a teacher trained
        if trainer is None or not self.has_time():
            # nothing of the run is lost, and it has no result in the store
            if self._unsaved:
                self._save_checkpoint()
            self.release()
            done = f" after epoch {len(self.rows)} of {config.train.epochs}" if self.rows else ""
            self.result = Result(Status.UNFINISHED, f"time is up{done}", seconds=self._elapsed())
            return None
        with self._timer.epoch(self._kind):
            row = trainer.epoch()
            self._notes += trainer.take_notes()
            self.rows.append(row)
            self._unsaved = True
            self._store.write_metrics(config, self.rows)
            trainer.check_collapse(self.rows)
            if trainer.done:
                if self.job.save_students:
                    trainer.save_students(self._folder)
                if self.job.predictions:
                    write_predictions(self._folder, trainer.predictions(), self.job.predictions)
                self._end(Status.FINISHED)
                checkpoints.remove(self._folder)
            elif time.perf_counter() - self._saved >= self._saving_took / CHECKPOINT_SHARE:
                self._save_checkpoint()
            return row

    def _start(self) -> Trainer | None:
        """Take hold of the run and set it up; None, and a result, if there is nothing left to do."""
        job, config = self.job, self.config
        check_code(job.code)
        if not self._held.enter_context(self._store.lock(config, PATIENCE_S)):
            self.result = Result(Status.BUSY, "another command is carrying it out")
            return None
        if not job.force and (ended := self._store.final_result(config)) is not None:
            # another command finished it while this one waited
            self._held.close()
            self.result = ended
            return None
        # the plug-ins' code is kept beside the runs
        parts = (config.method, config.dataset, config.backbone)
        code = sources(*parts, job.plugins, datasets) if config.sources else {}
        for role, planned in config.sources.items():
            if role in code and code[role].hash != planned:
                raise _changed(f"code of the {role}")
        self._store.keep_sources(code.values())
        self._store.begin(config)
        checkpoints.remove_temporary(self._folder)
        trainer = self._new_trainer()
        try:
            if not job.force and (state := checkpoints.load(self._folder)) is not None:
                if state.get("run") != self._made_by():
                    raise checkpoints.DamagedError("the checkpoint is of another run, or of other code than this")
                trainer.load_state(state["trainer"])
                self.rows, self._seconds = state["rows"], state["seconds"]
                self._notes.append(f"resumed after epoch {state['trainer']['next_epoch']}")
        except Exception as error:
            if isinstance(error, OSError) or training.is_out_of_memory(error):
                raise
            damaged = isinstance(error, checkpoints.DamagedError)
            fault = str(error) if damaged else f"the checkpoint does not fit the run: {_first_line(error)}"
            aside = checkpoints.set_aside(self._folder)
            self._notes.append(f"{fault}: set aside as {aside.name}, the run starts from its beginning")
            trainer = self._new_trainer()
        self._store.write_metrics(config, self.rows)
        self._trainer = trainer
        return trainer

    def _new_trainer(self) -> Trainer:
        config = self.config
        trainer = Trainer(config, self.dataset, training.choose_device(self.job.device), self.job.plugins, self._record)
        for name, planned in config.files.items():
            # of the bytes that were loaded, where the method says so: the file may be another one by now
            loaded = trainer.method.loaded_files.get(name)
            if (loaded or sha256(Path(config.hyperparameters[name]).read_bytes()).hexdigest()) != planned:
                raise _changed(f"file of {name}")
        return trainer

    def _made_by(self) -> dict[str, str]:
        """Return what a checkpoint belongs to: the run, and the code that trains."""
        return {"identity": self.config.identity, "code": environment.source_hash(environment.TRAINING)}

    def _save_checkpoint(self) -> None:
        if self._trainer is None:
            return
        begin = time.perf_counter()
        state = {"trainer": self._trainer.state(), "rows": self.rows, "seconds": self._elapsed()}
        checkpoints.save(self._folder, {"run": self._made_by(), **state})
        self._unsaved = False
        self._saved = time.perf_counter()
        self._saving_took = self._saved - begin

    def _elapsed(self) -> float:
        return self._seconds + time.perf_counter() - self._begun

    def _end(self, status: Status, reason: str = "") -> None:
        trainer, made_with = self._trainer, dict(environment.versions())
        told: dict[str, Any] = {}
        if trainer is not None:
            method, arithmetic = trainer.method, trainer.arithmetic
            made_with |= {
                "device": arithmetic.device.type,
                "hardware": environment.device_name(str(arithmetic.device)),
                "precision": arithmetic.precision,
                "deterministic": str(arithmetic.deterministic).lower(),
                **({"cuda": str(torch.version.cuda)} if arithmetic.device.type == "cuda" else {}),
            }
            told = {"cost": run_cost(trainer), "students": method.students, "roles": dict(method.roles())}
            told["metrics"] = tuple(method.metrics)
        made_with["date"] = datetime.now(UTC).date().isoformat()
        result = Result(status, reason, self._elapsed(), made_with, **told)
        try:
            self._store.write_result(self.config, result)
        except OSError as error:
            # a full disk: the run is not ended on the disk, and the person is told what the store could not be
            result = replace(result, status=Status.FAILED, reason=_first_line(error))
        self.result = result
        self.release()

    def _memory(self, error: BaseException) -> str:
        """Return how much memory was asked for, and what would help."""
        asked = re.search(r"allocate ([\d.]+ \w+)", str(error))
        used = f" beside {training.peak_memory(self._trainer.arithmetic.device):,.0f} MiB" if self._trainer else ""
        return (
            f"it asked for {asked[1] if asked else 'memory'}{used} and did not get it; what helps: a smaller "
            "train.batch_size, train.precision=bf16, a smaller backbone or fewer peers"
        )


def _changed(what: str) -> RuntimeError:
    return RuntimeError(f"the {what} has changed since the run was planned: give the command again")


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"no space left on the disk of {error.filename or 'the results folder'}"
    return message_of(error)


def run_serially(runs: Sequence[RunConfig], job: Job, sets: Mapping[str, Dataset], display: Display) -> list[Result]:
    """Carry out runs in this process, in order, and return how they ended; without time the rest is not begun."""
    results: list[Result] = []
    timer = EpochTimer(job.limit)
    for run in runs:
        execution = Execution(run, job, sets[run.dataset], timer)
        if execution.has_time():
            display.started(run)
            for kind, what in execution.train():
                getattr(display, kind)(run, what)
        results.append(execution.result or NOT_BEGUN)
    return results
