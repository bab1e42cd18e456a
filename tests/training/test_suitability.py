"""Settings that a device has not are refused before anything begins."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark import running
from benchmark.configuration import RunConfig
from benchmark.speed.measure import random_runs
from benchmark.training import check_settings
from methods.errors import InputError
from tests.command_line import Bench

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def run(**train: Any) -> RunConfig:
    (made,) = random_runs("independent", "resnet8", {"epochs": 1, **train}, {})
    return made


@pytest.mark.parametrize(
    ("train", "facts"),
    [({"graph": True}, ("train.graph", "CUDA", "cpu")), ({"precision": "tf32"}, ("tf32", "CUDA", "fp32, bf16"))],
)
def test_what_a_cpu_has_not_is_refused(train: dict[str, Any], facts: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as refused:
        check_settings([run(), run(**train)], CPU)
    assert all(fact in str(refused.value) for fact in facts)
    # a device by its name: nothing is asked of CUDA
    check_settings([run(**train)], CUDA)
    check_settings([run(precision="bf16")], CPU)


def test_a_refused_setting_leaves_nothing_behind(tmp_path: Path, bench: Bench) -> None:
    words = "--methods independent --dataset digits --seeds 1 --engine serial --device cpu --set train.graph=true"
    bench("run", *words.split()).assert_refused("train.graph")
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_elsewhere_has_devices_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = {"methods": ["independent"], "dataset": "digits", "seeds": 1, "results": str(tmp_path)}
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert running.prepare([layer]).trains_here
    assert not running.prepare([{**layer, "address": "10.0.0.1:6379"}]).trains_here
    assert running.prepare([{**layer, "address": "10.0.0.1:6379", "engine": "serial"}]).trains_here
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    # only what the command says counts
    assert running.prepare([layer]).trains_here
