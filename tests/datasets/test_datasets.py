"""Datasets: what is in them, which part is used, and what is said about files that are not as they should be."""

import gzip
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torchvision.datasets
from hypothesis import given, strategies as st
from PIL import Image

from benchmark import datasets, running
from benchmark.configuration.run_config import DataConfig
from benchmark.datasets.arrays import digits_pixels_and_labels
from benchmark.datasets.images import Dataset, LabelledImages, Shape, channel_statistics, holdout_split, subset
from methods.errors import InputError
from tests.images import Pixels, Place, cifar_archive, random_pixels, save, tree

NOWHERE = Path("no-such-folder")
SIZES = st.lists(st.integers(10, 20), min_size=1, max_size=5)


def shuffled_labels(sizes: Sequence[int], seed: int = 0) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


def same(first: LabelledImages, second: LabelledImages) -> bool:
    return np.array_equal(first.images, second.images) and np.array_equal(first.labels, second.labels)


def numbered_images(labels: npt.NDArray[np.int64]) -> Dataset:
    """A dataset whose one pixel is the image's number."""
    train = LabelledImages(np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1), labels)
    return Dataset("numbers", train, train.take(np.arange(0)), tuple("01234"), (0.5,), (0.5,))


class TestSubsets:
    @given(SIZES, st.integers(1, 10), st.integers(0, 9))
    def test_subset_has_the_same_number_of_every_class(self, sizes: list[int], per_class: int, seed: int) -> None:
        labels = shuffled_labels(sizes, seed)
        chosen = subset(labels, DataConfig(train_per_class=per_class), "train", "mine")
        assert (np.diff(chosen) > 0).all()
        assert np.bincount(labels[chosen]).tolist() == [per_class] * len(sizes)

    @given(SIZES, st.integers(1, 10), st.integers(1, 10))
    def test_smaller_subset_is_part_of_a_larger_one(self, sizes: list[int], first: int, second: int) -> None:
        labels = shuffled_labels(sizes)
        configs = [DataConfig(train_per_class=count) for count in sorted((first, second))]
        smaller, larger = (set(subset(labels, config, "train", "mine")) for config in configs)
        assert smaller <= larger

    @given(SIZES, st.integers(1, 2), st.integers(1, 99))
    def test_the_seed_selects_a_subset_for_training_alone(self, sizes: list[int], per_class: int, seed: int) -> None:
        labels = shuffled_labels(sizes)
        usual = DataConfig(train_per_class=per_class, test_per_class=per_class)
        other = usual.model_copy(update={"subset_seed": seed})
        assert np.bincount(labels[subset(labels, other, "train", "mine")]).tolist() == [per_class] * len(sizes)
        ours, theirs = (subset(labels, config, "test", "mine").tolist() for config in (other, usual))
        assert ours == theirs == subset(labels, usual, "train", "mine").tolist()

    def test_more_than_there_are_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"^mine: data\.test_per_class: class 1 has only 2 images \(3 asked\)"):
            subset(np.array([0, 0, 0, 1, 1]), DataConfig(test_per_class=3), "test", "mine")


class TestHoldout:
    @given(SIZES, st.floats(0.1, 0.9), st.integers(0, 9))
    def test_parts_are_disjoint_complete_and_stratified(self, sizes: list[int], share: float, seed: int) -> None:
        labels = shuffled_labels(sizes, seed)
        parts = holdout_split(numbered_images(labels), share)
        kept, held = parts.train.images.reshape(-1), parts.test.images.reshape(-1)
        assert sorted([*kept, *held]) == list(range(len(labels)))
        assert np.bincount(labels[held]).tolist() == [round(share * size) for size in sizes]
        assert np.array_equal(labels[held], parts.test.labels)

    @given(SIZES, st.floats(0.1, 0.9))
    def test_class_of_one_image_cannot_be_split(self, sizes: list[int], share: float) -> None:
        with pytest.raises(InputError, match=r"leaves no image on one side for class \d \(1\)"):
            holdout_split(numbered_images(shuffled_labels([*sizes, 1])), share)

    def test_held_out_images_are_training_images_and_the_test_set_stays_unseen(self) -> None:
        whole = datasets.load("digits", DataConfig(), NOWHERE)
        parts = datasets.load("digits", DataConfig(holdout=0.25), NOWHERE)
        together = np.concatenate([parts.train.images, parts.test.images])
        assert sorted(map(bytes, together)) == sorted(map(bytes, whole.train.images))


