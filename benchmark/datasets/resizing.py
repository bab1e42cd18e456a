"""Images to one square size."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.datasets.progress import in_blocks
from methods.errors import InputError

Pixels = npt.NDArray[np.uint8]

REMEDY = "data.image_size=N resizes and crops them to NxN"


def centre_square(image: Image.Image, side: int) -> Image.Image:
    """Resize the shorter side and cut the middle out, with the roundings of torchvision's Resize and CenterCrop."""
    shorter = min(image.size)
    width, height = (side if length == shorter else int(side * length / shorter) for length in image.size)
    # on images, Pillow's bilinear filter is antialiased
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return resized.crop((left, top, left + side, top + side))


def squared(images: Pixels, side: int | None, where: str) -> Pixels:
    """Return images ``[N, C, side, side]`` for ``[N, C, H, W]`` with 1 or 3 channels.

    Args:
        images: Not changed.
        side: In pixels; None keeps the size that they have.
        where: How the message names their origin.

    Raises:
        InputError: If they are not square and no side is given.
    """
    height, width = images.shape[2:]
    if side is None:
        if height != width:
            raise InputError(f"{where}: images of {width}x{height} are not square: {REMEDY}")
        return images
    if height == width == side:
        return images

    def block_of(block: Sequence[int]) -> Pixels:
        return np.stack([_resized(images[index], side) for index in block])

    return np.concatenate(list(in_blocks(block_of, range(len(images)), "resizing images")))


def _resized(image: Pixels, side: int) -> Pixels:
    colour = len(image) > 1
    opened = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)) if colour else image[0])
    pixels = np.asarray(centre_square(opened, side))
    return pixels.transpose(2, 0, 1) if colour else pixels[None]
