"""Datasets whose labels, classes, images or splits mean something else are refused in every form, in one line."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import datasets as library
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pyarrow import parquet  # type: ignore[import-untyped]
from scipy.io import loadmat, savemat

from benchmark import datasets
from benchmark.configuration import DataConfig
from benchmark.datasets.images import Dataset
from methods.errors import InputError
from tests.datasets.test_hugging_face import checksum, encoded, load, pictures, save, split
from tests.datasets.test_torchvision_sets import svhn
from tests.images import Place, random_pixels, tree

Labels = list[int]
Written = tuple[str, tuple[str, ...]]
"""A dataset's name, and the plug-ins that it comes from."""

WHOLE = library.Value("int64")
COMPOSED = ["caf\u00e9", "\u00e5ngstr\u00f6m"]
DECOMPOSED = ["cafe\u0301", "a\u030angstro\u0308m"]


def as_npz(folder: Path, train: Labels, test: Labels) -> Written:
    arrays = {"x_train": random_pixels(len(train), 8, 8), "x_test": random_pixels(len(test), 8, 8)}
    np.savez(folder / "a.npz", y_train=np.array(train), y_test=np.array(test), **arrays)  # type: ignore[arg-type]
    return f"npz:{folder}/a.npz", ()


def as_hf(folder: Path, train: Labels, test: Labels) -> Written:
    parts = {"train": split(pictures(len(train)), train, WHOLE), "test": split(pictures(len(test)), test, WHOLE)}
    return f"hf:{save(folder / 'photos', **parts)}", ()


def as_function(folder: Path, train: Labels, test: Labels) -> Written:
    (folder / "mine.py").write_text(
        "import numpy as np\nfrom benchmark.datasets import Arrays\n\n\ndef mine(root) -> Arrays:\n"
        f"    x = lambda n: np.zeros((n, 8, 8), np.uint8)\n"
        f"    return Arrays(x({len(train)}), np.array({train}), x({len(test)}), np.array({test}))\n"
    )
    return "mine", (str(folder / "mine.py"),)


Writer = Callable[[Path, Labels, Labels], Written]
FORMS = pytest.mark.parametrize("form", [as_npz, as_hf, as_function])


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@FORMS
@pytest.mark.parametrize(
    ("train", "test", "facts"),
    [
        ([1, 2, 1, 2], [1, 2], ("class 0 of 0..2 has no image",)),
        ([0, 2, 0, 2], [0, 2], ("class 1 of 0..2 has no image",)),
        ([0, 1, 0, 20_240_000], [0, 1], ("class 2 of 0..20240000 has no image",)),
        ([1_700_000_000, 1_700_000_001], [0, 1], ("class 0 of 0..1700000001 has no image",)),
        ([0, 1, 0, 2**62], [0, 1], ("class 2 of", "has no image")),
        ([0, 1], [0, 1_700_000_000], ("[1] is 1700000000", "0..1 (2 classes)")),
        ([0, -1, 1, 0], [0, 1], ("[1] is -1", "0..1 (2 classes)")),
        ([-1, -1], [0, 1], ("every label is below 0",)),
        ([0, 1], [-1, -1], ("every label is below 0",)),
        ([0, 0], [0, 0], ("at least 2 are needed",)),
    ],
)
def test_labels_have_one_rule_in_every_form(
    tmp_path: Path, form: Writer, train: Labels, test: Labels, facts: tuple[str, ...]
) -> None:
    name, plugins = form(tmp_path, train, test)
    message = refusal(lambda: datasets.checksum(name, DataConfig(), tmp_path, plugins))
    assert all(fact in message for fact in facts), message


@FORMS
def test_large_labels_are_refused_before_anything_is_allocated(tmp_path: Path, form: Writer) -> None:
    name, plugins = form(tmp_path, [0, 1, 20_240_000], [0, 1])
    # what the libraries take to be imported is not of interest
    refusal(lambda: datasets.checksum(name, DataConfig(), tmp_path, plugins))
    tracemalloc.start()
    refusal(lambda: datasets.checksum(name, DataConfig(), tmp_path, plugins))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


def test_torchvision_has_the_rule_too(tmp_path: Path) -> None:
    svhn(tmp_path, train=24, test=24, classes=12)
    labels = {"train": [1, 2] * 12, "test": [0, 1] * 12}
    for part, chosen in labels.items():
        stored = loadmat(tmp_path / f"{part}_32x32.mat")
        savemat(tmp_path / f"{part}_32x32.mat", {"X": stored["X"], "y": np.array(chosen)[:, None]})
    message = refusal(lambda: datasets.checksum("torchvision:SVHN", DataConfig(), tmp_path))
    assert "train: class 0 of 0..2 has no image" in message


