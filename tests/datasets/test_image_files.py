"""Image files of any kind: resized, coloured, or refused by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

from benchmark.datasets.decoding import squared
from benchmark.datasets.images import LabelledImages
from methods.errors import InputError
from tests.images import Place, random_pixels, same, save, tree

NOWHERE = Path("no-such-folder")


class TestImageSize:
    @pytest.mark.parametrize("size", [(20, 20), (31, 20), (20, 33), (9, 50), (17, 16), (15, 14)])
    def test_as_torchvision_resizes_and_crops(self, tmp_path: Path, size: tuple[int, int]) -> None:
        place = Place(tmp_path)
        tree(place.photos, *size, 3)
        loaded = place.load(image_size=16).train.images[0]
        image = Image.open(place.photos / "train/cat/0.png")
        expected = CenterCrop(16)(Resize(16, InterpolationMode.BILINEAR, antialias=True)(image))
        assert np.array_equal(loaded.transpose(1, 2, 0), np.asarray(expected))

    def test_mixed_sizes(self, place: Place) -> None:
        save(place.photos / "train/cat/1.png", random_pixels(40, 13, 3))
        save(place.photos / "test/cat/1.png", random_pixels(12, 30))
        loaded = place.load(image_size=12)
        assert loaded.train.shape == loaded.test.shape == (3, 12, 12)
        assert place.load(image_size=9).shape.image_size == 9

    @pytest.mark.parametrize("shape", [(5, 1, 9, 9), (5, 3, 30, 17), (5, 1, 17, 40)])
    def test_arrays_are_resized_as_files_are(self, shape: tuple[int, ...]) -> None:
        images = random_pixels(*shape)
        resized = squared(LabelledImages(images, np.arange(5)), 12, "here")
        crop = CenterCrop(12)
        for image, found in zip(images, resized.images, strict=True):
            opened = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0).copy())
            expected = np.asarray(crop(Resize(12, InterpolationMode.BILINEAR, antialias=True)(opened)))
            assert np.array_equal(found, expected[None] if len(image) == 1 else expected.transpose(2, 0, 1))
        assert squared(resized, 12, "here") is resized

    def test_imagenet_as_it_is_usually_laid_out(self, place: Place) -> None:
        before = place.load()
        (place.photos / "test").rename(place.photos / "val")
        assert same(place.load(), before)


class TestForms:
    def test_grey_and_coloured_parts_are_coloured(self, place: Place) -> None:
        for index, path in enumerate(sorted((place.photos / "train").rglob("*.png"))):
            save(path, random_pixels(8, 8, seed=index))
        for _ in range(2):
            loaded = place.load()
            assert loaded.train.shape == loaded.test.shape == (3, 8, 8)
            assert np.array_equal(loaded.train.images[:, 0], loaded.train.images[:, 2])
            assert len(loaded.mean) == 3

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda path: (path.unlink(), path.mkdir()), "is a folder"),
            (lambda path: (path.unlink(), path.symlink_to("nowhere.png")), "is not a file"),
            (lambda path: (path.unlink(), path.symlink_to(path.name)), "is not a file"),
            (lambda path: Image.fromarray(random_pixels(9, 9)).save(path), "is 9x9, .*: .*data.image_size=N"),
            (lambda path: path.write_bytes(b""), "is not a readable image"),
            (lambda path: path.write_text("no image"), "is not a readable image"),
            (lambda path: path.write_bytes(path.read_bytes()[:-30]), "is not a readable image"),
            (lambda path: Image.new("F", (8, 8)).save(path, "TIFF"), "is not a readable image: .*floating-point"),
            (lambda path: Image.new("I", (8, 8), 70_000).save(path, "TIFF"), "is not a readable image: .*16 bits"),
        ],
        ids=["folder", "broken-link", "endless-link", "size", "empty", "text", "cut", "float", "32-bit"],
    )
    @pytest.mark.parametrize("name", ["train/dog/1.png", "test/dog/1.png"])
    def test_bad_file_is_named(self, place: Place, spoil: Callable[[Path], object], message: str, name: str) -> None:
        spoil(place.photos / name)
        with pytest.raises(InputError, match=rf"^{place.photos}/{name} {message}") as raised:
            place.load()
        assert "\n" not in str(raised.value)
