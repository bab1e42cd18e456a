"""A cluster's results folder: every node has to see the same one."""

import socket
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmark.errors import MachineError
from benchmark.store import atomic

PATIENCE_S = 5.0
"""For a network's file system to show a new file to another machine."""

ANSWER_S = 120.0
"""For a node to start a process and answer."""


def check(results: Path) -> None:
    """Let every node of the connected Ray cluster read what this process writes, and write beside it.

    Args:
        results: The results folder; this process can write to it.

    Raises:
        MachineError: If a node sees another folder or none, cannot write to it, or does not answer; it is named.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    word = uuid4().hex
    probe = results / f".probe-{word}{atomic.SUFFIX}"
    probe.write_text(word, encoding="utf-8")
    try:
        answers: dict[Any, str] = {}
        for node in ray.nodes():
            if node["Alive"]:
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                task = ray.remote(num_cpus=0, max_retries=0)(look).options(scheduling_strategy=there)
                answers[task.remote(probe, word)] = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        ready, silent = ray.wait(list(answers), num_returns=len(answers), timeout=ANSWER_S)
        for answer in silent:
            raise MachineError(f"the cluster's node {answers[answer]} does not answer")
        for answer in ready:
            if fault := _fault(answer):
                raise MachineError(
                    f"the cluster's node {answers[answer]} {fault}: --results has to name a folder that all nodes "
                    f"share (here: {results})"
                )
    finally:
        probe.unlink(missing_ok=True)


def look(probe: Path, word: str) -> str:
    """Return what is wrong with the folder on the machine that this runs on; nothing if it is the driver's."""
    own = probe.with_name(f"{probe.name}.{socket.gethostname()}{atomic.SUFFIX}")
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            if probe.read_text(encoding="utf-8") == word:
                own.write_text(word, encoding="utf-8")
                own.unlink()
                return ""
            fault = "sees another results folder"
        except FileNotFoundError:
            fault = "does not see the results folder"
        except OSError as error:
            fault = f"cannot use the results folder ({error.strerror})"
        if time.monotonic() > end:
            return fault
        time.sleep(0.2)


def _fault(answer: Any) -> str:
    import ray

    try:
        return str(ray.get(answer))
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        return f"cannot run this program ({reason})"
