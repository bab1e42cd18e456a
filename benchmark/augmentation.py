"""V independently augmented views of a batch, made on the training device."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.placement import Images
from benchmark.randomness import generator


@dataclass(frozen=True)
class Normalisation:
    """From uint8 pixels to what networks see: ``(x / 255 - mean) / std`` of each channel."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> "Normalisation":
        """Make it for means and standard deviations of pixels in [0, 1]."""
        means, stds = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (mean, std))
        return cls(1 / (255 * stds), -means / stds)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return float images for uint8 ``[..., C, H, W]``."""
        return torch.addcmul(self.shift, pixels.to(self.scale.dtype), self.scale)


class Augmentation:
    """Pad with black, crop at random, mirror at random: drawn for each image and view of an epoch.

    View v of image n in epoch e depends on (seed, e, v, n) alone: a method that needs fewer views sees the same
    first ones.
    """

    def __init__(
        self, images: Images, normalisation: Normalisation, pad: int, flip: bool, channels_last: bool = False
    ) -> None:
        """Keep a reference to the images ``[N, C, H, W]``, uint8."""
        self.channels_last = channels_last
        self.count, _, self.height, self.width = images.shape
        self.pad = pad
        self.flip = flip
        self.normalisation = normalisation
        self.images = images

    def draw(self, seed: int, axis: str, epoch: int, views: int) -> "Draw":
        """Draw the crops and flips of every image for an epoch."""
        rows, columns, mirrored = [], [], []
        for view in range(views):
            source = generator(seed, axis, epoch, view)
            offsets = torch.randint(0, 2 * self.pad + 1, (2, self.count), generator=source)
            rows.append(offsets[0])
            columns.append(offsets[1])
            coins = torch.randint(0, 2, (self.count,), generator=source)
            mirrored.append(coins.bool() if self.flip else torch.zeros(self.count, dtype=torch.bool))
        device = self.images.device
        return Draw(*(torch.stack(drawn).to(device) for drawn in (rows, columns, mirrored)))

    def views(self, indices: Tensor, draw: "Draw") -> Tensor:
        """Return normalised views ``[V, B, C, H, W]`` of the images at ``indices`` ``[B]``."""
        rows = draw.rows[:, indices, None] + torch.arange(self.height, device=indices.device)
        across = torch.arange(self.width, device=indices.device)
        mirrored = draw.mirrored[:, indices, None]
        columns = draw.columns[:, indices, None] + torch.where(mirrored, across.flip(0), across)
        # padded batch by batch: a padded copy of the whole set would take half as much memory again in every run
        padded = F.pad(self.images[indices], (self.pad,) * 4)
        batch = padded.expand(len(draw.rows), *padded.shape)
        views, size, channels = batch.shape[:3]
        rows = rows[:, :, None, :, None].expand(views, size, channels, self.height, batch.shape[-1])
        columns = columns[:, :, None, None, :].expand(views, size, channels, self.height, self.width)
        cropped = batch.gather(3, rows).gather(4, columns)
        if self.channels_last:
            # laid out while the pixels are still bytes, a quarter of the floats' traffic
            cropped = cropped.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
        return self.normalisation(cropped)


@dataclass(frozen=True)
class Draw:
    """What was drawn for an epoch, each ``[V, N]``: the crops' upper and left edges, and who is mirrored."""

    rows: Tensor
    columns: Tensor
    mirrored: Tensor
