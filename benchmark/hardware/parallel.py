"""Processes of ``bench doctor --deep``: one a part, and runs at the same time on one device."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import ParamSpec, TypeVar

from benchmark.configuration import RunConfig
from benchmark.datasets import Shape
from benchmark.hardware.report import ParallelSpeed
from benchmark.speed.timing import timed, trainer_for, training_step, warm_up
from methods.errors import InputError

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
        except BrokenProcessPool:
            self.close()
            raise RuntimeError("its process died (killed, or out of memory)") from None
        except InputError:
            raise
        except Exception:
            self.close()
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


def powers_of_two(limit: int) -> Iterator[int]:
    """Yield 1, 2, 4, 8 as far as the limit."""
    yield from (count for count in (1, 2, 4, 8) if count <= limit)


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
