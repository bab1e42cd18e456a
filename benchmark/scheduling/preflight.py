"""What is made sure of before anything trains: which nodes are fit, what a run takes, how many fit in parallel."""

import math
import os
import socket
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from benchmark.errors import MachineError
from benchmark.scheduling.cluster import VISIBLE, Cluster, cause_of
from benchmark.scheduling.jobs import Job
from benchmark.store import Store, atomic, environment
from methods.errors import InputError

PATIENCE_S = 5.0  # for a network's file system to show a new file to another machine
ANSWER_S = 120.0  # for a node to start a process and answer

ALIKE = ("python", "torch")
"""Versions that decide numbers, and that all nodes have to share; what this project's are follows from its code."""


class Node(NamedTuple):
    """A machine of the cluster; its name is its host and address."""

    id: str
    name: str
    cpus: float
    gpus: float


class Placement(NamedTuple):
    """What a run takes."""

    gpus: float  # the share of a GPU
    places: int  # how many runs fit in parallel
    options: dict[str, Any]  # of Ray's placement groups: they keep runs from the nodes that are left out


def share_of_a_gpu(runs: int, gpus: int, at_most: int) -> float:
    """Return the share of a GPU that each run takes: ``1 / min(at_most, ceil(runs / gpus))``.

    Runs are spread first: a GPU is shared, by ``at_most`` runs, only where there are more runs than GPUs.
    """
    return 1.0 / min(at_most, math.ceil(runs / gpus)) if gpus else 0.0


def places(nodes: Sequence[Node], threads: int, gpus: float) -> tuple[int, str]:
    """Return how many runs of so many CPUs and GPUs fit in parallel, and the resource that there is too little of."""
    by_cpu = [int(node.cpus // threads) for node in nodes]
    by_gpu = [int(node.gpus / gpus + 1e-9) if gpus else by_cpu[index] for index, node in enumerate(nodes)]
    total = sum(map(min, by_cpu, by_gpu))
    return total, "GPUs" if gpus and sum(by_gpu) == total < sum(by_cpu) else "CPUs"


def prepare(job: Job, cluster: Cluster, count: int, threads: int, say: Callable[[str], None]) -> Placement:
    """Return what a run takes of the connected Ray cluster, whose nodes are fit for it.

    There are ``count`` runs, or configurations of a search, with so many ``threads`` and otherwise like the job.
    ``say`` is told which nodes are left out, and what limits the number of runs in parallel.

    Raises:
        InputError: If no node has what a run takes.
        MachineError: If a node sees another results folder, or has other code or versions, or lacks a plug-in or CUDA.
    """
    import ray

    nodes = []
    for node in (node for node in ray.nodes() if node["Alive"]):
        name, has = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})", node["Resources"]
        nodes.append(Node(node["NodeID"], name, has.get("CPU", 0.0), has.get("GPU", 0.0)))
    gpus, fit = _placed(nodes, job, cluster, count, threads)
    left_out: set[Node] = set()
    if cluster.address and (left_out := set(fit) - _answering(fit, job, gpus > 0)):
        for node in left_out:
            say(f"note: the cluster's node {node.name} does not answer: it is left out")
        if left_out == set(fit):
            raise MachineError("no node of the Ray cluster answers")
        gpus, fit = _placed([node for node in nodes if node not in left_out], job, cluster, count, threads)
    total, limit = places(fit, threads, gpus)
    if count > total:
        share = f"{gpus:.3g} of a GPU" if 0 < gpus < 1 else "1 GPU" if gpus else ""
        takes = f"{threads} CPU{'s' * (threads > 1)}{' and ' * bool(share)}{share}"
        say(f"{total} at a time, limited by {limit}: each takes {takes}")
    ids = ",".join(node.id for node in left_out)
    options = {"bundle_label_selector": [{"ray.io/node-id": f"!in({ids})"}]} if ids else {}
    return Placement(gpus, total, options)


