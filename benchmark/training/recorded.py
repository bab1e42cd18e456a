"""The training step recorded once as a CUDA graph and replayed: the small networks here wait for launches otherwise."""

import copy
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from benchmark.training.steps import StepBatch, Terms
from methods import Method, Progress
from methods.errors import message_of

Step = Callable[[StepBatch, Progress], Terms]

WARM_UP_STEPS = 3
"""Taken before the recording, so that kernels are chosen and momentum is there; they are steps of the run."""


class UnrecordableError(RuntimeError):
    """A method does something in its step that a replay would not do again."""


class RecordingError(RuntimeError):
    """A recording failed, which leaves the device in an undefined state: the run is to be repeated without one."""


class RecordedStep:
    """A training step that is recorded for batches of one size; others are taken as standard steps, with equal numbers.

    All batches have labels of the same kind: class indices, or probabilities.

    Whether a method can be recorded is tried out at the first step and leaves no trace: what it reads of its progress
    it has to ask for as scheduled numbers, what it keeps between steps has to be tensors, and it must not wait for the
    device. What follows the optimiser's step is not recorded.

    Attributes:
        refusal: Why every step falls back to the standard one; None if it need not.
    """

    def __init__(self, method: Method, optimizer: Optimizer, size: int) -> None:
        """Record nothing yet; ``size`` is the number of images of the batches for which a step is recorded."""
        self.refusal: str | None = None
        self._method = method
        self._optimizer = optimizer
        self._size = size
        first = next(method.parameters())
        self._device = first.device
        self._scheduled = ScheduledProgress(first.device, first.dtype)
        self._tried = False
        self._taken = 0
        self._batch: StepBatch | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._terms: Terms = {}
        self._counted: list[tuple[Tensor, int]] = []
        self._left: list[tuple[nn.Module, str, Any]] = []

    def __call__(self, step: Step, batch: StepBatch, progress: Progress) -> Terms:
        """Take a step, given the standard one up to the optimiser's, and return its terms, detached.

        Raises:
            RecordingError: If the recording fails.
        """
        if not self._tried:
            self._tried = True
            self.refusal = self._tried_out(step, batch, progress)
            if self.refusal is None:
                for group in self._optimizer.param_groups:
                    # fused steps read it as float32
                    group["lr"] = torch.full((), group["lr"], dtype=torch.float32, device=self._device)
        if self.refusal is not None:
            return step(batch, progress)
        scheduled = self._scheduled.begin(progress)
        if len(batch.labels) != self._size:
            return step(batch, scheduled)
        if self._taken < WARM_UP_STEPS:
            self._taken += 1
            # on a stream of its own, as the recording will be: what autograd keeps belongs to a stream
            current, aside = torch.cuda.current_stream(self._device), torch.cuda.Stream(self._device)
            aside.wait_stream(current)
            with torch.cuda.stream(aside):
                terms = step(batch, scheduled)
            current.wait_stream(aside)
            return terms
        if self._graph is None or self._batch is None:
            self._batch = StepBatch(*(None if part is None else part.clone() for part in batch))  # type: ignore[arg-type]
            self._graph = self._recorded(step, self._batch, scheduled)
        for place, part in zip(self._batch, batch, strict=True):
            if place is not None and part is not None:
                place.copy_(part)
        self._graph.replay()
        for counter, count in self._counted:
            counter.add_(count)
        for module, name, value in self._left:
            vars(module)[name] = value
        # the next replay writes into the same places
        together = torch.stack(list(self._terms.values())).unbind()
        return {name: value.to(term.dtype) for (name, term), value in zip(self._terms.items(), together, strict=True)}

    def _recorded(self, step: Step, batch: StepBatch, scheduled: Progress) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        norms = [own for own in self._method.modules() if isinstance(own, _NormBase)]
        counters = [own.num_batches_tracked for own in norms if own.num_batches_tracked is not None]
        before = [int(counter) for counter in counters]
        try:
            with torch.cuda.device(self._device), torch.cuda.graph(graph):
                self._terms = step(batch, scheduled)
        except RuntimeError as error:
            raise RecordingError(f"the step could not be recorded: {message_of(error)}") from error
        # the host has counted, though no batch has gone through yet
        self._counted = [(counter, int(counter) - old) for counter, old in zip(counters, before, strict=True)]
        for counter, count in self._counted:
            counter.sub_(count)
        # what follows the step may use it up, and a replay sets no attribute
        self._left = [
            (module, name, value)
            for module in self._method.modules()
            for name, value in vars(module).items()
            if name not in _TORCHS_OWN and any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))
        ]
        return graph

    def _tried_out(self, step: Step, batch: StepBatch, progress: Progress) -> str | None:
        """Take the step once and undo it; return why it cannot be recorded, or None."""
        state = copy.deepcopy(self._method.state_dict())
        optimizer = copy.deepcopy(self._optimizer.state_dict())
        gradients = [parameter.grad for parameter in self._method.parameters()]
        held = _plain_values(self._method)
        refusal = None
        mode = torch.cuda.get_sync_debug_mode()
        with torch.random.fork_rng(devices=[self._device]):
            torch.cuda.set_sync_debug_mode("error")
            try:
                step(batch, self._scheduled.begin(progress))
            except UnrecordableError as error:
                refusal = str(error)
            except RuntimeError as error:
                if "synchronizing CUDA operation" not in str(error):
                    raise
                refusal = "it waits for the device in its step"
            finally:
                torch.cuda.set_sync_debug_mode(mode)
        now = _plain_values(self._method)
        if refusal is None and (changed := sorted(key for key in held | now if held.get(key) != now.get(key))):
            refusal = f"it keeps {changed[0]} on the host, and changes it in its step"
        self._method.load_state_dict(state)
        self._optimizer.load_state_dict(optimizer)
        for parameter, gradient in zip(self._method.parameters(), gradients, strict=True):
            parameter.grad = gradient
        return refusal


