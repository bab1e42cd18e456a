"""V independently augmented views of a batch, made on the training device."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from benchmark.configuration import DataConfig
from benchmark.datasets import Images
from benchmark.training.randomness import axis_seed, generator
from methods.errors import InputError

if TYPE_CHECKING:
    from benchmark.training.policies import Changes, Policy

Padding = Literal["black", "mean", "reflect"]


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
    """Pad, crop and mirror at random, then change by a policy and erase, if wanted: drawn for each image and view.

    View v of image n in epoch e depends on (seed, e, v, n) alone: a method that needs fewer views sees the same
    first ones.
    """

    def __init__(
        self,
        images: Images,
        normalisation: Normalisation,
        pad: int,
        flip: bool,
        padding: Padding = "black",
        policy: Literal["randaugment", "trivialaugment"] | None = None,
        erase: float = 0.0,
    ) -> None:
        """Keep a reference to the images.

        Args:
            images: ``[N, C, H, W]``, uint8.
            normalisation: From their pixels to what networks see.
            pad: Width of the border in pixels; below the images' sides for ``reflect``.
            flip: Whether images are mirrored at random.
            padding: What the border is: ``black``, the ``mean`` colour, or the image's rim, mirrored (``reflect``).
            policy: torchvision's policy that changes the crops; None: none.
            erase: Probability with which a rectangle of a view gets the mean colour.

        Raises:
            InputError: For a border that is wider than a mirrored image, or a policy on images that are neither grey
                nor of three colours.
        """
        self.count, self.channels, self.height, self.width = images.shape
        if padding == "reflect" and pad >= min(self.height, self.width):
            raise InputError(
                f"data.padding=reflect: data.pad must be below {min(self.height, self.width)} (given: {pad})"
            )
        self.pad = pad
        self.flip = flip
        self.padding = padding
        self.normalisation = normalisation
        self.images = images
        self.erase = erase
        self.policy = self._policy(policy) if policy else None

    @classmethod
    def of(cls, data: DataConfig, images: Images, normalisation: Normalisation) -> "Augmentation":
        """Make what a run's configuration asks for."""
        if data.augment == "none":
            return cls(images, normalisation, 0, False, erase=data.erase)
        policy = None if data.augment == "standard" else data.augment
        return cls(images, normalisation, data.pad, data.flip, data.padding, policy, data.erase)

    def _policy(self, name: Literal["randaugment", "trivialaugment"]) -> "Policy":
        if self.channels not in (1, 3):
            raise InputError(
                f"data.augment={name} takes grey images or three colours (given: {self.channels} channels)"
            )
        # torchvision takes seconds to import
        from benchmark.training.policies import Policy

        return Policy(name, self.height, self.width)

    def draw(self, seed: int, axis: str, epoch: int, views: int) -> "Draw":
        """Draw everything that is done to every image in an epoch."""
        rows, columns, mirrored = [], [], []
        changes: list[Changes] = []
        for view in range(views):
            source = generator(seed, axis, epoch, view)
            offsets = torch.randint(0, 2 * self.pad + 1, (2, self.count), generator=source)
            coins = torch.randint(0, 2, (self.count,), generator=source)
            rows.append(offsets[0])
            columns.append(offsets[1])
            mirrored.append(coins if self.flip else torch.zeros_like(coins))
            if self.policy:
                changes.append(self.policy.draw(generator(seed, f"{axis}-policy", epoch, view), self.count))
        device = self.images.device
        return Draw(
            rows=torch.stack(rows).to(device),
            columns=torch.stack(columns).to(device),
            mirrored=torch.stack(mirrored).to(device),
            changes=changes,
            boxes=self._boxes(seed, axis, epoch, views).to(device) if self.erase else None,
        )

    def _boxes(self, seed: int, axis: str, epoch: int, views: int) -> Tensor:
        from benchmark.training.policies import draw_boxes

        seeds = [axis_seed(seed, f"{axis}-erase", epoch, view) for view in range(views)]
        return torch.stack([draw_boxes(own, self.count, self.erase, self.height, self.width) for own in seeds])

    def views(self, indices: Tensor, draw: "Draw") -> Tensor:
        """Return normalised views ``[V, B, C, H, W]``, channels-last, of the images at ``indices`` ``[B]``."""
        windows = self._windows(self.images[indices])
        mirrored = draw.mirrored[:, indices]
        columns = draw.columns[:, indices]
        # column c of an image is column 2 pad - c of its mirror image
        columns = torch.where(mirrored.bool(), 2 * self.pad - columns, columns)
        batch = torch.arange(len(indices), device=indices.device)
        pixels = windows[mirrored, batch, draw.rows[:, indices], columns]
        if self.policy:
            pixels = self._changed(self.policy, pixels, draw.changes, indices)
        views = self.normalisation(pixels)
        if draw.boxes is None:
            return views
        from benchmark.training.policies import erase

        return erase(views, draw.boxes[:, indices])

    def _changed(self, policy: "Policy", pixels: Tensor, changes: "list[Changes]", indices: Tensor) -> Tensor:
        """Return ``[V, B, H, W, C]`` changed by the policy."""
        from benchmark.training.policies import Changes

        # which images change alike is decided on the host: the one wait of a step
        chosen = indices.cpu()
        every = Changes(*(torch.cat([part[chosen] for part in parts]) for parts in zip(*changes, strict=True)))
        changed = policy(pixels.flatten(0, 1).movedim(-1, -3), every)
        return channels_inside(changed).view_as(pixels)

    def _windows(self, images: Tensor) -> Tensor:
        """Return every crop of ``[B, C, H, W]`` and of its mirror images: a view ``[2, B, rows, columns, H, W, C]``.

        The images are padded batch by batch: a padded copy of the whole set would take half as much memory again in
        every run.
        """
        pad, sides = self.pad, 2 if self.flip else 1
        offsets = 2 * pad + 1
        shape = (sides, len(images), self.height + 2 * pad, self.width + 2 * pad, self.channels)
        padded = images.new_zeros(shape)
        inside = images.movedim(-3, -1)
        if self.padding == "reflect":
            rows, columns = (_mirrored_rim(side, pad, images.device) for side in (self.height, self.width))
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


def _mirrored_rim(side: int, pad: int, device: torch.device) -> Tensor:
    """Return which pixel of a side stands at each place of the padded side; the rim itself is not repeated."""
    places = torch.arange(-pad, side + pad, device=device).abs()
    return torch.minimum(places, 2 * (side - 1) - places)


@dataclass(frozen=True)
class Draw:
    """What was drawn for an epoch.

    Attributes:
        rows: ``[V, N]``, the crops' upper edges.
        columns: ``[V, N]``, their left edges.
        mirrored: ``[V, N]``, 1 for who is mirrored.
        changes: Of a policy, for each view; they stay on the CPU.
        boxes: ``[V, N, 4]``, what is erased; None: nothing.
    """

    rows: Tensor
    columns: Tensor
    mirrored: Tensor
    changes: "list[Changes]"
    boxes: Tensor | None
