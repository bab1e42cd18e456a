"""Decoded images in a mapped file: used again, noticed when something changed, rebuilt when something broke."""

import errno
import io
import json
import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

from benchmark import datasets, placement
from benchmark.config import DataConfig
from benchmark.datasets import Dataset, LabelledImages, decoding, image_cache, listing
from benchmark.datasets.images import channel_statistics, holdout_split
from benchmark.progress import BLOCK, in_blocks
from benchmark.request import Request, plan
from benchmark.training import Trainer
from methods.errors import InputError
from tests.images import random_pixels, save, tree


class Place:
    """A tree of images, and the folder with the cache."""

    def __init__(self, root: Path) -> None:
        self.photos = root / "photos"
        self.root = root / "data"
        self.images = self.root / ".cache" / "images"

    def load(self, **config: Any) -> Dataset:
        return datasets.load(f"folder:{self.photos}", DataConfig(**config), self.root)

    def checksum(self, **config: Any) -> str:
        return datasets.checksum(f"folder:{self.photos}", DataConfig(**config), self.root)

    def files(self) -> list[str]:
        return sorted(path.suffix for path in self.images.iterdir())

    def age(self) -> None:
        """Make every file look as if it had been there for an hour."""
        for path in self.photos.rglob("*.png"):
            written = path.stat().st_mtime_ns - 3600 * 10**9
            os.utime(path, ns=(written, written))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    tree(found.photos, 8, 8, 3)
    return found


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from now on."""
    names: list[str] = []
    original = decoding._decode

    def noting(path: Path, form: decoding.Form) -> decoding.Pixels:
        names.append(path.name)
        return original(path, form)

    monkeypatch.setattr(decoding, "_decode", noting)
    return names


def same(first: Dataset, second: Dataset) -> bool:
    parts = [(getattr(first, part), getattr(second, part)) for part in ("train", "test")]
    equal = all(np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels) for a, b in parts)
    return equal and (first.classes, first.mean, first.std) == (second.classes, second.mean, second.std)


def in_memory(dataset: Dataset) -> Dataset:
    train, test = (LabelledImages(np.array(part.images), part.labels) for part in (dataset.train, dataset.test))
    return replace(dataset, train=train, test=test)


class TestReuse:
    def test_images_are_decoded_once(self, place: Place, opened: list[str]) -> None:
        first = place.load()
        assert len(opened) == 10
        second = place.load()
        assert len(opened) == 10
        assert same(first, second)
        assert isinstance(second.train.pixels, np.memmap)
        assert not second.train.pixels.flags.writeable
        assert place.files() == [".json", ".json", ".lock", ".lock", ".npy", ".npy"]

    def test_subset_holds_the_chosen_images_alone(self, place: Place) -> None:
        chosen = place.load(train_per_class=1).train
        assert isinstance(chosen.pixels, np.memmap)
        assert len(chosen.pixels) == len(chosen) == 2

    def test_holdout_and_whole_set_share_the_training_images(self, place: Place, opened: list[str]) -> None:
        place.load()
        del opened[:]
        place.load(holdout=0.4)
        assert opened == []

    def test_processes_at_the_same_time_decode_once(self, place: Place, opened: list[str]) -> None:
        with ThreadPoolExecutor(4) as pool:
            loaded = [future.result() for future in [pool.submit(place.load) for _ in range(4)]]
        assert len(opened) == 10
        assert all(same(loaded[0], other) for other in loaded)

    def test_contents_are_hashed_once(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        place.age()
        before = place.checksum()

        def refuse(path: Path) -> str:
            raise AssertionError(f"{path} was read")

        monkeypatch.setattr(listing, "_hash", refuse)
        assert place.checksum() == before

    def test_files_that_were_just_written_are_hashed_again(self, place: Place) -> None:
        place.checksum()
        assert not (place.root / ".cache/contents").exists()


class TestChangedSource:
    def rewrite(self, place: Place) -> None:
        """Put other pixels into a file of the same size and time."""
        path = place.photos / "train/cat/0.png"
        before = path.stat()
        old = path.read_bytes()
        # PNG ends with a chunk that may have another before it; a byte of the pixels' checksum is of no use here
        Image.fromarray(random_pixels(8, 8, 3, seed=77)).save(path)
        new = path.read_bytes()
        path.write_bytes(new.ljust(len(old), b"\0"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    @pytest.mark.parametrize(
        "change",
        [
            lambda place: save(place.photos / "train/cat/0.png", random_pixels(8, 8, 3, seed=99)),
            lambda place: save(place.photos / "train/cat/9.png", random_pixels(8, 8, 3, seed=99)),
            lambda place: (place.photos / "train/cat/0.png").unlink(),
            lambda place: (place.photos / "train/cat/0.png").rename(place.photos / "train/dog/9.png"),
            lambda place: TestChangedSource().rewrite(place),
        ],
        ids=["other-pixels", "one-more", "one-less", "other-class", "same-size-and-time"],
    )
    def test_change_is_noticed(self, place: Place, change: Callable[[Place], object]) -> None:
        place.age()
        before, checksum = place.load(), place.checksum()
        change(place)
        after = place.load()
        assert place.checksum() != checksum
        assert not same(before, after)
        files = sorted((place.photos / "train").rglob("*.png"))
        expected = np.stack([np.asarray(Image.open(path)) for path in files])
        assert np.array_equal(after.train.images.transpose(0, 2, 3, 1), expected)

    def test_file_that_disappears_is_named(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listing.Listing, "contents", lambda self, cache: "0" * 64)
        (place.photos / "test/dog/1.png").unlink()
        (place.photos / "test/dog/1.png").symlink_to(place.photos / "test/dog/0.png")
        (place.photos / "test/dog/0.png").unlink()
        with pytest.raises(InputError, match=r"test/dog/1\.png is not a file"):
            place.load()


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def alter(key: str, value: object) -> Callable[[Path], None]:
    def altered(path: Path) -> None:
        described = path.with_suffix(".json")
        described.write_text(json.dumps({**json.loads(described.read_text()), key: value}))

    return altered


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "header cut": lambda path: os.truncate(path, 20),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "one bit": flip_byte,
    "other images": lambda path: np.save(path, np.zeros((6, 3, 8, 8), np.uint8)),
    "other shape": lambda path: np.save(path, np.zeros((5, 3, 8, 8), np.uint8)),
    "other type": lambda path: np.save(path, np.zeros((6, 3, 8, 8), np.int8)),
    "pickle": lambda path: np.save(path, np.array([{}], dtype=object), allow_pickle=True),
    "no file": lambda path: path.unlink(),
    "no description": lambda path: path.with_suffix(".json").unlink(),
    "description is text": lambda path: path.with_suffix(".json").write_text("x"),
    "description is a list": lambda path: path.with_suffix(".json").write_text("[]"),
    "description is empty": lambda path: path.with_suffix(".json").write_text("{}"),
    "description's shape": alter("shape", [6, 3, 8, 9]),
    "description's counts": alter("histogram", [[1] * 256] * 3),
    "description's counts are no numbers": alter("histogram", "many"),
    "description's hash and time": lambda path: [alter("sha256", "0")(path), alter("stamp", [0, 0])(path)],
}


class TestDamagedCache:
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_images_are_decoded_anew(
        self, place: Place, opened: list[str], damage: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = in_memory(place.load(holdout=0.4))
        del opened[:]
        [path] = place.images.glob("*.npy")
        DAMAGES[damage](path)
        assert same(place.load(holdout=0.4), before)
        assert len(opened) == 6
        expected = "" if damage == "no file" else f"note: {path} is incomplete or damaged: its images are decoded anew"
        assert capsys.readouterr().err.strip() == expected
        assert same(place.load(holdout=0.4), before)
        assert len(opened) == 6

    def test_other_time_of_the_same_bytes_does_no_harm(
        self, place: Place, opened: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = place.load()
        del opened[:]
        for path in place.images.glob("*.npy"):
            os.utime(path)
        assert same(place.load(), before)
        assert opened == []
        assert capsys.readouterr().err == ""

    def test_remembered_hash_that_is_none_is_not_believed(self, place: Place) -> None:
        place.age()
        before = place.checksum()
        for path in (place.root / ".cache/contents").iterdir():
            path.write_text("no hash")
        assert place.checksum() == before

    def test_interrupted_decoding_leaves_nothing(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(paths: object, form: decoding.Form) -> Iterator[decoding.Pixels]:
            yield np.zeros((1, 3, 8, 8), dtype=np.uint8)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(image_cache, "decoded", interrupted)
            with pytest.raises(KeyboardInterrupt):
                place.load()
        assert place.files() == [".lock"]
        assert len(place.load().train) == 6

    def test_leftovers_of_a_killed_process_are_overwritten(self, place: Place) -> None:
        place.load()
        for path in [*place.images.glob("*.npy")]:
            path.rename(path.with_suffix(".tmp"))
        place.load()
        assert place.files() == [".json", ".json", ".lock", ".lock", ".npy", ".npy"]


class TestWithoutCache:
    def test_folder_that_cannot_be_written(self, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
        cached = place.load()
        place.root = place.root.with_name("elsewhere")
        place.root.mkdir()
        (place.root / ".cache").write_text("in the way")
        assert same(place.load(), cached)
        assert not isinstance(place.load().train.pixels, np.memmap)
        assert "images are decoded into memory at every start" in capsys.readouterr().err

    def test_full_disk(self, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        assert place.load().train.images.shape == (6, 3, 8, 8)
        assert "(No space left on device)" in capsys.readouterr().err
        assert place.files() == [".lock", ".lock"]


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
        assert place.load(image_size=9).image_size == 9

    def test_first_odd_file_among_many_is_named_with_the_remedy(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        tree(place.photos, 8, 8, train=150)
        for name in ("train/dog/77.png", "train/dog/99.png"):
            save(place.photos / name, random_pixels(8, 7))
        with pytest.raises(InputError, match=r"^\S+train/dog/77\.png is 7x8, 0\.png is 8x8: .*data\.image_size=N"):
            place.load()

    def test_other_size_of_test_images_is_refused(self, place: Place) -> None:
        for path in (place.photos / "test").rglob("*.png"):
            save(path, random_pixels(9, 9, 3))
        with pytest.raises(InputError, match=r"test/cat/0\.png is 9x9, the training images are 8x8: data\.image_size"):
            place.load()

    def test_sets_of_one_size_refuse_it(self) -> None:
        for function in (datasets.load, datasets.checksum):
            with pytest.raises(InputError, match=r"^data\.image_size: .* digits"):
                function("digits", DataConfig(image_size=16), Path("no-such-folder"))

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

    def test_statistics_are_exact(self, place: Place) -> None:
        loaded = place.load()
        assert (loaded.mean, loaded.std) == channel_statistics(loaded.train.images)
        assert loaded.mean == pytest.approx((loaded.train.images / 255).mean((0, 2, 3)))

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda path: (path.unlink(), path.mkdir()), "is a folder"),
            (lambda path: (path.unlink(), path.symlink_to("nowhere.png")), "is not a file"),
            (lambda path: (path.unlink(), path.symlink_to(path.name)), "is not a file"),
            (lambda path: path.write_bytes(b""), "is not a readable image"),
            (lambda path: path.write_bytes(path.read_bytes()[:-30]), "is not a readable image"),
            (lambda path: Image.new("F", (8, 8)).save(path, "TIFF"), "is not a readable image: .*floating-point"),
            (lambda path: Image.new("I", (8, 8), 70_000).save(path, "TIFF"), "is not a readable image: .*16 bits"),
        ],
        ids=["folder", "broken-link", "endless-link", "empty", "cut", "float", "32-bit"],
    )
    @pytest.mark.parametrize("image_size", [None, 8])
    def test_bad_file_is_named(
        self, place: Place, spoil: Callable[[Path], object], message: str, image_size: int | None
    ) -> None:
        spoil(place.photos / "train/dog/1.png")
        with pytest.raises(InputError, match=rf"^{place.photos}/train/dog/1\.png {message}") as raised:
            place.load(image_size=image_size)
        assert "\n" not in str(raised.value)


class TestMappedImages:
    def test_subset_of_a_file_is_not_read(self, place: Place) -> None:
        whole = place.load().train
        order = np.array([5, 0, 3])
        part = whole.take(order).take(np.array([2, 0]))
        assert part.pixels is whole.pixels
        assert part.rows is not None
        assert part.rows.tolist() == [3, 5]
        assert np.array_equal(part.images, whole.images[[3, 5]])
        assert np.array_equal(part.labels, whole.labels[[3, 5]])

    def test_holdout_equals_that_of_images_in_memory(self, place: Place) -> None:
        mapped = place.load(holdout=0.4)
        memory = holdout_split(in_memory(place.load()), 0.4)
        assert isinstance(mapped.test.pixels, np.memmap)
        assert not isinstance(memory.test.pixels, np.memmap)
        assert same(mapped, memory)

    def test_file_goes_to_another_process_as_its_name(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        tree(place.photos, 64, 64, 3)
        loaded = place.load(holdout=0.4)
        content = pickle.dumps(loaded)
        assert len(content) < 3000
        assert same(pickle.loads(content), loaded)
        for path in place.images.glob("*.npy"):
            path.unlink()
        with pytest.raises(InputError, match="has gone while a run needed it"):
            pickle.loads(content)

    def test_without_file_it_goes_whole_and_uncopied(self, place: Place) -> None:
        loaded = place.load().without_files()
        buffers: list[pickle.PickleBuffer] = []
        content = pickle.dumps(loaded, protocol=5, buffer_callback=buffers.append)
        assert sum(buffer.raw().nbytes for buffer in buffers) >= loaded.train.pixels.nbytes + loaded.test.pixels.nbytes
        for path in place.images.glob("*.npy"):
            path.unlink()
        assert same(pickle.loads(content, buffers=buffers), loaded)

    def test_part_of_a_mapped_array_keeps_its_place(self, place: Place) -> None:
        whole = place.load().train
        part = LabelledImages(whole.pixels[2:4], whole.labels[2:4])
        assert np.array_equal(pickle.loads(pickle.dumps(part)).images, whole.images[2:4])


class TestPlacement:
    def test_on_the_cpu_nothing_is_copied(self, place: Place) -> None:
        part = place.load().train
        images, _ = placement.on_device(part, torch.device("cpu"))
        assert isinstance(images, torch.Tensor)
        assert images.data_ptr() == part.pixels.__array_interface__["data"][0]

    @pytest.mark.parametrize("index", [torch.tensor([3, 0, 3]), slice(1, 3), slice(2, 99)])
    @pytest.mark.parametrize("rows", [None, [5, 1, 0, 2]])
    def test_batches(self, place: Place, index: torch.Tensor | slice, rows: list[int] | None) -> None:
        whole = place.load().train
        part = whole if rows is None else whole.take(np.array(rows))
        images, labels = placement.on_device(part, torch.device("cpu"))
        assert images.shape == part.images.shape
        assert torch.equal(images[index], torch.from_numpy(part.images.copy())[index])
        assert labels.tolist() == part.labels.tolist()

    @pytest.mark.parametrize(("free", "copied"), [(1000 * 6 * 192, True), (2 * 6 * 192, True), (6 * 192, False)])
    def test_device_takes_what_half_of_its_memory_holds(
        self, place: Place, free: int, copied: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # a device without memory of its own stands in for a GPU
        monkeypatch.setattr(placement, "free_memory", lambda device: free)
        for part in (place.load().train, place.load().train.take(np.arange(6))):
            images, labels = placement.on_device(part, torch.device("meta"))
            assert isinstance(images, torch.Tensor) == copied
            assert (images.shape, images.device.type, labels.device.type) == ((6, 3, 8, 8), "meta", "meta")
            assert images[1:3].shape == (2, 3, 8, 8)
            assert images[1:3].device.type == "meta"

    def test_run_on_a_mapped_file_equals_one_in_memory(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        tree(place.photos, 16, 16, 3, train=12)
        name = f"folder:{place.photos}"
        layer = {
            "methods": "dml",
            "dataset": name,
            "backbone": "resnet8",
            "seeds": 1,
            "train": {"epochs": 2, "batch_size": 5},
            "data": {"holdout": 0.25},
        }
        [config] = plan(Request([layer], data_root=place.root))
        mapped = datasets.load(name, config.data, place.root)
        rows = []
        for dataset in (mapped, mapped.without_files()):
            trainer = Trainer(config, dataset, torch.device("cpu"))
            rows.append([{**trainer.epoch(), "seconds": 0.0} for _ in range(2)])
        assert mapped.train.rows is not None
        assert rows[0] == rows[1]


class TestInBlocks:
    def test_results_come_in_order(self) -> None:
        items = range(10 * BLOCK + 3)
        assert [item for block in in_blocks(list, items, "") for item in block] == list(items)

    def test_no_item(self) -> None:
        assert list(in_blocks(list, [], "")) == []

    def test_no_more_is_worked_on_than_is_taken(self) -> None:
        begun: list[int] = []
        blocks = in_blocks(lambda block: begun.append(block[0]), range(1000 * BLOCK), "")
        next(blocks)
        blocks.close()
        assert len(begun) < 100

    def test_first_error_ends_it(self) -> None:
        def fail(block: object) -> None:
            raise InputError("broken")

        with pytest.raises(InputError, match="broken"):
            list(in_blocks(fail, range(100 * BLOCK), ""))

    def test_nothing_is_shown_where_there_is_no_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        list(in_blocks(list, range(100), "decoding"))
        assert capsys.readouterr() == ("", "")

    def test_bar_on_a_terminal_appears_after_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from benchmark import progress

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        for after, shown in ((60.0, False), (0.0, True)):
            screen = Terminal()
            monkeypatch.setattr("sys.stderr", screen)
            monkeypatch.setattr(progress, "SHOWN_AFTER_S", after)
            list(in_blocks(list, range(10 * BLOCK), "decoding images"))
            assert ("decoding images" in screen.getvalue()) == shown
