"""What steps of training are taken on: the images of an epoch in their order, augmented, mixed and labelled."""

import math
from collections.abc import Iterator
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
"""Area of an erased rectangle as a share of the image's, and its height over its width: torchvision's defaults."""

ERASING_ATTEMPTS = 10
"""To find a rectangle that fits into the image, likewise."""


@dataclass(frozen=True)
class Normalisation:
    """From uint8 pixels to what networks see: ``(x / 255 - mean) / std`` of each channel."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> "Normalisation":
        """Make it for means and standard deviations of pixels in [0, 1]."""
        means, stds = (torch.tensor(values, device=device) for values in (mean, std))
        return cls(1 / (255 * stds), -means / stds)

    @property
    def mean_colour(self) -> Tensor:
        """The pixel ``[C]``, uint8, that comes nearest to 0 in every channel."""
        return (-self.shift / self.scale).round().to(torch.uint8)

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
        offsets, mirrored, crops, changes, boxes = [], [], [], [], []
        size = self.height, self.width
        for view in range(views):
            source = generator(seed, axis, epoch, view)
            offsets.append(torch.randint(0, 2 * self.pad + 1, (2, self.count), generator=source))
            coins = torch.randint(0, 2, (self.count,), generator=source)
            mirrored.append(coins if self.flip else torch.zeros_like(coins))
            if self.resized:
                own = generator(seed, f"{axis}-crop", epoch, view)
                crops.append(sample_crops(own, self.count, self.crop_scale, *size))
            if self.policy:
                changes.append(self.policy.sample(generator(seed, f"{axis}-policy", epoch, view), self.count))
            if self.erase:
                boxes.append(sample_boxes(axis_seed(seed, f"{axis}-erase", epoch, view), self.count, self.erase, *size))
        device = self.images.device
        rows, columns = torch.stack(offsets, dim=1)
        return SampledViews(
            rows=uploaded(rows, device),
            columns=uploaded(columns, device),
            mirrored=uploaded(torch.stack(mirrored), device),
            crops=uploaded(torch.stack(crops), device) if crops else None,
            changes=torch.stack(changes) if changes else None,
            boxes=uploaded(torch.stack(boxes), device) if boxes else None,
        )

    def pixels(self, indices: Tensor, where: Tensor) -> Tensor:
        """Return images ``[B, C, H, W]``, by their indices ``[B]`` in the host's memory and on the device."""
        return self.images[where if isinstance(self.images, Tensor) else indices]

    def views(self, indices: Tensor, sampled: "SampledViews", where: Tensor | None = None) -> Tensor:
        """Return normalised views ``[V, B, C, H, W]``, channels-last, of the images at ``indices`` ``[B]`` on the host.

        ``where`` are the same on the device; None: it is the CPU.
        """
        where = indices if where is None else where
        images, mirrored = self.pixels(indices, where), sampled.mirrored[:, where]
        if sampled.crops is not None:
            pixels = resized_crops(images, sampled.crops[:, where], mirrored)
        else:
            # column c of an image is column 2 pad - c of its mirror image
            columns = sampled.columns[:, where]
            columns = torch.where(mirrored.bool(), 2 * self.pad - columns, columns)
            batch = torch.arange(len(indices), device=where.device)
            pixels = self._windows(images)[mirrored, batch, sampled.rows[:, where], columns]
        if self.policy and sampled.changes is not None:
            changes = sampled.changes[:, indices].flatten(0, 1)
            pixels = channels_inside(self.policy(pixels.flatten(0, 1).movedim(-1, -3), changes)).view_as(pixels)
        views = self.normalisation(pixels)
        if sampled.boxes is None:
            return views
        return erase(views, sampled.boxes[:, where])

    def _windows(self, images: Tensor) -> Tensor:
        """Return every crop of ``[B, C, H, W]`` and of its mirror images: a view ``[2, B, rows, columns, H, W, C]``."""
        # batch by batch: a padded copy of the whole set would take half as much memory again in every run
        pad, sides = self.pad, 2 if self.flip else 1
        offsets = 2 * pad + 1
        padded = images.new_zeros(sides, len(images), self.height + 2 * pad, self.width + 2 * pad, self.channels)
        inside = images.movedim(-3, -1)
        if self.padding == "reflect":
            # which pixel of a side is at each place of the padded one; the rim itself is not repeated
            rows, columns = (
                torch.minimum(places, 2 * (side - 1) - places)
                for side in (self.height, self.width)
                for places in (torch.arange(-pad, side + pad, device=images.device).abs(),)
            )
            padded[0] = inside[:, rows[:, None], columns]
        else:
            if self.padding == "mean":
                padded[0] = self.normalisation.mean_colour
            padded[0, :, pad : pad + self.height, pad : pad + self.width] = inside
        if self.flip:
            padded[1] = padded[0].flip(2)
        side, image, row, column, channel = padded.stride()
        windows = (sides, len(images), offsets, offsets, self.height, self.width, self.channels)
        return padded.as_strided(windows, (side, image, row, column, row, column, channel))


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


