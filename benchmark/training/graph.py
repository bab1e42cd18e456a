"""The training step recorded once as a CUDA graph and replayed: the small networks here wait for launches otherwise."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from benchmark.training.scalars import DeviceScalars, UnrecordableError
from benchmark.training.stepping import StepBatch, Terms
from methods import Method, Progress

Step = Callable[[StepBatch, Progress], Terms]
Record = Callable[[Callable[[], Terms]], tuple[Callable[[], None], Terms]]
"""Takes a step without carrying it out; returns what carries it out, and the tensors where its terms will be."""

WARM_UP_STEPS = 3
"""Taken before the recording, so that kernels are chosen and momentum is there; they are steps of the run."""


def record_cuda_graph(action: Callable[[], Terms]) -> tuple[Callable[[], None], Terms]:
    """Record an action on the current CUDA device."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        terms = action()
    return graph.replay, terms


class RecordedStep:
    """A training step that is recorded for batches of one size; others take the plain way, with the same numbers.

    Whether a method can be recorded is tried out at the first step and leaves no trace: what it reads of its progress
    it has to ask for as scheduled numbers, what it keeps between steps has to be tensors.

    Attributes:
        refusal: Why every step falls back to the standard one; None if it need not.
    """

    def __init__(
        self, step: Step, method: Method, optimizer: Optimizer, size: int, record: Record = record_cuda_graph
    ) -> None:
        self.refusal: str | None = None
        self._step = step
        self._method = method
        self._optimizer = optimizer
        self._size = size
        self._record = record
        self._device = next(method.parameters()).device
        self._scalars = DeviceScalars(self._device)
        self._tried = False
        self._taken = 0
        self._batch: StepBatch | None = None
        self._replay: Callable[[], None] | None = None
        self._terms: Terms = {}

    def __call__(self, batch: StepBatch, progress: Progress) -> Terms:
        """Take a step and return its terms, detached."""
        if not self._tried:
            self._tried = True
            self.refusal = self._tried_out(batch, progress)
            if self.refusal is None:
                self._rates_on_the_device()
        if self.refusal is not None:
            return self._step(batch, progress)
        scheduled = self._scalars.begin(progress)
        if len(batch.labels) != self._size or batch.indices is None or self._other_labels(batch):
            return self._step(batch, scheduled)
        if self._taken < WARM_UP_STEPS:
            self._taken += 1
            return self._aside(batch, scheduled)
        if self._replay is None:
            targets = None if batch.targets is None else batch.targets.clone()
            self._batch = StepBatch(batch.views.clone(), batch.labels.clone(), batch.indices.clone(), targets)
            recorded = self._batch
            try:
                self._replay, self._terms = self._record(lambda: self._step(recorded, scheduled))
            except RuntimeError as error:
                self.refusal = f"{type(error).__name__}: {str(error).splitlines()[0]}"
                return self._step(batch, progress)
        self._copy_in(batch)
        self._replay()
        # the next replay writes into the same places
        together = torch.stack(list(self._terms.values()))
        return dict(zip(self._terms, together.unbind(), strict=True))

    def _other_labels(self, batch: StepBatch) -> bool:
        """Return whether a step was recorded with labels as they are and this one's are probabilities, or reversely."""
        return self._batch is not None and (self._batch.targets is None) != (batch.targets is None)

    def _copy_in(self, batch: StepBatch) -> None:
        if self._batch is None:
            raise UnrecordableError("nothing was recorded")
        for place, part in zip(self._batch, batch, strict=True):
            if place is not None and part is not None:
                place.copy_(part)

    def _aside(self, batch: StepBatch, scheduled: Progress) -> Terms:
        """Take a step on a stream of its own, as the recording will: what autograd keeps belongs to a stream."""
        if self._device.type != "cuda":
            return self._step(batch, scheduled)
        current = torch.cuda.current_stream(self._device)
        aside = torch.cuda.Stream(self._device)
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            terms = self._step(batch, scheduled)
        current.wait_stream(aside)
        return terms

    def _rates_on_the_device(self) -> None:
        # CUDA's fused step reads them as float32
        dtype = torch.float32 if self._device.type == "cuda" else torch.float64
        for group in self._optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), dtype=dtype, device=self._device)

    def _tried_out(self, batch: StepBatch, progress: Progress) -> str | None:
        """Take the step once and undo it; return why it cannot be recorded, or None."""
        state = copy.deepcopy(self._method.state_dict())
        optimizer = copy.deepcopy(self._optimizer.state_dict())
        gradients = [parameter.grad for parameter in self._method.parameters()]
        held = _held_by_the_host(self._method)
        refusal = None
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            try:
                self._step(batch, DeviceScalars(self._device).begin(progress))
            except UnrecordableError as error:
                refusal = str(error)
        now = _held_by_the_host(self._method)
        if refusal is None and (changed := sorted(key for key in held | now if held.get(key) != now.get(key))):
            refusal = f"it keeps {changed[0]} on the host, and changes it in its step"
        self._method.load_state_dict(state)
        self._optimizer.load_state_dict(optimizer)
        for parameter, gradient in zip(self._method.parameters(), gradients, strict=True):
            parameter.grad = gradient
        return refusal


_PLAIN = (int, float, str, bool, type(None))
_TORCHS_OWN = frozenset(vars(nn.Module()))


def _held_by_the_host(method: Method) -> dict[str, Any]:
    """Return the plain values that a method and its parts keep beside tensors, by where they are."""
    return {
        f"{path}.{name}" if path else name: copy.deepcopy(value)
        for path, module in method.named_modules()
        for name, value in vars(module).items()
        if name not in _TORCHS_OWN and all(isinstance(leaf, _PLAIN) for leaf in tree_leaves(value))
    }
