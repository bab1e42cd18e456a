"""Decoded images in a mapped file: used again, noticed when something changed, rebuilt when something broke."""

import errno
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.datasets import decoding
from tests.images import Pixels, Place, in_memory, random_pixels, same, save


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from now on."""
    names: list[str] = []
    original = decoding._decode

    def noting(image: decoding.EncodedImage, form: decoding.ImageFormat) -> tuple[Pixels, int]:
        names.append(image.name)
        return original(image, form)

    monkeypatch.setattr(decoding, "_decode", noting)
    return names


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
        monkeypatch.setattr(decoding.EncodedImage, "read", lambda image: pytest.fail(f"{image.name} was read"))
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
    "description's statistics": alter("statistics", [[0.5] * 3] * 2),
    "description's statistics are no numbers": alter("statistics", "many"),
    "description's time": alter("stamp", [0, 0]),
    "time": os.utime,
}


class TestDamagedCache:
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_all_is_decoded_anew(
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

    def test_remembered_hash_that_is_none_is_not_believed(self, place: Place) -> None:
        place.age()
        before = place.checksum()
        for path in (place.root / ".cache/contents").iterdir():
            path.write_text("no hash")
        assert place.checksum() == before

    def test_interrupted_decoding_leaves_nothing(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        original = decoding._decode

        def interrupted(image: decoding.EncodedImage, form: decoding.ImageFormat) -> tuple[Pixels, int]:
            if image.name.endswith("dog/1.png"):
                raise KeyboardInterrupt
            return original(image, form)

        with monkeypatch.context() as patch:
            patch.setattr(decoding, "_decode", interrupted)
            with pytest.raises(KeyboardInterrupt):
                place.load()
        assert place.files() == [".lock"]
        assert len(place.load().train) == 6

    def test_leftovers_of_a_killed_process_are_overwritten(self, place: Place) -> None:
        place.load()
        for path in [*place.images.glob("*.npy")]:
            path.rename(path.with_name(f".{path.name}.123.tmp"))
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
