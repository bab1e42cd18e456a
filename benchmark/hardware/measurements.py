"""The measurements of ``bench doctor --deep``, and the processes that carry them out."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.utils._pytree import tree_leaves_with_path

from benchmark.configuration import Request, RunConfig, complete_methods, recipes
from benchmark.datasets import Shape, random_dataset
from benchmark.speed.cost import timed, trainer_for, training_step, warm_up
from benchmark.speed.measure import Rate, measure, random_runs, random_shape
from benchmark.training import Precision, Trainer, checkpoints

Answer = TypeVar("Answer")
Mode = Literal["eager", "graph", "compiled"]
Positive = Annotated[float, Field(gt=0)]


class Found(BaseModel):
    """A part of the report."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Part(Found):
    """One part of the measurements."""

    title: str
    # whether all of it was measured; cut if time was too short
    status: Literal["complete", "cut", "failed", "not reached"] = "not reached"
    seconds: float = Field(0.0, ge=0)  # that it took
    notes: list[str] = []  # what was cut and what went wrong, one line each


class Check(Found):
    """Whether a run gives the numbers that it has to give."""

    # stored (losses of training steps from stored weights), again (a second identical run), resumed (from a
    # checkpoint) or recorded (steps replayed, against standard ones)
    what: Literal["stored", "again", "resumed", "recorded"]
    method: str
    arithmetic: Literal["float64", "fp32", "tf32", "bf16"]
    optimizer: str = "sgd"
    difference: float | None = None  # the largest from stored numbers, relative to their size where that is not small
    fault: str | None = None  # what differs; None if nothing does
    refusal: str | None = None  # why it was not carried out


class Speed(Found):
    """How fast runs of one method on one network train."""

    method: str
    backbone: str
    batch_size: int = Field(ge=1)
    precision: Precision
    mode: Mode
    runs: int = Field(1, ge=1)  # at the same time
    images_per_s: Rate | None = None  # of each run, on ready views; None where the step could not be taken
    gain: Positive | None = None  # of runs at the same time: all of them together relative to one alone
    matrix_gflop_per_s: Positive | None = None  # of matrix products in that precision
    matrix_share: Positive | None = None  # the step's operations per second relative to that rate
    peak_mib: Positive | None = None  # of the device; of the process on the CPU
    refusal: str | None = None  # why the step could not be taken in this mode


class DeviceReport(Found):
    """Everything that was found."""

    device: str  # the hardware, as its maker names it
    kind: str  # cpu or cuda
    versions: dict[str, str]  # of Python and the packages that decide numbers
    minutes: Positive  # that it might take
    seconds: float = Field(0.0, ge=0)  # that it took so far
    parts: list[Part]
    checks: list[Check] = []
    speeds: list[Speed] = []

    @property
    def sound(self) -> bool:
        """Whether no number differs and no part failed."""
        return not any(own.fault for own in self.checks) and all(part.status != "failed" for part in self.parts)


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


EPOCHS, BATCH, BATCHES = 2, 8, 7
"""Of the runs that have to give the same bits. Where a step is recorded, the fourth of seven is the first replayed."""


def repeats(workload: Workload, method: str, precision: Precision) -> list[Check]:
    """Train the same small run twice, and once from a checkpoint half-way."""
    whole, again = (_result(_small_trainer(workload, method, precision)) for _ in range(2))
    interrupted, resumed = (_small_trainer(workload, method, precision) for _ in range(2))
    first = interrupted.epoch()
    with TemporaryDirectory(prefix="bench-doctor-") as folder:
        checkpoints.save(Path(folder), {"trainer": interrupted.state()})
        resumed.load_state((checkpoints.load(Path(folder)) or {})["trainer"])
    setting: dict[str, Any] = {"method": method, "arithmetic": precision}
    return [
        Check(what="again", **setting, fault=_difference(whole, again)),
        Check(what="resumed", **setting, fault=_difference(whole, _result(resumed, first))),
    ]


def recorded_repeat(workload: Workload, method: str, precision: Precision, optimizer: str) -> list[Check]:
    """Train a small run with standard steps and with recorded ones."""
    recorded = _small_trainer(workload, method, precision, graph=True, optimizer=optimizer)
    standard = _small_trainer(workload, method, precision, optimizer=optimizer)
    fault = _difference(_result(standard), _result(recorded))
    refusal = recorded.recorded.refusal if recorded.recorded else None
    setting: dict[str, Any] = {"method": method, "arithmetic": precision, "optimizer": optimizer}
    return [Check(what="recorded", **setting, fault=fault, refusal=refusal)]


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


