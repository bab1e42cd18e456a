"""Encoded images: what identifies them, and their pixels in one mapped file per part below ``<data_root>/.cache/``.

``images/<key>.npy`` holds uint8 ``[N, C, H, W]``; the key is the hash of the image files' contents and of how they
were decoded, so nothing in there is ever out of date, and everything may be deleted between runs. ``images/<key>.json``
beside it describes it, so that a change is noticed. ``contents/`` remembers hashes of files' contents.
"""

import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
import PIL
from filelock import FileLock
from PIL import Image

from benchmark.console import note_once
from benchmark.datasets.images import Indices, LabelledImages, Pixels, Statistics, channel_statistics, normal
from benchmark.store import atomic
from methods.errors import InputError, message_of

CACHE = ".cache"
"""The folder below the root folder of datasets for decoded images and for hashes."""

FORMAT = 2

AHEAD = 64
REMEDY = "data.image_size=N resizes and crops them to NxN"
_ALL_ALIKE = f"all must be square and of one size, or {REMEDY}"

# a file changed within a file system's tick of its last change can look unchanged; FAT's tick is the longest
TICK_NS = 2 * 10**9

_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La", *_SIXTEEN_BIT)

TWELVE_BIT = 0xFFF
"""What the 16-bit images of a set must exceed somewhere: into such files, 12 bits or fewer are written too."""

Result = TypeVar("Result")
Item = TypeVar("Item")


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], description: str) -> Iterator[Result]:
    """Yield ``function(item)`` for all items in their order, worked on by threads.

    No more is held than :data:`AHEAD` results per thread, however slowly they are taken. On a terminal a bar on stderr
    shows what is done. An exception of the function ends everything.
    """
    from rich.console import Console
    from rich.progress import track

    workers, console = min(32, (os.cpu_count() or 1) + 1), Console(stderr=True)
    # older versions of rich print an empty line for a bar that is disabled
    console.quiet = not console.is_terminal
    step = AHEAD * workers
    with ThreadPoolExecutor(workers) as pool:
        for start in track(range(0, len(items), step), description, console=console, transient=True):
            yield from pool.map(function, items[start : start + step])


@dataclass(frozen=True)
class EncodedImage:
    """An image file, or one within another file."""

    name: str  # how messages name it: the path of a file
    content: Callable[[], bytes] | None = None  # gives its bytes, where it is no file of its own

    def read(self) -> bytes:
        """Return its bytes, or raise an InputError."""
        try:
            return self.content() if self.content else Path(self.name).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {self.name}: {error.strerror}") from None

    def opened(self, use: Callable[[Image.Image], Result]) -> Result:
        """Return what is made of the image, or raise an InputError if it is none."""
        content = io.BytesIO(self.read())
        try:
            with Image.open(content) as image:
                return use(image)
        except Exception as error:
            # Pillow lets through what a damaged file provokes: SyntaxError, EOFError, struct.error
            raise InputError(f"{self.name} is not a readable image: {message_of(error)}") from None


@dataclass(frozen=True)
class EncodedImages:
    """Encoded images of a part of a dataset in their order."""

    images: Sequence[EncodedImage]
    labels: Indices  # class indices [N]
    base: Path | None = None  # the folder that all of them are files in, at any depth; None for images in other files

    @classmethod
    def of_files(cls, base: Path, names: Sequence[str], labels: Indices) -> "EncodedImages":
        """Return files, given as their paths below a folder."""
        return cls([EncodedImage(f"{base}/{name}") for name in names], labels, base)

    @property
    def names(self) -> list[str]:
        """The files' paths below their folder."""
        return [image.name[len(f"{self.base}/") :] for image in self.images]

    def take(self, indices: Indices) -> "EncodedImages":
        """Return the chosen images in the order given."""
        return replace(self, images=[self.images[index] for index in indices], labels=self.labels[indices])

    def contents(self, root: Path) -> str:
        """Return the hash of the images' bytes and, of files, their names in Unicode's form NFC.

        That of files is :func:`remembered`; one that cannot be read raises an InputError.
        """

        def compute() -> str:
            digest, sums = sha256(), in_threads(lambda image: sha256(image.read()), self.images, "reading images")
            for name, one in zip(self.names, sums, strict=True):
                named = os.fsencode(f"{normal(name)}\0{one.hexdigest()}\n")
                digest.update(one.digest() if self.base is None else named)
            return digest.hexdigest()

        return compute() if self.base is None else remembered(root, self.base, self.names, "", compute)


