"""``make stress``: commands are killed at random moments and given again, until their tables are complete.

``python -m tools.stress [KILLS [SEED]]`` prints what happened and ends with exit code 1 if anything was lost, repeated,
left behind, or unlike the undisturbed runs. Each time the moments are others, unless the seed of an earlier time is
given; how far a command has come by then is up to the machine. Afterwards commands are given a time to end in.
"""

import json
import multiprocessing
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmark import cli, store, tables
from benchmark.scheduling.cluster import SCRATCH

BENCH = str(Path(sys.executable).with_name("bench"))
GRID = (
    *("run", "--methods", "independent,dml,pcl", "--dataset", "digits", "--epochs", "6"),
    *("--set", "data.train_per_class=10", "--set", "data.test_per_class=10", "--set", "train.batch_size=32"),
    *("--device", "cpu"),
)
RAY_SHARE = 1 / 3
WORKERS_A_COMMAND = 3
"""Workers killed before the command itself: a run may lose that many."""
EARLY = {"serial": 0.2, "ray": 0.1}
"""Share of the kills that come while the command is still getting ready, which takes so long:"""
READY_S = {"serial": 0.3, "ray": 8.0}

STOP_AFTER_S = {"serial": 20, "ray": 40}
"""What commands with a time to end in are given, by engine,"""
GRACE_S = 3.0
"""and how much longer they may take."""
TIMED_EPOCHS = 200

Words = Sequence[str]
Metrics = dict[str, list[dict[str, float]]]

# imported once: a serial command then begins within a tenth of a second
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    [
        *("benchmark.running.batch", "benchmark.scheduling.execution", "benchmark.datasets.arrays"),
        # the first optimiser imports it, which takes a second
        "torch._dynamo",
    ]
)


