"""Image files to arrays of one shape."""

import io
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.datasets.progress import in_blocks
from benchmark.datasets.resizing import REMEDY, centre_square
from methods.errors import InputError

Pixels = npt.NDArray[np.uint8]

_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La", *_SIXTEEN_BIT)


@dataclass(frozen=True)
class Encoded:
    """An image file that lies inside another file.

    Attributes:
        name: How messages name it.
        read: Gives its bytes.
    """

    name: str
    read: Callable[[], bytes]

    def __str__(self) -> str:
        return self.name


Picture = Path | Encoded


@dataclass(frozen=True)
class Form:
    """The one form that all images of a set are brought into.

    Attributes:
        channels: 1 (grey) or 3.
        side: Height and width in pixels.
        resize: Whether other sizes are resized to it; without that they are refused.
        reference: The file that the side was taken from, for the message.
    """

    channels: int
    side: int
    resize: bool
    reference: Picture

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: channels, height, width."""
        return self.channels, self.side, self.side


def form_of(paths: Sequence[Picture], image_size: int | None, colour: bool = False) -> Form:
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
        return Form(channels, image_size, True, paths[0])
    _, (width, height) = _header(paths[0])
    if width != height:
        raise InputError(f"{paths[0]} is {width}x{height}, not square: {_REMEDY}")
    return Form(channels, width, False, paths[0])


def decoded(paths: Sequence[Picture], form: Form) -> Generator[Pixels, None, None]:
    """Yield the images in their order as blocks ``[n, C, H, W]``.

    Raises:
        InputError: If a file is no image or has another size; the first such file is named.
    """

    def block_of(block: Sequence[Picture]) -> Pixels:
        return np.ascontiguousarray(np.stack([_decode(path, form) for path in block]))

    return in_blocks(block_of, paths, "decoding images")


_REMEDY = f"all must be square and of one size, or {REMEDY}"


def _decode(path: Picture, form: Form) -> Pixels:
    try:
        with _open(path) as opened:
            image = _eight_bit(opened).convert("L" if form.channels == 1 else "RGB")
            if form.resize:
                image = centre_square(image, form.side)
    except Exception as error:
        raise _unreadable(path, error) from None
    if image.size != (form.side, form.side):
        raise InputError(
            f"{path} is {image.width}x{image.height}, {form.reference.name} is {form.side}x{form.side}: {_REMEDY}"
        )
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if form.channels == 1 else pixels.transpose(2, 0, 1)


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode not in _SIXTEEN_BIT:
        return image
    # Pillow's own conversion clips everything above 255 to white
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("its pixels have more than 16 bits")
    return Image.fromarray((values.astype(np.int64) >> 8).astype(np.uint8))


def _open(path: Picture) -> Image.Image:
    return Image.open(path if isinstance(path, Path) else io.BytesIO(path.read()))


def _header(path: Picture) -> tuple[str, tuple[int, int]]:
    try:
        with _open(path) as image:
            return image.mode, image.size
    except Exception as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Picture, error: Exception) -> InputError:
    # beside its own errors Pillow lets through whatever a damaged file provokes: SyntaxError, EOFError, struct.error
    if isinstance(error, OSError) and error.strerror:
        return InputError(f"cannot read {path}: {error.strerror}")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f"{path} is not a readable image: {reason}")
