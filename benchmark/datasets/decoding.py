"""Image files to arrays of one shape and size."""

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image

from benchmark.datasets.images import LabelledImages, Pixels
from methods.errors import InputError, message_of

BLOCK = 32
REMEDY = "data.image_size=N resizes and crops them to NxN"

Result = TypeVar("Result")
Item = TypeVar("Item")


def in_blocks(
    function: Callable[[Sequence[Item]], Result], items: Sequence[Item], description: str
) -> Generator[Result, None, None]:
    """Yield ``function(block)`` for blocks of at most :data:`BLOCK` items, in their order, worked on by threads.

    No more is held than a few blocks per thread, however slowly the results are taken. On a terminal a bar on stderr
    shows what is done. An exception of the function ends everything.
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


def centre_square(image: Image.Image, side: int) -> Image.Image:
    """Resize the shorter side and cut the middle out, with the roundings of torchvision's Resize and CenterCrop."""
    shorter = min(image.size)
    width, height = (side if length == shorter else int(side * length / shorter) for length in image.size)
    # on images, Pillow's bilinear filter is antialiased
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return resized.crop((left, top, left + side, top + side))


def squared(part: LabelledImages, side: int | None, where: str) -> LabelledImages:
    """Return images of 1 or 3 channels as ``[C, side, side]``; those that are so already stay where they are.

    Without a side in pixels they keep their size; if they are not square then, an InputError is raised.
    """
    channels, height, width = part.shape
    if height == width and side in (None, height):
        return part
    if side is None:
        raise InputError(f"{where}: images of {width}x{height} are not square: {REMEDY}")
    images = part.images.transpose(0, 2, 3, 1) if channels > 1 else part.images[:, 0]

    def block_of(block: Sequence[int]) -> Pixels:
        opened = (Image.fromarray(np.ascontiguousarray(images[index])) for index in block)
        return np.stack([_channels_first(centre_square(image, side)) for image in opened])

    return LabelledImages(np.concatenate(list(in_blocks(block_of, range(len(part)), "resizing images"))), part.labels)


def _channels_first(image: Image.Image) -> Pixels:
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La", *_SIXTEEN_BIT)

TWELVE_BIT = 0xFFF
"""What the 16-bit images of a set must exceed somewhere: into such files, 12 bits or fewer are written too."""


@dataclass(frozen=True)
class EncodedImage:
    """An image file, or one within another file."""

    name: str  # how messages name it: the path of a file
    open: Callable[[], BinaryIO]  # gives its bytes as a stream

    @classmethod
    def of_file(cls, path: str | Path) -> "EncodedImage":
        """Return a file of its own."""
        return cls(str(path), lambda: Path(path).open("rb"))

    def read(self) -> bytes:
        """Return its bytes, or raise an InputError."""
        try:
            with self.open() as stream:
                return stream.read()
        except OSError as error:
            raise InputError(f"cannot read {self.name}: {error.strerror}") from None


@dataclass(frozen=True)
class ImageFormat:
    """The one form that all images of a set are brought into."""

    channels: int  # 1 (grey) or 3
    side: int  # height and width in pixels
    reference: str = ""  # the image with that side, for the message about another size; empty if all are resized to it


def format_of(images: Sequence[EncodedImage], image_size: int | None, colour: bool = False) -> ImageFormat:
    """Return the form of at least one image: grey if all are and ``colour`` is not asked for; the first one's size, or
    that to which all are resized. What is no image, or a first one that is not square, raises an InputError.
    """

    def header(image: EncodedImage) -> tuple[str, tuple[int, int]]:
        return _opened(image, lambda opened: (opened.mode, opened.size))

    # the headers alone, and no further than to the first coloured one
    channels = 3 if colour or any(header(image)[0] not in _GREY for image in images) else 1
    if image_size is not None:
        return ImageFormat(channels, image_size)
    _, (width, height) = header(images[0])
    if width != height:
        raise InputError(f"{images[0].name} is {width}x{height}, not square: {_ALL_ALIKE}")
    return ImageFormat(channels, width, images[0].name)


_ALL_ALIKE = f"all must be square and of one size, or {REMEDY}"


def decoded(images: Sequence[EncodedImage], form: ImageFormat) -> Generator[tuple[Pixels, int | None], None, None]:
    """Yield blocks of images ``[n, C, H, W]`` in their order, each with :func:`highest_of` its 16-bit grey images.

    The first file that is no image or has another size is named in an InputError.
    """

    def block_of(block: Sequence[EncodedImage]) -> tuple[Pixels, int | None]:
        pixels, highest = zip(*(_decode(image, form) for image in block), strict=True)
        return np.ascontiguousarray(np.stack(pixels)), highest_of(highest)

    return in_blocks(block_of, images, "decoding images")


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


def _decode(image: EncodedImage, form: ImageFormat) -> tuple[Pixels, int | None]:
    """Return an image ``[C, H, W]``, and the highest value in its file if that is grey and of 16 bits."""

    def converted(opened: Image.Image) -> tuple[Image.Image, int | None]:
        if opened.mode == "F":
            raise ValueError("its pixels are floating-point numbers of unknown range")
        highest = None
        if opened.mode in _SIXTEEN_BIT:
            # Pillow's own conversion clips everything above 255 to white
            values = np.asarray(opened)
            highest = int(values.max())
            if values.min() < 0 or highest > 0xFFFF:
                raise ValueError("its pixels have more than 16 bits")
            opened = Image.fromarray((values.astype(np.int64) >> 8).astype(np.uint8))
        found = opened.convert("L" if form.channels == 1 else "RGB")
        return found if form.reference else centre_square(found, form.side), highest

    found, highest = _opened(image, converted)
    if found.size != (form.side, form.side):
        raise InputError(
            f"{image.name} is {found.width}x{found.height}, {form.reference} is {form.side}x{form.side}: {_ALL_ALIKE}"
        )
    return _channels_first(found), highest


def _opened(image: EncodedImage, use: Callable[[Image.Image], Result]) -> Result:
    try:
        with image.open() as stream, Image.open(stream) as opened:
            return use(opened)
    except InputError:
        raise
    except Exception as error:
        # beside its own errors Pillow lets through what a damaged file provokes: SyntaxError, EOFError, struct.error
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"cannot read {image.name}: {error.strerror}") from None
        raise InputError(f"{image.name} is not a readable image: {message_of(error)}") from None