@dataclass(frozen=True)
class Command:
    """A ``bench`` command in a session of its own, whose number is its process's."""

    pid: int
    code: Callable[[], int | None]

    def processes(self) -> dict[int, str]:
        """All processes of the session that live, by number, with the titles that they give themselves."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                # what follows the name in brackets: state, parent, group, session
                state, _, _, session = (path / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.pid and state != "Z":
                    found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ").strip()
        return found

    def workers(self) -> list[int]:
        """The processes that train under Ray, or are about to."""
        return [pid for pid, title in self.processes().items() if "Trainable" in title or "Trial" in title]

    def kill_all(self) -> None:
        """Kill every process of the session, its driver first."""
        for pid in sorted(self.processes()):
            kill(pid)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _forked(words: Words, log: Path, folder: Path, before: Callable[[], object] | None) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    sys.argv = ["bench", *words]
    if before is not None:
        before()
    cli.main()


def fork(words: Words, log: Path, folder: Path, before: Callable[[], object] | None = None) -> Command:
    """Start ``bench`` in a folder, with its temporary files there and what it prints in a log.

    Args:
        words: Of the command.
        log: A file.
        folder: Where it starts.
        before: What the process does first.
    """
    process = _FORKED.Process(target=_forked, args=(words, log, folder, before))
    process.start()
    assert process.pid is not None
    return Command(process.pid, lambda: process.exitcode)


def start(engine: str, words: Words, log: Path, folder: Path) -> Command:
    """Start ``bench`` with an engine; what Ray is to be imported by has to be a process from its beginning."""
    words = [*words, "--engine", engine]
    if engine == "serial":
        return fork(words, log, folder)
    with log.open("a") as stream:
        popen = subprocess.Popen(
            [BENCH, *words],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    return Command(popen.pid, popen.poll)


@dataclass
class Watch:
    """What is seen of a results folder: a finished run's result may never change again."""

    results: Path
    first: dict[Path, tuple[int, int]] = field(default_factory=dict)
    repeated: set[Path] = field(default_factory=set)

    def look(self) -> None:
        for path in self.results.glob("runs/*/result.json"):
            with suppress(FileNotFoundError):
                stat = path.stat()
                if store.Status(json.loads(path.read_bytes())["status"]).final:
                    stamp = (stat.st_ino, stat.st_mtime_ns)
                    if self.first.setdefault(path, stamp) != stamp:
                        self.repeated.add(path)
        # a run that begins anew has no result for a while
        self.repeated.update(path for path in self.first if not path.is_file())

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Look until something is so; return whether it was in time."""
        end = time.monotonic() + seconds
        while not (met := condition()) and time.monotonic() < end:
            self.look()
            time.sleep(0.05)
        return met


@dataclass
class Figures:
    """What a stress test counts."""

    kills: Counter[str] = field(default_factory=Counter)
    commands: int = 0
    grids: int = 0
    lost: int = 0
    repeated: int = 0
    left: int = 0
    equal: int = 0

    @property
    def good(self) -> bool:
        return not (self.lost or self.repeated or self.left) and self.equal == self.grids

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kills.items()))
        return (
            f"{self.kills.total()} kills ({kinds}) of {self.commands} commands over {self.grids} grids: "
            f"{self.lost} runs lost, {self.repeated} finished runs repeated, {self.left} temporary files left, "
            f"tables and metrics equal to the undisturbed ones in {self.equal} of {self.grids} grids"
        )


def outcome(results: Path) -> tuple[str, Metrics]:
    """The table, and all metrics but the times."""
    scores = ("student", "best", "ensemble", "best-epoch", "nll")
    table = tables.rendered(tables.build(store.load(results), scores), "csv")
    metrics = {
        path.parent.name: [json.loads(line) | {"seconds": 0} for line in path.read_text().splitlines()]
        for path in results.glob("runs/*/metrics.jsonl")
    }
    return table, metrics


def leftovers(results: Path) -> list[Path]:
    """Files that a finished grid has no use for."""
    stale = [path for pattern in ("*.tmp", ".*.tmp", "checkpoint.*") for path in results.rglob(pattern)]
    return [*stale, *results.parent.glob(f"{SCRATCH}*")]


@contextmanager
def working_folder() -> Iterator[Path]:
    # the names of Ray's sockets leave room for a short path alone
    folder = Path(tempfile.mkdtemp(prefix="okd-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def disturbed(engine: str, words: Words, chance: random.Random, watch: Watch, figures: Figures, limit: int) -> int:
    """Start the command and kill it, in a few ways; return how it ended if it came to its end, else -9."""
    results = watch.results
    folder = results.parent
    log = folder / "log"
    log.unlink(missing_ok=True)
    command = start(engine, [*words, "--results", str(results)], log, folder)
    figures.commands += 1

    def gone() -> bool:
        return command.code() is not None

    early = chance.random() < EARLY[engine]
    if not early:
        watch.until(lambda: gone() or (log.is_file() and "started" in log.read_text()), 120)
    for _ in range(WORKERS_A_COMMAND if engine == "ray" and not early else 0):
        watch.until(gone, chance.uniform(0.2, 2.0))
        if (workers := command.workers()) and figures.kills.total() < limit - 1:
            kill(chance.choice(workers))
            figures.kills["ray workers"] += 1
    watch.until(gone, chance.uniform(0, READY_S[engine] if early else 2.5))
    code = command.code()
    if code is None and figures.kills.total() < limit:
        whole = chance.random() < 0.5
        command.kill_all() if whole else kill(command.pid)
        figures.kills[f"{engine} {'process groups' if whole else 'drivers'}"] += 1
    watch.until(gone, 300)
    # half of the time the next command meets what the last one's workers are still doing
    if command.code() == 0 or chance.random() < 0.5:
        watch.until(lambda: not command.workers(), 20)
    return -9 if (code := command.code()) is None else code


def finish(words: Words, watch: Watch) -> None:
    """Let the command come to its end, which has to be a good one."""
    folder = watch.results.parent
    command = start("serial", words, folder / "log", folder)
    assert watch.until(lambda: command.code() is not None, 300)
    assert command.code() == 0, (folder / "log").read_text()


def grid(
    words: Words, results: Path, chance: random.Random, expected: tuple[str, Metrics], figures: Figures, kills: int
) -> None:
    """Kill one grid's commands until it is complete, and count what is wrong with it."""
    watch = Watch(results)
    ray_kills = 0
    while True:
        before = figures.kills.total()
        engine = "ray" if ray_kills < RAY_SHARE * figures.kills.total() or not before else "serial"
        code = disturbed(engine, words, chance, watch, figures, kills)
        ray_kills = sum(count for kind, count in figures.kills.items() if "serial" not in kind)
        watch.look()
        if code == 0:
            break
    # once more, when nothing of the killed commands is alive any more: it only tidies up
    finish([*words, "--results", str(results)], watch)
    figures.grids += 1
    figures.repeated += len(watch.repeated)
    figures.left += len(left := leftovers(results))
    table, metrics = outcome(results)
    figures.lost += len(expected[1].keys() - {path.parent.name for path in watch.first})
    figures.equal += (table, metrics) == expected
    for path in (*watch.repeated, *left):
        print(f"wrong: {path}")


