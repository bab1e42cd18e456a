"""Runs side by side on one device, each in a process of its own, as a cluster's workers have it."""

import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import torch

from benchmark.configuration import RunConfig
from benchmark.datasets import Shape
from benchmark.probing.records import Together
from benchmark.speed.measure import timed, trainer_for, training_step
from benchmark.training import choose_device

START_S = 60.0
"""That a process may take to import torch and take its first step."""


class Crowd:
    """Processes that each hold a run ready, and take its steps when they are told to."""

    def __init__(self, run: RunConfig, shape: Shape, device: torch.device, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._size = size
        self._ends: list[Connection] = []
        self._processes = []
        self._ready = 0
        self._alone: float | None = None
        self._batch = run.train.batch_size
        for _ in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, run, shape, str(device)), daemon=True)
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
        while self._ready < self._size:
            end = self._ends[self._ready]
            try:
                if not end.poll(max(0.0, until - time.perf_counter())):
                    break
                end.recv()
            except (EOFError, OSError):
                break
            self._ready += 1
        return self._ready

    def together(self, runs: int, seconds: float) -> Together | None:
        """Let the first runs take steps for so long at the same time; None if one of them ended or took too long."""
        chosen = self._ends[:runs]
        begin = time.time() + 0.05
        rates: list[float] = []
        try:
            for end in chosen:
                end.send((begin, seconds))
            for end in chosen:
                if not end.poll(seconds + START_S):
                    return None
                rates.append(self._batch * float(end.recv()))
        except (EOFError, OSError):
            return None
        if self._alone is None:
            self._alone = rates[0]
        return Together(runs=runs, images_per_s=rates, gain=sum(rates) / self._alone)


def counts(limit: int) -> Iterator[int]:
    """Yield 1, 2, 4, 8 as far as there are so many."""
    yield from (count for count in (1, 2, 4, 8) if count <= limit)


def _work(end: Connection, run: RunConfig, shape: Shape, device_name: str) -> None:
    device = choose_device(device_name)
    step = training_step(trainer_for(run, shape, device_name))
    for _ in range(5):
        step()
    timed(step, 1, device)
    end.send("ready")
    while True:
        try:
            begin, seconds = end.recv()
        except EOFError:
            return
        time.sleep(max(0.0, begin - time.time()))
        first = time.perf_counter()
        taken = 0
        while time.perf_counter() - first < seconds:
            timed(step, 1, device)
            taken += 1
        end.send(taken / (time.perf_counter() - first))