def resized_crops(images: Tensor, crops: Tensor, mirrored: Tensor) -> Tensor:
    """Return ``crops`` ``[V, B, 4]`` of uint8 images ``[B, C, H, W]``, resized to their size: ``[V, B, H, W, C]``.

    Bilinear, with pixels outside of the rectangle left out, as ``torchvision.transforms.v2.functional.resized_crop``
    with ``antialias``, which changes nothing where a rectangle is enlarged. ``mirrored`` ``[V, B]`` is 1 or 0.
    """
    rows = _positions(crops[..., 0], crops[..., 2], images.shape[-2])
    columns = _positions(crops[..., 1], crops[..., 3], images.shape[-1])
    columns = torch.where(mirrored[..., None].bool(), columns.flip(-1), columns)
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
    bits = source.randint(0, 2**32, (2 * ERASING_ATTEMPTS + 2) * len(chosen) + 4, dtype=np.uint32)
    # torch makes a float of 24 of them
    shares = torch.from_numpy((bits & 0xFFFFFF) / 2.0**24)
    low, high = (float(value) for value in torch.log(torch.tensor(ERASED_RATIO)))
    ratios = torch.exp((shares * float(np.float32(high) - np.float32(low)) + low).float())[1:].double()
    smallest, largest = map(np.float32, ERASED_SHARE)
    scales = (shares * float(largest - smallest) + float(smallest)).float()
    areas = height * width * scales[:-1].double()
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
        numbers = torch.from_numpy(bits.astype(np.int64))
        own, wide = rows[starts], columns[starts]
        corners = numbers[starts + 2] % (height - own + 1), numbers[starts + 3] % (width - wide + 1)
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

    rows: Tensor  # [V, N], the crops' upper edges
    columns: Tensor  # [V, N], their left edges
    mirrored: Tensor  # [V, N], 1 for those that are mirrored
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
        self.per_epoch = len(_without_single(torch.arange(len(self.labels)).split(config.train.batch_size)))

    def of_epoch(self, order_axis: str, view_axis: str, epoch: int) -> Iterator[tuple[StepBatch, bool]]:
        """Yield a 0-based epoch's batches, each with whether it is the last; axes are those of the randomness."""
        seed = self._config.seed
        sampled = self.augmentation.sample(seed, view_axis, epoch, self._views)
        order = torch.randperm(len(self.labels), generator=generator(seed, order_axis, epoch))
        parts = _without_single(order.split(self._config.train.batch_size))
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


def _without_single(batches: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Join a last batch of one image to the one before it: batch statistics of a single value are not defined."""
    if len(batches) > 1 and len(batches[-1]) == 1:
        return (*batches[:-2], torch.cat(batches[-2:]))
    return batches