class TestHuggingFace:
    def test_test_labels_are_of_the_same_classes_in_the_same_order(self, tmp_path: Path) -> None:
        names = {"train": ["cat", "dog"], "test": ["dog", "cat"], "validation": ["cat", "fox"]}
        parts = {part: split(pictures(2), [0, 1], library.ClassLabel(names=chosen)) for part, chosen in names.items()}
        folder = save(tmp_path / "photos", **parts)
        message = refusal(lambda: checksum(folder))
        assert "another order: 0 is cat and dog" in message
        message = refusal(lambda: checksum(folder, test_split="validation"))
        assert "different classes: dog, fox" in message

    def test_a_missing_image_is_named_by_its_row(self, tmp_path: Path) -> None:
        features = library.Features({"image": library.Image(), "label": library.ClassLabel(names=["a", "b"])})
        images = [{"bytes": encoded(image), "path": None} for image in pictures(3)]
        rows = {"image": [*images, None], "label": [0, 1, 0, 1]}
        train = library.Dataset.from_dict(rows, features=features)
        folder = save(tmp_path / "photos", train=train, test=train.select([0, 1]))
        message = refusal(lambda: checksum(folder))
        assert message == f"hf:{folder} train[3] has no image: image is null"

    def test_an_image_file_that_is_gone_is_named(self, tmp_path: Path) -> None:
        features = library.Features({"image": library.Image(), "label": library.ClassLabel(names=["a", "b"])})
        rows = {"image": [{"bytes": None, "path": "gone.png"}] * 2, "label": [0, 1]}
        train = library.Dataset.from_dict(rows, features=features)
        (tmp_path / "photos").mkdir()
        for part in ("train", "test"):
            parquet.write_table(train.data.table, tmp_path / "photos" / f"{part}.parquet")
        assert "cannot read gone.png" in refusal(lambda: checksum(tmp_path / "photos"))

    def test_missing_labels_are_reported_with_the_other_splits(self, tmp_path: Path) -> None:
        train, labelled = split(pictures(4), [0, 1, 2, 0]), split(pictures(3, seed=9), [0, 1, 2])
        for labels, fact in (([-1, -1], "below 0"), ([None, None], "label[0] is missing (2 of 2 are)")):
            parts = {"train": train, "test": split(pictures(2), labels), "validation": labelled}  # type: ignore[arg-type]
            folder = save(tmp_path / fact[:3], **parts)
            message = refusal(lambda folder=folder: checksum(folder))  # type: ignore[misc]
            assert fact in message
            assert "data.test_split=NAME takes another split (found: train, test, validation)" in message
            loaded = load(folder, test_split="validation")
            assert loaded.test.labels.tolist() == [0, 1, 2]

    def test_splits_are_chosen(self, tmp_path: Path) -> None:
        parts = {name: split(pictures(3, seed=seed), [0, 1, 2]) for seed, name in enumerate(("train", "test", "dev"))}
        folder = save(tmp_path / "photos", **parts)
        assert len({checksum(folder, test_split="dev"), checksum(folder), checksum(folder, train_split="dev")}) == 3
        # what is chosen is its content, whatever it is called
        assert checksum(folder, test_split="test") == checksum(folder)
        assert "(valid: dev, test, train)" in refusal(lambda: checksum(folder, test_split="devel"))
        assert "'test' would be trained on and scored" in refusal(lambda: checksum(folder, train_split="test"))
        # with a held-out part no test split is looked at
        assert checksum(folder, train_split="test", test_split="no", holdout=0.5) == checksum(
            folder, train_split="test", holdout=0.5
        )


