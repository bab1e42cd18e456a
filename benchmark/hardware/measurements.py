"""The measurements of ``bench doctor --deep``, and the processes that carry them out."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves_with_path

from benchmark.configuration import Request, RunConfig, complete_methods, recipes
from benchmark.datasets import Shape, random_dataset
from benchmark.hardware.report import Mode, ParallelSpeed, Repeat, StepSpeed
from benchmark.speed.measure import measure, random_runs, random_shape
from benchmark.speed.timing import timed, trainer_for, training_step, warm_up
from benchmark.training import Precision, Trainer, check_settings, checkpoints
from methods.errors import InputError

TABLE = "pcl_table"
"""The recipe of the published table: its last method, on its first network, is measured most thoroughly."""

SMALL_BACKBONES = ("resnet8", "resnet20")
REPETITIONS, MEASURED_S = 3, 0.2
"""Of the measurements of a step."""


@dataclass(frozen=True)
class Workload:
    """What is measured on a device: the published table's methods and networks, smaller where it is no accelerator."""

    device: torch.device
    methods: tuple[str, ...]  # all that need nothing else, the table's own method first
    backbones: tuple[str, ...]  # the table's, or smaller ones
    batch_size: int
    precisions: tuple[Precision, ...]  # in which runs are trained on the device, the default first
    sections: dict[str, dict[str, Any]]  # hyperparameters by method
    small: bool  # whether networks and batches are smaller than the table's

    @classmethod
    def of(cls, device: torch.device) -> "Workload":
        """Return what is measured on that device."""
        table = recipes.read(recipes.find(TABLE))
        own = table["methods"][-1]
        cuda = device.type == "cuda"
        return cls(
            device=device,
            methods=(own, *(name for name in complete_methods(Request([{}])) if name != own)),
            backbones=tuple(table["backbone"]) if cuda else SMALL_BACKBONES,
            batch_size=128 if cuda else 16,
            precisions=("tf32", "bf16") if cuda else ("fp32", "bf16"),
            sections={name: dict(table[name]) for name in table["methods"] if name in table},
            small=not cuda,
        )

    @property
    def shape(self) -> Shape:
        """Of CIFAR-100."""
        return random_shape(100, 32)

    def run(self, method: str, backbone: str, precision: Precision, mode: Mode = "eager", **train: Any) -> RunConfig:
        """Return one run."""
        settings: dict[str, Any] = {"batch_size": self.batch_size, "threads": 1, "precision": precision}
        settings |= {"graph": mode == "graph", "compile": mode == "compiled"}
        own = {method: self.sections[method]} if method in self.sections else {}
        (run,) = random_runs(method, backbone, settings | train, own)
        return run

    def main_run(self, mode: Mode = "eager") -> RunConfig:
        """Return the run of the table's own method on the first network, in the default precision."""
        return self.run(self.methods[0], self.backbones[0], self.precisions[0], mode)


# ---- the same bits ----

EPOCHS, BATCH, BATCHES = 2, 8, 7
"""Seven steps per epoch: where a step is recorded, the fourth is the first that is replayed."""


def repeats(workload: Workload, method: str, precision: Precision) -> list[Repeat]:
    """Train the same small run twice, and once from a checkpoint half-way."""
    whole = _result(_small_trainer(workload, method, precision))
    again = _result(_small_trainer(workload, method, precision))
    interrupted = _small_trainer(workload, method, precision)
    first = interrupted.epoch()
    with TemporaryDirectory(prefix="bench-doctor-") as folder:
        checkpoints.save(Path(folder), {"trainer": interrupted.state()})
        stored = checkpoints.load(Path(folder)) or {}
    resumed = _small_trainer(workload, method, precision)
    resumed.load_state(stored["trainer"])
    return [
        Repeat(what="again", method=method, precision=precision, differs=_difference(whole, again)),
        Repeat(what="resumed", method=method, precision=precision, differs=_difference(whole, _result(resumed, first))),
    ]


def recorded_repeat(workload: Workload, method: str, precision: Precision, optimizer: str) -> Repeat:
    """Train a small run with standard steps and with recorded ones."""
    recorded = _small_trainer(workload, method, precision, graph=True, optimizer=optimizer)
    other = _result(recorded)
    refusal = recorded.recorded.refusal if recorded.recorded else None
    differs = _difference(_result(_small_trainer(workload, method, precision, optimizer=optimizer)), other)
    return Repeat(
        what="recorded", method=method, precision=precision, optimizer=optimizer, differs=differs, refusal=refusal
    )


def _small_trainer(workload: Workload, method: str, precision: Precision, **train: Any) -> Trainer:
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "deterministic": True, "graph": False, **train}
    run = workload.run(method, "resnet8", precision, **settings)
    return Trainer(run, random_dataset(Shape(BATCH * BATCHES, BATCH, 4, 3, 8)), workload.device)


def _result(trainer: Trainer, *rows: dict[str, float]) -> dict[str, Any]:
    found = list(rows)
    while not trainer.done:
        found.append(trainer.epoch())
    return {"metrics": [{**row, "seconds": 0.0} for row in found], "state": trainer.method.state_dict()}


