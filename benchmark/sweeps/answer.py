"""The answer to a sweep's question in one line, and the difference that its seeds can detect, before it begins."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from benchmark.formatting import shown
from benchmark.metrics import HEADLINE, METRICS
from benchmark.store import Status, load
from benchmark.sweeps.outcomes import Outcome, ranked
from benchmark.sweeps.plan import BOUND, Configuration, Question, Sweep
from benchmark.sweeps.space import Assignment, described, identity
from benchmark.tables import (
    ALPHA,
    MIN_PAIRS,
    POWER,
    Declaration,
    Gain,
    detectable_difference,
    differences,
    seeds_for_half_width,
)

ASSUMED_SD = 0.5  # points, where no stored runs say more

MAX_NAMED = 3
OURS, REFERENCE = "ours", "reference"


class Spread(NamedTuple):
    """The expected standard deviation of paired differences, in points, and its source."""

    sd: float
    source: str

    def __str__(self) -> str:
        return f"{self.sd:.2f} points ({self.source})"


Pair = tuple[Outcome, Outcome, str, str, str]
"""Two configurations, what they are called, and the keys and values that both have, if other pairs have others."""


class Compared(NamedTuple):
    """Two configurations, and their difference with the verdict at the level that it has among all comparisons."""

    ours: Outcome
    reference: Outcome
    ours_name: str
    reference_name: str
    where: str
    gain: Gain

    @property
    def differs(self) -> bool:
        """Whether the two are better and worse."""
        return self.gain.verdict not in ("equivalent", "undecided")

    @property
    def equivalent(self) -> bool:
        """Whether the two are equivalent within the bound; so are two whose scores are equal with every seed."""
        identical = self.gain.n >= MIN_PAIRS and self.gain.mean == self.gain.sd == 0
        return self.gain.verdict == "equivalent" or identical

    @property
    def largest(self) -> float:
        """The largest difference, in either direction, that the interval contains."""
        if self.gain.low is None or self.gain.high is None:
            return abs(self.gain.mean)
        return max(-self.gain.low, self.gain.high)

    def __str__(self) -> str:
        """How the two differ."""
        ends = sorted(abs(end) for end in (self.gain.low or 0.0, self.gain.high or 0.0))
        word = "better" if self.gain.mean > 0 else "worse"
        interval = f"{abs(self.gain.mean):.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"
        where = f" with {self.where}" if self.where else ""
        return f"{self.ours_name} is {word} than {self.reference_name} by {interval} points{where}"


def pairs(sweep: Sweep, configurations: Sequence[Configuration]) -> list[tuple[Configuration, Configuration]]:
    """Return the configurations with the references, of the same other values, that the question compares them with."""
    if sweep.question is None:
        return []
    tried = {identity(x.assignment): x for x in configurations}
    base = sweep.defaults
    found = []
    for configuration in configurations:
        for value in sweep.question.against:
            other = sweep.question.reference(sweep.space, configuration.assignment, base, value)
            if other is not None and identity(other) in tried:
                found.append((configuration, tried[identity(other)]))
    return found


def comparisons(sweep: Sweep, configurations: Sequence[Configuration]) -> int:
    """Return the number of comparisons that the level of the answer is for."""
    return len(pairs(sweep, configurations)) if sweep.question else len(configurations) - 1


def answer(sweep: Sweep, outcomes: Sequence[Outcome], spread: Spread) -> str:
    """Return the answer to the sweep's question, or that it is undecided and the number of seeds that would decide.

    The differences are paired by seed and judged as those of a table are, at level 0.05 / K for K comparisons.
    Without a question it is whether the best configuration differs from the default; where the default is the best, or
    was not tried, whether the best differs from the second. The expected spread counts where there are too few seeds.
    """
    finished = [outcome for outcome in ranked(outcomes) if outcome.n]
    if len(finished) < 2:
        return f"undecided: {len(finished)} of {len(outcomes)} configurations have finished a run, a comparison takes 2"
    # of all that are tried: a verdict depends on its own runs, and not on which others have finished
    count = comparisons(sweep, [outcome.configuration for outcome in outcomes])
    if sweep.question is not None:
        return _answer_question(sweep, sweep.question, finished, count, spread)
    return _answer_best(sweep, finished, count, spread)


def _answer_question(sweep: Sweep, question: Question, finished: Sequence[Outcome], count: int, spread: Spread) -> str:
    by_number = {outcome.configuration.number: outcome for outcome in finished}
    found = pairs(sweep, [outcome.configuration for outcome in finished])
    assignments = [(ours.assignment, reference.assignment) for ours, reference in found]
    shared = [_described_shared(ours, reference) for ours, reference in assignments]
    outcomes = [(by_number[ours.number], by_number[reference.number]) for ours, reference in found]
    compared = _compare(
        [
            (*pair, _described_own(ours, other), _described_own(other, ours), where if len(set(shared)) > 1 else "")
            for pair, (ours, other), where in zip(outcomes, assignments, shared, strict=True)
        ],
        question.within,
        count,
    )
    if not compared:
        return f"undecided: no finished configuration says {question}"
    different = sorted((x for x in compared if x.differs), key=lambda x: -abs(x.gain.mean))
    others = [x for x in compared if not x.differs]
    subject = f"{question.key} differs from {' or '.join(map(shown, question.against))}"
    rest = _answer_rest(others, f"no {subject} by more than", subject, question.within, count, spread)
    if not different:
        return rest
    parts = [str(x) for x in different[:MAX_NAMED]]
    if len(different) > MAX_NAMED:
        parts.append(f"{len(different) - MAX_NAMED} more differences")
    named = f"{'; '.join(parts)} ({_method(count)})"
    return f"{named}; of the other {len(others)}: {rest}" if others else named


def _answer_best(sweep: Sweep, finished: Sequence[Outcome], count: int, spread: Spread) -> str:
    best = finished[0]
    default = next((x for x in finished if x.configuration.runs[0].identity == sweep.base.identity), None)
    name = f"the best, {best.configuration.label},"

    def pair(ours: Outcome, reference: Outcome, role: str) -> Pair:
        return ours, reference, name, f"{role}{reference.configuration.label},", ""

    if default is None or default is best:
        # that the best is better than all others takes all comparisons: the least significant one decides
        roles = ["the second, ", *[""] * (len(finished) - 2)]
        others = [pair(best, other, role) for other, role in zip(finished[1:], roles, strict=True)]
        deciding = sorted(_compare(others, BOUND, count), key=lambda x: x.differs)[:1]
    else:
        others = [pair(x, default, "the default, ") for x in finished if x is not default]
        deciding = [x for x in _compare(others, BOUND, count) if x.ours is best]
    if not deciding:
        return f"undecided: {name} has no seed in common with what it is compared with"
    if deciding[0].differs:
        return f"{deciding[0]} ({_method(count)})"
    subject = f"{name} differs from {deciding[0].reference_name}"
    return _answer_rest(deciding, f"{subject} by no more than", subject, BOUND, count, spread)


def _compare(found: Sequence[Pair], within: float, count: int) -> list[Compared]:
    """Return the pairs that share a seed with their verdicts; what has finished so far counts."""
    seeds = 1 + max((seed for ours, *_ in found for seed in ours.scores), default=0)
    declared = Declaration("sweep", REFERENCE, (OURS, REFERENCE), seeds, count, {HEADLINE: within})
    better = METRICS[HEADLINE].better
    gains = [declared.judge(pair[0].scores, pair[1].scores, HEADLINE, better, range(seeds)) for pair in found]
    return [Compared(*pair, gain) for pair, gain in zip(found, gains, strict=True) if gain is not None]


def _answer_rest(
    found: Sequence[Compared], equal: str, subject: str, within: float, compared: int, spread: Spread
) -> str:
    """Return that no difference of insignificant comparisons exceeds a bound (``equal``), or the seeds that decide."""
    if not found:
        return ""
    largest = max(x.largest for x in found)
    if all(x.equivalent for x in found):
        if largest == 0:
            return f"{equal} 0 points (the accuracies are equal with every seed)"
        return f"{equal} {math.ceil(100 * largest) / 100:.2f} points ({_method(compared)})"

    def enough(needed: int | None) -> str:
        seeds = "no feasible number of seeds" if needed is None else f"{needed} seeds"
        return f"{seeds} would decide whether {subject} by {within:g} points"

    undecided = [x for x in found if not x.equivalent]
    n = min(x.gain.n for x in undecided)
    if n < MIN_PAIRS:
        few = "one seed has no interval" if n == 1 else f"{n} seeds are too few for an interval"
        needed = seeds_for_half_width(within / 2, spread.sd, compared)
        return f"undecided: {few}; {enough(needed)}, if the paired standard deviation is {spread}"
    # whatever the difference is, an interval of half the bound excludes 0 or is within the bound
    sds = [x.gain.sd for x in undecided if x.gain.p is not None and x.gain.sd]
    numbers = [seeds_for_half_width(within / 2, sd, compared) for sd in sds]
    if not numbers:
        return f"undecided: whether {subject}: a difference that is equal with every seed has no interval"
    feasible = [number for number in numbers if number is not None]
    needed = max(feasible) if len(feasible) == len(numbers) else None
    return f"undecided: {enough(needed)} (with {n} seeds: up to {largest:.2f} points, {_method(compared)})"


def _method(compared: int) -> str:
    return f"intervals of paired differences{_level(compared)}"


def _level(compared: int) -> str:
    of = f" / {compared} for each of {compared} comparisons" if compared > 1 else ""
    return f", level {ALPHA:g}{of}"


def _described_own(ours: Assignment, other: Assignment) -> str:
    return described({key: value for key, value in ours.items() if key not in other or other[key] != value})


def _described_shared(ours: Assignment, other: Assignment) -> str:
    shared = {key: value for key, value in ours.items() if key in other and other[key] == value}
    return described(shared) if shared else ""


def expected_spread(sweep: Sweep) -> Spread:
    """Return the standard deviation of paired differences of stored runs on the sweep's dataset and backbone.

    Runs with the same settings of training and data are paired by seed, configuration by configuration, and the squared
    deviations of all differences from their means are pooled; those of the sweep's number of epochs are preferred.

    Returns:
        0.5 points, and that they are assumed, where no two configurations share two seeds.
    """
    store, base = sweep.command.store, sweep.base
    frame = load(store.root, "last", split="all") if store.runs.is_dir() else pd.DataFrame()
    if not frame.empty and HEADLINE in frame:
        mine = (frame["dataset.checksum"] == base.dataset_checksum) & (frame["backbone"] == base.backbone)
        frame = frame[mine & (frame["status"] == Status.FINISHED) & frame[HEADLINE].notna()]
        for rows, epochs in (
            (frame[frame["train.epochs"] == base.train.epochs], "as many epochs"),
            (frame, "any number of epochs"),
        ):
            if sd := _pooled_sd(rows, sweep.space.keys):
                return Spread(sd, f"of {len(rows)} stored runs on {base.dataset} with {base.backbone}, {epochs}")
    return Spread(ASSUMED_SD, "assumed")


def _pooled_sd(frame: pd.DataFrame, searched: list[str]) -> float | None:
    settings = [str(name) for name in frame.columns if str(name).startswith(("train.", "data."))]
    together = [name for name in (*settings, "split", "method.version") if name not in searched]
    own = ["method", *(str(name) for name in frame.columns if str(name).startswith("hyperparameters."))]
    own += [name for name in settings if name in searched]
    squares, degrees = 0.0, 0
    for _, alike in frame.groupby(together, dropna=False, sort=False):
        configurations = [
            {int(seed): float(x) for seed, x in zip(rows["seed"], rows[HEADLINE], strict=True)}
            for _, rows in alike.groupby(own, dropna=False, sort=False)
        ]
        for one, other in itertools.pairwise(configurations):
            if len(found := differences(one, other)) > 1:
                center = math.fsum(found) / len(found)
                squares += math.fsum((x - center) ** 2 for x in found)
                degrees += len(found) - 1
    return math.sqrt(squares / degrees) if degrees and squares else None


def detectable(sweep: Sweep, compared: int, spread: Spread) -> str:
    """Return the line that names the difference which a sweep can detect with its seeds, among so many comparisons."""
    n = len(sweep.seeds)
    if n < MIN_PAIRS:
        seeds = "1 seed" if n == 1 else f"{n} seeds"
        return f"with {seeds} no difference is distinguishable from seed noise: an interval takes {MIN_PAIRS} or more"
    points = detectable_difference(n, spread.sd, compared)
    return (
        f"with {n} seeds a difference of about {points:.2g} points is detectable ({POWER:.0%} power"
        f"{_level(compared)}) if the paired standard deviation is {spread}"
    )
