"""What steps of training are taken on: the images of an epoch in their order, augmented, mixed and labelled."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.configuration import DataConfig, RunConfig
from benchmark.datasets import Dataset, Images, on_device, uploaded
from benchmark.training.initialisation import axis_seed, generator
from benchmark.training.steps import StepBatch
from methods.errors import InputError
from methods.interface import Batch
from methods.objectives import soft_labels

if TYPE_CHECKING:
    # torchvision takes seconds to import: whoever needs it imports this file
    from benchmark.training.policies import Policy


CROP_RATIO = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10
"""Width over height of a resized crop, and how often one that fits is looked for: torchvision's defaults."""

ERASED_SHARE = (0.02, 0.33)
ERASED_RATIO = (0.3, 3.3)
ERASING_ATTEMPTS = 10
"""An erased rectangle's share of the area, height over width, and attempts to find one that fits, likewise."""


@dataclass(frozen=True)
class Normalisation:
    """From uint8 pixels to what networks see: ``(x / 255 - mean) / std`` of each channel."""

    scale: Tensor
    shift: Tensor
    layout: torch.memory_format = torch.contiguous_format  # of the images that networks see

    @classmethod
    def of(
        cls, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device, channels_last: bool = False
    ) -> "Normalisation":
        """Make it for means and standard deviations of pixels in [0, 1]."""
        means, stds = (torch.tensor(values, device=device) for values in (mean, std))
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return cls(1 / (255 * stds), -means / stds, layout)

    def of_images(self, images: Tensor) -> Tensor:
        """Return float images ``[B, C, H, W]``, in its layout, for uint8 ones."""
        return self(channels_inside(images)).contiguous(memory_format=self.layout)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return float images ``[..., C, H, W]``, laid out channels-last, for uint8 ``[..., H, W, C]``."""
        *leading, width, channels = pixels.shape
        # whole rows at a time: a channel's constants repeat along the row, and the innermost loop is long
        rows = pixels.reshape(-1, width * channels).to(self.scale.dtype)
        # in place: a second array of floats would cost as much as the arithmetic
        torch.addcmul(self.shift.repeat(width), rows, self.scale.repeat(width), out=rows)
        return rows.view(*leading, width, channels).movedim(-1, -3)


def channels_inside(images: Tensor) -> Tensor:
    """Return ``[..., H, W, C]``, contiguous, for ``[..., C, H, W]``."""
    return images.movedim(-3, -1).contiguous()


class Augmentation:
    """Crop and mirror at random, then change by a policy and erase, if wanted: sampled for each image and view.

    View v of image n in epoch e depends on (seed, e, v, n) alone: a method that needs fewer views sees the same
    first ones.
    """

    policy: "Policy | None"

    def __init__(self, images: Images, normalisation: Normalisation, data: DataConfig) -> None:
        """Keep a reference to uint8 images ``[N, C, H, W]``.

        Raises an InputError for a border that is wider than a mirrored image, or a policy on images that are neither
        grey nor of three colours.
        """
        self.count, self.channels, self.height, self.width = images.shape
        cropped = data.augment != "none"
        self.resized = cropped and data.crop == "resized"
        self.crop_scale, self.flip = data.crop_scale, cropped and data.flip
        self.pad, self.padding = (data.pad, data.padding) if cropped and not self.resized else (0, "black")
        if self.padding == "reflect" and self.pad >= min(self.height, self.width):
            raise InputError(
                f"data.padding=reflect: data.pad must be below {min(self.height, self.width)} (given: {self.pad})"
            )
        self.normalisation = normalisation
        self.images = images
        self.erase = data.erase
        self.policy = None
        if data.augment in ("randaugment", "trivialaugment"):
            if self.channels not in (1, 3):
                raise InputError(
                    f"data.augment={data.augment} takes grey images or three colours (given: {self.channels} channels)"
                )
            from benchmark.training import policies

            self.policy = policies.Policy(data.augment, self.height, self.width, images.device)

    def sample(self, seed: int, axis: str, epoch: int, views: int) -> "SampledViews":
        """Sample everything that is done to every image in an epoch."""
        device, size, policy = self.images.device, (self.height, self.width), self.policy

        def each(use: str, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
            return torch.stack([draw(generator(seed, f"{axis}{use}", epoch, view)) for view in range(views)])

        def window(source: torch.Generator) -> Tensor:
            offsets = torch.randint(0, 2 * self.pad + 1, (2, self.count), generator=source)
            coins = torch.randint(0, 2, (1, self.count), generator=source)
            return torch.cat((offsets, coins if self.flip else torch.zeros_like(coins)))

        def crop(source: torch.Generator) -> Tensor:
            return sample_crops(source, self.count, self.crop_scale, *size)

        def box(source: torch.Generator) -> Tensor:
            return sample_boxes(source.initial_seed(), self.count, self.erase, *size)

        return SampledViews(
            windows=uploaded(each("", window), device),
            crops=uploaded(each("-crop", crop), device) if self.resized else None,
            changes=each("-policy", lambda source: policy.sample(source, self.count)) if policy else None,
            boxes=uploaded(each("-erase", box), device) if self.erase else None,
        )

    def pixels(self, indices: Tensor, where: Tensor) -> Tensor:
        """Return images ``[B, C, H, W]``, by their indices ``[B]`` in the host's memory and on the device."""
        return self.images[where if isinstance(self.images, Tensor) else indices]

    def views(self, indices: Tensor, sampled: "SampledViews", where: Tensor | None = None) -> Tensor:
        """Return normalised views ``[V, B, C, H, W]``, channels-last, of the images at ``indices`` ``[B]`` on the host.

        ``where`` are the same on the device; None: it is the CPU.
        """
        where = indices if where is None else where
        images = self.pixels(indices, where)
        rows, columns, mirrored = sampled.windows[..., where].unbind(1)
        if sampled.crops is not None:
            pixels = resized_crops(images, sampled.crops[:, where])
        else:
            pixels = self._windows(images)[torch.arange(len(indices), device=where.device), rows, columns]
        if self.flip:
            pixels = torch.where(mirrored.bool()[..., None, None, None], pixels.flip(-2), pixels)
        if self.policy and sampled.changes is not None:
            changes = sampled.changes[:, indices].flatten(0, 1)
            pixels = channels_inside(self.policy(pixels.flatten(0, 1).movedim(-1, -3), changes)).view_as(pixels)
        views = self.normalisation(pixels)
        return views if sampled.boxes is None else erase(views, sampled.boxes[:, where])

    def _windows(self, images: Tensor) -> Tensor:
        """Return every crop of the padded images ``[B, C, H, W]``: a view ``[B, rows, columns, H, W, C]``."""
        # batch by batch: a padded copy of the whole set would take half as much memory again in every run
        pad = self.pad
        if self.padding == "reflect":
            # torch mirrors floats alone
            padded = channels_inside(F.pad(images.float(), (pad, pad, pad, pad), mode="reflect").to(torch.uint8))
        else:
            padded = images.new_zeros(len(images), self.height + 2 * pad, self.width + 2 * pad, self.channels)
            if self.padding == "mean":
                # the pixel that comes nearest to 0 in every channel
                padded[:] = (-self.normalisation.shift / self.normalisation.scale).round().to(torch.uint8)
            padded[:, pad : pad + self.height, pad : pad + self.width] = images.movedim(-3, -1)
        return padded.unfold(1, self.height, 1).unfold(2, self.width, 1).movedim(3, -1)