def _difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """Return where two results differ first, or None."""
    for (path, mine), (_, other) in zip(tree_leaves_with_path(ours), tree_leaves_with_path(theirs), strict=True):
        same = torch.equal(mine, other) if isinstance(mine, Tensor) else mine == other
        if not same:
            return ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)
    return None


# ---- training steps ----


def refused_mode(workload: Workload, mode: Mode) -> StepSpeed | None:
    """Return why the device takes no step in a mode, or None."""
    run = workload.main_run(mode)
    try:
        check_settings([run], workload.device)
    except InputError as error:
        return no_speed(run, mode, str(error))
    return None


def step_speed(
    workload: Workload, method: str, backbone: str, precision: Precision, mode: Mode
) -> tuple[StepSpeed, float]:
    """Measure the step of one combination; return the rate of matrix products in GFLOP/s too."""
    run = workload.run(method, backbone, precision, mode)
    found = measure(run, workload.shape, str(workload.device), REPETITIONS, seconds=MEASURED_S)
    measured = {
        "images_per_s": found.train_images_per_s,
        "matrix_share": found.fraction_of_matmul_rate,
        "peak_mib": found.peak_memory_mib,
    }
    refusal = next(iter(found.notes), None)
    speed = no_speed(run, mode, refusal)
    return speed if refusal else speed.model_copy(update=measured), found.matmul_gflop_per_s.median


def no_speed(run: RunConfig, mode: Mode, refusal: str | None = None) -> StepSpeed:
    """Return that a step was not measured, and why."""
    return StepSpeed(
        method=run.method,
        backbone=run.backbone,
        batch_size=run.train.batch_size,
        precision=run.train.precision or "fp32",
        mode=mode,
        refusal=refusal,
    )


# ---- processes ----

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

START_S = 60.0
"""That a process may take to import torch and take its first step."""

BLOCK_S = 0.2
"""Steps are taken in blocks of this length; only at the end of each the device is waited for."""


class PartProcess:
    """Carries measurements out in a process of its own, and in a fresh one after each that failed.

    An error that leaves a device unusable to its process thus spoils one measurement alone.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def __call__(
        self, measure: Callable[Arguments, Answer], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Answer:
        """Return what a measurement gives.

        Raises:
            Exception: What the measurement raised, or a RuntimeError if its process died.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        try:
            return self._pool.submit(measure, *arguments, **options).result()
        except InputError:
            raise
        except Exception as error:
            self.close()
            if isinstance(error, BrokenProcessPool):
                raise RuntimeError("its process died (killed, or out of memory)") from None
            raise

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


class ParallelRuns:
    """Processes that each have a run ready, and take its steps when they are told to."""

    def __init__(self, run: RunConfig, shape: Shape, device_name: str, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._batch_size = run.train.batch_size
        self._ready = 0
        self._alone: float | None = None
        self._ends: list[Connection] = []
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_take_steps, args=(theirs, run, shape, device_name), daemon=True)
            process.start()
            # so that a process which ends is seen as the end of its messages
            theirs.close()
            self._ends.append(ours)
            self._processes.append(process)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def wait(self, seconds: float) -> int:
        """Wait at most so long for all to be ready; return how many are."""
        until = time.perf_counter() + seconds
        with suppress(EOFError, OSError):
            while self._ready < len(self._ends):
                if not self._ends[self._ready].poll(max(0.0, until - time.perf_counter())):
                    break
                self._ends[self._ready].recv()
                self._ready += 1
        return self._ready

    def measure(self, runs: int, seconds: float) -> ParallelSpeed | None:
        """Let the first runs take steps for so long at the same time; None if one of them ended or took too long."""
        begin = time.time() + 0.05
        rates: list[float] = []
        try:
            for end in self._ends[:runs]:
                end.send((begin, seconds))
            for end in self._ends[:runs]:
                if not end.poll(seconds + START_S):
                    return None
                rates.append(self._batch_size * float(end.recv()))
        except (EOFError, OSError):
            return None
        if self._alone is None:
            self._alone = rates[0]
        return ParallelSpeed(runs=runs, images_per_s=rates, gain=sum(rates) / self._alone)


def _take_steps(end: Connection, run: RunConfig, shape: Shape, device_name: str) -> None:
    trainer = trainer_for(run, shape, device_name)
    step, device = training_step(trainer), trainer.arithmetic.device
    warm_up(trainer, step, 5)
    block = max(1, round(BLOCK_S / timed(step, 3, device)))
    end.send("ready")
    with suppress(EOFError):
        while True:
            begin, seconds = end.recv()
            time.sleep(max(0.0, begin - time.time()))
            first, taken = time.perf_counter(), 0
            while time.perf_counter() - first < seconds:
                # where many runs are on the device, so many steps of each take longer
                timed(step, block, device)
                taken += block
            end.send(taken / (time.perf_counter() - first))
