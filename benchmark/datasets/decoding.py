"""Image files to arrays of one shape and size."""

import io
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from methods.errors import InputError, message_of

BLOCK = 32

Result = TypeVar("Result")
Item = TypeVar("Item")


def in_blocks(
    function: Callable[[Sequence[Item]], Result], items: Sequence[Item], description: str
) -> Generator[Result, None, None]:
    """Yield ``function(block)`` for blocks of neighbouring items, in their order, worked on by threads.

    A block has :data:`BLOCK` items or fewer. No more is held than a few of them per thread, however slowly the results
    are taken. On a terminal a bar on stderr shows what is done. An exception of the function ends everything.
    """
    from rich.console import Console
    from rich.progress import Progress

    workers, console = min(32, (cpu_count() or 1) + 1), Console(stderr=True)
    blocks = [items[start : start + BLOCK] for start in range(0, len(items), BLOCK)]
    # older versions of rich print an empty line for a bar that is disabled
    console.quiet = not console.is_terminal
    with ThreadPoolExecutor(workers) as pool, Progress(console=console, transient=True) as progress:
        task = progress.add_task(description, total=len(items))
        for start in range(0, len(blocks), 2 * workers):
            some = blocks[start : start + 2 * workers]
            for block, result in zip(some, pool.map(function, some), strict=True):
                yield result
                progress.advance(task, len(block))


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


_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La", *_SIXTEEN_BIT)

TWELVE_BIT = 0xFFF
"""What the 16-bit images of a set must exceed somewhere: into such files, 12 bits or fewer are written too."""


@dataclass(frozen=True)
class EmbeddedImage:
    """An image file within another file."""

    name: str  # how messages name it
    read: Callable[[], bytes]  # gives its bytes

    def __str__(self) -> str:
        return self.name


EncodedImage = Path | EmbeddedImage


@dataclass(frozen=True)
class ImageFormat:
    """The one form that all images of a set are brought into."""

    channels: int  # 1 (grey) or 3
    side: int  # height and width in pixels
    resize: bool  # whether other sizes are resized to it; without that they are refused
    reference: EncodedImage  # the file that the side was taken from, for the message

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: channels, height, width."""
        return self.channels, self.side, self.side


@dataclass(frozen=True)
class Block:
    """Some decoded images."""

    pixels: Pixels  # [n, C, H, W]
    highest: int | None  # the highest value in those files among them that are grey and of 16 bits; None if none is


def format_of(paths: Sequence[EncodedImage], image_size: int | None, colour: bool = False) -> ImageFormat:
    """Return the form of a set: grey if all its images are, the first one's size unless another is asked for.

    Args:
        paths: All of its files, at least one.
        image_size: The side to resize to; None keeps the size that the images have.
        colour: Whether it is coloured even if every image is grey.

    Raises:
        InputError: If a file is no image, or the first one is not square.
    """
    # the headers alone, and no further than to the first coloured one
    channels = 3 if colour or any(_header(path)[0] not in _GREY for path in paths) else 1
    if image_size is not None:
        return ImageFormat(channels, image_size, True, paths[0])
    _, (width, height) = _header(paths[0])
    if width != height:
        raise InputError(f"{paths[0]} is {width}x{height}, not square: {_REMEDY}")
    return ImageFormat(channels, width, False, paths[0])


def decoded(paths: Sequence[EncodedImage], form: ImageFormat) -> Generator[Block, None, None]:
    """Yield the images in their order.

    Raises:
        InputError: If a file is no image or has another size; the first such file is named.
    """

    def block_of(block: Sequence[EncodedImage]) -> Block:
        images, highest = zip(*(_decode(path, form) for path in block), strict=True)
        return Block(np.ascontiguousarray(np.stack(images)), highest_of(highest))

    return in_blocks(block_of, paths, "decoding images")


def highest_of(values: Iterable[int | None]) -> int | None:
    """Return the highest of the values that are there, or None."""
    return max((value for value in values if value is not None), default=None)


def check_range(highest: int | None, where: str) -> None:
    """Raise an InputError if the highest value of a set's 16-bit images is so low that they would be nearly black."""
    if highest is not None and highest <= TWELVE_BIT:
        bits = 8 if highest <= 0xFF else 12
        raise InputError(
            f"{where}: the highest value in its 16-bit grey images is {highest} of {0xFFFF}: they hold {bits}-bit "
            "values and would be nearly black; convert them to 8 bit, or scale them to the full range of 16 bits"
        )


_REMEDY = f"all must be square and of one size, or {REMEDY}"


def _decode(path: EncodedImage, form: ImageFormat) -> tuple[Pixels, int | None]:
    """Return an image ``[C, H, W]``, and the highest value in its file if that is grey and of 16 bits."""
    try:
        with _open(path) as opened:
            eight_bit, highest = _eight_bit(opened)
            image = eight_bit.convert("L" if form.channels == 1 else "RGB")
            if form.resize:
                image = centre_square(image, form.side)
    except Exception as error:
        raise _unreadable(path, error) from None
    if image.size != (form.side, form.side):
        raise InputError(
            f"{path} is {image.width}x{image.height}, {form.reference.name} is {form.side}x{form.side}: {_REMEDY}"
        )
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if form.channels == 1 else pixels.transpose(2, 0, 1), highest


def _eight_bit(image: Image.Image) -> tuple[Image.Image, int | None]:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode not in _SIXTEEN_BIT:
        return image, None
    # Pillow's own conversion clips everything above 255 to white
    values = np.asarray(image)
    highest = int(values.max())
    if values.min() < 0 or highest > 0xFFFF:
        raise ValueError("its pixels have more than 16 bits")
    return Image.fromarray((values.astype(np.int64) >> 8).astype(np.uint8)), highest


def _open(path: EncodedImage) -> Image.Image:
    return Image.open(path if isinstance(path, Path) else io.BytesIO(path.read()))


def _header(path: EncodedImage) -> tuple[str, tuple[int, int]]:
    try:
        with _open(path) as image:
            return image.mode, image.size
    except Exception as error:
        raise _unreadable(path, error) from None


def _unreadable(path: EncodedImage, error: Exception) -> InputError:
    # beside its own errors Pillow lets through whatever a damaged file provokes: SyntaxError, EOFError, struct.error
    if isinstance(error, InputError):
        return error
    if isinstance(error, OSError) and error.strerror:
        return InputError(f"cannot read {path}: {error.strerror}")
    return InputError(f"{path} is not a readable image: {message_of(error)}")
