"""Where a run's images are kept: on the training device if they fit, else in the host's memory or a mapped file."""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.datasets.images import LabelledImages

COPIED_AT_ONCE = 4096


@dataclass(frozen=True)
class HostImages:
    """Images in the host's memory, or in a file that is mapped into it, of which each batch goes to the device."""

    pixels: Tensor  # uint8 [M, C, H, W]
    rows: Tensor | None  # which of the pixels the images are, [N]; None if they are all of them
    device: torch.device

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all images, ``(N, C, H, W)``."""
        return (len(self.pixels) if self.rows is None else len(self.rows), *self.pixels.shape[1:])

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Return a batch on the device."""
        where = index.cpu() if isinstance(index, Tensor) else index
        return uploaded(self.pixels[where if self.rows is None else self.rows[where]], self.device)


Images = Tensor | HostImages
"""Images ``[N, C, H, W]`` of uint8 that are indexed a batch at a time."""


def on_device(part: LabelledImages, device: torch.device) -> tuple[Images, Tensor]:
    """Return images and labels for training on a device.

    On the CPU nothing is copied: the images share the array's memory, which nobody writes to, or stay in their file.
    Elsewhere they are copied if they take no more than half of the device's free memory.
    """
    with warnings.catch_warnings():
        # arrays in Ray's object store and mapped files are read-only
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        # flat first: numpy leaves the stride of an axis of length 1 open, and torch chooses its kernels by strides
        pixels = torch.from_numpy(part.pixels.reshape(-1)).view(part.pixels.shape)
        rows = None if part.rows is None else torch.from_numpy(part.rows)
        labels = torch.from_numpy(part.labels).to(device)
    host = HostImages(pixels, rows, device)
    if device.type == "cpu":
        return (pixels if rows is None else host), labels
    if pixels[:1].nbytes * len(part) > free_memory(device) // 2:
        return host, labels
    copied = torch.empty(host.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(part), COPIED_AT_ONCE):
        batch = slice(start, start + COPIED_AT_ONCE)
        copied[batch] = host[batch]
    return copied, labels


def uploaded(values: Tensor, device: torch.device) -> Tensor:
    """Return values of the host's memory on a device; the host does not wait for the copy."""
    if device.type == "cpu":
        return values
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a CUDA device."""
    return int(torch.cuda.mem_get_info(device)[0])