class TestStatistics:
    @given(st.integers(1, 3), st.integers(1, 50), st.integers(0, 99))
    def test_mean_and_deviation_of_each_channel(self, channels: int, count: int, seed: int) -> None:
        images = random_pixels(count, channels, 4, 4, seed=seed)
        mean, std = channel_statistics(images)
        np.testing.assert_allclose(mean, (images / 255).mean((0, 2, 3)))
        np.testing.assert_allclose(std, (images / 255).std((0, 2, 3)))

    def test_constant_images_can_be_divided_by_their_deviation(self) -> None:
        assert channel_statistics(np.full((2, 1, 3, 3), 7, dtype=np.uint8)) == ((7 / 255,), (1 / 255,))


class TestDigits:
    def test_a_fifth_is_the_test_set(self) -> None:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = datasets.load("digits", DataConfig(), NOWHERE)
        assert digits.shape == Shape(1437, 360, 10, 1, 8)
        shares = np.bincount(digits.test.labels) / np.bincount(load_digits().target)
        assert shares == pytest.approx(0.2, abs=0.004)
        pixels = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
        drawn = train_test_split(pixels, test_size=0.2, stratify=load_digits().target, random_state=0)
        for part, images in zip((digits.train, digits.test), drawn, strict=True):
            assert part.images.dtype == np.uint8
            assert sorted(map(bytes, part.images[:, 0])) == sorted(map(bytes, images))

    def test_they_are_those_of_scikit_learn_where_its_file_is_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        here = datasets.checksum("digits", DataConfig(), NOWHERE)
        monkeypatch.setattr("benchmark.datasets.arrays.DIGITS_FILE", "no/such/file")
        digits_pixels_and_labels.cache_clear()
        assert datasets.checksum("digits", DataConfig(), NOWHERE) == here

    def test_split_and_subset_are_always_the_same(self) -> None:
        config = DataConfig(train_per_class=3, test_per_class=2)
        first, second = (datasets.load("digits", config, NOWHERE) for _ in range(2))
        assert (len(first.train), len(first.test)) == (30, 20)
        assert same(first.train, second.train)
        assert same(first.test, second.test)

    def test_checksum_is_that_of_the_pixels_on_every_machine(self) -> None:
        checksum = datasets.checksum("digits", DataConfig(), NOWHERE)
        assert checksum == "0b7e9c3202d7bcd255d6a19a238d3743bf5e320ba74812a6679958a017c55382"


