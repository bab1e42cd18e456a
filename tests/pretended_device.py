"""A pretended CUDA device: CPU tensors that report ``cuda:0``, refuse to mix with others, and log what would wait.

A tensor is on the device if its storage is marked so. Every operation is watched below autograd, so that the backward
pass is too: all of its tensors must be on one device, its results are marked, and what makes the host wait for the
device, or copies the host's memory to it, is logged with the line that asked for it. The device has a generator
of its own. A CUDA graph is the list of operations of its capture, which are carried out when it is replayed and not
before; a wait during a capture is an error, as on a GPU.
"""

import sys
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

REPOSITORY = Path(__file__).parents[1]
CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")

WAITING = frozenset(
    {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim", "unique_consecutive"}
    | {"bincount", "linalg_solve", "linalg_inv", "_linalg_check_errors"}
)
"""Operations of whose result the host has to know a value or the size."""


class Wait(NamedTuple):
    """What made the host wait: an operation, and the line that asked for it."""

    operation: str
    file: str
    function: str
    line: int


class _Kind(NamedTuple):
    """What of an operation does not depend on its arguments."""

    name: str
    random: bool
    pointwise: bool
    alike: bool


@cache
def _kind(operation: Any) -> _Kind:
    name = operation.name().removeprefix("aten::").partition(".")[0]
    tags = operation.tags
    alike = name.startswith("new_") or name.endswith("_like")
    return _Kind(name, torch.Tag.nondeterministic_seeded in tags, torch.Tag.pointwise in tags, alike)


def is_on(tensor: Tensor) -> bool:
    """Return whether a tensor is on the pretended device."""
    return hasattr(tensor.untyped_storage(), "pretended")


class PretendedDevice:
    """A context in which ``torch.device("cuda")`` is the pretended one.

    Attributes:
        waits: In their order.
        operations: How many operations were called on the device.
        launches: Kernels that they take: those on lists of tensors of one type take one for 64 of them.
        graphs: What was captured.
        failing_capture: Whether captures fail.
    """

    def __init__(self, free_bytes: int = 2**30) -> None:
        self.waits: list[Wait] = []
        self.operations = self.launches = 0
        self.graphs: list[PretendedGraph] = []
        self.failing_capture = False
        self.free_bytes = free_bytes
        self.random = torch.Generator()
        self.capturing: PretendedGraph | None = None
        self.target: torch.device | None = None
        self.asynchronous = False
        self._refused = False
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for owner, name, value in self._replacements():
            self._stack.enter_context(mock.patch.object(owner, name, value))
        self._stack.enter_context(_Functions(self))
        self._stack.enter_context(_Operations(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def waited(self, operation: str) -> None:
        """Log a wait; refuse it in a capture, and where ``set_sync_debug_mode`` asks for that."""
        if self.capturing is not None:
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing ({operation})")
        if self._refused:
            raise RuntimeError(f"called a synchronizing CUDA operation ({operation})")
        self.waits.append(Wait(operation, *_asked_by()))

    def carried_out(self, operation: Any, args: Any, kwargs: Any) -> Any:
        """Return an operation's result, marked if it is on the device."""
        kind = _kind(operation)
        given = _tensors(args) + _tensors(tuple(kwargs.values()))
        on = [is_on(tensor) for tensor in given]
        target = self.target if kind.name == "_to_copy" else kwargs.get("device")
        if "device" in kwargs:
            kwargs = kwargs | {"device": CPU}
        # what is made like a tensor comes with the device that torch knows of it
        placed = any(on) if target is None or kind.alike else target.type == "cuda"
        if not placed and not any(on):
            return operation(*args, **kwargs)
        self.operations += 1
        self.launches += _launches(kind.name, given)
        self._check(kind, args, kwargs, given, on, placed)
        if self.capturing is not None:
            self.capturing.keep(operation, args)
        with self.sampling() if kind.random else nullcontext():
            result = operation(*args, **kwargs)
        for tensor in _tensors(result) if placed else ():
            tensor.untyped_storage().pretended = True  # type: ignore[attr-defined]
        if self.capturing is not None:
            self.capturing.add(operation, args, kwargs, given, _tensors(result))
        return result

    def _check(self, kind: "_Kind", args: Any, kwargs: Any, given: list[Tensor], on: list[bool], placed: bool) -> None:
        """Refuse what a GPU refuses, and log what waits."""
        name = kind.name
        if kind.random and any(isinstance(value, torch.Generator) for value in (*args, *kwargs.values())):
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        if name in ("_to_copy", "copy_"):
            to, of = (placed, on[0]) if name == "_to_copy" else on[:2]
            if to != of and not self.asynchronous:
                self.waited(f"{name} {'to' if to else 'from'} the device")
        elif name in ("index", "index_put_", "_index_put_impl_", "index_put"):
            indices = [tensor for tensor in args[1] if tensor is not None]
            if not on[0]:
                raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
            number = name.endswith("_") and args[2].numel() == 1
            if any(tensor.dtype in (torch.bool, torch.uint8) for tensor in indices) and not number:
                self.waited(f"{name} with a mask")
            if not all(is_on(tensor) for tensor in indices):
                self.waited(f"{name} with the host's indices")
        elif not all(on) and not all(
            own or (kind.pointwise and not tensor.dim()) for own, tensor in zip(on, given, strict=True)
        ):
            raise RuntimeError(f"Expected all tensors to be on the same device, but found cuda:0 and cpu ({name})")
        elif name in WAITING or (name == "repeat_interleave" and kwargs.get("output_size") is None):
            self.waited(name)

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Let random numbers of torch's generator come from the device's."""
        before = torch.default_generator.get_state()
        torch.default_generator.set_state(self.random.get_state())
        try:
            yield
        finally:
            self.random.set_state(torch.default_generator.get_state())
            torch.default_generator.set_state(before)

    @contextmanager
    def _capture(self, graph: "PretendedGraph", *_: object, **__: object) -> Iterator[None]:
        state = self.random.get_state()
        graph.device = self
        self.graphs.append(graph)
        self.capturing = graph
        try:
            yield
            if self.failing_capture:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        finally:
            self.capturing = None
            self.random.set_state(state)
            graph.restore()

    def _replacements(self) -> Iterator[tuple[Any, str, Any]]:
        autocast, optimizer = torch.autocast, torch.optim.Optimizer
        grouped = optimizer._group_tensors_by_device_and_dtype

        def by_device(*arguments: Any, **named: Any) -> Any:
            found = grouped(*arguments, **named)
            first = _tensors([lists for lists, _ in found.values()])[:1]
            return {(CUDA if any(map(is_on, first)) else CPU, dtype): value for (_, dtype), value in found.items()}

        def debug(mode: Any) -> None:
            self._refused = mode in ("error", 2)

        def seed(number: int) -> None:
            self.random.manual_seed(number)

        def set_state(state: Tensor, *_: object) -> None:
            self.random.set_state(state)

        stream = _Stream(self)
        yield torch.accelerator, "current_accelerator", lambda **_: CUDA
        yield torch.accelerator, "current_stream", lambda: stream
        yield torch, "autocast", lambda kind, **given: autocast("cpu", **given)
        yield optimizer, "_group_tensors_by_device_and_dtype", staticmethod(by_device)
        answers = {
            **dict.fromkeys(("_lazy_init", "set_device", "empty_cache", "reset_peak_memory_stats")),
            **{"is_available": True, "is_initialized": True, "device_count": 1, "current_device": 0},
            **{"max_memory_allocated": 0, "mem_get_info": (self.free_bytes, 2**31), "get_device_name": "pretended"},
            **dict.fromkeys(("device", "stream"), nullcontext()),
            **dict.fromkeys(("Stream", "current_stream"), stream),
        }
        for name, answer in answers.items():
            yield torch.cuda, name, lambda *_, answer=answer, **__: answer
        calls = {
            "synchronize": lambda *_: self.waited("synchronize"),
            "get_rng_state": lambda *_: self.random.get_state(),
            "set_rng_state": set_state,
            "manual_seed_all": seed,
            "is_current_stream_capturing": lambda: self.capturing is not None,
            "set_sync_debug_mode": debug,
            "get_sync_debug_mode": lambda: 2 * self._refused,
            "CUDAGraph": PretendedGraph,
            "graph": self._capture,
        }
        for name, call in calls.items():
            yield torch.cuda, name, call


class _Stream:
    """Operations are carried out one after the other anyway."""

    def __init__(self, device: PretendedDevice) -> None:
        self._pretended = device

    def wait_stream(self, other: object) -> None:
        """Do nothing."""

    def is_capturing(self) -> bool:
        """Return whether operations are being captured."""
        return self._pretended.capturing is not None


class PretendedGraph:
    """``torch.cuda.CUDAGraph``: what was captured, to be carried out again on the same tensors."""

    def __init__(self) -> None:
        self.replays = 0
        self.device: PretendedDevice
        self._operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._made: set[int] = set()
        self._before: dict[int, tuple[Any, Any]] = {}

    def keep(self, operation: Any, args: Any) -> None:
        """Remember what an operation writes over, which is to be as it was after the capture."""
        pairs = zip(operation._schema.arguments, args, strict=False)
        written = [value for argument, value in pairs if argument.alias_info and argument.alias_info.is_write]
        if operation is torch.ops.aten.native_batch_norm.default:
            written += args[3:5]
        for tensor in _tensors(written):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._made:
                self._before.setdefault(storage._cdata, (storage, storage.clone()))

    def add(self, operation: Any, args: Any, kwargs: Any, given: list[Tensor], results: list[Tensor]) -> None:
        """Record an operation, unless it is but another view of its arguments."""
        old = {tensor.untyped_storage()._cdata for tensor in given}
        new = {tensor.untyped_storage()._cdata for tensor in results} - old
        self._made |= new
        if new or operation._schema.is_mutable:
            self._operations.append((operation, args, kwargs, results))

    def restore(self) -> None:
        """Undo what the capture wrote over."""
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            for storage, before in self._before.values():
                storage.copy_(before)
        self._before.clear()

    def results(self) -> list[Tensor]:
        """Return what the operations write to, in their order."""
        return [tensor for *_, results in self._operations for tensor in results]

    def replay(self) -> None:
        """Carry the operations out."""
        self.replays += 1
        with torch._C.DisableTorchFunction(), _disable_current_modes(), torch.no_grad():
            for operation, args, kwargs, results in self._operations:
                with self.device.sampling() if _kind(operation).random else nullcontext():
                    found = _tensors(operation(*args, **kwargs))
                for place, value in zip(results, found, strict=True):
                    if place.data_ptr() != value.data_ptr():
                        place.copy_(value)


class _Operations(TorchDispatchMode):
    def __init__(self, device: PretendedDevice) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._pretended = device

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # nothing is compiled here: the check would take as long as the rest
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return self._pretended.carried_out(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What torch answers without an operation: where a tensor is, and copies from one device to the other."""

    def __init__(self, device: PretendedDevice) -> None:
        super().__init__()
        self._pretended = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        own = _ANSWERS.get(func)
        return func(*args, **kwargs) if own is None else own(self._pretended, func, *args, **kwargs)


def _moved(pretended: PretendedDevice, func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if args and isinstance(args[0], Tensor):
        args = (CUDA if is_on(args[0]) else CPU, args[0].dtype, *args[1:])
    place, dtype, non_blocking, layout = torch._C._nn._parse_to(
        *args, **{k: v for k, v in kwargs.items() if k != "copy"}
    )
    given: dict[str, Any] = {"copy": kwargs.get("copy", False)} | ({} if layout is None else {"memory_format": layout})
    if place is None or (place.type == "cuda") == is_on(tensor):
        kept: Tensor = tensor.to(dtype or tensor.dtype, **given)
        return kept
    pretended.target = place
    pretended.asynchronous = non_blocking and hasattr(tensor.untyped_storage(), "pinned")
    try:
        moved: Tensor = tensor.to(dtype or tensor.dtype, **given | {"copy": True})
        return moved
    finally:
        pretended.target, pretended.asynchronous = None, False


def _pinned(pretended: PretendedDevice, func: Any, tensor: Tensor) -> Tensor:
    if is_on(tensor):
        raise RuntimeError("cannot pin 'torch.cuda.LongTensor' only dense CPU tensors can be pinned")
    made = tensor.clone()
    made.untyped_storage().pinned = True  # type: ignore[attr-defined]
    return made


def _listed(pretended: PretendedDevice, func: Any, tensor: Tensor) -> Any:
    if is_on(tensor):
        pretended.waited("tolist")
    return func(tensor)


def _as_array(pretended: PretendedDevice, func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    if is_on(tensor):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
    return func(tensor, *args, **kwargs)


def _given_numbers(pretended: PretendedDevice, func: Any, *args: Any, **kwargs: Any) -> Tensor:
    place = kwargs.pop("device", None)
    made: Tensor = func(*args, **kwargs)
    return made if place is None else _moved(pretended, func, made, torch.device(place))


def _copied(pretended: PretendedDevice, func: Any, tensor: Tensor, memo: Any) -> Tensor:
    if not is_on(tensor):
        made: Tensor = func(tensor, memo)
        return made
    # torch copies the storage byte by byte
    copied: Tensor = memo.setdefault(id(tensor), tensor.detach().clone().requires_grad_(tensor.requires_grad))
    return copied


def _one_hot(pretended: PretendedDevice, func: Any, labels: Tensor, num_classes: int = -1) -> Tensor:
    if not is_on(labels):
        made: Tensor = func(labels, num_classes)
        return made
    # a GPU has its own kernel, which does not look at the labels
    return (labels[..., None] == torch.arange(num_classes, device=CUDA)).long()


_ANSWERS: dict[Any, Any] = {
    torch._C._nn.one_hot: _one_hot,
    Tensor.device.__get__: lambda pretended, func, tensor: CUDA if is_on(tensor) else func(tensor),
    Tensor.is_cuda.__get__: lambda pretended, func, tensor: is_on(tensor),  # type: ignore[attr-defined]
    Tensor.to: _moved,
    Tensor.cpu: lambda pretended, func, tensor, *_, **__: _moved(pretended, func, tensor, CPU),
    Tensor.cuda: lambda pretended, func, tensor, *_, **__: _moved(pretended, func, tensor, CUDA),
    Tensor.__deepcopy__: _copied,
    Tensor.pin_memory: _pinned,
    Tensor.tolist: _listed,
    Tensor.numpy: _as_array,
    Tensor.__array__: _as_array,
    torch.tensor: _given_numbers,
    torch.as_tensor: _given_numbers,
}


def _launches(name: str, given: list[Tensor]) -> int:
    """Return the kernels of an operation: one, or for lists of tensors one for 64 of one type, else one for each."""
    if not name.startswith(("_foreach", "_fused")):
        return 1
    return len(given) // 64 + 1 if len({tensor.dtype for tensor in given}) == 1 else len(given)


def _tensors(values: Any) -> list[Tensor]:
    """Return the tensors among values and in lists of them."""
    found: list[Tensor] = []
    for value in (values,) if isinstance(values, Tensor) else values if isinstance(values, list | tuple) else ():
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


_INSIDE = ("<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>")
_OTHERS = (*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")), __file__)


def _asked_by() -> tuple[str, str, int]:
    """Return the file, the function and the line of the innermost frame that is no library's."""
    frame = sys._getframe(1)
    while frame.f_back and (frame.f_code.co_filename.startswith(_OTHERS) or frame.f_code.co_name in _INSIDE):
        frame = frame.f_back
    return _shown(frame.f_code.co_filename), frame.f_code.co_name, frame.f_lineno


@cache
def _shown(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path.name)