def stress(kills: int, seeds: int = 4, *, seed: int) -> Figures:
    """Kill commands so many times, over as many grids of three methods and so many seeds as it takes.

    Args:
        kills: How many.
        seeds: Of each method.
        seed: Of the moments.
    """
    words = [*GRID, "--seeds", str(seeds)]
    chance = random.Random(seed)
    figures = Figures()
    with working_folder() as folder:
        whole = folder / "undisturbed"
        finish([*words, "--results", str(whole)], Watch(whole))
        expected = outcome(whole)
        number = 0
        while figures.kills.total() < kills:
            grid(words, folder / f"results{number}", chance, expected, figures, kills)
            number += 1
            print(figures, flush=True)
    return figures


@dataclass
class Timed:
    """What commands did that were given a time to end in."""

    engine: str
    seconds: list[float] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    equal: bool = False

    @property
    def good(self) -> bool:
        in_time = max(self.seconds) <= STOP_AFTER_S[self.engine] + GRACE_S
        return self.equal and in_time and self.codes == [75] * (len(self.codes) - 1) + [0] and len(self.codes) > 1

    def __str__(self) -> str:
        took = ", ".join(f"{seconds:.1f} s ({code})" for seconds, code in zip(self.seconds, self.codes, strict=True))
        equal = "equal" if self.equal else "NOT EQUAL"
        return (
            f"{self.engine} --stop-after {STOP_AFTER_S[self.engine]}s: {took}; table and metrics {equal} to one run's"
        )


def timed(engines: Sequence[str] = ("serial", "ray")) -> Iterator[Timed]:
    """Give a command with ``--stop-after`` again until it is through, with each engine."""
    words = [*GRID, "--epochs", str(TIMED_EPOCHS), "--seeds", "1"]
    with working_folder() as folder:
        whole = folder / "undisturbed"
        finish([*words, "--results", str(whole)], Watch(whole))
        for engine in engines:
            results, log, found = folder / engine, folder / "log", Timed(engine)
            while not found.codes or (found.codes[-1] == 75 and len(found.codes) < 50):
                begin = time.monotonic()
                limit = ["--stop-after", f"{STOP_AFTER_S[engine]}s"]
                command = start(engine, [*words, "--results", str(results), *limit], log, folder)
                Watch(results).until(lambda command=command: command.code() is not None, 300)  # type: ignore[misc]
                found.seconds.append(time.monotonic() - begin)
                found.codes.append(-9 if (code := command.code()) is None else code)
            found.equal = outcome(results) == outcome(whole)
            yield found


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else secrets.randbits(32)
    again = f"python -m tools.stress {number} {chosen}"
    print(f"with a seed: {again}", flush=True)
    if not stress(number, seed=chosen).good:
        print(f"failed, and this draws the same moments: {again}")
        sys.exit(1)
    verdicts = []
    for timing in timed():
        print(timing, flush=True)
        verdicts.append(timing.good)
    if not all(verdicts):
        sys.exit(1)