def remembered(root: Path, base: Path, names: Sequence[str], also: str, compute: Callable[[], str]) -> str:
    """Return a hash that depends on files, computed again only if the size or one of the times of one has changed.

    The files are ``names`` below ``base``; ``also`` says what else it depends on. It is remembered in the cache of
    ``root``, which may be read-only. A file that is not there raises an InputError.
    """
    begin, newest = time.time_ns(), 0
    digest = sha256(os.fsencode(f"{base.absolute()}\n{also}"))
    for name in names:
        path = f"{base}/{name}"
        try:
            found = os.stat(path)  # noqa: PTH116 - a Path for every file takes longer than looking at it
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        newest = max(newest, found.st_mtime_ns)
        digest.update(os.fsencode(f"\n{normal(name)}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}"))
    if newest >= begin - TICK_NS:
        return compute()
    known = root / CACHE / "contents" / f"{digest.hexdigest()}.sha256"
    with suppress(OSError, ValueError):
        text = known.read_text(encoding="ascii").strip()
        if re.fullmatch("[0-9a-f]{64}", text):
            return text
    result = compute()
    # it is only quicker with it
    with suppress(InputError):
        atomic.put(known, f"{result}\n")
    return result


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

    def square(index: int) -> Pixels:
        return channels_first(centre_square(Image.fromarray(np.ascontiguousarray(images[index])), side))

    return LabelledImages(np.stack([*in_threads(square, range(len(part)), "resizing images")]), part.labels)