def sample_crops(source: torch.Generator, count: int, smallest: float, height: int, width: int) -> Tensor:
    """Return rectangles ``[n, 4]`` of n images, top, left, height and width, as ``RandomResizedCrop`` samples them.

    A share s ~ U(smallest, 1) of the area and a ratio r of width to height, log r ~ U(log 3/4, log 4/3), give a
    rectangle of ``sqrt(H W s r)`` columns and ``sqrt(H W s / r)`` rows: the first of ten that fits, at any place where
    it does. An image of which none fits is not cropped: its ratio is within that range, for images here are square.
    """
    shares, ratios = torch.rand(2, count, CROP_ATTEMPTS, generator=source, dtype=torch.float64)
    places = torch.rand(2, count, generator=source, dtype=torch.float64)
    areas = height * width * (smallest + (1 - smallest) * shares)
    low, high = (math.log(ratio) for ratio in CROP_RATIO)
    ratios = torch.exp(low + (high - low) * ratios)
    sides = torch.stack(((areas / ratios).sqrt().round(), (areas * ratios).sqrt().round()))
    whole = torch.tensor([height, width], dtype=torch.float64).view(2, 1, 1)
    fits = ((sides >= 1) & (sides <= whole)).all(0)
    chosen = sides.gather(2, fits.int().argmax(1).expand(2, -1)[..., None])
    chosen = torch.where(fits.any(1), chosen[..., 0], whole[..., 0])
    corners = (places * (whole[..., 0] - chosen + 1)).floor()
    return torch.cat((corners, chosen)).T.long()


