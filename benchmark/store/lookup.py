"""Single runs of a results folder, found by what a person calls them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmark.configuration import RunConfig
from benchmark.store.runs import CONFIG, METRICS, Result, Status, read_result
from methods.errors import InputError, unknown
from methods.hyperparameters import validated

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class StoredRun:
    """One run on the disk.

    Attributes:
        folder: Where it lies.
        config: Its resolved configuration.
        result: How it ended; None if it has not.
    """

    folder: Path
    config: RunConfig
    result: Result | None

    @classmethod
    def read(cls, folder: Path) -> "StoredRun":
        """Read a run's folder.

        Raises:
            InputError: If its configuration is damaged.
        """
        path = folder / CONFIG
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - it is a safe loader
            if not isinstance(content, dict):
                raise ValueError
        except (OSError, ValueError, yaml.YAMLError):
            raise InputError(f"{path} is not a run's configuration: move its folder away") from None
        return cls(folder, validated(RunConfig, content, str(path)), read_result(folder))

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def identity(self) -> str:
        """What the folder's name ends with; an older version's identity may differ from the configuration's."""
        return self.name.rpartition("-")[2]

    @property
    def status(self) -> Status:
        """How far it is."""
        return self.result.status if self.result else Status.UNFINISHED

    def last_metrics(self) -> dict[str, Any]:
        """Return the metrics of the last epoch that was evaluated, or of the last one; nothing if there is none."""
        try:
            rows = [json.loads(line) for line in (self.folder / METRICS).read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError):
            return {}
        return next((row for row in reversed(rows) if "student" in row), rows[-1] if rows else {})


def names(results: Path) -> list[str]:
    """Return the runs' folder names in order; empty if there are none."""
    return sorted(path.parent.name for path in (results / "runs").glob(f"*/{CONFIG}"))


def stored_runs(results: Path) -> Iterator[StoredRun]:
    """Yield all runs of a results folder in the order of their names.

    Raises:
        InputError: If there is no such folder, or a run's configuration is damaged.
    """
    if not results.is_dir():
        raise InputError(f"no such results folder: {results}")
    for name in names(results):
        yield StoredRun.read(results / "runs" / name)


def find(results: Path, word: str) -> StoredRun:
    """Return the run that a person means by a folder's name, its unique beginning, or an identity or its beginning.

    Raises:
        InputError: If there is none, or several.
    """
    if not results.is_dir():
        raise InputError(f"no such results folder: {results}")
    known = names(results)
    # a path, as a shell completes it, means its last part
    wanted = Path(word).name
    exact = [name for name in known if wanted in (name, name.rpartition("-")[2])]
    meant = exact or [name for name in known if wanted and _begins(name, wanted)]
    if not meant:
        shown = known if len(known) <= 10 else [*known[:10], f"... {len(known)} in all: bench list runs"]
        raise unknown("run", word, shown)
    if len(meant) > 1:
        some = ", ".join(meant[:5]) + (", ..." if len(meant) > 5 else "")
        raise InputError(f"run {word!r} means {len(meant)} runs: {some}")
    return StoredRun.read(results / "runs" / meant[0])


def _begins(name: str, wanted: str) -> bool:
    return name.startswith(wanted) or name.rpartition("-")[2].startswith(wanted)
