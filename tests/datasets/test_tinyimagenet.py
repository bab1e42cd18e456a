"""TinyImageNet on small trees in its official layout: what is read and refused, and how its archive is fetched."""

import errno
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import md5
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark import datasets
from benchmark.configuration.planning import Request, plan
from benchmark.configuration.run_config import DataConfig
from benchmark.datasets import files
from benchmark.datasets.images import Dataset
from methods.errors import InputError
from tests.images import TINY, WNIDS, random_pixels, save, tiny_tree

SUMS, ARCHIVE = files.OFFICIAL["tinyimagenet"].files, f"{TINY}.zip"


def load(root: Path, **config: Any) -> Dataset:
    return datasets.load("tinyimagenet", DataConfig(**config), root)


def checksum(root: Path, **config: Any) -> str:
    return datasets.checksum("tinyimagenet", DataConfig(**config), root)


@pytest.fixture(autouse=True)
def address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads go to a port of this machine where nobody listens."""
    monkeypatch.setattr(files.OFFICIAL["tinyimagenet"], "address", f"http://127.0.0.1:9/{TINY}.zip")


class TestLayout:
    def test_official_layout(self, tmp_path: Path) -> None:
        folder = tiny_tree(tmp_path)
        loaded = load(tmp_path)
        assert loaded.classes == tuple(sorted(WNIDS))
        assert loaded.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert loaded.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert loaded.train.shape == (3, 16, 16)
        # of the released code
        assert (loaded.mean, loaded.std) == ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262))
        grey = np.asarray(Image.open(folder / "train/n01/images/n01_0.JPEG"))
        assert any(np.array_equal(image, np.stack([grey] * 3)) for image in loaded.train.images)
        for part, name, label in [
            (loaded.train, "train/n03/images/n03_1.JPEG", 2),
            (loaded.train, "train/n02/images/n02_3.JPEG", 1),
            # the fifth of the annotations is of the second class that wnids.txt names
            (loaded.test, "val/images/val_4.JPEG", 0),
        ]:
            pixels = np.asarray(Image.open(folder / name)).transpose(2, 0, 1)
            [found] = [at for at, image in enumerate(part.images) if np.array_equal(image, pixels)]
            assert part.labels[found] == label

    def test_a_tree_of_lossless_images_is_the_same_dataset(self, tmp_path: Path) -> None:
        unpacked = tiny_tree(tmp_path)
        before, loaded = checksum(tmp_path), load(tmp_path)
        tree = tmp_path / "as_png" / "tinyimagenet"
        for part, images in (("train", loaded.train), ("test", loaded.test)):
            for index, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
                save(tree / part / loaded.classes[label] / f"{index}.png", np.array(image.transpose(1, 2, 0)))
        assert unpacked.is_dir()
        assert checksum(tree.parent) == before
        assert np.array_equal(load(tree.parent).train.images, loaded.train.images)

    def test_holdout_does_not_read_the_validation_images(self, tmp_path: Path) -> None:
        folder = tiny_tree(tmp_path)
        before = checksum(tmp_path, holdout=0.25)
        shutil.rmtree(folder / "val")
        loaded = load(tmp_path, holdout=0.25)
        assert (len(loaded.train), loaded.test.labels.tolist()) == (9, [0, 1, 2])
        assert checksum(tmp_path, holdout=0.25) == before

    def test_checksum_does_not_depend_on_the_order_of_the_classes(self, tmp_path: Path) -> None:
        folder = tiny_tree(tmp_path)
        before = checksum(tmp_path)
        (folder / "wnids.txt").write_text("n01\nn02\nn03\n")
        assert checksum(tmp_path) == before

    def test_recipe(self, tmp_path: Path) -> None:
        runs = plan(Request([{"methods": "dkel", "dataset": "tinyimagenet"}], data_root=tmp_path), datasets)
        assert [run.seed for run in runs] == [0, 1, 2]
        train = runs[0].train
        assert (runs[0].backbone, train.epochs, train.batch_size) == ("resnet18_tiny", 100, 128)
        assert train.weight_decay == 5e-4
        rates = [train.lr_at(epoch) for epoch in (0, 29, 30, 59, 60, 99)]
        assert rates == pytest.approx([0.1] * 2 + [0.01] * 2 + [1e-3] * 2)
        assert (runs[0].data.pad, runs[0].data.flip) == (4, True)


def edit(name: str, old: str, new: str) -> Callable[[Path], object]:
    def edited(folder: Path) -> None:
        path = folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return edited


ANNOTATIONS, LAST = "val/val_annotations.txt", "val_5.JPEG\tn02\t0\t32\t44\t62"
NAMES, FILES = r"wnids\.txt must name each folder in .*train once", "do not name the same files, each once: "
FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("no wnids", lambda f: (f / "wnids.txt").unlink(), r"cannot read .*wnids\.txt: No such file"),
    ("binary wnids", lambda f: (f / "wnids.txt").write_bytes(b"\xff\xfe\x00"), r"wnids\.txt: it is no text file"),
    ("empty wnids", lambda f: (f / "wnids.txt").write_text("\n"), NAMES),
    ("class twice", edit("wnids.txt", "n01", "n02"), NAMES),
    ("class outside", edit("wnids.txt", "n01", "../n01"), NAMES),
    ("class too many", edit("wnids.txt", "n01", "n01\nn09"), NAMES),
    ("class too few", edit("wnids.txt", "n01\n", ""), NAMES),
    ("no train", lambda f: shutil.rmtree(f / "train"), r"cannot read .*/train: No such file"),
    ("no images", lambda f: shutil.rmtree(f / "train/n01/images"), r"cannot read .*train/n01/images: No such file"),
    ("text", lambda f: (f / "train/n02/images/a.txt").write_text("x"), r"n02/images/a\.txt is not a readable image"),
    ("no annotations", lambda f: (f / ANNOTATIONS).unlink(), r"cannot read .*val_annotations\.txt: No such file"),
    ("unknown class", edit(ANNOTATIONS, "val_1.JPEG\tn01", "val_1.JPEG\tn07"), r"line 2: class 'n07' is not in wnids"),
    ("no class", edit(ANNOTATIONS, LAST, "val_5.JPEG"), r"line 6: class '' is not in wnids"),
    ("image twice", edit(ANNOTATIONS, "val_4.JPEG", "val_3.JPEG"), FILES + "val_4.JPEG"),
    ("line twice", edit(ANNOTATIONS, LAST, f"{LAST}\n{LAST}"), FILES + "val_5.JPEG"),
    ("image gone", lambda f: (f / "val/images/val_2.JPEG").unlink(), FILES + "val_2.JPEG"),
    ("cut short", edit(ANNOTATIONS, f"{LAST}\n", ""), FILES + "val_5.JPEG"),
    ("outside", edit(ANNOTATIONS, "val_5.JPEG", "../../test/images/test_0.JPEG"), FILES),
    ("val size", lambda f: [save(p, random_pixels(9, 9, 3)) for p in (f / "val/images").iterdir()], "test images 9x9"),
]


@pytest.mark.parametrize(("damage", "message"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_fault_is_named_on_one_line(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(tiny_tree(tmp_path))
    with pytest.raises(InputError, match=message) as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)


def zipped(root: Path, patch: pytest.MonkeyPatch) -> bytes:
    """Turn the tree into an archive and make its sum the expected one; return the archive's bytes."""
    path = root / f"{TINY}.zip"
    shutil.make_archive(str(path.with_suffix("")), "zip", root, TINY)
    shutil.rmtree(root / TINY)
    content = path.read_bytes()
    patch.setitem(SUMS, ARCHIVE, md5(content).hexdigest())
    return content


