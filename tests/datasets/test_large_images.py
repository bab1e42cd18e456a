"""Images of 160 pixels: more than a run may hold in memory, and how fast they come beside torchvision's loader."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmark import datasets
from benchmark.configuration import DataConfig
from benchmark.training import Augmentation, Normalisation
from tests.images import random_pixels

IMAGES, CLASSES, SIDE, BATCH = 2000, 3, 160, 64

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write JPEG files as photographs are: smooth shapes with some noise."""
    root: Path = tmp_path_factory.mktemp("large") / "photos"
    for index in range(IMAGES):
        part = "test" if index % 10 == 0 else "train"
        path = root / part / f"class{index % CLASSES}" / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        shapes = Image.fromarray(random_pixels(6, 6, 3, seed=index)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        noisy = np.asarray(shapes, dtype=np.int16) + random_pixels(SIDE, SIDE, 1, seed=index) // 16
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return root


WITHIN_A_LIMIT = """
import resource, sys
import torch
from torchvision.transforms import v2
from benchmark import datasets
from benchmark.configuration import DataConfig
from benchmark.training import Augmentation, Normalisation
from pathlib import Path

torch.set_num_threads(1)
photos, root, allowed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
held = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (held + allowed, resource.RLIM_INFINITY))
config = DataConfig(crop="resized", holdout=0.1)
dataset = datasets.load(f"folder:{photos}", config, root)
images, labels = datasets.on_device(dataset.train, torch.device("cpu"))
augmentation = Augmentation(images, Normalisation.of(dataset.mean, dataset.std, images.device), config)
sampled = augmentation.sample(0, "augmentation", 0, 2)
pixels = 0
for indices in torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).split(8):
    pixels += augmentation.views(indices, sampled).numel()
print(len(labels), pixels)
try:
    torch.empty(dataset.train.pixels.size, dtype=torch.uint8)
except RuntimeError:
    print("no more than the limit")
"""


def test_a_dataset_larger_than_the_memory_that_a_run_may_take(photos: Path, tmp_path: Path) -> None:
    size = IMAGES * 9 // 10 * 3 * SIDE**2
    given = sys.executable, "-c", WITHIN_A_LIMIT, str(photos), str(tmp_path), str(size * 9 // 10)
    # one arena: what threads that decode have freed is not kept for each of them
    surroundings = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(given, env=surroundings, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    trained_on = round(IMAGES * 9 // 10 * 0.9)
    assert done.stdout.splitlines() == [f"{trained_on} {2 * trained_on * 3 * SIDE**2}", "no more than the limit"]


def test_images_per_second_beside_torchvisions_loader(photos: Path, tmp_path: Path) -> None:
    """Both give cropped, resized, mirrored and normalised batches on one thread."""
    config = DataConfig(crop="resized")
    dataset = datasets.load(f"folder:{photos}", config, tmp_path)
    images, labels = datasets.on_device(dataset.train, torch.device("cpu"))
    augmentation = Augmentation(images, Normalisation.of(dataset.mean, dataset.std, images.device), config)
    steps = [
        *(v2.RandomResizedCrop(SIDE), v2.RandomHorizontalFlip(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)),
        v2.Normalize(dataset.mean, dataset.std),
    ]
    loader = DataLoader(ImageFolder(photos / "train", v2.Compose(steps)), BATCH, shuffle=True)

    def ours() -> None:
        sampled = augmentation.sample(0, "augmentation", 0, 1)
        for indices in torch.randperm(len(labels)).split(BATCH):
            augmentation.views(indices, sampled)

    def theirs() -> None:
        for _ in loader:
            pass

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours_s, theirs_s = (min(timed(work) for _ in range(2)) for work in (ours, theirs))
    finally:
        torch.set_num_threads(before)
    print(f"{len(labels) / ours_s:.0f} images/s against {len(labels) / theirs_s:.0f}: {theirs_s / ours_s:.2f} times")
    assert ours_s < theirs_s


def timed(work: Callable[[], None]) -> float:
    """Return the seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