def channels_first(image: Image.Image) -> Pixels:
    """Return an image as ``[C, H, W]``."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


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
    # no further than to the first coloured one
    channels = 3 if colour or any(image.opened(lambda one: one.mode) not in _GREY for image in images) else 1
    if image_size is not None:
        return ImageFormat(channels, image_size)
    width, height = images[0].opened(lambda one: one.size)
    if width != height:
        raise InputError(f"{images[0].name} is {width}x{height}, not square: {_ALL_ALIKE}")
    return ImageFormat(channels, width, images[0].name)


def _decode(image: EncodedImage, form: ImageFormat) -> tuple[Pixels, int]:
    """Return an image ``[C, H, W]``, and the highest value in its file if that is grey and of 16 bits, else -1."""

    def converted(opened: Image.Image) -> tuple[Image.Image, int]:
        if opened.mode == "F":
            raise ValueError("its pixels are floating-point numbers of unknown range")
        highest = -1
        if opened.mode in _SIXTEEN_BIT:
            # Pillow's own conversion clips everything above 255 to white
            values = np.asarray(opened)
            highest = int(values.max())
            if values.min() < 0 or highest > 0xFFFF:
                raise ValueError("its pixels have more than 16 bits")
            opened = Image.fromarray((values.astype(np.int64) >> 8).astype(np.uint8))
        found = opened.convert("L" if form.channels == 1 else "RGB")
        return found if form.reference else centre_square(found, form.side), highest

    found, highest = image.opened(converted)
    if found.size != (form.side, form.side):
        raise InputError(
            f"{image.name} is {found.width}x{found.height}, {form.reference} is {form.side}x{form.side}: {_ALL_ALIKE}"
        )
    return channels_first(found), highest


@dataclass(frozen=True)
class Decoded:
    """The pixels of encoded images."""

    pixels: Pixels  # [N, C, H, W], mapped from the cache or, where that cannot be written, in memory
    statistics: Statistics
    highest: int  # the highest value in those files that are grey and of 16 bits; -1 if none is


def decoded_parts(
    parts: Sequence[EncodedImages], root: Path, image_size: int | None, where: str, colour: bool = False
) -> tuple[list[LabelledImages], Statistics]:
    """Return the images of the parts of a dataset, and the statistics of the first.

    They are decoded at the first call and from the cache of the root folder ever after. Without ``image_size``, the
    side that images are resized to, all of a part must be square and of one size. All are coloured if one is, or with
    ``colour``. An image that is not as it should be, or 16-bit images that don't use their range, raise an InputError.
    """
    found = [_from_cache_or_anew(part, root, image_size, colour) for part in parts]
    # a part may well be dark by itself
    highest = max(images.highest for images in found)
    if 0 <= highest <= TWELVE_BIT:
        bits = 8 if highest <= 0xFF else 12
        raise InputError(
            f"{where}: the highest value in its 16-bit grey images is {highest} of {0xFFFF}: they hold {bits}-bit "
            "values and would be nearly black; convert them to 8 bit, or scale them to the full range of 16 bits"
        )
    if len({images.pixels.shape[1] for images in found}) > 1:
        return decoded_parts(parts, root, image_size, where, colour=True)
    pairs = zip(found, parts, strict=True)
    return [LabelledImages(images.pixels, part.labels) for images, part in pairs], found[0].statistics


def _from_cache_or_anew(part: EncodedImages, root: Path, image_size: int | None, colour: bool) -> Decoded:
    # another version of Pillow may decode a JPEG to slightly other pixels
    how = f"{FORMAT} {PIL.__version__} {image_size} {colour}"
    key = sha256(f"{how} {part.contents(root)}".encode()).hexdigest()[:32]
    path = root / CACHE / "images" / f"{key}.npy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # without the lock first: the folder may be read-only
        if (found := _from_cache(path)) is not None:
            return found
        with FileLock(path.with_suffix(".lock")):
            return _from_cache(path) or _to_cache(path, part.images, format_of(part.images, image_size, colour))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        note_once(f"cannot write {path.parent} ({reason}): images are decoded into memory at every start")
        form, stream = format_of(part.images, image_size, colour), io.BytesIO()
        highest = _decode_into(stream, part.images, form)
        pixels = np.frombuffer(stream.getbuffer(), dtype=np.uint8).reshape(-1, form.channels, form.side, form.side)
        return Decoded(pixels, channel_statistics(pixels), highest)


def _decode_into(stream: IO[bytes], images: Sequence[EncodedImage], form: ImageFormat) -> int:
    """Write the pixels of all images, and return the highest of the 16-bit values or -1."""
    highest = -1
    for pixels, top in in_threads(partial(_decode, form=form), images, "decoding images"):
        stream.write(np.ascontiguousarray(pixels).data)
        highest = max(highest, top)
    return highest


def _from_cache(path: Path) -> Decoded | None:
    """Return the images if the file and its description are as they were written."""
    try:
        text = path.with_suffix(".json").read_text(encoding="utf-8")
        described = json.loads(text)
        mean, std = map(tuple, described["statistics"])
        found = Decoded(np.load(path, mmap_mode="r", allow_pickle=False), (mean, std), described["highest_of_16_bit"])
        return found if text == _description(path, found) else None
    except (OSError, ValueError, LookupError, TypeError, EOFError):
        # whatever it is, it is none of our files
        return None


def _description(path: Path, found: Decoded) -> str:
    """Return what is noted beside the file: what is known of its images, its size and time, and the hash of these."""
    stat = path.stat()
    content = {"statistics": found.statistics, "highest_of_16_bit": found.highest}
    content |= {"shape": found.pixels.shape, "stamp": [stat.st_size, stat.st_mtime_ns]}
    return json.dumps({**content, "sha256": sha256(json.dumps(content).encode()).hexdigest()}) + "\n"


def _to_cache(path: Path, images: Sequence[EncodedImage], form: ImageFormat) -> Decoded:
    """Write the file and its description, and return its images; the caller holds the lock."""
    if path.exists():
        note_once(f"{path} is incomplete or damaged: its images are decoded anew")
    for unfinished in path.parent.glob(f".{path.name}.*"):
        # of a killed process
        unfinished.unlink()
    shape = (len(images), form.channels, form.side, form.side)
    # as a stream: where the disk is full, a write fails, but a write to a mapping kills the process
    with atomic.replacing(path) as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        highest = _decode_into(stream, images, form)
    # a time in the past: whoever writes to the file from now on changes it, even within the clock's tick
    past = time.time_ns() - 10**10
    os.utime(path, ns=(past, past))
    pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    found = Decoded(pixels, channel_statistics(pixels), highest)
    atomic.write_text(path.with_suffix(".json"), _description(path, found))
    return found
