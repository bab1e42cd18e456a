"""What repeating runs here has come to, kept beside them; it counts for the same numbers alone."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.exchange.comparison import Outcome
from benchmark.store import put
from methods.errors import InputError

RECORD = "verification.json"
MAX_RECORD = 50_000_000


class Mark(StrEnum):
    """How far numbers are to be trusted; these words stand on the site."""

    VERIFIED = "verified"
    CLAIMED = "claimed"
    DIFFERS = "differs"


class _Strict(BaseModel):
    # the words of enumerations come from JSON as text
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Repeated(_Strict):
    """One run that was repeated.

    Attributes:
        digest: Of the stored numbers, see :func:`benchmark.store.brief`: after an edit the record does not count.
        outcome: How the repetition stands to them.
        text: What that rests on.
    """

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    outcome: Outcome
    text: str = ""


class Record(_Strict):
    """What was checked.

    Attributes:
        format: Of the file.
        verdict: Of a submission as a whole; None where runs were repeated and nothing else.
        reasons: What the verdict rests on, a line each.
        environment: What the repetition was made with.
        runs: By name.
    """

    format: Literal[1] = 1
    verdict: Mark | None = None
    reasons: list[str] = []
    environment: dict[str, str] = {}
    runs: dict[str, Repeated] = {}

    def outcome(self, name: str, digest: str) -> Outcome | None:
        """Return how a run's repetition stands to it; None if it was not repeated, or has other numbers now."""
        found = self.runs.get(name)
        return found.outcome if found and found.digest == digest else None


def read(folder: Path) -> Record:
    """Return the record that lies in a folder; an empty one if there is none.

    Raises:
        InputError: If it is damaged.
    """
    path = folder / RECORD
    try:
        if not path.is_file():
            return Record()
        if path.stat().st_size > MAX_RECORD:
            raise InputError(f"{path} is damaged: it has an absurd size")
        return Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise InputError(f"{path} is damaged: {where}: {fault['msg']}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def write(folder: Path, record: Record) -> Path:
    """Write a record into a folder, and return its path; runs that an earlier one has stay.

    Raises:
        InputError: If it cannot be written, or the earlier one is damaged.
    """
    joined = record.model_copy(update={"runs": {**read(folder).runs, **record.runs}})
    path = folder / RECORD
    return put(path, joined.model_dump_json(indent=2) + "\n")


def mark(outcomes: Iterable[Outcome | None]) -> Mark:
    """Return what repetitions of some runs come to: one that differs decides, then one that does not.

    Args:
        outcomes: Of each run; None if it was not repeated.
    """
    found = set(outcomes)
    if Outcome.DIFFERENT in found:
        return Mark.DIFFERS
    return Mark.VERIFIED if found & {Outcome.IDENTICAL, Outcome.CLOSE} else Mark.CLAIMED


def repeated(verdicts: Mapping[str, tuple[str, Outcome, str]], environment: Mapping[str, str]) -> Record:
    """Return the record of runs that were repeated.

    Args:
        verdicts: Digest, outcome and text by name.
        environment: What the repetition was made with.
    """
    runs = {
        name: Repeated(digest=digest, outcome=outcome, text=text) for name, (digest, outcome, text) in verdicts.items()
    }
    return Record(environment=dict(environment), runs=runs)
