"""Images that stay in their file: subsets, other processes, batches on a device; and work in threads."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import datasets
from benchmark.configuration.planning import Request, plan
from benchmark.datasets import placement
from benchmark.datasets.decoding import AHEAD, in_threads
from benchmark.training.trainer import Trainer
from methods.errors import InputError
from tests.images import Place, same, tree


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
        # a device without memory of its own replaces a GPU
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
        layer = {"methods": "dml", "dataset": name, "backbone": "resnet8", "seeds": 1}
        layer |= {"train": {"epochs": 2, "batch_size": 5}, "data": {"holdout": 0.25}}
        [config] = plan(Request([layer], data_root=place.root), datasets)
        mapped = datasets.load(name, config.data, place.root)
        rows = []
        for dataset in (mapped, mapped.without_files()):
            trainer = Trainer(config, dataset, torch.device("cpu"))
            rows.append([{**trainer.epoch(), "seconds": 0.0} for _ in range(2)])
        assert mapped.train.rows is not None
        assert rows[0] == rows[1]


class TestInThreads:
    def test_results_come_in_order(self) -> None:
        items = range(10 * AHEAD + 3)
        assert list(in_threads(str, items, "")) == list(map(str, items))

    def test_no_more_is_worked_on_than_is_taken(self) -> None:
        begun: list[int] = []
        results = in_threads(begun.append, range(1000 * AHEAD), "")
        next(results)
        del results
        assert len(begun) <= 32 * AHEAD

    def test_first_error_ends_it(self) -> None:
        def fail(item: object) -> None:
            raise InputError("broken")

        with pytest.raises(InputError, match="broken"):
            list(in_threads(fail, range(100 * AHEAD), ""))

    def test_a_terminal_shows_a_bar(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.setattr("sys.stderr", screen := Terminal())
        list(in_threads(str, range(10 * AHEAD), "decoding images"))
        assert "decoding images" in screen.getvalue()
