"""``make large``: a store of many long runs is made, and what tables, lists, a report and a site of it take is printed.

``python -m tools.large_store [RUNS ...] [--epochs N]`` makes a store of each size (1,000 and 10,000 if none is given)
in a temporary folder and times the commands, each in a process of its own: the first table, which builds the index, and
then each command as a person meets it. Nothing is judged: a machine's own load decides such times, and is printed.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from benchmark.configuration import DataConfig, RunConfig, TrainConfig
from benchmark.store import CONFIG, METRICS, RESULT, Store
from methods import registry

SEEDS = 10
NETWORKS = ("resnet8", "resnet14", "resnet20", "resnet32", "resnet56")
CURVES = 40
"""Different curves; a run has one of them."""

COMMANDS = (
    ("first table, which builds the index", ("table",)),
    ("bench table", ("table",)),
    ("bench list runs", ("list", "runs")),
    ("bench report", ("report", "--out", "report.html")),
    ("bench site", ("site", "--out", "site")),
    ("bench table after ten runs more", ("table",)),
)


def metrics(number: int, epochs: int) -> str:
    """The lines of a run of two peers, as a run of DML writes them."""
    chance = random.Random(number)
    lines = []
    for epoch in range(epochs):
        level = 70 * (1 - 0.5 ** (1 + epoch / 20)) + chance.gauss(0, 0.5)
        peers = {f"peer{k}": level + chance.gauss(0, 0.3) for k in range(2)} | {"ensemble": level + 1.5}
        scores: dict[str, float] = {}
        for name, top1 in peers.items():
            scores |= {
                f"top1/{name}": top1,
                f"top5/{name}": top1 + 20,
                f"nll/{name}": 2 - top1 / 50 + chance.random() / 9,
            }
        row = {"epoch": epoch, "lr": 0.1, "seconds": chance.random(), "loss": 5 / (1 + epoch / 9) + chance.random()}
        row |= {"loss/cross_entropy": row["loss"] - 0.3, "loss/distillation": 0.3}
        row |= {"student": (peers["peer0"] + peers["peer1"]) / 2, **scores, "gain/ensemble": 1.5}
        lines.append(json.dumps(row))
    return "\n".join(lines) + "\n"


def grid(count: int, epochs: int) -> Iterator[RunConfig]:
    """So many configurations: seeds of methods on networks on datasets, and then with other learning rates."""
    names = list(registry.catalogue())[:10]
    hyperparameters = {name: registry.load(name) for name in names}
    number = 0
    for setting in range(count):
        for dataset in ("cifar10", "cifar100", "tinyimagenet"):
            for network in NETWORKS:
                for name in names:
                    model = hyperparameters[name].Hyperparameters
                    required = {field: "t" for field, info in model.model_fields.items() if info.is_required()}
                    chosen = model.resolve(required, epochs, name).model_dump(mode="json")
                    for seed in range(SEEDS):
                        if number == count:
                            return
                        number += 1
                        yield RunConfig(
                            method=name, dataset=dataset, backbone=network, seed=seed,
                            train=TrainConfig(epochs=epochs, lr=0.1 / (1 + setting)), data=DataConfig(),
                            hyperparameters=chosen, method_version=1, dataset_checksum="0" * 64,
                        )  # fmt: skip


def make(root: Path, configs: Sequence[RunConfig], curves: Sequence[str]) -> None:
    """Write the runs, finished an hour ago."""
    store = Store(root)
    hour = time.time() - 3600
    environment = {"torch": "2.15.0", "okdbench": "0.1.0", "commit": "abc", "hardware": "H200", "device": "cuda"}
    for number, config in enumerate(configs):
        folder = store.folder(config)
        folder.mkdir(parents=True)
        cost = {"parameters": 1e5, "student_parameters": 5e4, "peak_memory_mib": 900 + number % 7}
        result = {"status": "finished", "reason": "", "seconds": 60.0 + number % 11, "environment": environment,
                  "cost": cost, "students": ["peer0", "peer1"]}  # fmt: skip
        contents = {
            CONFIG: yaml.dump(config.model_dump(mode="json"), sort_keys=False, Dumper=yaml.CSafeDumper),
            METRICS: curves[(7 * number + config.seed) % len(curves)],
            RESULT: json.dumps(result, indent=2) + "\n",
        }
        for name, text in contents.items():
            (folder / name).write_text(text, encoding="utf-8")
            os.utime(folder / name, (hour, hour))


def timed(words: Sequence[str], folder: Path) -> tuple[float, float, float]:
    """Seconds on the clock, seconds of the processor and peak memory in MiB of a command."""
    # the peak of getrusage counts the process that this one was forked from
    program = (
        "import sys\nfrom benchmark.cli import main\ntry:\n    main()\nfinally:\n"
        "    print(next(line for line in open('/proc/self/status') if 'VmHWM' in line).split()[1], file=sys.stderr)"
    )
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begin, spent, float(done.stderr.splitlines()[-1]) / 1024


def main() -> None:
    """Make the stores, time the commands, print a table."""
    parser = argparse.ArgumentParser(description="Time the commands on a large store.")
    parser.add_argument("runs", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--epochs", type=int, default=300)
    given = parser.parse_args()
    curves = [metrics(number, given.epochs) for number in range(CURVES)]
    print("| runs | command | seconds | of the processor | peak memory, MiB | load |\n|--:|:--|--:|--:|--:|--:|")
    for count in given.runs:
        with tempfile.TemporaryDirectory(prefix="okdbench-large-") as name:
            folder = Path(name)
            configs = list(grid(count + 10, given.epochs))
            make(folder / "results", configs[:count], curves)
            for title, words in COMMANDS:
                if "more" in title:
                    make(folder / "results", configs[count:], curves)
                clock, spent, memory = timed(words, folder)
                load = os.getloadavg()[0]
                print(f"| {count:,} | {title} | {clock:.1f} | {spent:.1f} | {memory:.0f} | {load:.1f} |", flush=True)
            sizes = {path.name: path.stat().st_size for path in (folder / "results/runs").glob(".index*")}
            print(f"| {count:,} | index, MiB: {sum(sizes.values()) / 2**20:.0f} | | | | |", flush=True)


if __name__ == "__main__":
    main()
