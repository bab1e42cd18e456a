"""TinyImageNet on small trees in its official layout: what is read, how it comes, what is refused."""

import errno
import io
import os
import shutil
import stat
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
from benchmark.config import DataConfig
from benchmark.datasets import Dataset, archive, decoding, tinyimagenet
from benchmark.request import Request, plan
from methods.errors import InputError
from tests.images import random_pixels, save

# not in alphabetical order, as the official file is not
CLASSES = ("n03", "n01", "n02")
FOLDER = "tiny-imagenet-200"


def write(root: Path, side: int = 16) -> Path:
    """Write four training and two validation images of each class; the first training image of n01 is grey."""
    folder = root / FOLDER
    lines = []
    for label, wnid in enumerate(CLASSES):
        for index in range(4):
            grey = (wnid, index) == ("n01", 0)
            shape = (side, side) if grey else (side, side, 3)
            path = folder / "train" / wnid / "images" / f"{wnid}_{index}.JPEG"
            save(path, random_pixels(*shape, seed=10 * label + index))
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t9\t9\n")
    for index in range(6):
        save(folder / f"val/images/val_{index}.JPEG", random_pixels(side, side, 3, seed=100 + index))
        lines.append(f"val_{index}.JPEG\t{CLASSES[index % 3]}\t0\t32\t44\t62\n")
    save(folder / "test/images/test_0.JPEG", random_pixels(side, side, 3))
    (folder / "val/val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("\n".join(CLASSES) + "\n")
    (folder / "words.txt").write_text("n01\tgoldfish\n")
    return folder


def load(root: Path, **config: Any) -> Dataset:
    return datasets.load("tinyimagenet", DataConfig(**config), root)


def checksum(root: Path, **config: Any) -> str:
    return datasets.checksum("tinyimagenet", DataConfig(**config), root)


def zipped(root: Path, patch: pytest.MonkeyPatch) -> bytes:
    """Turn the tree into an archive and make its sum the expected one; return the archive's bytes."""
    path = root / f"{FOLDER}.zip"
    shutil.make_archive(str(path.with_suffix("")), "zip", root, FOLDER)
    shutil.rmtree(root / FOLDER)
    content = path.read_bytes()
    patch.setattr(tinyimagenet, "MD5", md5(content).hexdigest())
    return content


def leftovers(root: Path) -> set[str]:
    """The names in a folder beside what belongs there."""
    return {path.name for path in root.iterdir()} - {FOLDER, f"{FOLDER}.zip", ".cache", ".tinyimagenet.lock"}


@pytest.fixture(autouse=True)
def address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads go to a port of this machine where nobody listens."""
    monkeypatch.setattr(tinyimagenet, "ADDRESS", f"http://127.0.0.1:9/{FOLDER}.zip")


class TestLayout:
    def test_official_layout(self, tmp_path: Path) -> None:
        folder = write(tmp_path)
        loaded = load(tmp_path)
        assert loaded.classes == CLASSES
        assert loaded.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert loaded.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
        assert loaded.train.shape == (3, 16, 16)
        for images, name, index in [
            (loaded.train, "train/n03/images/n03_1.JPEG", 1),
            (loaded.train, "train/n02/images/n02_3.JPEG", 11),
            (loaded.test, "val/images/val_4.JPEG", 4),
        ]:
            assert np.array_equal(images.images[index].transpose(1, 2, 0), np.asarray(Image.open(folder / name)))

    def test_grey_image_is_coloured(self, tmp_path: Path) -> None:
        folder = write(tmp_path)
        grey = np.asarray(Image.open(folder / "train/n01/images/n01_0.JPEG"))
        assert grey.ndim == 2
        assert np.array_equal(load(tmp_path).train.images[4], np.stack([grey] * 3))

    def test_normalisation_is_that_of_the_released_code(self, tmp_path: Path) -> None:
        write(tmp_path)
        loaded = load(tmp_path)
        assert (loaded.mean, loaded.std) == ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262))

    def test_official_archive(self) -> None:
        assert tinyimagenet.MD5 == "90528d7ca1a48142e341f4ef8d21d0de"

    def test_subset(self, tmp_path: Path) -> None:
        write(tmp_path)
        loaded = load(tmp_path, train_per_class=2, test_per_class=1)
        assert loaded.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert loaded.test.labels.tolist() == [0, 1, 2] or sorted(loaded.test.labels) == [0, 1, 2]

    def test_holdout_does_not_read_the_validation_images(self, tmp_path: Path) -> None:
        folder = write(tmp_path)
        before = checksum(tmp_path, holdout=0.25)
        shutil.rmtree(folder / "val")
        loaded = load(tmp_path, holdout=0.25)
        assert (len(loaded.train), loaded.test.labels.tolist()) == (9, [0, 1, 2])
        assert checksum(tmp_path, holdout=0.25) == before

    def test_resized(self, tmp_path: Path) -> None:
        write(tmp_path)
        assert load(tmp_path, image_size=8).train.shape == (3, 8, 8)

    def test_images_are_decoded_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path)
        first = load(tmp_path)

        def refuse(path: Path, form: decoding.Form) -> None:
            raise AssertionError(f"{path} was decoded")

        monkeypatch.setattr(decoding, "_decode", refuse)
        second = load(tmp_path)
        assert isinstance(second.train.pixels, np.memmap)
        assert np.array_equal(first.train.images, second.train.images)

    def test_checksum_tells_images_and_labels(self, tmp_path: Path) -> None:
        folder = write(tmp_path)
        found = {checksum(tmp_path)}
        save(folder / "val/images/val_0.JPEG", random_pixels(16, 16, 3, seed=999))
        found.add(checksum(tmp_path))
        annotations = folder / "val/val_annotations.txt"
        annotations.write_text(annotations.read_text().replace("val_0.JPEG\tn03", "val_0.JPEG\tn01"))
        found.add(checksum(tmp_path))
        (folder / "wnids.txt").write_text("n01\nn02\nn03\n")
        found.add(checksum(tmp_path))
        assert len(found) == 4

    def test_recipe(self, tmp_path: Path) -> None:
        runs = plan(Request([{"methods": "dkel", "dataset": "tinyimagenet"}], data_root=tmp_path))
        assert [run.seed for run in runs] == [0, 1, 2]
        train = runs[0].train
        assert (runs[0].backbone, train.epochs, train.batch_size, train.weight_decay) == (
            "resnet18_tiny",
            100,
            128,
            5e-4,
        )
        assert [train.lr_at(epoch) for epoch in (0, 29, 30, 59, 60, 99)] == pytest.approx(
            [0.1] * 2 + [0.01] * 2 + [1e-3] * 2
        )
        assert (runs[0].data.pad, runs[0].data.flip) == (4, True)


def edit(name: str, old: str, new: str) -> Callable[[Path], object]:
    def edited(folder: Path) -> None:
        path = folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return edited


ANNOTATIONS = "val/val_annotations.txt"
FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("no wnids", lambda f: (f / "wnids.txt").unlink(), r"cannot read .*wnids\.txt: No such file"),
    ("binary wnids", lambda f: (f / "wnids.txt").write_bytes(b"\xff\xfe\x00"), r"wnids\.txt is no text file"),
    ("empty wnids", lambda f: (f / "wnids.txt").write_text("\n"), r"wnids\.txt must hold one class name a line"),
    ("class twice", edit("wnids.txt", "n01", "n02"), r"wnids\.txt must hold .*3 lines, 2 of them different"),
    ("class outside", edit("wnids.txt", "n01", "../n01"), r"wnids\.txt must hold .*'\.\./n01'"),
    ("class too many", edit("wnids.txt", "n01", "n01\nn09"), r"name different classes: n09"),
    ("class too few", edit("wnids.txt", "n01\n", ""), r"name different classes: n01"),
    ("no train", lambda f: shutil.rmtree(f / "train"), r"has no folder 'train'"),
    ("no images", lambda f: shutil.rmtree(f / "train/n01/images"), r"cannot read .*train/n01/images: No such file"),
    ("empty class", lambda f: [p.unlink() for p in (f / "train/n01/images").iterdir()], r"n01/images holds no image"),
    ("text", lambda f: (f / "train/n02/images/a.txt").write_text("x"), r"n02/images/a\.txt is not a readable image"),
    ("size", lambda f: save(f / "train/n02/images/n02_3.JPEG", random_pixels(9, 9)), r"n02_3\.JPEG is 9x9, "),
    ("no annotations", lambda f: (f / ANNOTATIONS).unlink(), r"cannot read .*val_annotations\.txt: No such file"),
    ("unknown class", edit(ANNOTATIONS, "val_1.JPEG\tn01", "val_1.JPEG\tn07"), r"line 2: class 'n07' is not in wnids"),
    (
        "no class",
        edit(ANNOTATIONS, "val_5.JPEG\tn02\t0\t32\t44\t62", "val_5.JPEG"),
        r"line 6: class '' is not in wnids",
    ),
    ("image twice", edit(ANNOTATIONS, "val_4.JPEG", "val_3.JPEG"), r"line 5: val_3\.JPEG has a line already"),
    ("image gone", lambda f: (f / "val/images/val_2.JPEG").unlink(), r"val/images/val_2\.JPEG is not there"),
    (
        "cut short",
        edit(ANNOTATIONS, "val_5.JPEG\tn02\t0\t32\t44\t62\n", ""),
        r"val_5\.JPEG has no line in .*annotations",
    ),
    ("outside", edit(ANNOTATIONS, "val_5.JPEG", "../../test/images/test_0.JPEG"), r"test_0\.JPEG is not there"),
    ("class unscored", edit(ANNOTATIONS, "\tn02\t", "\tn01\t"), r"val_annotations\.txt: class n02 has no image"),
    ("val size", lambda f: [save(p, random_pixels(9, 9, 3)) for p in (f / "val/images").iterdir()], r"different sizes"),
]


class TestFaults:
    @pytest.mark.parametrize(("damage", "message"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
    def test_fault_is_named_on_one_line(self, tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
        damage(write(tmp_path))
        with pytest.raises(InputError, match=message) as raised:
            load(tmp_path)
        assert "\n" not in str(raised.value)


class TestArchive:
    def test_archive_in_the_data_folder_is_unpacked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path)
        before = load(tmp_path)
        images, labels = np.array(before.train.images), before.train.labels
        zipped(tmp_path, monkeypatch)
        after = load(tmp_path)
        assert np.array_equal(after.train.images, images)
        assert np.array_equal(after.train.labels, labels)
        assert leftovers(tmp_path) == set()

    def test_identity_is_the_archive_before_and_after(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path)
        zipped(tmp_path, monkeypatch)
        configs: list[dict[str, Any]] = [{}, {"holdout": 0.25}, {"train_per_class": 1}]
        for _ in range(2):
            assert [checksum(tmp_path, **config) for config in configs] == [tinyimagenet.MD5] * 3
            load(tmp_path)
        save(tmp_path / FOLDER / "val/images/val_0.JPEG", random_pixels(16, 16, 3, seed=999))
        assert checksum(tmp_path) != tinyimagenet.MD5
        assert checksum(tmp_path, holdout=0.25) == tinyimagenet.MD5
        (tmp_path / FOLDER / ".official.json").write_text("[]")
        assert checksum(tmp_path, holdout=0.25) != tinyimagenet.MD5

    def test_archive_with_another_sum_is_refused_unopened(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path)
        content = bytearray(zipped(tmp_path, monkeypatch))
        content[100] ^= 1
        (tmp_path / f"{FOLDER}.zip").write_bytes(content)

        def refuse(*arguments: object) -> None:
            raise AssertionError("the archive was opened")

        monkeypatch.setattr(zipfile, "ZipFile", refuse)
        with pytest.raises(InputError, match=rf"{FOLDER}\.zip has the MD5 \w+, not {tinyimagenet.MD5}"):
            load(tmp_path)
        assert not (tmp_path / FOLDER).exists()
        assert leftovers(tmp_path) == set()

    @pytest.mark.parametrize(
        "name", ["../evil", f"{FOLDER}/../../evil", "/evil", "C:/evil", f"{FOLDER}\\..\\..\\evil", "evil\0.txt"]
    )
    def test_member_that_would_lie_elsewhere_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        self.refused(tmp_path, monkeypatch, zipfile.ZipInfo("x"), name)

    @pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
    def test_member_that_is_no_plain_file_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int
    ) -> None:
        member = zipfile.ZipInfo("x")
        member.external_attr = (kind | 0o777) << 16
        self.refused(tmp_path, monkeypatch, member, f"{FOLDER}/train/link")

    def refused(self, tmp_path: Path, patch: pytest.MonkeyPatch, member: zipfile.ZipInfo, name: str) -> None:
        root = tmp_path / "data"
        write(root)
        zipped(root, patch)
        path = root / f"{FOLDER}.zip"
        member.filename = member.orig_filename = name
        with zipfile.ZipFile(path, "a") as opened:
            opened.writestr(member, "/etc/passwd")
        patch.setattr(tinyimagenet, "MD5", md5(path.read_bytes()).hexdigest())
        with pytest.raises(InputError, match="refused to unpack"):
            load(root)
        assert not (root / FOLDER).exists()
        assert leftovers(root) == set()
        assert [path.name for path in tmp_path.iterdir()] == ["data"]

    @pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + b"\0" * 18])
    def test_what_is_no_archive_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
    ) -> None:
        (tmp_path / f"{FOLDER}.zip").write_bytes(content)
        monkeypatch.setattr(tinyimagenet, "MD5", md5(content).hexdigest())
        with pytest.raises(InputError, match=r"is no sound zip archive|holds no folder"):
            load(tmp_path)

    def test_two_at_once_unpack_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path)
        zipped(tmp_path, monkeypatch)
        original, calls = archive.verify, []

        def counting(path: Path, md5: str, what: str = "") -> None:
            calls.append(path)
            original(path, md5, what)

        monkeypatch.setattr(archive, "verify", counting)
        with ThreadPoolExecutor(3) as pool:
            loaded = [future.result() for future in [pool.submit(load, tmp_path) for _ in range(3)]]
        assert len(calls) == 1
        assert all(np.array_equal(loaded[0].train.images, other.train.images) for other in loaded)

    def test_leftovers_of_a_killed_process_are_removed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path)
        zipped(tmp_path, monkeypatch)
        save(tmp_path / f".{FOLDER}.zip.unfinished" / FOLDER / "train/n01/images/half.JPEG", random_pixels(9, 9))
        load(tmp_path)
        assert leftovers(tmp_path) == set()

    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path)
        zipped(tmp_path, monkeypatch)

        def full(self: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(zipfile.ZipFile, "extract", full)
        with pytest.raises(InputError, match="No space left on device"):
            load(tmp_path)
        assert leftovers(tmp_path) == set()
        assert not (tmp_path / FOLDER).exists()


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
        monkeypatch.setattr(tinyimagenet, "ADDRESS", f"http://127.0.0.1:{server.server_port}/{FOLDER}.zip")
        yield site
        server.shutdown()
        server.server_close()
        thread.join()

    def test_archive_is_fetched_verified_and_unpacked(
        self, tmp_path: Path, served: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(served)
        content = zipped(served, monkeypatch)
        root = tmp_path / "new" / "data"
        assert checksum(root) == tinyimagenet.MD5
        assert not root.exists()
        assert len(load(root).train) == 12
        assert (root / f"{FOLDER}.zip").read_bytes() == content
        assert leftovers(root) == set()
        (served / f"{FOLDER}.zip").unlink()
        assert len(load(root).train) == 12

    def test_something_else_is_refused(self, tmp_path: Path, served: Path) -> None:
        (served / f"{FOLDER}.zip").write_bytes(b"<html>log in first</html>")
        with pytest.raises(InputError, match=r"^what http://127\S+ sent has the MD5 \w+, not 90528d7ca1a4"):
            load(tmp_path / "data")
        assert {path.name for path in (tmp_path / "data").iterdir()} == {".tinyimagenet.lock"}

    def test_nothing_there(self, tmp_path: Path, served: Path) -> None:
        with pytest.raises(InputError, match=r"cannot be fetched .*\(HTTP Error 404: .*File not found.*\): put"):
            load(tmp_path / "data")

    def test_without_network_it_is_said_what_to_put_where(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as raised:
            load(tmp_path)
        message = str(raised.value)
        assert f"put {FOLDER}.zip (MD5 {tinyimagenet.MD5}) or its folder {FOLDER} into {tmp_path}" in message
        assert "Connection refused" in message
        assert "\n" not in message

    def test_server_that_talks_nonsense(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from http.client import BadStatusLine

        def nonsense(*arguments: object, **options: object) -> io.BytesIO:
            raise BadStatusLine("220 smtp")

        monkeypatch.setattr("urllib.request.urlopen", nonsense)
        with pytest.raises(InputError, match="the server broke off: BadStatusLine"):
            load(tmp_path)

    def test_plan_needs_no_network(self, tmp_path: Path) -> None:
        [run] = plan(Request([{"methods": "dkel", "dataset": "tinyimagenet", "seeds": 1}], data_root=tmp_path))
        assert run.dataset_checksum == "90528d7ca1a48142e341f4ef8d21d0de"
        assert [*tmp_path.iterdir()] == []
