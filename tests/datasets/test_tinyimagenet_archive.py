"""TinyImageNet's archive: fetched, verified, unpacked within its folder, or refused."""

import errno
import io
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import md5
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import datasets
from benchmark.configuration.planning import Request, plan
from benchmark.configuration.run_config import DataConfig
from benchmark.datasets import tinyimagenet
from benchmark.datasets.images import Dataset
from methods.errors import InputError
from tests.images import TINY, random_pixels, save, tiny_tree


def load(root: Path, **config: Any) -> Dataset:
    return datasets.load("tinyimagenet", DataConfig(**config), root)


def checksum(root: Path, **config: Any) -> str:
    return datasets.checksum("tinyimagenet", DataConfig(**config), root)


def zipped(root: Path, patch: pytest.MonkeyPatch) -> bytes:
    """Turn the tree into an archive and make its sum the expected one; return the archive's bytes."""
    path = root / f"{TINY}.zip"
    shutil.make_archive(str(path.with_suffix("")), "zip", root, TINY)
    shutil.rmtree(root / TINY)
    content = path.read_bytes()
    patch.setattr(tinyimagenet, "MD5", md5(content).hexdigest())
    return content


def leftovers(root: Path) -> set[str]:
    """The names in a folder beside what belongs there."""
    return {path.name for path in root.iterdir()} - {TINY, f"{TINY}.zip", ".cache", ".tinyimagenet.lock"}


@pytest.fixture(autouse=True)
def address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads go to a port of this machine where nobody listens."""
    monkeypatch.setattr(tinyimagenet, "ADDRESS", f"http://127.0.0.1:9/{TINY}.zip")


class TestArchive:
    def test_archive_in_the_data_folder_is_unpacked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tiny_tree(tmp_path)
        before = load(tmp_path)
        images, labels = np.array(before.train.images), before.train.labels
        zipped(tmp_path, monkeypatch)
        after = load(tmp_path)
        assert np.array_equal(after.train.images, images)
        assert np.array_equal(after.train.labels, labels)
        assert leftovers(tmp_path) == set()

    def test_identity_is_the_content_of_the_archive(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tiny_tree(tmp_path)
        configs: list[dict[str, Any]] = [{}, {"holdout": 0.25}, {"train_per_class": 1}]
        unpacked = [checksum(tmp_path, **config) for config in configs]
        zipped(tmp_path, monkeypatch)
        assert {checksum(tmp_path, **config) for config in configs} == {tinyimagenet.MD5}
        load(tmp_path)
        assert [checksum(tmp_path, **config) for config in configs] == unpacked
        save(tmp_path / TINY / "val/images/val_0.JPEG", random_pixels(16, 16, 3, seed=999))
        assert checksum(tmp_path) != unpacked[0]
        assert checksum(tmp_path, holdout=0.25) == unpacked[1]

    def test_archive_with_another_sum_is_refused_unopened(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tiny_tree(tmp_path)
        content = bytearray(zipped(tmp_path, monkeypatch))
        content[100] ^= 1
        (tmp_path / f"{TINY}.zip").write_bytes(content)

        def refuse(*arguments: object) -> None:
            raise AssertionError("the archive was opened")

        monkeypatch.setattr(shutil, "unpack_archive", refuse)
        with pytest.raises(InputError, match=rf"{TINY}\.zip has the MD5 \w+, not {tinyimagenet.MD5}"):
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
        monkeypatch.setattr(tinyimagenet, "MD5", md5(path.read_bytes()).hexdigest())
        assert len(load(root).train) == 12
        assert leftovers(root) == set()
        assert [path.name for path in tmp_path.iterdir()] == ["data"]

    def test_two_at_once_unpack_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tiny_tree(tmp_path)
        zipped(tmp_path, monkeypatch)
        original, calls = shutil.unpack_archive, []

        def counting(path: Path, folder: Path) -> None:
            calls.append(path)
            original(path, folder)

        monkeypatch.setattr(shutil, "unpack_archive", counting)
        with ThreadPoolExecutor(3) as pool:
            loaded = [future.result() for future in [pool.submit(load, tmp_path) for _ in range(3)]]
        assert len(calls) == 1
        assert all(np.array_equal(loaded[0].train.images, other.train.images) for other in loaded)

    def test_leftovers_of_a_killed_process_are_removed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tiny_tree(tmp_path)
        zipped(tmp_path, monkeypatch)
        save(tmp_path / f".{TINY}.zip.unfinished" / TINY / "train/n01/images/half.JPEG", random_pixels(9, 9))
        load(tmp_path)
        assert leftovers(tmp_path) == set()

    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tiny_tree(tmp_path)
        zipped(tmp_path, monkeypatch)

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
        monkeypatch.setattr(tinyimagenet, "ADDRESS", f"http://127.0.0.1:{server.server_port}/{TINY}.zip")
        yield site
        server.shutdown()
        server.server_close()
        thread.join()

    def test_archive_is_fetched_verified_and_unpacked(
        self, tmp_path: Path, served: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tiny_tree(served)
        content = zipped(served, monkeypatch)
        root = tmp_path / "new" / "data"
        assert checksum(root) == tinyimagenet.MD5
        assert not root.exists()
        assert len(load(root).train) == 12
        assert (root / f"{TINY}.zip").read_bytes() == content
        assert leftovers(root) == set()
        (served / f"{TINY}.zip").unlink()
        assert len(load(root).train) == 12

    def test_something_else_is_refused(self, tmp_path: Path, served: Path) -> None:
        (served / f"{TINY}.zip").write_bytes(b"<html>log in first</html>")
        with pytest.raises(InputError, match=r"^what http://127\S+ sent has the MD5 \w+, not 90528d7ca1a4"):
            load(tmp_path / "data")
        assert {path.name for path in (tmp_path / "data").iterdir()} == {".tinyimagenet.lock"}

    def test_nothing_there(self, tmp_path: Path, served: Path) -> None:
        with pytest.raises(InputError, match=r"\(File not found\): put"):
            load(tmp_path / "data")

    def test_without_network_it_is_said_what_to_put_where(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as raised:
            load(tmp_path)
        message = str(raised.value)
        assert f"put {TINY}.zip (MD5 {tinyimagenet.MD5}) or its folder {TINY} into {tmp_path}" in message
        assert "Connection refused" in message
        assert "\n" not in message

    def test_server_that_talks_nonsense(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from http.client import BadStatusLine

        def nonsense(*arguments: object, **options: object) -> io.BytesIO:
            raise BadStatusLine("220 smtp")

        monkeypatch.setattr("torch.hub.urlopen", nonsense)
        with pytest.raises(InputError, match="220 smtp"):
            load(tmp_path)

    def test_plan_needs_no_network(self, tmp_path: Path) -> None:
        [run] = plan(
            Request([{"methods": "dkel", "dataset": "tinyimagenet", "seeds": 1}], data_root=tmp_path), datasets
        )
        assert run.dataset_checksum == "90528d7ca1a48142e341f4ef8d21d0de"
        assert [*tmp_path.iterdir()] == []