def resized_crops(images: Tensor, crops: Tensor) -> Tensor:
    """Return ``crops`` ``[V, B, 4]`` of uint8 images ``[B, C, H, W]``, resized to their size: ``[V, B, H, W, C]``.

    Bilinear, with pixels outside of the rectangle left out, as ``torchvision.transforms.v2.functional.resized_crop``
    with ``antialias``, which changes nothing where a rectangle is enlarged.
    """
    rows = _positions(crops[..., 0], crops[..., 2], images.shape[-2])
    columns = _positions(crops[..., 1], crops[..., 3], images.shape[-1])
    pixels = images.float()
    views = []
    for across, down in zip(columns, rows, strict=True):
        grid = torch.stack(torch.broadcast_tensors(across[:, None, :], down[:, :, None]), dim=-1)
        view = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=True)
        views.append(channels_inside(view.round_().to(torch.uint8)))
    return torch.stack(views)


def _positions(start: Tensor, length: Tensor, side: int) -> Tensor:
    """Return where the pixels of a resized side are read, ``[..., side]``, as ``grid_sample`` counts: -1 to 1."""
    places = torch.arange(side, device=start.device) + 0.5
    found = places * (length[..., None] / side) - 0.5
    found = start[..., None] + torch.minimum(found.clamp_(min=0), length[..., None] - 1.0)
    return found * (2 / max(1, side - 1)) - 1


def sample_boxes(seed: int, count: int, probability: float, height: int, width: int) -> Tensor:
    """Return the rectangles that are erased of so many images: ``[n, 4]``, top, left, height and width; 0 for none.

    They are those of torchvision's ``RandomErasing.get_params``, image by image from torch's generator with that seed.
    """
    chosen = (torch.rand(count, generator=torch.Generator().manual_seed(seed)) < probability).nonzero().flatten()
    boxes = torch.zeros(count, 4, dtype=torch.int64)
    # numpy's generator gives the same 32 bits: an attempt takes two, and a rectangle that fits two more
    source = np.random.RandomState(seed & 0xFFFFFFFF)
    source.bytes(4 * count)
    sampled = source.randint(0, 2**32, (2 * ERASING_ATTEMPTS + 2) * len(chosen) + 4, dtype=np.uint32)
    bits = torch.from_numpy(sampled.astype(np.int64))

    def uniform(low: float, high: float) -> Tensor:
        # torch makes a float of 24 of them
        shares, span = (bits & 0xFFFFFF).double() / 2.0**24, float(np.float32(high) - np.float32(low))
        return (shares * span + float(np.float32(low))).float()

    ratios = torch.exp(uniform(*torch.log(torch.tensor(ERASED_RATIO)).tolist()))[1:].double()
    areas = height * width * uniform(*ERASED_SHARE)[:-1].double()
    rows, columns = torch.sqrt(areas * ratios).round().long(), torch.sqrt(areas / ratios).round().long()
    fits = ((rows < height) & (columns < width)).tolist()
    found, at = [], 0
    for place in chosen.tolist():
        for _ in range(ERASING_ATTEMPTS):
            if fits[at]:
                found.append((place, at))
                at += 4
                break
            at += 2
    if found:
        places, starts = torch.tensor(found).T
        own, wide = rows[starts], columns[starts]
        corners = bits[starts + 2] % (height - own + 1), bits[starts + 3] % (width - wide + 1)
        boxes[places] = torch.stack((*corners, own, wide), dim=1)
    return boxes


