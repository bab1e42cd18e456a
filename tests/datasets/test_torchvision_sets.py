"""``torchvision:NAME`` on small files in the formats of the published ones, which tests write themselves."""

from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image
from scipy.io import savemat

from benchmark import datasets
from benchmark.configuration import DataConfig
from benchmark.datasets.external import Items
from benchmark.datasets.images import Dataset, channel_statistics
from methods.errors import InputError
from tests.images import Pixels, random_pixels, same, save

ALL = DataConfig()


def svhn(root: Path, train: int = 24, test: int = 12, classes: int = 10) -> dict[str, tuple[Pixels, list[int]]]:
    """Write SVHN's two files; the digit 0 has the label 10 in them, and images come last."""
    root.mkdir(parents=True, exist_ok=True)
    found = {}
    for seed, (part, count) in enumerate({"train": train, "test": test}.items()):
        pixels = random_pixels(count, 32, 32, 3, seed=seed)
        labels = [index % classes for index in range(count)]
        stored = np.array([label or 10 for label in labels], dtype=np.uint8)[:, None]
        savemat(root / f"{part}_32x32.mat", {"X": pixels.transpose(1, 2, 3, 0), "y": stored})
        found[part] = pixels, labels
    return found


def stl10(root: Path) -> Pixels:
    """Write STL-10's binary files: columns of pixels, a channel after the other, labels from 1."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    pixels = random_pixels(20, 96, 96, 3)
    for part in ("train", "test"):
        (folder / f"{part}_X.bin").write_bytes(pixels.transpose(0, 3, 2, 1).tobytes())
        (folder / f"{part}_y.bin").write_bytes(bytes(index % 10 + 1 for index in range(20)))
    (folder / "class_names.txt").write_text("\n".join(f"class{index}" for index in range(10)) + "\n")
    return pixels


SIZES = [(40, 30), (33, 52), (28, 28)]


def flowers(root: Path) -> Path:
    """Write Flowers-102's photographs, of several sizes, with two of each class to train on."""
    folder = root / "flowers-102"
    count = 3 * 102
    for index in range(count):
        path = folder / "jpg" / f"image_{index + 1:05d}.jpg"
        save(path, random_pixels(*SIZES[index % 3], 3, seed=index))
    places = np.arange(count)
    savemat(folder / "imagelabels.mat", {"labels": (places % 102 + 1)[None]})
    savemat(folder / "setid.mat", {"trnid": places[None, :204] + 1, "valid": [[1]], "tstid": places[None, 204:] + 1})
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads go to a port of this machine where nobody listens."""
    lists = torchvision.datasets.SVHN.split_list
    monkeypatch.setattr(
        torchvision.datasets.SVHN,
        "split_list",
        {part: [f"http://127.0.0.1:9/{name}", name, sum_] for part, (_, name, sum_) in lists.items()},
    )


def load(name: str, root: Path, **config: Any) -> Dataset:
    return datasets.load(f"torchvision:{name}", DataConfig(**config), root)


class TestSvhn:
    def test_images_and_labels_are_those_of_the_files(self, tmp_path: Path) -> None:
        written = svhn(tmp_path)
        loaded = load("SVHN", tmp_path)
        for part, (pixels, labels) in zip((loaded.train, loaded.test), written.values(), strict=True):
            assert np.array_equal(part.images, pixels.transpose(0, 3, 1, 2))
            assert part.labels.tolist() == labels
        assert loaded.classes == tuple("0123456789")
        assert (loaded.mean, loaded.std) == channel_statistics(loaded.train.images)

    def test_files_with_the_published_sums_are_taken_without_a_word(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        svhn(tmp_path)
        load("SVHN", tmp_path)
        assert capsys.readouterr().err.count("are not the published ones; they are taken as they are") == 1
        lists = {
            part: [url, name, md5((tmp_path / name).read_bytes()).hexdigest() if part != "extra" else sum_]
            for part, (url, name, sum_) in torchvision.datasets.SVHN.split_list.items()
        }
        monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", lists)
        load("SVHN", tmp_path)
        assert capsys.readouterr().err == ""

    def test_checksum_is_of_what_is_in_the_files(self, tmp_path: Path) -> None:
        svhn(tmp_path / "one")
        svhn(tmp_path / "two")
        svhn(tmp_path / "other", test=13)
        sums = [datasets.checksum("torchvision:SVHN", ALL, tmp_path / name) for name in ("one", "two", "other")]
        assert sums[0] == sums[1] != sums[2]
        # the test images are not looked at
        held = [
            datasets.checksum("torchvision:SVHN", DataConfig(holdout=0.5), tmp_path / name) for name in ("one", "other")
        ]
        assert held[0] == held[1]

    @pytest.mark.usefixtures("offline")
    def test_what_is_not_there_is_asked_for_in_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            load("SVHN", tmp_path / "data")
        assert str(caught.value).startswith(f"torchvision:SVHN is not in {tmp_path}/data and cannot be downloaded (")
        assert "\n" not in str(caught.value)
        assert not datasets.present("torchvision:SVHN", tmp_path / "data")

    @pytest.mark.usefixtures("offline")
    def test_damaged_file_is_not_used(self, tmp_path: Path) -> None:
        svhn(tmp_path)
        assert datasets.present("torchvision:SVHN", tmp_path)
        path = tmp_path / "test_32x32.mat"
        path.write_bytes(path.read_bytes()[:300])
        with pytest.raises(InputError, match="cannot be downloaded"):
            load("SVHN", tmp_path)


def test_stl10_columns_become_rows(tmp_path: Path) -> None:
    pixels = stl10(tmp_path)
    loaded = load("STL10", tmp_path)
    assert np.array_equal(loaded.train.images, pixels.transpose(0, 3, 1, 2))
    assert loaded.train.labels.tolist() == [index % 10 for index in range(20)]
    assert loaded.classes == tuple(f"class{index}" for index in range(10))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flowers")
    flowers(root)
    return root


class TestFlowers:
    """Photographs in files: read, resized and kept as those of a folder are."""

    def test_images_are_decoded_once_as_in_a_folder(self, root: Path) -> None:
        loaded = load("Flowers102", root, image_size=16)
        assert (loaded.train.images.shape, loaded.test.images.shape) == ((204, 3, 16, 16), (102, 3, 16, 16))
        assert loaded.train.labels.tolist() == [index % 102 for index in range(204)]
        assert loaded.classes[0] == "pink primrose"
        image = Image.open(root / "flowers-102/jpg/image_00001.jpg").resize((16, 21), Image.Resampling.BILINEAR)
        assert np.array_equal(loaded.train.images[0].transpose(1, 2, 0), np.asarray(image.crop((0, 2, 16, 18))))
        cached = sorted((root / ".cache/images").glob("*.npy"))
        assert len(cached) == 2
        assert same(load("Flowers102", root, image_size=16), loaded)
        assert sorted((root / ".cache/images").glob("*.npy")) == cached

    def test_checksum_is_of_the_files_in_use(self, root: Path) -> None:
        def checksum(**config: Any) -> str:
            return datasets.checksum("torchvision:Flowers102", DataConfig(**config), root)

        assert len({checksum(), checksum(train_per_class=1), checksum(holdout=0.5)}) == 3
        path = root / "flowers-102/jpg/image_00300.jpg"
        before, content = checksum(), path.read_bytes()
        save(path, random_pixels(28, 28, 3, seed=999))
        changed, held = checksum(), checksum(holdout=0.5)
        path.write_bytes(content)
        assert (checksum(), checksum(holdout=0.5)) == (before, held)
        assert changed != before


class OneByOne:
    """A set that holds no list of what it gives."""

    def __init__(self, give: Callable[[int], Any], count: int = 5) -> None:
        self.give = give
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.give(index)


class TestItems:
    @staticmethod
    def image(index: int) -> Image.Image:
        return Image.fromarray(random_pixels(8, 8 + index, 3, seed=index))

    def test_without_lists_all_is_read_one_by_one(self) -> None:
        items = Items(OneByOne(lambda index: (self.image(index), index % 2)), "here")
        assert items.labels().tolist() == [0, 1, 0, 1, 0]
        assert items.pixels() is None
        assert items.files() == []
        assert items.png(3)[:4] == b"\x89PNG"

    def test_a_list_of_other_numbers_is_not_taken_for_the_labels(self) -> None:
        given = OneByOne(lambda index: (self.image(index), index % 3), 30)
        given.species = [index % 2 for index in range(30)]  # type: ignore[attr-defined]
        given.breeds = [index % 3 for index in range(30)]  # type: ignore[attr-defined]
        assert Items(given, "here").labels().tolist() == [index % 3 for index in range(30)]

    def test_an_array_of_other_images_is_not_taken_for_them(self) -> None:
        pixels = random_pixels(5, 8, 8, 3)
        given = OneByOne(lambda index: (Image.fromarray(pixels[index]), 0))
        given.data = pixels.transpose(0, 3, 1, 2)  # type: ignore[attr-defined]
        found = Items(given, "here").pixels()
        assert found is not None
        assert np.array_equal(found, pixels.transpose(0, 3, 1, 2))
        given.data = 255 - pixels  # type: ignore[attr-defined]
        assert Items(given, "here").pixels() is None

    @pytest.mark.parametrize(
        "item", [lambda index: 0, lambda index: ("x", 0), lambda index: (TestItems.image(index), [1, 2])]
    )
    def test_other_items_are_refused(self, item: Callable[[int], Any]) -> None:
        with pytest.raises(InputError, match=r"^here\[0\] is not one image and one class number$"):
            Items(OneByOne(item), "here")


@pytest.mark.parametrize("word", ["Svhn", "VOCDetection", "ImageFolder", "EMNIST", "nothing"])
def test_sets_of_another_kind_are_answered_with_the_valid_ones(word: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"unknown set of torchvision '{word}'.*CIFAR10.*Flowers102.*SVHN"):
        datasets.checksum(f"torchvision:{word}", ALL, tmp_path)


def test_a_set_that_is_never_downloaded_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"torchvision:FER2013 is not in .*, and torchvision does not download it"):
        datasets.checksum("torchvision:FER2013", ALL, tmp_path)
