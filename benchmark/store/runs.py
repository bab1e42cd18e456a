"""Runs on disk, and one tidy table of them."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from filelock import FileLock, Timeout

from benchmark.configuration import EQUAL_EPOCHS, SECTIONS, RunConfig, Use
from benchmark.store import atomic
from methods.errors import InputError
from methods.sources import Source

CONFIG, METRICS, RESULT, ERROR = "config.yaml", "metrics.jsonl", "result.json", "error.txt"
CHECKPOINT = "checkpoint.pt"

CLAIM_S = 5.0
"""For another process to let go of a run that this one only wants to write a word on."""


BUDGETS_JOINED_BY = " | "


class Status(StrEnum):
    """How far a run is; these words stand in tables and files."""

    FINISHED = "finished"
    COLLAPSED = "collapsed"
    DIVERGED = "diverged"
    FAILED = "failed"
    OUT_OF_MEMORY = "out-of-memory"
    STOPPED = "stopped"
    BUSY = "busy"
    UNFINISHED = "unfinished"

    @property
    def final(self) -> bool:
        """Whether trying again would give the same: such a run is not repeated unless asked."""
        return self in (Status.FINISHED, Status.COLLAPSED, Status.DIVERGED)


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        status: One of :class:`Status`.
        reason: Why it did not finish, on one line; empty if it did.
        seconds: Its wall time.
        environment: Versions and device.
        cost: What it takes, such as its number of trainable parameters.
        students: The predictors whose mean is the headline.
    """

    status: Status
    reason: str = ""
    seconds: float = 0.0
    environment: dict[str, str] | None = None
    cost: dict[str, float] | None = None
    students: tuple[str, ...] = ()


class Store:
    """The runs below one results folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def runs(self) -> Path:
        """The folder that holds a folder a run."""
        return self.root / "runs"

    def folder(self, config: RunConfig) -> Path:
        """Return where a run lies; its name ends with the identity."""
        dataset = "".join(char if char.isalnum() or char == "-" else "_" for char in config.dataset)[-40:]
        # a library's network has a colon in its name, and may have a slash
        backbone = "".join(char if char.isalnum() or char in "-+_." else "_" for char in config.backbone)
        return self.runs / f"{config.method}-{dataset}-{backbone}-s{config.seed}-{config.identity}"

    def begin(self, config: RunConfig) -> Path:
        """Make a run's folder with its configuration, without how an earlier attempt ended; return the folder."""
        folder = self.folder(config)
        folder.mkdir(parents=True, exist_ok=True)
        for name in (RESULT, ERROR):
            (folder / name).unlink(missing_ok=True)
        self._write_config(config.also(*asked) if (asked := _asked(folder)) else config)
        return folder

    def keep_sources(self, sources: Iterable[Source]) -> None:
        """Keep the code of plug-ins below ``sources/``, each once, by the hash that configurations name."""
        for source in sources:
            path = self.root / "sources" / f"{source.hash}.py"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                atomic.write_text(path, source.text)

    def claim(self, config: RunConfig) -> None:
        """Add what a run is asked for as, and its budgets, to what its stored configuration says already."""
        folder = self.folder(config)
        known = _asked(folder)
        if known is not None and _news(config, *known):
            # a folder that cannot be written to is read without what this command calls it
            with suppress(OSError), self.lock(config, patience=CLAIM_S) as held:
                if held and (known := _asked(folder)) is not None:
                    self._write_config(config.also(*known))

    def _write_config(self, config: RunConfig) -> None:
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        atomic.write_text(self.folder(config) / CONFIG, text)

    def write_metrics(self, config: RunConfig, rows: list[dict[str, float]]) -> None:
        """Write the metrics of all epochs so far, a line an epoch."""
        atomic.write_text(self.folder(config) / METRICS, "".join(f"{json.dumps(row)}\n" for row in rows))

    def write_result(self, config: RunConfig, result: Result) -> None:
        """Write how a run ended: from then on it counts as ended."""
        folder = self.folder(config)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / CONFIG).is_file():
            self.begin(config)
        atomic.write_text(folder / RESULT, json.dumps(vars(result), indent=2) + "\n")

    def metrics(self, config: RunConfig) -> list[dict[str, float]]:
        """Return the metrics of all epochs so far."""
        return _metrics(self.folder(config))

    def result(self, config: RunConfig) -> Result | None:
        """Return how a run ended, or None if it has not (or not readably)."""
        return read_result(self.folder(config))

    def ended(self, config: RunConfig) -> bool:
        """Return whether a run has ended for good: there is nothing left to do."""
        return self.final_result(config) is not None

    def final_result(self, config: RunConfig) -> Result | None:
        """Return how a run ended for good; None if it has not, or if the metrics of a finished run are not there."""
        result = self.result(config)
        if result is None or not result.status.final:
            return None
        return result if result.status is not Status.FINISHED or self._complete(config) else None

    def _complete(self, config: RunConfig) -> bool:
        # lines are counted, not read: this is asked of hundreds of runs
        try:
            return (self.folder(config) / METRICS).read_bytes().count(b"\n") == config.train.epochs
        except OSError:
            return False

    def tidy(self, config: RunConfig) -> None:
        """Remove what a process that was killed left in the folder of a run that has ended for good."""
        leftovers = self._leftovers(config)
        if not leftovers:
            return
        # the folder may be someone else's, or read-only: then they stay
        with suppress(OSError), self.lock(config, patience=0) as held:
            if held and self.ended(config):
                for path in self._leftovers(config):
                    path.unlink(missing_ok=True)

    def _leftovers(self, config: RunConfig) -> list[Path]:
        folder = self.folder(config)
        return [*folder.glob(f".*{atomic.SUFFIX}"), *folder.glob(CHECKPOINT)]

    @contextmanager
    def lock(self, config: RunConfig, patience: float) -> Iterator[bool]:
        """Hold a run for this process alone; yield whether that was possible.

        The system frees the lock of a process that dies.

        Args:
            config: The run.
            patience: Seconds to wait for another process that holds it.
        """
        locks = self.runs / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{config.identity}.lock")
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


