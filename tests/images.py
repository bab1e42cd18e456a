"""Image files that tests write."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def random_pixels(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def tree(root: Path, *shape: int, train: int = 3, test: int = 2, classes: tuple[str, ...] = ("cat", "dog")) -> None:
    """Write ``train/<class>/<n>.png`` and ``test/<class>/<n>.png`` with images of that shape."""
    counts = {"train": train, "test": test}
    names = [f"{part}/{name}/{index}.png" for name in classes for part in counts for index in range(counts[part])]
    for seed, name in enumerate(names):
        save(root / name, random_pixels(*shape, seed=seed))