def erase(images: Tensor, boxes: Tensor) -> Tensor:
    """Set the pixels inside ``boxes`` ``[..., 4]`` of float images ``[..., C, H, W]`` to 0, in place."""
    top, left, rows, columns = (side[..., None] for side in boxes.unbind(-1))
    height, width = (torch.arange(side, device=images.device) for side in images.shape[-2:])
    inside_rows = (height >= top) & (height < top + rows)
    inside_columns = (width >= left) & (width < left + columns)
    inside = inside_rows[..., :, None] & inside_columns[..., None, :]
    return images.masked_fill_(inside.unsqueeze(-3), 0.0)


@dataclass(frozen=True)
class SampledViews:
    """What is done to the views of all images in an epoch."""

    # [V, 3, N]: upper and left edges of windows of the padded images, and 1 where one is mirrored
    windows: Tensor
    # [V, N, 4], rectangles that are resized: top, left, height and width; None: a window is taken
    crops: Tensor | None
    changes: Tensor | None  # [V, N, L], of a policy, in the host's memory; None: none
    boxes: Tensor | None  # [V, N, 4], what is erased; None: nothing


class Batches:
    """The training images of a run on its device; which batches they make depends on the seed and the epoch alone."""

    def __init__(
        self, config: RunConfig, dataset: Dataset, normalisation: Normalisation, device: torch.device, views: int
    ) -> None:
        """Move the training images of a dataset to the device; a batch has ``views`` views of each of its images."""
        self._config = config
        self._classes = len(dataset.classes)
        self._views = views
        images, self.labels = on_device(dataset.train, device)
        self.augmentation = Augmentation(images, normalisation, config.data)
        self._mixing = None
        if config.data.mix != "none":
            from benchmark.training.policies import Mixing

            self._mixing = Mixing(config.data.mix, config.data.mix_alpha, self._classes)
        # steps, and counted once: a step asks for it
        self.per_epoch = len(self._split(torch.arange(len(self.labels))))

    def of_epoch(self, order_axis: str, view_axis: str, epoch: int) -> Iterator[tuple[StepBatch, bool]]:
        """Yield a 0-based epoch's batches, each with whether it is the last; axes are those of the randomness."""
        seed = self._config.seed
        sampled = self.augmentation.sample(seed, view_axis, epoch, self._views)
        order = torch.randperm(len(self.labels), generator=generator(seed, order_axis, epoch))
        parts = self._split(order)
        for number, indices in enumerate(parts, start=1):
            mixing_seed = axis_seed(seed, f"{view_axis}-mixing", epoch, number)
            yield self.prepared(indices, sampled, mixing_seed), number == len(parts)

    def endless(self, axis: str) -> Iterator[Batch]:
        """Yield batches of one epoch after another, as a method sees them that prepares itself."""
        for epoch in count():
            for batch, _ in self.of_epoch(f"{axis}-order", f"{axis}-augmentation", epoch):
                yield batch.views, batch.given

    def prepared(self, indices: Tensor, sampled: SampledViews, mixing_seed: int) -> StepBatch:
        """Return what a step is taken on: the images at places ``[B]`` in the training set, given on the host."""
        train, where = self._config.train, uploaded(indices, self.labels.device)
        labels, targets = self.labels[where], None
        views = self.augmentation.views(indices, sampled, where)
        if self._mixing:
            views, targets = self._mixing(views, labels, mixing_seed)
        if train.label_smoothing:
            targets = soft_labels(labels if targets is None else targets, self._classes, train.label_smoothing)
        return StepBatch(views if train.channels_last else views.contiguous(), labels, where, targets)

    def _split(self, order: Tensor) -> tuple[Tensor, ...]:
        """Join a last batch of one image to the one before it: batch statistics of a single value are not defined."""
        parts: tuple[Tensor, ...] = order.split(self._config.train.batch_size)
        if len(parts) > 1 and len(parts[-1]) == 1:
            return (*parts[:-2], torch.cat(parts[-2:]))
        return parts
