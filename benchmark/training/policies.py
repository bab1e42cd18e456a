"""torchvision's automatic augmentation and random erasing, drawn an image at a time and applied to many at once."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torchvision.transforms import RandomErasing
from torchvision.transforms.v2 import RandAugment, TrivialAugmentWide

from benchmark.training.randomness import drawing_from

ERASED_SHARE = (0.02, 0.33)
ERASED_RATIO = (0.3, 3.3)
"""Area of an erased rectangle as a share of the image's, and its height over its width: torchvision's defaults."""

Name = Literal["randaugment", "trivialaugment"]


class Changes(NamedTuple):
    """What is done to each of n images, one thing after the other.

    Attributes:
        operations: ``[n, L]``, places among the policy's operations.
        magnitudes: ``[n, L]``, how strongly each; 0 for operations that have no strength.
    """

    operations: Tensor
    magnitudes: Tensor


class Policy:
    """One of torchvision's policies at its defaults: two operations at strength 9 of 0..30, or one at any strength."""

    def __init__(self, name: Name, height: int, width: int) -> None:
        """Take the operations and their strengths from torchvision.

        Args:
            name: ``randaugment`` or ``trivialaugment``.
            height: Of the images in pixels, by which some strengths are measured.
            width: The same.
        """
        self.transform = {"randaugment": RandAugment, "trivialaugment": TrivialAugmentWide}[name]()
        bins = self.transform.num_magnitude_bins
        space = self.transform._AUGMENTATION_SPACE
        self.names = list(space)
        strengths = [magnitudes(bins, height, width) for magnitudes, _ in space.values()]
        none = torch.zeros(bins, dtype=torch.float64)
        self._strengths = torch.stack([none if own is None else own.double() for own in strengths])
        self._signed = torch.tensor([signed for _, signed in space.values()])

    def draw(self, source: torch.Generator, count: int) -> Changes:
        """Draw the changes of so many images as torchvision does: operation, strength and sign each at random."""
        random = isinstance(self.transform, TrivialAugmentWide)
        layers = 1 if random else self.transform.num_ops
        operations = torch.randint(len(self.names), (count, layers), generator=source)
        bins = torch.randint(self._strengths.shape[1], (count, layers), generator=source)
        if not random:
            bins = torch.full_like(bins, self.transform.magnitude)
        turned = (torch.rand(count, layers, generator=source) <= 0.5) & self._signed[operations]
        magnitudes = self._strengths[operations, bins]
        return Changes(operations, torch.where(turned, -magnitudes, magnitudes))

    def __call__(self, images: Tensor, changes: Changes) -> Tensor:
        """Return changed copies of uint8 images ``[n, C, H, W]``; images that change alike are changed together."""
        images = images.clone()
        for operations, magnitudes in zip(changes.operations.T.tolist(), changes.magnitudes.T.tolist(), strict=True):
            alike: dict[tuple[int, float], list[int]] = {}
            for place, change in enumerate(zip(operations, magnitudes, strict=True)):
                alike.setdefault(change, []).append(place)
            for (operation, magnitude), places in alike.items():
                chosen = torch.tensor(places, device=images.device)
                images[chosen] = self._apply(images[chosen], self.names[operation], magnitude)
        return images

    def _apply(self, images: Tensor, operation: str, magnitude: float) -> Tensor:
        # the one function of torchvision's that all its policies share; it takes batches
        changed: Tensor = self.transform._apply_image_or_video_transform(
            images, operation, magnitude, interpolation=self.transform.interpolation, fill=self.transform._fill
        )
        return changed


def draw_boxes(seed: int, count: int, probability: float, height: int, width: int) -> Tensor:
    """Return the rectangles that are erased of so many images: ``[n, 4]``, top, left, height and width; 0 for none."""
    boxes = torch.zeros(count, 4, dtype=torch.int64)
    frame = torch.empty(1, height, width)
    with drawing_from(seed):
        # for torchvision the whole image is what it gives back when no rectangle fits
        for place in (torch.rand(count) < probability).nonzero().flatten().tolist():
            top, left, rows, columns, _ = RandomErasing.get_params(frame, ERASED_SHARE, ERASED_RATIO, [0.0])
            if (rows, columns) != (height, width):
                boxes[place] = torch.tensor((top, left, rows, columns))
    return boxes


def erase(images: Tensor, boxes: Tensor) -> Tensor:
    """Set the pixels inside ``boxes`` ``[..., 4]`` of float images ``[..., C, H, W]`` to 0, in place."""
    top, left, rows, columns = (side[..., None] for side in boxes.unbind(-1))
    height, width = (torch.arange(side, device=images.device) for side in images.shape[-2:])
    inside_rows = (height >= top) & (height < top + rows)
    inside_columns = (width >= left) & (width < left + columns)
    inside = inside_rows[..., :, None] & inside_columns[..., None, :]
    return images.masked_fill_(inside.unsqueeze(-3), 0.0)
