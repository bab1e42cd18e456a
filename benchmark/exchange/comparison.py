"""Whether two measurements of the same run are the same, and what explains it if not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmark.metrics import RECORDED
from benchmark.store import Row

POINTS = 2.0
"""By which the students' accuracy may differ in every evaluated epoch, in points, on another device or version."""

LOSS_SHARE = 0.1
"""By which the training loss may differ in every epoch, as a share of it, on another device or version."""

MADE_WITH = (
    *("hardware", "device", "precision", "deterministic", "cuda"),
    *("torch", "torchvision", "numpy", "okdbench", "commit"),
)
"""What of a run's environment may change its last bits."""

_OURS = ("okdbench", "commit")
"""What of it is this package and not the machine."""

_FREE = frozenset(one.name for one in RECORDED.values() if not one.deterministic)
"""What the same run need not give again, such as times."""


class Outcome(StrEnum):
    """How a repeated run stands to the stored one; these words are printed."""

    IDENTICAL = "identical"
    CLOSE = "close"
    DIFFERENT = "different"
    NOT_REPEATED = "not repeated"


@dataclass(frozen=True)
class Verdict:
    """An outcome and what it rests on, on one line."""

    outcome: Outcome
    text: str = ""


def compared(
    stored: Sequence[Row],
    repeated: Sequence[Row],
    made: Mapping[str, str],
    here: Mapping[str, str],
    points: float = POINTS,
) -> Verdict:
    """Compare the whole curves of a stored run and of its repetition.

    They are identical if every number but the time is the same to the last bit. If not, and only if something of
    :data:`MADE_WITH` differs or kernels are not deterministic, they are close where in every epoch the students'
    accuracies differ by at most ``points`` and the losses by at most :data:`LOSS_SHARE`. Everything else is different;
    on the same device and libraries so are other accuracies where every loss is the same to the last bit. Scores that
    the stored run has in no epoch do not count where another version made it: it may not have known them.

    Args:
        stored: Metrics, a row an epoch.
        repeated: Of the repetition.
        made: What the stored run was made with.
        here: What the repetition was made with.
        points: Of the students' accuracy in %, 0 or more.
    """
    if any(made.get(key, "") != here.get(key, "") for key in _OURS):
        known = {name for row in stored for name in row}
        repeated = [{name: value for name, value in row.items() if name in known} for row in repeated]
    first = first_difference(stored, repeated)
    if first is None:
        return Verdict(Outcome.IDENTICAL)
    epoch, name = first
    where = f"from epoch {epoch} on: {_number(stored, epoch, name)} stored, {_number(repeated, epoch, name)} here"
    changed = [key for key in MADE_WITH if made.get(key, "") != here.get(key, "")]
    free = here.get("deterministic") == "false"
    if not changed and not free:
        return Verdict(Outcome.DIFFERENT, f"{where} ({name}), on the same device and versions")
    why = ", ".join(f"{key} {made.get(key) or 'unknown'} against {here.get(key) or 'unknown'}" for key in changed)
    why = why or "kernels that are not deterministic"
    beyond = _beyond(stored, repeated, points)
    if not beyond and not free and not set(changed) - set(_OURS) and _same_losses(stored, repeated):
        beyond = "other scores, though every loss is the same to the last bit"
    if beyond:
        return Verdict(Outcome.DIFFERENT, f"{beyond}; other bits {where} ({name}); {why}")
    largest = max((gap for _, gap in _gaps(stored, repeated)), default=0.0)
    return Verdict(Outcome.CLOSE, f"students within {largest:.3g} points in every epoch (at most {points:g}); {why}")


def first_difference(stored: Sequence[Row], repeated: Sequence[Row]) -> tuple[int, str] | None:
    """Return the first epoch in which two curves differ, and in which number; None if they are the same."""
    for epoch, (one, other) in enumerate(zip(stored, repeated, strict=False)):
        for name in dict.fromkeys((*one, *other)):
            if name not in _FREE and one.get(name) != other.get(name):
                return epoch, name
    if len(stored) != len(repeated):
        return min(len(stored), len(repeated)), "epoch"
    return None


def _beyond(stored: Sequence[Row], repeated: Sequence[Row], points: float) -> str:
    """Return where the curves differ by more than another device explains; nothing if nowhere."""
    if len(stored) != len(repeated):
        return f"{len(stored)} epochs stored, {len(repeated)} here"
    for epoch, (one, other) in enumerate(zip(stored, repeated, strict=True)):
        if one.keys() != other.keys():
            return f"other metrics in epoch {epoch}"
        if abs(one.get("student", 0.0) - other.get("student", 0.0)) > points:
            return f"students differ by more than {points:g} points in epoch {epoch}"
        losses = one.get("loss", 0.0), other.get("loss", 0.0)
        if abs(losses[0] - losses[1]) > LOSS_SHARE * max(map(abs, losses)):
            return f"losses differ by more than {LOSS_SHARE:.0%} in epoch {epoch}"
    return ""


def _same_losses(stored: Sequence[Row], repeated: Sequence[Row]) -> bool:
    both = zip(stored, repeated, strict=True)
    return all("loss" in one and one["loss"] == other.get("loss") for one, other in both)


def _gaps(stored: Sequence[Row], repeated: Sequence[Row]) -> list[tuple[int, float]]:
    both = enumerate(zip(stored, repeated, strict=True))
    return [(epoch, abs(one["student"] - other["student"])) for epoch, (one, other) in both if "student" in one]


def _number(rows: Sequence[Row], epoch: int, name: str) -> str:
    if epoch >= len(rows):
        return "no such epoch"
    return f"{rows[epoch][name]:.17g}" if name in rows[epoch] else "nothing"
