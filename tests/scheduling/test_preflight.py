"""What is made sure of before anything trains, on a cluster of three local nodes: none of them has CUDA."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark import running
from benchmark.errors import MachineError
from benchmark.scheduling import Job, preflight
from benchmark.scheduling.cluster import Cluster, cause_of, ray_cluster, set_environment
from benchmark.scheduling.preflight import Node, places, share_of_a_gpu
from benchmark.store import Status
from methods.errors import InputError


@pytest.mark.parametrize(
    ("runs", "gpus", "at_most", "share"),
    [
        *((3, 0, 2, 0.0), (2, 4, 2, 1.0), (4, 4, 2, 1.0)),
        *((5, 4, 2, 0.5), (9, 4, 2, 0.5), (9, 4, 3, 1 / 3), (100, 1, 4, 0.25)),
    ],
)
def test_a_gpu_is_shared_where_there_are_more_runs_than_gpus(runs: int, gpus: int, at_most: int, share: float) -> None:
    assert share_of_a_gpu(runs, gpus, at_most) == pytest.approx(share)


@pytest.mark.parametrize(
    ("nodes", "threads", "gpus", "expected"),
    [
        ([(16, 8)], 1, 1.0, (8, "GPUs")),
        ([(16, 8)], 4, 1.0, (4, "CPUs")),
        ([(16, 8)], 1, 1 / 3, (16, "CPUs")),
        ([(64, 8)], 1, 1 / 3, (24, "GPUs")),
        ([(16, 0), (4, 4)], 1, 1.0, (4, "GPUs")),
        ([(3, 0), (3, 0)], 2, 0.0, (2, "CPUs")),
    ],
)
def test_cpus_and_gpus_of_a_run_are_on_one_node(
    nodes: list[tuple[int, int]], threads: int, gpus: float, expected: tuple[int, str]
) -> None:
    assert places([Node(str(index), "", *node) for index, node in enumerate(nodes)], threads, gpus) == expected


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        *(({"code": "0"}, "code"), ({"torch": "1.0"}, "torch 1.0"), ({"python": "3.0"}, "python 3.0")),
        ({"/a/plugin.py": "No such file or directory"}, "/a/plugin.py"),
        ({"cuda": "missing"}, "CUDA"),
        ({"folder": "does not see the results folder"}, "--results"),
    ],
)
def test_a_node_that_differs_is_not_fit(changed: dict[str, str], named: str, tmp_path: Path) -> None:
    own = {**preflight.describe((), False), "/a/plugin.py": "1", "cuda": "there"}
    assert preflight._fault({**own, "folder": ""}, own, tmp_path / "probe") == ""
    assert named in preflight._fault({**own, "folder": "", **changed}, own, tmp_path / "probe")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ray::Trial.step()\nModuleNotFoundError: No module named 'x'", "No module named 'x'"),
        ("The actor died because of an error raised in its creation task, ray::Trial\nValueError: y", "ValueError: y"),
        ("The actor died unexpectedly before finishing this task.\n\tclass_name: Trial ray::", "killed"),
        ("", "killed"),
    ],
)
def test_the_cause_of_an_end_is_named(text: str, named: str) -> None:
    assert named in cause_of(text)


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[str, Any]]:
    """The address of a head with one CPU, a node with a CPU and a pretended GPU, and one with three CPUs; the last."""
    set_environment(Cluster("somewhere"))
    from ray.cluster_utils import Cluster as LocalCluster

    cluster = LocalCluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0})
    cluster.add_node(num_cpus=1, num_gpus=1)
    third = cluster.add_node(num_cpus=3, num_gpus=0)
    cluster.wait_for_nodes()
    yield cluster.address, third
    cluster.shutdown()


def job(results: Path, **changes: Any) -> Job:
    layer = {"methods": "dml", "dataset": "digits", "seeds": 1, "results": str(results)}
    command = running.prepare([layer])
    command.store.runs.mkdir(parents=True)
    return replace(running.job(command), **changes)


def prepared(template: Job, address: str, count: int, threads: int) -> tuple[preflight.Placement, list[str]]:
    said: list[str] = []
    return preflight.prepare(template, Cluster(address), count, threads, said.append), said


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_on_three_nodes(nodes: tuple[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one test, for each connection takes seconds."""
    address, _ = nodes
    on_cpus = job(tmp_path / "a", device="cpu")
    with ray_cluster(Cluster(address)):
        found, said = prepared(on_cpus, address, 10, 1)
        assert (found.places, found.gpus) == (5, 0.0)
        (line,) = said
        assert "5 at a time" in line
        assert "CPUs" in line
        assert prepared(on_cpus, address, 1, 3)[0].places == 1
        with pytest.raises(InputError, match=r"is 4, but .* 3 CPUs"):
            prepared(on_cpus, address, 1, 4)
        # the only GPU is on a node with one CPU
        with pytest.raises(InputError, match=r"is 2, but .* GPU .* 1 CPUs"):
            prepared(job(tmp_path / "b", device="cuda"), address, 1, 2)
        for device in ("auto", "cuda"):
            with pytest.raises(MachineError, match="CUDA"):
                prepared(job(tmp_path / device, device=device), address, 1, 1)
        assert not list(tmp_path.rglob(".probe*"))


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_a_node_that_does_not_answer_is_left_out(
    nodes: tuple[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "ANSWER_S", 30.0)
    address, third = nodes
    raylet = third.all_processes["raylet"][0].process
    layer = {
        "methods": "dml", "dataset": "digits", "seeds": 4, "epochs": 1, "data": {"train_per_class": 5},
        "results": str(tmp_path), "device": "cpu", "address": address,
    }  # fmt: skip
    os.kill(raylet.pid, signal.SIGSTOP)
    try:
        command = running.prepare([layer])
        written = tmp_path / "log"
        with written.open("w") as stream:
            assert running.carry_out(command, Console(file=stream, width=400))
    finally:
        os.kill(raylet.pid, signal.SIGCONT)
    lines = written.read_text().splitlines()
    assert len([line for line in lines if "does not answer" in line]) == 1
    assert any("2 at a time" in line for line in lines)
    results = [command.store.result(run) for run in command.runs]
    assert all(result and result.status is Status.FINISHED for result in results)
