"""Which GPU a run gets: tried with GPUs that Ray is told of and that this machine does not have."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark import datasets, running
from benchmark.console import new_console
from benchmark.scheduling import Cluster, Job, run_under_ray
from benchmark.scheduling.cluster import VISIBLE, _visible
from benchmark.scheduling.progress import Display
from benchmark.store import Status, Store
from benchmark.training import is_out_of_memory
from methods.errors import InputError

PLUGIN = '''
import os
import time
from pathlib import Path

from methods.independent import Independent


class Seeing(Independent):
    """Records the GPU that its process sees, once as many processes as there are runs have got one."""

    name = "seeing"

    def scores(self):
        gpu, place = os.environ.get("CUDA_VISIBLE_DEVICES"), Path({place!r})
        if gpu:
            (place / str(os.getpid())).touch()
            until = time.monotonic() + 60
            while len(os.listdir(place)) < {runs} and time.monotonic() < until:
                time.sleep(0.05)
        return {{"gpu": float(gpu or -1)}}
'''


def planned(**layer: Any) -> running.Command:
    return running.prepare([{"methods": "dml", "dataset": "digits", "seeds": 1, **layer}])


class TestForms:
    @pytest.mark.parametrize(
        ("device", "own", "gpus", "worker"),
        [
            *((device, device, (), device) for device in ("auto", "cpu", "cuda")),
            ("cuda:1", "cuda:1", (1,), "cuda"),
            ("cuda:2,0", "cuda:2", (2, 0), "cuda"),
            ("cuda:1,1", "cuda:1", (1,), "cuda"),
        ],
    )
    def test_a_worker_is_told_of_the_gpu_that_it_was_given(
        self, device: str, own: str, gpus: tuple[int, ...], worker: str
    ) -> None:
        command = planned(device=device)
        assert (command.device, command.cluster.gpus, command.worker_device) == (own, gpus, worker)
        # in this process a number stays
        assert len(gpus) > 1 or planned(device=device, engine="serial").worker_device == own

    @pytest.mark.parametrize("device", ["cuda:", "cuda:x", "cuda:0,", "cuda:0;1", "gpu", "cuda:1234"])
    def test_other_words_are_refused(self, device: str) -> None:
        with pytest.raises(InputError, match="cuda:N"):
            planned(device=device)

    def test_several_need_ray_and_this_machine(self) -> None:
        with pytest.raises(InputError, match="engine ray"):
            planned(device="cuda:0,1", engine="serial")
        with pytest.raises(InputError, match="--address"):
            planned(device="cuda:0", address="10.0.0.1:6379")

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has GPUs")
    def test_a_gpu_that_is_not_there_is_said(self, tmp_path: Path) -> None:
        command = planned(device="cuda:1", results=str(tmp_path))
        with pytest.raises(InputError, match="cuda:1"):
            running.train_missing(command, new_console(quiet=True))

    @pytest.mark.parametrize(
        ("before", "gpus", "expected"),
        [
            *((None, (1,), "1"), (None, (0, 2), "0,2"), ("4,5,7", (2, 0), "7,4")),
            *(("GPU-a,GPU-b", (1,), "GPU-b"), ("3", (), "3")),
        ],
    )
    def test_numbers_are_those_that_this_process_sees(
        self, before: str | None, gpus: tuple[int, ...], expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv(VISIBLE, raising=False)
        if before is not None:
            monkeypatch.setenv(VISIBLE, before)
        with _visible(gpus):
            assert os.environ.get(VISIBLE) == expected
        assert os.environ.get(VISIBLE) == before


@pytest.mark.thorough
class TestPlacement:
    """Ray with four GPUs, the processor doing the work."""

    @pytest.mark.parametrize(("runs", "share", "gpus"), [(2, 2, 2), (4, 2, 4), (8, 2, 4)])
    def test_runs_are_spread_before_a_gpu_is_shared(
        self, runs: int, share: int, gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import ray

        plugin, place = tmp_path / "seeing.py", tmp_path / "processes"
        place.mkdir()
        # a run that ended before another had begun would leave it its GPU
        plugin.write_text(PLUGIN.format(place=str(place), runs=runs), encoding="utf-8")
        layer = {
            "methods": "seeing", "dataset": "digits", "backbone": "resnet8", "seeds": runs, "results": str(tmp_path),
            "epochs": 2, "data": {"train_per_class": 5},
        }  # fmt: skip
        command = running.prepare([layer], (str(plugin),))
        sets = {"digits": datasets.load("digits", command.runs[0].data, tmp_path)}
        begin = ray.init
        monkeypatch.setattr(ray, "init", lambda **given: begin(**{**given, "num_gpus": 4, "num_cpus": 8}))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        # the worker's device stays the processor: there is no GPU behind the number that it is given
        job = Job(tmp_path, "auto", plugins=(str(plugin),))
        with Display(runs, new_console(quiet=True)) as shown:
            results = run_under_ray(command.runs, job, sets, shown, Cluster(trials_per_gpu=share))
        assert {result.status for result in results} == {Status.FINISHED}
        store = Store(tmp_path)
        seen = Counter(store.metrics(run)[-1]["method/gpu"] for run in command.runs)
        assert -1.0 not in seen
        assert len(seen) == gpus
        assert max(seen.values()) == runs // gpus


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ..."), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("CUDA error: out of memory"), False),
    ],
)
def test_memory_that_runs_out_outside_torch_s_allocator_is_told_apart(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) == is_memory