def leftovers(root: Path) -> set[str]:
    """The names in a folder beside what belongs there."""
    return {path.name for path in root.iterdir()} - {TINY, f"{TINY}.zip", ".cache", ".tinyimagenet.lock"}


class TestArchive:
    @pytest.fixture
    def content(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
        """The bytes of an archive, which is alone in its folder."""
        tiny_tree(tmp_path)
        return zipped(tmp_path, monkeypatch)

    def test_identity_is_the_content_of_the_archive(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tiny_tree(tmp_path)
        configs: list[dict[str, Any]] = [{}, {"holdout": 0.25}, {"train_per_class": 1}]
        unpacked = [checksum(tmp_path, **config) for config in configs]
        zipped(tmp_path, monkeypatch)
        assert {checksum(tmp_path, **config) for config in configs} == {SUMS[ARCHIVE]}
        load(tmp_path)
        assert [checksum(tmp_path, **config) for config in configs] == unpacked
        save(tmp_path / TINY / "val/images/val_0.JPEG", random_pixels(16, 16, 3, seed=999))
        assert checksum(tmp_path) != unpacked[0]
        assert checksum(tmp_path, holdout=0.25) == unpacked[1]

    def test_archive_with_another_sum_is_not_opened(
        self, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        damaged = bytearray(content)
        damaged[100] ^= 1
        (tmp_path / f"{TINY}.zip").write_bytes(damaged)

        monkeypatch.setattr(shutil, "unpack_archive", lambda *given: pytest.fail("the archive was opened"))
        with pytest.raises(
            InputError, match=rf"{TINY}\.zip is damaged or another file\): put {ARCHIVE} \(MD5 {SUMS[ARCHIVE]}\)"
        ):
            load(tmp_path)
        assert not (tmp_path / TINY).exists()
        assert leftovers(tmp_path) == set()

    @pytest.mark.parametrize("name", ["../evil", f"{TINY}/../../evil", "/evil"])
    def test_no_member_is_written_elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        root = tmp_path / "data"
        tiny_tree(root)
        zipped(root, monkeypatch)
        path = root / f"{TINY}.zip"
        with zipfile.ZipFile(path, "a") as opened:
            opened.writestr(name, "/etc/passwd")
        monkeypatch.setitem(SUMS, ARCHIVE, md5(path.read_bytes()).hexdigest())
        assert len(load(root).train) == 12
        assert leftovers(root) == set()
        assert [path.name for path in tmp_path.iterdir()] == ["data"]

    @pytest.mark.usefixtures("content")
    def test_two_at_once_unpack_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        original, calls = shutil.unpack_archive, []

        def counting(path: Path, folder: Path) -> None:
            calls.append(path)
            original(path, folder)

        monkeypatch.setattr(shutil, "unpack_archive", counting)
        with ThreadPoolExecutor(3) as pool:
            loaded = [future.result() for future in [pool.submit(load, tmp_path) for _ in range(3)]]
        assert len(calls) == 1
        assert all(np.array_equal(loaded[0].train.images, other.train.images) for other in loaded)

    @pytest.mark.usefixtures("content")
    def test_leftovers_of_a_killed_process_are_removed(self, tmp_path: Path) -> None:
        save(tmp_path / f".{TINY}.zip.unfinished" / TINY / "train/n01/images/half.JPEG", random_pixels(9, 9))
        load(tmp_path)
        assert leftovers(tmp_path) == set()

    @pytest.mark.usefixtures("content")
    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(path: Path, folder: Path) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(shutil, "unpack_archive", full)
        with pytest.raises(InputError, match="No space left on device"):
            load(tmp_path)
        assert leftovers(tmp_path) == set()
        assert not (tmp_path / TINY).exists()


class TestDownload:
    @pytest.fixture
    def served(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A folder that is the web site of the official address."""
        site = tmp_path / "site"
        site.mkdir()

        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(
            files.OFFICIAL["tinyimagenet"], "address", f"http://127.0.0.1:{server.server_port}/{TINY}.zip"
        )
        yield site
        server.shutdown()
        server.server_close()
        thread.join()

    def test_archive_is_fetched_and_unpacked(
        self, tmp_path: Path, served: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tiny_tree(served)
        content = zipped(served, monkeypatch)
        root = tmp_path / "new" / "data"
        assert checksum(root) == SUMS[ARCHIVE]
        assert not root.exists()
        assert len(load(root).train) == 12
        assert (root / f"{TINY}.zip").read_bytes() == content
        assert leftovers(root) == set()
        (served / f"{TINY}.zip").unlink()
        assert len(load(root).train) == 12

    def test_something_else_is_refused(self, tmp_path: Path, served: Path) -> None:
        (served / f"{TINY}.zip").write_bytes(b"<html>log in first</html>")
        with pytest.raises(
            InputError, match=rf"cannot be downloaded .*corrupted\.\): put {ARCHIVE} \(MD5 90528d7ca1a4"
        ):
            load(tmp_path / "data")
        assert {path.name for path in (tmp_path / "data").iterdir()} == {".tinyimagenet.lock"}

    def test_without_network_it_is_said_what_to_put_where(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as raised:
            load(tmp_path)
        message = str(raised.value)
        assert f"put {TINY}.zip (MD5 {SUMS[ARCHIVE]}) into {tmp_path}" in message
        assert "Connection refused" in message
        assert "\n" not in message

    def test_plan_needs_no_network(self, tmp_path: Path) -> None:
        layer = {"methods": "dkel", "dataset": "tinyimagenet", "seeds": 1}
        [run] = plan(Request([layer], data_root=tmp_path), datasets)
        assert run.dataset_checksum == "90528d7ca1a48142e341f4ef8d21d0de"
        assert [*tmp_path.iterdir()] == []
