"""Single runs of a results folder, found by what a person calls them."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from benchmark.configuration import RunConfig
from benchmark.store import files, folder as folders
from benchmark.store.ending import Result, Status
from methods.errors import InputError, unknown


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
            InputError: If its files are damaged.
        """
        contents = cls.contents(folder)
        return cls(folder, contents.config, contents.result)

    @staticmethod
    def contents(folder: Path) -> files.Contents:
        """Return what a run's files say.

        Raises:
            InputError: If they are damaged.
        """
        try:
            return folders.read(folder)
        except files.DamagedError as error:
            raise InputError(f"{folder} is damaged: {error}") from None

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

    def last_metrics(self) -> dict[str, float]:
        """Return the metrics of the last epoch that was evaluated, or of the last one; nothing if there is none."""
        try:
            return dict(folders.read(self.folder).scored or {})
        except files.DamagedError:
            return {}


def names(results: Path) -> list[str]:
    """Return the runs' folder names in order; empty if there are none."""
    return sorted(path.parent.name for path in (results / "runs").glob(f"*/{files.CONFIG}"))


def find(results: Path, word: str) -> StoredRun:
    """Return the run of a results folder that a person means, see :func:`meant`.

    Raises:
        InputError: If there is none, or several, or it is damaged.
    """
    if not results.is_dir():
        raise InputError(f"no such results folder: {results}")
    return StoredRun.read(results / "runs" / meant(names(results), word))


def meant(known: Collection[str], word: str) -> str:
    """Return the run that a person means by a folder's name, its unique beginning, or an identity or its beginning.

    Args:
        known: The runs' names.
        word: What the person wrote.

    Raises:
        InputError: If there is none, or several.
    """
    # a path, as a shell completes it, means its last part
    wanted = Path(word).name
    exact = [name for name in known if wanted in (name, name.rpartition("-")[2])]
    found = exact or [name for name in known if wanted and _begins(name, wanted)]
    if not found:
        shown = list(known)[:10]
        raise unknown("run", word, shown if len(known) <= 10 else [*shown, f"... {len(known)} in all: bench list runs"])
    if len(found) > 1:
        some = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise InputError(f"run {word!r} means {len(found)} runs: {some}")
    return found[0]


def _begins(name: str, wanted: str) -> bool:
    return name.startswith(wanted) or name.rpartition("-")[2].startswith(wanted)
