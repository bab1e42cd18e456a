"""Seeds, initial weights, and what can be said of a method that has none yet."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import torch

import methods
from benchmark.configuration import RunConfig
from benchmark.datasets import Shape

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
            with torch.device("meta"):
                return action()
        except Exception:
            with torch.device("cpu"):
                return action()
