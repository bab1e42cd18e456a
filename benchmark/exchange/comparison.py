"""What a repetition says of a stored run, and what several of them say of a claim."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean, stdev

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from benchmark import tables
from benchmark.metrics import RECORDED
from benchmark.store import Row, environment

BOUND = 0.5
"""Points of accuracy: that a claimed mean is wrong by as much or more must be excluded before it is reproduced."""

MIN_REPEATED = 3  # runs of which an interval is made: of two, equal differences by chance would have none
BEST = "best_epoch"  # the highest accuracy of the students in any epoch, which tables show too
# what of a run's environment may change its last bits
_CODE = ("okdbench", "commit", "source")
_MADE_WITH = (
    *("hardware", "device", "precision", "deterministic", "cuda", "torch", "torchvision", "numpy"),
    *(*environment.CPU_DISPATCH, *_CODE),
)
# metrics that every run has, by the part before a slash; diagnostics came with versions of this package
_REQUIRED = frozenset(one.name for one in RECORDED.values() if one.compared)
_NEVER_EQUAL = frozenset(one.name for one in RECORDED.values() if not one.deterministic)
# of the repeated mean, by which a metric that is no accuracy may differ where its interval does not contain 0
_SHARE = 0.1
_ROUNDING = 1e-9


class Outcome(StrEnum):
    """What repeating one run came to; commands print these words."""

    IDENTICAL = "identical"  # every deterministic number to the last bit, on the same hardware and software
    REPEATED = "repeated"  # measured again elsewhere
    DIFFERENT = "different"  # other numbers on the same hardware and software
    INCONSISTENT = "inconsistent"  # the stored run is none that its configuration gives
    NOT_REPEATED = "not repeated"


class Mark(StrEnum):
    """What is known of a claim: of the runs of one method on one dataset and network, or of a whole submission."""

    IDENTICAL = "identical"
    REPRODUCED = "reproduced"
    NOT_ENOUGH = "not enough repeated"
    CLAIMED = "claimed"
    NOT_REPRODUCED = "not reproduced"
    DIFFERS = "differs"


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Comparison:
    """A stored run and its repetition."""

    outcome: Outcome
    text: str = ""  # what that rests on, on one line
    stored: Mapping[str, float] = field(default_factory=dict)  # metrics of the last evaluated epoch, and `BEST`
    differences: Mapping[str, float] = field(default_factory=dict)  # of each of these: repeated minus stored
    content: str = ""  # the hash of the run's files: after any edit a record of the comparison does not count


@dataclass(frozen=True)
class Statement:
    """What repetitions say of a claim."""

    mark: Mark  # in one word
    repeated: int  # how many runs were repeated
    runs: int  # how many there are
    more: int | None = None  # repetitions that would decide, if they are as those so far; None if nothing is open
    text: str = ""  # mean signed difference with its interval, where there is one

    def __str__(self) -> str:
        more = f", {self.more} more needed" if self.more else ""
        return f"{self.mark} ({self.repeated} of {self.runs}{more})" if self.repeated or more else str(self.mark)

    def line(self, name: str) -> str:
        """Return the line that says it of the claim with this name."""
        return f"{name}: {self}{f': {self.text}' if self.text else ''}"


def compare(
    stored: Sequence[Row], repeated: Sequence[Row], made: Mapping[str, str], here: Mapping[str, str]
) -> Comparison:
    """Compare the metrics of a stored run, a row per epoch, with those of its repetition.

    Nothing that the stored run says of its environment makes the comparison milder: another environment turns
    ``identical`` into ``repeated``, which counts by its difference alone.

    Args:
        made: What the stored run was made with, as it says.
        here: What the repetition was made with.
    """
    if len(stored) != len(repeated):
        return Comparison(Outcome.INCONSISTENT, f"{len(stored)} epochs stored, {len(repeated)} here")
    unequal = ""
    for epoch, (one, other) in enumerate(zip(stored, repeated, strict=True)):
        if missing := sorted(name for name in other.keys() - one.keys() if name.partition("/")[0] in _REQUIRED):
            return Comparison(Outcome.INCONSISTENT, f"epoch {epoch} lacks {', '.join(missing)}")
        if unknown := sorted(one.keys() - other.keys()):
            return Comparison(Outcome.INCONSISTENT, f"epoch {epoch} has {', '.join(unknown)}, which this run has not")
        first = next((name for name in one if name not in _NEVER_EQUAL and one[name] != other[name]), None)
        if first is not None and not unequal:
            unequal = f"from epoch {epoch} on: {one[first]:.17g} stored, {other[first]:.17g} here ({first})"
    summary, ours = _summary(stored), _summary(repeated)
    differences = {name: ours[name] - value for name, value in summary.items() if name in ours}
    # an older run names no source hash; its commit tells
    changed = [key for key in _MADE_WITH if made.get(key, "") != here.get(key, "") and (key != "source" or key in made)]
    changes = ", ".join(f"{key} {made.get(key) or 'unknown'} against {here.get(key) or 'unknown'}" for key in changed)
    outcome, text = Outcome.REPEATED, f"the same numbers; {changes}"
    if not unequal and set(changed) <= set(_CODE):
        outcome, text = Outcome.IDENTICAL, ""
    elif unequal and not changed and here.get("deterministic") != "false":
        outcome, text = Outcome.DIFFERENT, f"{unequal}, on the same device and versions"
    elif unequal:
        gap = f"{differences['student']:+.3g} points; " if "student" in differences else ""
        text = f"{gap}{unequal}; {changes or 'kernels that are not deterministic'}"
    return Comparison(outcome, text, summary, differences)


def _summary(rows: Sequence[Row]) -> dict[str, float]:
    """Return what tables show of a run: the metrics of its last evaluated epoch, and its best epoch."""
    scored = [row for row in rows if "student" in row]
    last = scored[-1] if scored else {}
    shown = {name: value for name, value in last.items() if name != "epoch" and name not in _NEVER_EQUAL}
    return shown | ({BEST: max(row["student"] for row in scored)} if scored else {})


def state(comparisons: Sequence[Comparison], runs: int, bound: float = BOUND) -> Statement:
    """Return what repetitions of some of a claim's runs say of it.

    ``identical`` if every repeated run is, and they are all or at least :data:`MIN_REPEATED`. ``reproduced`` if of the
    mean signed difference, repeated minus claimed, the interval ``d +- t sd / sqrt(k)`` excludes an inflation of the
    bound or more, and as large a deflation, by which a baseline would flatter what is compared with it; for every
    accuracy. No other metric may differ by more than a tenth of its mean where 0 is excluded. One run that differs on
    the same hardware and software, or that is inconsistent, decides.

    Args:
        comparisons: One per run that was repeated.
        runs: How many runs the claim has.
        bound: In points of accuracy, above 0.
    """
    counted = [one for one in comparisons if one.outcome in (Outcome.IDENTICAL, Outcome.REPEATED)]
    wrong = [one for one in comparisons if one.outcome in (Outcome.DIFFERENT, Outcome.INCONSISTENT)]
    k = len(counted)
    if wrong:
        return Statement(Mark.DIFFERS, k + len(wrong), runs)
    if not counted:
        return Statement(Mark.CLAIMED, 0, runs)
    if all(one.outcome is Outcome.IDENTICAL for one in counted) and k >= min(runs, MIN_REPEATED):
        return Statement(Mark.IDENTICAL, k, runs)
    by_name: dict[str, list[float]] = {}
    for one in counted:
        for name, gap in one.differences.items():
            by_name.setdefault(name, []).append(gap)
    text = _interval_text(by_name.get("student", []))
    accuracies = {name: gaps for name, gaps in by_name.items() if name in ("student", BEST) or name.startswith("top1/")}
    for name, gaps in accuracies.items():
        if k >= MIN_REPEATED and abs(fmean(gaps)) >= bound and _half_width(gaps) < abs(fmean(gaps)):
            return Statement(Mark.NOT_REPRODUCED, k, runs, None, f"{name}: {_interval_text(gaps)}")
    more = max((_needed(gaps, bound) for gaps in accuracies.values()), default=MIN_REPEATED) - k
    if more > 0:
        return Statement(Mark.NOT_ENOUGH, k, runs, more, text)
    others = {name: gaps for name, gaps in by_name.items() if name not in accuracies}
    for name, gaps in others.items():
        mean_here = fmean(one.stored[name] + one.differences[name] for one in counted if name in one.differences)
        # of so many metrics some intervals would exclude 0 by chance
        far = max(_half_width(gaps, len(others)), _SHARE * abs(mean_here), _ROUNDING)
        if len(gaps) > 1 and abs(fmean(gaps)) > far:
            return Statement(Mark.NOT_REPRODUCED, k, runs, None, f"{name} is {fmean(gaps):+.3g} here; {text}")
    return Statement(Mark.REPRODUCED, k, runs, None, text)


def _needed(gaps: Sequence[float], bound: float) -> int:
    """Return how many repetitions as these decide: they exclude a difference of the bound, or that there is none."""
    mean, spread = abs(fmean(gaps)), stdev(gaps) if len(gaps) > 1 else 0.0
    return tables.seeds_for_half_width(bound - mean if mean < bound else mean, spread) or tables.MAX_SEEDS


def _half_width(gaps: Sequence[float], of: int = 1) -> float:
    """Return the half-width of the confidence interval of a mean, one of so many that are looked at."""
    return tables.half_width(len(gaps), stdev(gaps), of) if len(gaps) > 1 else math.inf


def _interval_text(gaps: Sequence[float]) -> str:
    mean, half = fmean(gaps) if gaps else 0.0, _half_width(gaps)
    interval = f" [{mean - half:+.2f}, {mean + half:+.2f}]" if len(gaps) > 1 else ""
    return f"repeated minus claimed {mean:+.2f} points{interval}" if gaps else ""
