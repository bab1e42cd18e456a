"""One results folder, for those who write to it."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from benchmark.configuration import PLACE, RunConfig, SourceCode
from benchmark.escaping import file_name
from benchmark.store import atomic, environment, files
from benchmark.store.files import DamagedError, Result, Status
from benchmark.store.predictions import PREDICTIONS

REPLICATE = "@"  # between the name of a run's folder and the environment in which the same run was measured again
CLAIM_S = 5.0  # for another process to let go of a run that this one only wants to write a word on


def run_name(config: RunConfig) -> str:
    """Return the name of a run's folder; it ends with the identity."""
    # a library's network has a colon in its name, and may have a slash, as datasets of a path have
    dataset = re.sub(r"[^\w-]", "_", config.dataset)[-40:]
    backbone = re.sub(r"[^\w.+-]", "_", config.backbone)
    return f"{file_name(config.method)}-{dataset}-{backbone}-s{config.seed}-{config.identity}"


def replicate_name(name: str, made_with: Mapping[str, str]) -> str:
    """Return the name of the folder in which a run is kept beside the same run of another environment group."""
    group = sha256(environment.group(made_with).encode()).hexdigest()[:8]
    return f"{name.partition(REPLICATE)[0]}{REPLICATE}{group}"


def identity_in(name: str) -> str:
    """Return the identity that the name of a run's folder ends with."""
    return name.rpartition("-")[2].partition(REPLICATE)[0]


class Store:
    """The runs below one results folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def runs(self) -> Path:
        """The folder that holds one folder per run."""
        return self.root / "runs"

    def folder(self, config: RunConfig) -> Path:
        """Return where a run is stored; its name ends with the identity.

        A run of the same dataset by another name, such as another path to the same file, is that run.
        """
        name = run_name(config)
        if PLACE in config.dataset and not (self.runs / name).exists():
            name = self._names_before.get(config.identity, name)
        return self.runs / name

    @cached_property
    def _names_before(self) -> dict[str, str]:
        """The names of the runs, without replicates, that were there when this was first asked, by identity."""
        return {identity_in(path.name): path.name for path in self.runs.glob("*") if REPLICATE not in path.name}

    def begin(self, config: RunConfig) -> Path:
        """Make a run's folder with its configuration, without how an earlier attempt ended; return the folder."""
        folder = self.folder(config)
        folder.mkdir(parents=True, exist_ok=True)
        for name in (files.RESULT, files.ERROR, PREDICTIONS):
            (folder / name).unlink(missing_ok=True)
        stored = self._stored(config)
        self._write_config(config.also(stored.uses, stored.budgets) if stored else config)
        return folder

    def keep_sources(self, sources: Iterable[SourceCode]) -> None:
        """Keep the code of plug-ins below ``sources/``, each once, by the hash that configurations name."""
        for source in sources:
            path = self.root / "sources" / f"{source.hash}.py"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                atomic.write_text(path, source.text)

    def claim(self, config: RunConfig) -> None:
        """Add what a run is asked for as, and its budgets, to what its stored configuration says already."""
        stored = self._stored(config)
        if stored is None:
            return
        joined = stored.also(config.uses, config.budgets)
        if joined.uses != stored.uses or {*joined.budgets} != {*stored.budgets}:
            # a folder that cannot be written to is read without what this command calls it
            with suppress(OSError), self.lock(config, patience=CLAIM_S) as held:
                if held and (stored := self._stored(config)) is not None:
                    self._write_config(config.also(stored.uses, stored.budgets))

    def _stored(self, config: RunConfig) -> RunConfig | None:
        """Return a run's configuration as it is stored; None if it is not there or not readable."""
        with suppress(DamagedError):
            if (content := files.content_of(self.folder(config), files.CONFIG)) is not None:
                return files.parse_config(content)
        return None

    def _write_config(self, config: RunConfig) -> None:
        text = yaml.dump(config.model_dump(mode="json"), Dumper=files.Dumper, sort_keys=False)
        atomic.write_text(self.folder(config) / files.CONFIG, text)

    def write_metrics(self, config: RunConfig, rows: list[dict[str, float]]) -> None:
        """Write the metrics of all epochs so far, a line per epoch; a metric that is no finite number becomes null."""
        lines = (
            json.dumps({name: value if math.isfinite(value) else None for name, value in row.items()}) for row in rows
        )
        atomic.write_text(self.folder(config) / files.METRICS, "".join(f"{line}\n" for line in lines))

    def write_result(self, config: RunConfig, result: Result) -> None:
        """Write how a run ended: from then on it counts as ended."""
        folder = self.folder(config)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / files.CONFIG).is_file():
            self.begin(config)
        atomic.write_text(folder / files.RESULT, json.dumps(asdict(result), indent=2) + "\n")

    def metrics(self, config: RunConfig) -> list[dict[str, float]]:
        """Return the metrics of all epochs so far; none if they are damaged."""
        with suppress(DamagedError):
            return files.read_metrics(self.folder(config))
        return []

    def result(self, config: RunConfig) -> Result | None:
        """Return how a run ended, or None if it has not (or not readably)."""
        with suppress(DamagedError):
            content = files.content_of(self.folder(config), files.RESULT)
            return None if content is None else files.parse_result(content)
        return None

    def ended(self, config: RunConfig) -> bool:
        """Return whether a run has ended for good: there is nothing left to do."""
        return self.final_result(config) is not None

    def final_result(self, config: RunConfig) -> Result | None:
        """Return how a run ended for good; None if it has not, or if the metrics of a finished run are not there."""
        result = self.result(config)
        if result is None or not result.status.final:
            return None
        if result.status is Status.FINISHED:
            # lines are counted, not read: this is asked of hundreds of runs
            with suppress(OSError):
                lines = (self.folder(config) / files.METRICS).read_bytes().count(b"\n")
                return result if lines == config.train.epochs else None
            return None
        return result

    def tidy(self, config: RunConfig) -> None:
        """Remove what a process that was killed left in the folder of a run that has ended for good."""
        folder = self.folder(config)
        # the folder may be someone else's, or read-only: then they stay
        with suppress(OSError):
            if left := [*folder.glob(f".*{atomic.SUFFIX}"), *folder.glob(files.CHECKPOINT)]:
                with self.lock(config, patience=0) as held:
                    for path in left if held and self.ended(config) else ():
                        path.unlink(missing_ok=True)

    @contextmanager
    def lock(self, config: RunConfig, patience: float) -> Iterator[bool]:
        """Hold a run for this process alone; yield whether that was possible, within so many seconds.

        The system frees the lock of a process that dies.
        """
        locks = self.runs / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(locks / f"{config.identity}.lock").acquire(timeout=patience)
        except Timeout:
            yield False
            return
        with held:
            yield True

    def move_to_trash(self, folder: Path, config: RunConfig) -> str:
        """Move a run into the trash folder; return why that was not possible, such as that a process works on it."""
        trash = self.root / TRASH
        try:
            with self.lock(config, patience=0) as held:
                if not held:
                    return "another process works on it"
                trash.mkdir(exist_ok=True)
                to, number = trash / folder.name, 0
                while to.exists():
                    number += 1
                    to = trash / f"{folder.name}.{number}"
                folder.rename(to)
        except OSError as error:
            return error.strerror or "it cannot be moved"
        return ""


TRASH = "trash"


def size_below(folder: Path) -> int:
    """Return the bytes of the regular files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
