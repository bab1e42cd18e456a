"""Seeds, initial weights, and what can be said of a method that has none yet."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import methods
from benchmark.configuration import RunConfig
from benchmark.datasets import Shape

aten = torch.ops.aten
Answer = TypeVar("Answer")


def axis_seed(seed: int, axis: str, *position: int) -> int:
    """Return the seed of one use of randomness in a run: each has one of its own, so that none disturbs another.

    An axis is a use, such as ``weights`` or ``order``; the position is where within it, such as the epoch.
    """
    text = "/".join(map(str, (seed, axis, *position)))
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, axis: str, *position: int) -> torch.Generator:
    """Return a CPU generator for one use; sampling on the CPU makes the numbers the same on every device."""
    return torch.Generator().manual_seed(axis_seed(seed, axis, *position))


@contextmanager
def seeded_by(seed: int) -> Iterator[None]:
    """Seed torch's own generator of the CPU, for what knows no other; afterwards it is as it was."""
    state = torch.get_rng_state()
    # not torch.manual_seed, which seeds the CUDA devices too
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def initialise_method(config: RunConfig, shape: Shape, plugins: Sequence[str | Path] = ()) -> methods.Method:
    """Return a run's method with its initial weights, which have a seed of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(axis_seed(config.seed, "weights"))
        return methods.build(
            config.method,
            backbone=config.backbone,
            num_classes=shape.num_classes,
            in_channels=shape.in_channels,
            image_size=shape.image_size,
            plugins=plugins,
            **methods.restored(config.method, config.hyperparameters, plugins),
        )


def without_values(action: Callable[[], Answer]) -> Answer:
    """Return what an action, which makes tensors on the default device, gives on the meta device, else on the CPU.

    A method may ask for values to branch on, which the meta device has not. Torch's generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with on_meta():
                return action()
        except Exception:
            with torch.device("cpu"):
                return action()


@contextmanager
def on_meta() -> Iterator[None]:
    """Within it tensors are made on the meta device: they have a shape and a type, and no values."""
    with torch.device("meta"), MetaShortcuts():
        yield


class MetaShortcuts(TorchDispatchMode):
    """Within it a meta tensor's batch statistics, rectification and random numbers take microseconds.

    On the meta device torch takes such an operation apart in Python, a batch normalisation in five milliseconds, so
    that a deep network's step takes seconds there. What the shape of the first argument does not decide, and what would
    be an error, is left to torch; so is every tensor with values.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Return an operation's result."""
        answer = _ANSWERS.get(func)
        if answer is not None and not kwargs and isinstance(args[0], Tensor) and args[0].is_meta:
            result = answer(*args)
            if result is not None:
                return result
        return func(*args, **(kwargs or {}))


def _alike(values: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(values)


def _in_place(values: Tensor, *_: Any) -> Tensor:
    return values


def _normalised(
    images: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, variance: Tensor | None, *_: Any
) -> tuple[Tensor, ...] | None:
    if mean is None or not _fit(images, weight, bias, mean, variance):
        return None
    statistics = images.new_empty(images.shape[1], dtype=mean.dtype)
    return torch.empty_like(images), statistics, torch.empty_like(statistics)


def _gradients(gradient: Tensor, images: Tensor, weight: Tensor | None, *rest: Any) -> tuple[Tensor | None, ...] | None:
    if gradient.shape != images.shape or weight is None or not _fit(images, weight):
        return None
    made = (images, weight, weight)
    return tuple(torch.empty_like(tensor) if asked else None for tensor, asked in zip(made, rest[-1], strict=True))


def _fit(images: Tensor, *vectors: Tensor | None) -> bool:
    channels = images.shape[1:2]
    return images.dim() > 1 and all(vector is None or vector.shape == channels for vector in vectors)


_ANSWERS: dict[Any, Callable[..., Any]] = {
    aten.native_batch_norm.default: _normalised,
    aten._native_batch_norm_legit.default: _normalised,
    aten._native_batch_norm_legit_no_training.default: _normalised,
    aten.native_batch_norm_backward.default: _gradients,
    aten.relu.default: _alike,
    aten.threshold_backward.default: _alike,
    aten.normal_.default: _in_place,
    aten.uniform_.default: _in_place,
}
