"""The meta device's slow operations, answered by the shape alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
Answer = Callable[..., Any]


@contextmanager
def on_meta() -> Iterator[None]:
    """Within it tensors are made on the meta device: they have a shape and a type, and no values."""
    with torch.device("meta"), ShapesAlone():
        yield


class ShapesAlone(TorchDispatchMode):
    """Within it a meta tensor's batch statistics, sums, products and drawn numbers take microseconds.

    On the meta device torch finds the result of such an operation by taking it apart in Python, of a batch
    normalisation in five milliseconds, so that a deep network's step takes seconds there. What the shape of the first
    argument does not decide, and what would be an error, is left to torch; so is every tensor with values.
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


def _elementwise(first: Tensor, second: Any, *_: Any) -> Tensor | None:
    alike = isinstance(second, Tensor) and second.is_meta and first.shape == second.shape
    return torch.empty_like(first) if alike and first.dtype == second.dtype and first.is_floating_point() else None


def _rectified(values: Tensor) -> Tensor:
    return torch.empty_like(values)


def _drawn(values: Tensor, *_: Any) -> Tensor:
    return values


def _normalised(
    images: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, variance: Tensor | None, *_: Any
) -> tuple[Tensor, ...] | None:
    if mean is None or not _fit(images, weight, bias, mean, variance):
        return None
    statistics = images.new_empty(images.shape[1], dtype=mean.dtype)
    return torch.empty_like(images), statistics, torch.empty_like(statistics)


def _gradients(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    saved_mean: Tensor | None,
    saved_deviation: Tensor | None,
    train: bool,
    epsilon: float,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor | None, ...] | None:
    if gradient.shape != images.shape or weight is None or not _fit(images, weight):
        return None
    made = (images, weight, weight)
    return tuple(torch.empty_like(tensor) if asked else None for tensor, asked in zip(made, wanted, strict=True))


def _fit(images: Tensor, *vectors: Tensor | None) -> bool:
    channels = images.shape[1:2]
    return images.dim() > 1 and all(vector is None or vector.shape == channels for vector in vectors)


_ANSWERS: dict[Any, Answer] = {
    aten.native_batch_norm.default: _normalised,
    aten._native_batch_norm_legit.default: _normalised,
    aten._native_batch_norm_legit_no_training.default: _normalised,
    aten.native_batch_norm_backward.default: _gradients,
    aten.relu.default: _rectified,
    aten.threshold_backward.default: _elementwise,
    aten.add.Tensor: _elementwise,
    aten.mul.Tensor: _elementwise,
    aten.sub.Tensor: _elementwise,
    aten.div.Tensor: _elementwise,
    aten.normal_.default: _drawn,
    aten.uniform_.default: _drawn,
}