def count_on_the_host(module: nn.Module) -> None:
    """Move the counters of batches of a module's norms to the host: nothing is launched for what no kernel reads."""
    for norm in module.modules():
        if isinstance(norm, _NormBase) and norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.cpu()


_PLAIN = (int, float, str, bool, type(None))
_TORCHS_OWN = frozenset(vars(nn.Module()))


def _plain_values(method: Method) -> dict[str, Any]:
    """Return the plain values that a method and its parts keep beside tensors, by where they are."""
    return {
        f"{path}.{name}" if path else name: copy.deepcopy(value)
        for path, module in method.named_modules()
        for name, value in vars(module).items()
        if name not in _TORCHS_OWN and all(isinstance(leaf, _PLAIN) for leaf in tree_leaves(value))
    }


class ScheduledProgress(Progress):
    """A progress that is asked for scheduled numbers alone: a replay would repeat every other one.

    They are tensors on the device, in the order in which a step asks for them, without axes and of the networks'
    precision, in which a Python number beside their tensors counts too.
    """

    _device: torch.device
    _dtype: torch.dtype
    _known: list[tuple[Tensor, Callable[[Progress], float]]]
    _asked: int
    _now: Progress

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        # the fields of its base, which is frozen, are refused below, and are never set
        vars(self).update(_device=device, _dtype=dtype, _known=[], _asked=0)

    def begin(self, now: Progress) -> Self:
        """Begin a step, of which the method is given the result: renew the numbers that are known."""
        for tensor, value in self._known:
            # a launch with the number in it: nothing is copied from the host
            tensor.fill_(value(now))
        vars(self).update(_asked=0, _now=now)
        return self

    def scheduled(self, value: Callable[[Progress], float]) -> Tensor:
        """Return a tensor of the next number that the step asks for, which later steps renew."""
        if self._asked == len(self._known):
            made = torch.full((), value(self._now), dtype=self._dtype, device=self._device)
            self._known.append((made, value))
        # the closure of this step: it may hold more than the one before
        number = self._known[self._asked][0]
        self._known[self._asked] = (number, value)
        vars(self)["_asked"] += 1
        return number

    def __getattribute__(self, name: str) -> Any:
        if name in Progress.__dataclass_fields__:
            raise UnrecordableError(f"it reads progress.{name} in its step")
        return object.__getattribute__(self, name)