def _asked(folder: Path) -> tuple[list[Use], list[str]] | None:
    """Return what a stored run was asked for as, and its budgets; None if it is not there or not readable."""
    try:
        content = yaml.load((folder / CONFIG).read_text(encoding="utf-8"), Loader=_SafeLoader)  # noqa: S506 - it is safe
        uses = [Use.model_validate(use) for use in content.get("uses", [])]
        return uses, [str(budget) for budget in content.get("budgets", [EQUAL_EPOCHS])]
    except (OSError, ValueError, yaml.YAMLError, AttributeError, TypeError):
        return None


def _news(config: RunConfig, uses: list[Use], budgets: list[str]) -> bool:
    """Return whether a configuration is asked for as something that is not known of it yet."""
    other = any(use not in (uses or [Use()]) for use in config.uses or [Use()])
    return other or not set(config.budgets) <= set(budgets)


def read_result(folder: Path) -> Result | None:
    """Return how the run in a folder ended, or None if it has not (or not readably)."""
    try:
        content = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        return Result(**{**content, "status": Status(content["status"]), "students": tuple(content["students"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def load(results: str | Path) -> pd.DataFrame:
    """Return all runs below a results folder as one tidy table, a row a run and epoch.

    The columns are ``run, method, dataset, backbone, seed, epoch, status``, then ``reason`` and ``students`` (names
    joined by commas), ``split`` and ``budgets`` (joined by `` | ``), then the metrics, then every key of the
    configuration as ``train.lr``, ``data.pad`` or ``hyperparameters.temperature``, and ``method.version``,
    ``dataset.checksum``, the hash of each file that a hyperparameter names, as ``files.teacher``, and of each plug-in's
    code, as ``method.source``, then what the run
    took, as ``cost.seconds``, and what it was made with, as ``environment.torch``. A run that ended before its first
    epoch has one row without epoch and metrics.

    Args:
        results: The folder that ``--results`` names.

    Raises:
        InputError: If there is no such folder, or a run's configuration is damaged.
    """
    root = Path(results)
    if not root.is_dir():
        raise InputError(f"no such results folder: {root}")
    rows: list[dict[str, Any]] = []
    for folder in sorted(path for path in (root / "runs").glob("*") if (path / CONFIG).is_file()):
        try:
            rows += _rows(folder)
        except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError):
            raise InputError(f"{folder / CONFIG} is not a run's configuration: move its folder away") from None
    leading = ["run", "method", "dataset", "backbone", "seed", "epoch", "status", "reason", "students"]
    frame = pd.DataFrame(rows)
    if frame.empty:
        return pd.DataFrame(columns=leading)
    settings = [column for column in frame.columns if "." in column or column == "uses"]
    metrics = [column for column in frame.columns if column not in leading and column not in settings]
    return frame[[*leading, *metrics, *settings]].astype({"epoch": "Int64"})


def _rows(folder: Path) -> list[dict[str, Any]]:
    config = yaml.load((folder / CONFIG).read_text(encoding="utf-8"), Loader=_SafeLoader)  # noqa: S506 - it is safe
    result = read_result(folder)
    shared = {key: config[key] for key in ("method", "dataset", "backbone", "seed")}
    ending = {
        "run": folder.name,
        "status": str(result.status if result else Status.UNFINISHED),
        "reason": result.reason if result else "",
        "students": ",".join(result.students) if result else "",
        "split": "validation" if config["data"]["holdout"] else "test",
        "budgets": BUDGETS_JOINED_BY.join(config.get("budgets", [EQUAL_EPOCHS])),
    }
    settings = {
        f"{section}.{key}": str(value) if isinstance(value, list) else value
        for section, values in _sections(config).items()
        for key, value in values.items()
    }
    if uses := config.get("uses"):
        settings["uses"] = json.dumps([{key: value for key, value in use.items() if value} for use in uses])
    settings |= {f"files.{name}": content for name, content in config.get("files", {}).items()}
    settings |= {f"{role}.source": content for role, content in config.get("sources", {}).items()}
    settings |= {"method.version": config["method_version"], "dataset.checksum": config["dataset_checksum"]}
    if result:
        costs = {**(result.cost or {}), "seconds": result.seconds}
        settings |= {f"cost.{name}": value for name, value in costs.items()}
        settings |= {f"environment.{name}": value for name, value in (result.environment or {}).items()}
    metrics: list[dict[str, Any]] = [*_metrics(folder)] or [{"epoch": None}]
    return [{**ending, **shared, **row, **settings} for row in metrics]


def _sections(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a stored configuration's sections; a setting that came later has the value that was meant before."""
    defaults = {name: model().model_dump(mode="json") for name, model in SECTIONS.items()}
    return {name: values | config[name] for name, values in defaults.items()} | {
        "hyperparameters": config["hyperparameters"]
    }


def _metrics(folder: Path) -> list[dict[str, float]]:
    try:
        return [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return []


# libyaml, where PyYAML was built with it, reads hundreds of configurations ten times as fast
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