class TestSplits:
    def test_of_a_folder(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        tree(place.photos, 8, 8)
        before = place.load()
        (place.photos / "test").rename(place.photos / "held")
        # a link to itself is no folder
        (place.photos / "loop").symlink_to("loop")
        assert "(found: held, train)" in refusal(place.checksum)
        assert np.array_equal(place.load(test_split="held").test.images, before.test.images)
        swapped = place.load(train_split="held", test_split="train")
        assert np.array_equal(swapped.test.images, before.train.images)
        assert "(valid: held, train)" in refusal(lambda: place.checksum(test_split="test/.."))

    def test_of_torchvision(self, tmp_path: Path) -> None:
        svhn(tmp_path)
        (tmp_path / "extra_32x32.mat").write_bytes((tmp_path / "train_32x32.mat").read_bytes())

        def loaded(**config: str) -> Dataset:
            return datasets.load("torchvision:SVHN", DataConfig(**config), tmp_path)  # type: ignore[arg-type]

        assert np.array_equal(loaded(test_split="extra").test.images, loaded().train.images)
        assert "(valid: extra, test, train)" in refusal(lambda: loaded(test_split="dev"))
        assert "would be trained on and scored" in refusal(lambda: loaded(test_split="train"))

    @pytest.mark.parametrize("name", ["digits", "cifar10", "tinyimagenet", "npz:a.npz"])
    def test_other_forms_have_none(self, tmp_path: Path, name: str) -> None:
        for call in (datasets.checksum, datasets.load):
            message = refusal(lambda call=call: call(name, DataConfig(train_split="train"), tmp_path))  # type: ignore[misc]
            assert message.startswith(f"data.train_split: {name} has no splits to choose from")
            assert "folder:PATH, torchvision:NAME, hf:PATH" in message


class TestUnicode:
    def test_a_folder_is_the_same_set_in_either_form(self, tmp_path: Path) -> None:
        sums = []
        for form, forms in enumerate(((COMPOSED, COMPOSED), (COMPOSED, DECOMPOSED), (DECOMPOSED, DECOMPOSED))):
            place = Place(tmp_path / str(form))
            for part, names in zip(("train", "test"), forms, strict=True):
                for label, name in enumerate(names):
                    path = place.photos / part / name / "0.png"
                    path.parent.mkdir(parents=True)
                    Image.fromarray(random_pixels(8, 8, seed=label)).save(path)
            sums.append(place.checksum())
            assert place.load().classes == tuple(sorted(COMPOSED))
        assert len(set(sums)) == 1

    def test_one_class_in_two_forms_is_refused(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        tree(place.photos, 8, 8, classes=("dog", COMPOSED[0], DECOMPOSED[0]))
        assert f"two folders of the class {COMPOSED[0]!r}" in refusal(place.checksum)

    def test_checksums_of_names_in_the_usual_form_are_what_they_were(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        paths = [
            f"{part}/{name}/{index}.pgm"
            for part in ("train", "test")
            for name in (COMPOSED[0], "dog")
            for index in range(2)
        ]
        for number, path in enumerate(paths):
            (place.photos / path).parent.mkdir(parents=True, exist_ok=True)
            pixels = bytes((number * 7 + index) % 256 for index in range(64))
            (place.photos / path).write_bytes(b"P5 8 8 255\n" + pixels)
        assert place.checksum() == "7aa37dc4a57902e096a4723a6d40ab2848c8f722a23794b85e49583341204d40"
        x: npt.NDArray[np.uint8] = (np.arange(6 * 64) % 256).astype(np.uint8).reshape(6, 8, 8)
        y = np.arange(6) % 3
        names = np.array([COMPOSED[0], "b", "c"])
        np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:3], y_test=y[:3], classes=names)
        assert (
            datasets.checksum(f"npz:{tmp_path}/a.npz", DataConfig(), tmp_path)
            == "2863696b8b54010f44f7d07c43ec2ac1a0d1e2c4f732f436d82f890ed929dff8"
        )


def test_an_orientation_that_a_file_notes_is_not_applied(tmp_path: Path) -> None:
    place = Place(tmp_path)
    tree(place.photos, 8, 8, 3)
    before = place.load().train.images
    for path in place.photos.rglob("*.png"):
        image = Image.open(path)
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
        assert Image.open(path).getexif()[0x0112] == 6
    assert np.array_equal(place.load().train.images, before)


def sixteen_bit(place: Place, *highest: int, parts: tuple[str, ...] = ("train", "test")) -> None:
    """Write grey 16-bit images of which the first ones of each class have these highest values."""
    tree(place.photos, 8, 8)
    for part in parts:
        for path in (place.photos / part).rglob("*.png"):
            top = highest[int(path.stem) % len(highest)]
            values = np.linspace(0, top, 64).round().astype(np.uint16).reshape(8, 8)
            Image.fromarray(values).save(path)


class TestRangeOf16Bits:
    @pytest.mark.parametrize(("highest", "bits"), [(255, 8), (256, 12), (4095, 12)])
    @pytest.mark.parametrize("config", [{}, {"image_size": 16}, {"holdout": 0.4}])
    def test_a_set_that_does_not_use_it_is_refused(
        self, tmp_path: Path, highest: int, bits: int, config: dict[str, float]
    ) -> None:
        place = Place(tmp_path)
        sixteen_bit(place, 100, highest)
        for _ in range(2):
            message = refusal(lambda: place.load(**config))
            assert message.startswith(f"folder:{place.photos}: ")
            assert f"is {highest} of 65535: they hold {bits}-bit values" in message
            assert "convert them to 8 bit, or scale" in message

    def test_one_bright_image_of_the_whole_set_is_enough(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        sixteen_bit(place, 200, 4000)
        sixteen_bit(place, 0, 4096, parts=("test",))
        assert place.load().test.images.max() == 16

    def test_of_a_hugging_face_set(self, tmp_path: Path) -> None:
        images = [np.full((8, 8), 40 * value, dtype=np.uint16) for value in range(6)]
        part = split(images, [0, 1, 2, 0, 1, 2])  # type: ignore[arg-type]
        folder = save(tmp_path / "photos", train=part, test=part)
        assert "is 200 of 65535: they hold 8-bit values" in refusal(lambda: load(folder))

    def test_of_an_official_set_as_image_files(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        sixteen_bit(place, 4095)
        place.photos.rename(tmp_path / "fashion-mnist")
        message = refusal(lambda: datasets.checksum("fashion-mnist", DataConfig(), tmp_path))
        assert "is 4095 of 65535" in message