def _placed(nodes: Sequence[Node], job: Job, cluster: Cluster, count: int, threads: int) -> tuple[float, list[Node]]:
    """Return the share of a GPU that a run takes, and the nodes that have room for one."""
    total = 0 if job.device == "cpu" else int(sum(node.gpus for node in nodes))
    if total and not cluster.address and job.device == "auto":
        import torch

        # the processor trains, and holds no GPU meanwhile
        total *= torch.cuda.is_available()
    if not total and job.device.startswith("cuda"):
        raise InputError("no node of the Ray cluster has a GPU (valid devices: auto, cpu)")
    gpus = share_of_a_gpu(count, total, cluster.trials_per_gpu)
    if fit := [node for node in nodes if node.cpus >= threads and node.gpus >= gpus]:
        return gpus, fit
    cpus = max((node.cpus for node in nodes if node.gpus >= gpus), default=0)
    where = "node with a GPU" if gpus else "machine here"
    raise InputError(f"train.threads is {threads}, but no {where} has more than {cpus:g} CPUs")


def _answering(nodes: Sequence[Node], job: Job, on_gpus: bool) -> set[Node]:
    """Let every node :func:`look` at itself, and return those that answer in time and live on.

    Raises:
        MachineError: If a node is not fit to carry out a run.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    word = uuid4().hex
    probe = Store(job.results).runs / f".probe-{word}{atomic.SUFFIX}"
    own = describe(job.plugins, on_gpus)
    probe.write_text(word, encoding="utf-8")
    # a process of its own, which is nobody's afterwards: it may have looked for other GPUs than a run is given
    remote = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(look)
    asked = {}
    for node in nodes:
        there = remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False))
        asked[there.remote(probe, word, job.plugins, on_gpus)] = node
    answering: set[Node] = set()
    faults = []
    try:
        for reference in ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)[0]:
            node = asked[reference]
            try:
                fault = _fault(ray.get(reference), own, probe)
            except ray.exceptions.RayTaskError as error:
                fault = f"cannot run this program: {cause_of(str(error))}"
            except ray.exceptions.RayError:
                continue
            answering.add(node)
            if fault:
                faults.append(f"the cluster's node {node.name} {fault}")
    finally:
        probe.unlink(missing_ok=True)
    if faults:
        raise MachineError("; ".join(faults))
    return answering


def look(probe: Path, word: str, plugins: Sequence[str], on_gpus: bool) -> dict[str, str]:
    """Return what a run would find on the machine that this runs on, and what is wrong with its results folder."""
    if not os.environ.get(VISIBLE, "set"):
        # Ray hides the GPUs from a process that asks for none
        del os.environ[VISIBLE]
    own = probe.with_name(f"{probe.name}.{socket.gethostname()}{atomic.SUFFIX}")
    end = time.monotonic() + PATIENCE_S
    while True:
        fault = ""
        try:
            # a network's file system may show a file before what it holds
            if probe.read_text(encoding="utf-8") != word:
                raise FileNotFoundError
            own.write_text(word, encoding="utf-8")
            own.unlink()
        except FileNotFoundError:
            fault = "does not see the results folder"
        except OSError as error:
            fault = f"cannot use the results folder ({error.strerror})"
        if not fault or time.monotonic() > end:
            return {**describe(plugins, on_gpus), "folder": fault}
        time.sleep(0.2)


def describe(plugins: Sequence[str], on_gpus: bool) -> dict[str, str]:
    """Return what has to be the same wherever runs are trained: versions, and hashes of the code."""
    found = {name: environment.versions()[name] for name in ALIKE} | {"code": environment.source_hash()}
    for plugin in plugins:
        try:
            found[plugin] = sha256(Path(plugin).read_bytes()).hexdigest()
        except OSError as error:
            found[plugin] = str(error.strerror)
    if on_gpus:
        import torch

        found["cuda"] = "there" if torch.cuda.is_available() else "missing"
    return found


def _fault(found: dict[str, str], own: dict[str, str], probe: Path) -> str:
    """Return why a node is not fit, for what it found; nothing if it is."""
    if found["folder"]:
        return f"{found['folder']}: --results has to name a folder that all nodes share (here: {probe.parent})"
    if found["code"] != own["code"]:
        return "runs other code than this command: install the same version on every node"
    if found.pop("cuda", "there") == "missing":
        return "has GPUs for Ray, but torch finds no CUDA there: give --device cpu, or leave the node out"
    for name, value in own.items():
        if found.get(name, value) != value:
            if name in ALIKE:
                return f"has {name} {found[name]}, and this command {value}: install the same version on every node"
            return f"does not read the plug-in {name} as this command does: it has to be the same file on every node"
    return ""