def step_speed(workload: Workload, method: str, backbone: str, precision: Precision, mode: Mode) -> list[Speed]:
    """Measure the step of one combination."""
    run = workload.run(method, backbone, precision, mode)
    measured = measure(run, workload.shape, str(workload.device), REPETITIONS, seconds=MEASURED_S)
    found = unmeasured(run, mode, next(iter(measured.notes), None))
    if found.refusal is None:
        found.images_per_s = measured.train_images_per_s
        found.matrix_gflop_per_s = measured.matmul_gflop_per_s.median
        found.matrix_share = measured.fraction_of_matmul_rate
        found.peak_mib = measured.peak_memory_mib
    return [found]


def unmeasured(run: RunConfig, mode: Mode, refusal: str | None) -> Speed:
    """Return the step of a run without its speed, and why it has none."""
    train, precision = run.train, run.train.precision or "fp32"
    setting: dict[str, Any] = {"method": run.method, "backbone": run.backbone, "batch_size": train.batch_size}
    return Speed(**setting, precision=precision, mode=mode, refusal=refusal)


START_S = 60.0
"""That a process may take to take its first steps."""

BLOCK_S = 0.2
"""Steps are taken in blocks of this length; only at the end of each the device is waited for."""


class PartProcess:
    """Carries measurements out in a process of its own, and in a fresh one after each that failed.

    An error that leaves a device unusable to its process thus spoils one measurement alone.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def __call__(self, measure: Callable[..., Answer], *arguments: Any) -> Answer:
        """Return what a measurement gives.

        Raises:
            Exception: What the measurement raised, or a RuntimeError if its process died.
        """
        self._pool = self._pool or ProcessPoolExecutor(1, get_context("spawn"))
        try:
            return self._pool.submit(measure, *arguments).result()
        except BrokenProcessPool:
            self.close()
            raise RuntimeError("its process died (killed, or out of memory)") from None
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def together(workload: Workload, most: int, left: Callable[[], float]) -> Iterator[Speed]:
    """Let 1, 2, 4 ... runs take steps at the same time, each in a process of its own, and yield their speed.

    Args:
        workload: Its main run is what each process trains.
        most: Runs at the same time, as far as the device has room for them.
        left: Returns the seconds that are left; no more runs are measured when they are over.
    """
    run = workload.main_run()
    get_ready = (run, workload.shape, str(workload.device))
    pools = [ProcessPoolExecutor(1, get_context("spawn"), _prepare, get_ready) for _ in range(most)]
    try:
        prepared = {pool.submit(time.time): pool for pool in pools}
        done, _ = wait(prepared, max(0.0, left() - 2.0))
        ready = [prepared[future] for future in done if future.exception() is None]
        alone, count = 0.0, 1
        while count <= len(ready) and (seconds := min(3.0, left() / 4)) > 0.1:
            begin = time.time() + 0.05
            taken = [pool.submit(_take_steps, begin, seconds) for pool in ready[:count]]
            rates = [run.train.batch_size * future.result(seconds + START_S) for future in taken]
            alone = alone or rates[0]
            found = unmeasured(run, "eager", None)
            found.runs, found.images_per_s, found.gain = count, Rate.of(rates), sum(rates) / alone
            yield found
            count *= 2
    except (BrokenProcessPool, TimeoutError):
        # one of them ended or took too long: there is no room for as many
        return
    finally:
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)


_prepared: list[Callable[[int], float]] = []
"""In a process of :func:`together`: takes so many steps of its run, and returns the mean seconds of one."""


def _prepare(run: RunConfig, shape: Shape, device_name: str) -> None:
    trainer = trainer_for(run, shape, device_name)
    step = training_step(trainer)
    warm_up(trainer, step, 5)
    _prepared.append(lambda count: timed(step, count, trainer.arithmetic.device))


def _take_steps(begin: float, seconds: float) -> float:
    """Take steps for so long from a time on, and return how many there were per second."""
    (take,) = _prepared
    time.sleep(max(0.0, begin - time.time()))
    first, taken, block = time.perf_counter(), 0, 1
    while (passed := time.perf_counter() - first) < seconds:
        # where many runs are on the device, so many steps of each take longer
        block = max(1, round(BLOCK_S * taken / passed)) if taken else 1
        take(block)
        taken += block
    return taken / (time.perf_counter() - first)
