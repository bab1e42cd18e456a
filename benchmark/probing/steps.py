"""How fast a training step is, and what it waits for."""

import os
from collections.abc import Callable
from statistics import median

import torch
from torch.profiler import ProfilerActivity, profile

from benchmark.configuration import RunConfig
from benchmark.probing.records import Mode, Precision, Range, StepSpeed
from benchmark.probing.subject import Subject
from benchmark.speed.estimate import operations_per_image
from benchmark.speed.measure import matrix_rate, timed, trainer_for, training_step
from benchmark.training import Arithmetic, check_settings, peak_memory, reset_peak_memory
from methods.errors import InputError

REPETITIONS = 3
COMPILATION_S = 45.0
"""Of a network, about."""

LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemsetAsync", "cudaMemcpyAsync")
WAITS = ("aten::_local_scalar_dense", "aten::nonzero", "cudaStreamSynchronize", "cudaEventSynchronize")


class Steps:
    """Training steps of a device, measured one combination at a time; what they take is foretold by operations."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._matrix: dict[Precision, float] = {}
        self._operations: dict[tuple[str, str], float] = {}
        self._share = 0.2  # of the matrix rate, until one was measured

    def matrix(self, precision: Precision) -> float:
        """Return the rate of matrix products in FLOP/s."""
        if precision not in self._matrix:
            arithmetic = Arithmetic.of(self.subject.device, precision, None)
            arithmetic.apply(1)
            self._matrix[precision] = matrix_rate(arithmetic)
        return self._matrix[precision]

    @property
    def matrix_rates(self) -> dict[Precision, float]:
        """The rates that were measured, in GFLOP/s."""
        return {precision: rate / 1e9 for precision, rate in self._matrix.items()}

    def foretold(self, method: str, backbone: str, precision: Precision, mode: Mode) -> float:
        """Return the seconds that a measurement will take, about."""
        step = self._of(method, backbone) / (self._share * self.matrix(precision))
        return self.preparation(mode) + (REPETITIONS + 5) * step

    def preparation(self, mode: Mode) -> float:
        """Return the seconds that any measurement takes beside its steps: drawing networks, compiling, the profile."""
        return (3.0 if self.subject.device.type == "cuda" else 1.0) + (COMPILATION_S if mode == "compiled" else 0.0)

    def refused(self, mode: Mode) -> StepSpeed | None:
        """Return what is to be said of a mode that the device has not, or None."""
        subject = self.subject
        run = subject.run(subject.methods[0], subject.backbones[0], subject.precisions[0], mode)
        try:
            check_settings([run], subject.device)
        except InputError as error:
            return self._empty(run, subject.precisions[0], mode).model_copy(update={"refusal": str(error)})
        return None

    def measured(self, method: str, backbone: str, precision: Precision, mode: Mode) -> StepSpeed:
        """Measure one combination; one that the device has not is said to be refused."""
        subject, device = self.subject, self.subject.device
        run = subject.run(method, backbone, precision, mode)
        found = self._empty(run, precision, mode)
        try:
            trainer = trainer_for(run, subject.shape, str(device))
            step = training_step(trainer)
            # a recorded step has its warm-up and its recording
            for _ in range(6 if mode == "graph" else 2):
                step()
            if refused := trainer.take_notes():
                return found.model_copy(update={"refusal": refused[0]})
        except (InputError, RuntimeError, torch.OutOfMemoryError) as error:
            return found.model_copy(update={"refusal": _first_line(error)})
        reset_peak_memory(device)
        seconds = _repeated(step, device)
        rates = [subject.batch_size / each for each in seconds]
        operations = self._of(method, backbone)
        share = operations / median(seconds) / self.matrix(precision)
        if mode == "eager":
            self._share = min(self._share, share) if self._share < 0.2 else share
        launches, waits = _profiled(step, device)
        return StepSpeed(
            **{
                **found.model_dump(),
                "images_per_s": Range(median=median(rates), low=min(rates), high=max(rates)),
                "matrix_share": share,
                "launches": launches,
                "waits": waits,
                "peak_mib": peak_memory(device),
            }
        )

    def _empty(self, run: RunConfig, precision: Precision, mode: Mode) -> StepSpeed:
        return StepSpeed(
            method=run.method, backbone=run.backbone, batch_size=run.train.batch_size, precision=precision, mode=mode
        )

    def _of(self, method: str, backbone: str) -> float:
        """Return the operations of a step."""
        if (method, backbone) not in self._operations:
            run = self.subject.run(method, backbone, self.subject.precisions[0], "eager")
            counted = operations_per_image(run, self.subject.shape).train
            self._operations[method, backbone] = counted * self.subject.batch_size
        return self._operations[method, backbone]


def _repeated(step: Callable[[], None], device: torch.device) -> list[float]:
    once = timed(step, 1, device)
    # on an accelerator many steps are under way at once
    times = max(1, min(50, round(0.2 / once))) if device.type == "cuda" else max(1, min(3, round(0.1 / once)))
    return [timed(step, times, device) for _ in range(REPETITIONS)]


def _profiled(step: Callable[[], None], device: torch.device) -> tuple[int, bool]:
    """Return what a step launches, and whether it waits for the device."""
    cuda = device.type == "cuda"
    # where there is no accelerator the profiler's library complains of it
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as seen:
        step()
    counts = {event.key: event.count for event in seen.key_averages()}
    waits = any(counts.get(name) for name in WAITS)
    if cuda:
        return sum(count for name, count in counts.items() if name.startswith(LAUNCHES)), waits
    return sum(count for name, count in counts.items() if name.startswith("aten::")), waits


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
