"""Random numbers from named axes: each use has a generator of its own, so that none disturbs another."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import torch


def axis_seed(seed: int, axis: str, *position: int) -> int:
    """Return the seed of one use of randomness in a run.

    Args:
        seed: The run's.
        axis: The use: ``weights``, ``order``, ``augmentation`` ...
        position: Where within the use, such as the epoch.
    """
    text = "/".join(map(str, (seed, axis, *position)))
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, axis: str, *position: int) -> torch.Generator:
    """Return a CPU generator for one use; drawing on the CPU makes the numbers the same on every device."""
    return torch.Generator().manual_seed(axis_seed(seed, axis, *position))


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Let whatever knows no generator but torch's own for the CPU draw from a seed; afterwards it is as it was."""
    state = torch.get_rng_state()
    # not torch.manual_seed, which seeds the CUDA devices too
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