class TestFolder:
    """``folder:PATH``, on trees of two classes with three training and two test images each."""

    def test_colour(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        pixels = tree(place.photos, 8, 8, 3)
        loaded = place.load()
        assert loaded.classes == ("cat", "dog")
        assert loaded.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert loaded.test.labels.tolist() == [0, 0, 1, 1]
        for part, images in (("train", loaded.train.images), ("test", loaded.test.images)):
            expected = [pixels[path] for path in sorted(pixels) if path.parts[-3] == part]
            assert np.array_equal(images.transpose(0, 2, 3, 1), np.stack(expected))
        assert (loaded.mean, loaded.std) == channel_statistics(loaded.train.images)

    @pytest.mark.parametrize(("kind", "factor"), [(np.uint8, 1), (np.uint16, 257)])
    def test_grey_of_8_and_of_16_bits(self, tmp_path: Path, kind: type[np.integer[Any]], factor: int) -> None:
        place = Place(tmp_path)
        pixels = tree(place.photos, 8, 8)
        for path, image in pixels.items():
            Image.fromarray(image.astype(kind) * kind(factor)).save(path)
        images = place.load().train.images
        assert images.shape == (6, 1, 8, 8)
        assert np.array_equal(images[0, 0], pixels[place.photos / "train/cat/0.png"])

    def test_hidden_files_and_folders_are_passed_over(self, place: Place) -> None:
        (place.photos / "train/cat/.DS_Store").touch()
        (place.photos / "train/.ipynb_checkpoints").mkdir()
        assert place.load().classes == ("cat", "dog")

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda root: shutil.rmtree(root), "no such folder"),
            (
                lambda root: shutil.rmtree(root / "test"),
                r"has no folder test or val; data\.test_split=NAME takes another \w+ \(found: train\)",
            ),
            (lambda root: shutil.rmtree(root / "train/dog"), "train has 1 class folders: at least 2"),
            (lambda root: (root / "train/ape").mkdir(), "train/ape holds no image"),
            (lambda root: (root / "test/dog").rename(root / "test/fox"), "different classes: dog, fox"),
        ],
    )
    def test_tree_of_another_form_is_refused(self, place: Place, damage: Callable[[Path], None], message: str) -> None:
        damage(place.photos)
        with pytest.raises(InputError, match=message):
            place.load()

    def test_holdout_needs_no_test_folder(self, place: Place) -> None:
        before, checksum = place.load(holdout=0.4), place.checksum(holdout=0.4)
        shutil.rmtree(place.photos / "test")
        after = place.load(holdout=0.4)
        assert same(after.train, before.train)
        assert same(after.test, before.test)
        assert after.test.labels.tolist() == [0, 1]
        assert place.checksum(holdout=0.4) == checksum

    def test_checksum_is_of_the_images_and_labels_in_any_folder(self, place: Place) -> None:
        before = place.checksum()
        place.photos = place.photos.rename(place.photos.with_name("moved"))
        assert place.checksum() == before
        save(place.photos / "test/dog/1.png", random_pixels(8, 8, 3, seed=99))
        changed = place.checksum()
        (place.photos / "train/cat/0.png").rename(place.photos / "train/dog/7.png")
        assert len({before, changed, place.checksum()}) == 3

    def test_checksum_is_of_the_images_in_use(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        pixels = tree(place.photos, 8, 8)
        before = place.checksum(train_per_class=2)
        used = [bytes(image) for image in place.load(train_per_class=2).train.images[:, 0]]
        (spare,) = [path for path, image in pixels.items() if "train/cat" in str(path) and bytes(image) not in used]
        save(spare, random_pixels(8, 8, seed=99))
        assert place.checksum(train_per_class=2) == before
        assert place.checksum() != before


def cifar(root: Path, patch: pytest.MonkeyPatch, cls: Any, label_key: str, classes: int) -> tuple[Pixels, Pixels]:
    """Write twenty training and four test images as an archive in CIFAR's format."""
    train, test, labels = random_pixels(20, 32, 32, 3), random_pixels(4, 32, 32, 3, seed=1), [0, 1, classes - 1, 0]
    parts = {"train": (train, 5 * labels), "test": (test, labels)}
    cifar_archive(root, patch, cls, parts, [f"class{index}" for index in range(classes)], label_key)
    return train.transpose(0, 3, 1, 2), test.transpose(0, 3, 1, 2)


def fashion(root: Path, patch: pytest.MonkeyPatch) -> tuple[Pixels, Pixels]:
    """Write four files in the IDX format, with six training and four test images."""
    cls = torchvision.datasets.FashionMNIST
    raw = root / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    images = {"train": random_pixels(6, 28, 28), "t10k": random_pixels(4, 28, 28, seed=1)}
    for part, pixels in images.items():
        sizes = b"".join(size.to_bytes(4, "big") for size in pixels.shape)
        (raw / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x03" + sizes + pixels.tobytes()))
        labels = bytes(index % 2 for index in range(len(pixels)))
        header = b"\0\0\x08\x01" + len(labels).to_bytes(4, "big")
        (raw / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + labels))
    patch.setattr(cls, "resources", [(name, md5((raw / name).read_bytes()).hexdigest()) for name, _ in cls.resources])
    return images["train"][:, None], images["t10k"][:, None]


Writer = Callable[[Path, pytest.MonkeyPatch], tuple[Pixels, Pixels]]
OFFICIAL: Mapping[str, Writer] = {
    "cifar10": lambda root, patch: cifar(root, patch, torchvision.datasets.CIFAR10, "labels", 10),
    "cifar100": lambda root, patch: cifar(root, patch, torchvision.datasets.CIFAR100, "fine_labels", 100),
    "fashion-mnist": fashion,
}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads go to a port of this machine where nobody listens."""
    for cls in (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100):
        monkeypatch.setattr(cls, "url", f"http://127.0.0.1:9/{cls.filename}")
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])


@pytest.mark.usefixtures("offline")
class TestOfficial:
    """CIFAR-10, CIFAR-100 and Fashion-MNIST, on small files in their official formats."""

    @pytest.mark.parametrize("name", OFFICIAL)
    def test_files_in_the_data_folder_are_read(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        train, test = OFFICIAL[name](tmp_path, monkeypatch)
        loaded = datasets.load(name, DataConfig(), tmp_path)
        for part, images in ((loaded.train, train), (loaded.test, test)):
            assert sorted(image.tobytes() for image in part.images) == sorted(image.tobytes() for image in images)
        assert loaded.train.images.dtype == np.uint8
        assert loaded.classes == tuple(sorted(loaded.classes))
        assert len(loaded.classes) == (100 if name == "cifar100" else 10)

    @pytest.mark.parametrize("name", OFFICIAL)
    def test_missing_files_are_named_with_sum_and_place(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            datasets.load(name, DataConfig(), tmp_path / "data")
        message = str(caught.value)
        assert message.startswith(f"{name} is not in {tmp_path}/data and cannot be downloaded (")
        assert all(f"{file} (MD5 {checksum})" in message for file, checksum in FILES[name].items())
        assert f"into {tmp_path}/data" in message
        assert "\n" not in message

    @pytest.mark.parametrize("name", OFFICIAL)
    def test_damaged_file_is_not_used(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        OFFICIAL[name](tmp_path, monkeypatch)
        (archive,) = tmp_path.rglob("train-images*.gz") if name == "fashion-mnist" else tmp_path.glob("*.tar.gz")
        archive.write_bytes(archive.read_bytes()[:-1] + b"\xff")
        with pytest.raises(InputError, match=f"{name} is not in .* cannot be downloaded"):
            datasets.load(name, DataConfig(), tmp_path)

    def test_damage_after_the_first_use_is_seen(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fashion(tmp_path, monkeypatch)
        datasets.load("fashion-mnist", DataConfig(), tmp_path)
        raw = tmp_path / "FashionMNIST/raw"
        for path in raw.glob("*.gz"):
            path.unlink()
        # what has been unpacked is read, and identified by its content
        before = datasets.checksum("fashion-mnist", DataConfig(), tmp_path)
        content = bytearray((raw / "t10k-images-idx3-ubyte").read_bytes())
        content[-1] ^= 1
        (raw / "t10k-images-idx3-ubyte").write_bytes(content)
        assert datasets.checksum("fashion-mnist", DataConfig(), tmp_path) != before


FILES = {
    "cifar10": {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
    "cifar100": {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
}


def test_unknown_name_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(InputError, match="unknown dataset 'digts', did you mean 'digits'") as caught:
        datasets.load("digts", DataConfig(), NOWHERE)
    assert all(name in str(caught.value) for name in datasets.available())


@pytest.mark.usefixtures("offline")
class TestWhereOfficialFilesLie:
    """The archive or the unpacked folder of CIFAR-10, wherever the data root points."""

    @pytest.fixture
    def unpacked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        cifar(tmp_path, monkeypatch, torchvision.datasets.CIFAR10, "labels", 10)
        with tarfile.open(tmp_path / "cifar-10-python.tar.gz") as archive:
            archive.extractall(tmp_path / "there", filter="data")
        return tmp_path / "there"

    def test_archive_or_folder(self, unpacked: Path) -> None:
        packed = datasets.load("cifar10", DataConfig(), unpacked.parent)
        assert not list(unpacked.glob(".*"))
        for root in (unpacked, unpacked / "cifar-10-batches-py"):
            assert datasets.present("cifar10", root)
            assert np.array_equal(datasets.load("cifar10", DataConfig(), root).train.images, packed.train.images)
        # nothing was written beside them
        assert [path.name for path in unpacked.iterdir()] == ["cifar-10-batches-py"]
        assert len({datasets.checksum("cifar10", DataConfig(), root) for root in (unpacked.parent, unpacked)}) == 1

    def test_in_a_folder_of_its_name(self, unpacked: Path) -> None:
        unpacked.rename(unpacked.parent / "cifar10")
        (unpacked.parent / "cifar-10-python.tar.gz").unlink()
        assert datasets.present("cifar10", unpacked.parent)
        assert len(datasets.load("cifar10", DataConfig(), unpacked.parent).train) == 20

    def test_smaller_images_keep_checksum_and_normalisation(self, unpacked: Path) -> None:
        config = DataConfig(image_size=16)
        whole, small = (datasets.load("cifar10", chosen, unpacked) for chosen in (DataConfig(), config))
        assert small.train.shape == small.test.shape == (3, 16, 16)
        image = Image.fromarray(whole.train.images[0].transpose(1, 2, 0)).resize((16, 16), Image.Resampling.BILINEAR)
        assert np.array_equal(small.train.images[0].transpose(1, 2, 0), np.asarray(image))
        assert (small.mean, small.std) == (whole.mean, whole.std)
        assert datasets.checksum("cifar10", config, unpacked) == datasets.checksum("cifar10", DataConfig(), unpacked)
        assert datasets.shape("cifar10", config, unpacked).image_size == 16


def test_the_environment_gives_the_folder_of_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OKDBENCH_DATA", raising=False)
    layer = {"methods": "dml", "dataset": "digits", "seeds": 1}
    assert running.prepare([layer]).data_root == datasets.default_root() == Path("data")
    monkeypatch.setenv("OKDBENCH_DATA", "/elsewhere")
    assert running.prepare([layer]).data_root == datasets.default_root() == Path("/elsewhere")
    assert running.prepare([{**layer, "data_root": "here"}]).data_root == Path("here")
