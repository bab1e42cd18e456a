"""The answer to a sweep's question in one line, and the difference that its seeds can detect, before it begins."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from benchmark import tables
from benchmark.formatting import shown
from benchmark.metrics import HEADLINE, METRICS
from benchmark.store import Status, load
from benchmark.sweeps.outcomes import Outcome, ranked
from benchmark.sweeps.plan import BOUND, Configuration, Question, Sweep
from benchmark.sweeps.space import described, identity

ASSUMED_SD = 0.5  # points, where no stored runs say more

MAX_NAMED = 3


class Spread(NamedTuple):
    """The expected standard deviation of paired differences, in points, and its source."""

    sd: float
    source: str

    def __str__(self) -> str:
        return f"{self.sd:.2f} points ({self.source})"


class Compared(NamedTuple):
    """Two configurations, and their difference with the verdict at the level that it has among all comparisons."""

    text: str  # how the two differ
    reference: str  # what the second is called
    gain: tables.Gain
    differs: bool  # whether the two are better and worse
    equivalent: bool  # within the bound; so are two whose scores are equal with every seed
    largest: float  # difference, in either direction, that the interval contains


def pairs(sweep: Sweep, configurations: Sequence[Configuration]) -> list[tuple[Configuration, Configuration]]:
    """Return the configurations with what the question compares them with: themselves with the key at a reference.

    Where the key does not count in a configuration it has none; two references are compared once.
    """
    if sweep.question is None:
        return []
    key, against, base = sweep.question.key, sweep.question.against, sweep.defaults
    tried = {identity(x.assignment): x for x in configurations}
    found = []
    for configuration in configurations:
        own = configuration.assignment.get(key)
        later = against[against.index(own) + 1 :] if own in against else ()
        for value in against if key in configuration.assignment else ():
            other = sweep.space.completed({**configuration.assignment, key: value}, base)
            if own != value and value not in later and other.get(key) == value and identity(other) in tried:
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
    if sweep.question is None:
        compared = _best_compared(sweep, finished, count)
        name = f"the best, {finished[0].configuration.label},"
        if not compared:
            return f"undecided: {name} has no seed in common with what it is compared with"
        subject, within = f"{name} differs from {compared[0].reference}", BOUND
        equal = f"{subject} by no more than"
    else:
        compared = _question_compared(sweep, sweep.question, finished, count)
        against, within = " or ".join(map(shown, sweep.question.against)), sweep.question.within
        subject = f"{sweep.question.key} differs from {against}"
        if not compared:
            return f"undecided: no finished configuration says whether {subject} by {within:g} points"
        equal = f"no {subject} by more than"
    different = sorted((x for x in compared if x.differs), key=lambda x: -abs(x.gain.mean))
    others = [x for x in compared if not x.differs]
    rest = _answer_rest(others, equal, subject, within, count, spread) if others else ""
    if not different:
        return rest
    parts = [x.text for x in different[:MAX_NAMED]]
    if len(different) > MAX_NAMED:
        parts.append(f"{len(different) - MAX_NAMED} more differences")
    named = f"{'; '.join(parts)} ({_method(count)})"
    return f"{named}; of the other {len(others)}: {rest}" if others else named


def _question_compared(sweep: Sweep, question: Question, finished: Sequence[Outcome], count: int) -> list[Compared]:
    outcomes = {outcome.configuration.number: outcome for outcome in finished}
    found = pairs(sweep, [outcome.configuration for outcome in finished])
    shared = [{k: v for k, v in x.assignment.items() if k in y.assignment and y.assignment[k] == v} for x, y in found]
    several = len(set(map(described, shared))) > 1
    compared = []
    for pair, same in zip(found, shared, strict=True):
        name, other = (described({k: v for k, v in x.assignment.items() if k not in same}) for x in pair)
        where = described(same) if same and several else ""
        ours, reference = (outcomes[x.number] for x in pair)
        compared.append(_compare(ours, reference, name, other, where, question.within, count))
    return [x for x in compared if x is not None]


def _best_compared(sweep: Sweep, finished: Sequence[Outcome], count: int) -> list[Compared]:
    best = finished[0]
    default = next((x for x in finished if x.configuration.runs[0].identity == sweep.base.identity), best)
    rivals = [("the default, ", default)]
    if default is best:
        rivals = [("the second, " if place == 0 else "", other) for place, other in enumerate(finished[1:])]
    name = f"the best, {best.configuration.label},"
    found = [_compare(best, x, name, f"{role}{x.configuration.label},", "", BOUND, count) for role, x in rivals]
    # that the best is better than all others takes all comparisons: the least significant one decides
    return sorted((x for x in found if x is not None), key=lambda x: x.differs)[:1]


def _compare(
    ours: Outcome, reference: Outcome, name: str, other: str, where: str, within: float, count: int
) -> Compared | None:
    """Return the difference of two that share a seed with its verdict; what has finished so far counts."""
    seeds = range(1 + max(ours.scores))
    declared = tables.Declaration("sweep", "reference", ("ours", "reference"), len(seeds), count, {HEADLINE: within})
    gain = declared.judge(ours.scores, reference.scores, HEADLINE, METRICS[HEADLINE].better, seeds)
    if gain is None:
        return None
    low, high = (gain.mean if end is None else end for end in (gain.low, gain.high))
    ends = sorted((abs(low), abs(high)))
    text = (
        f"{name} is {'better' if gain.mean > 0 else 'worse'} than {other} by {abs(gain.mean):.2f} "
        f"[{ends[0]:.2f}, {ends[1]:.2f}] points{f' with {where}' if where else ''}"
    )
    identical = gain.n >= tables.MIN_PAIRS and gain.mean == gain.sd == 0
    differs = gain.verdict not in ("equivalent", "undecided")
    return Compared(text, other, gain, differs, gain.verdict == "equivalent" or identical, max(-low, high))


def _answer_rest(found: Sequence[Compared], equal: str, subject: str, within: float, count: int, spread: Spread) -> str:
    """Return that no difference of insignificant comparisons exceeds a bound (``equal``), or the seeds that decide."""
    largest = max(x.largest for x in found)
    if all(x.equivalent for x in found):
        if largest == 0:
            return f"{equal} 0 points (the accuracies are equal with every seed)"
        return f"{equal} {math.ceil(100 * largest) / 100:.2f} points ({_method(count)})"
    undecided = [x.gain for x in found if not x.equivalent]
    n = min(gain.n for gain in undecided)
    few = n < tables.MIN_PAIRS
    sds = [spread.sd] if few else [gain.sd for gain in undecided if gain.p is not None and gain.sd]
    if not sds:
        return f"undecided: whether {subject}: a difference that is equal with every seed has no interval"
    # whatever the difference is, an interval of half the bound excludes 0 or is within the bound
    needed = [tables.seeds_for_half_width(within / 2, sd, count) for sd in sds]
    most = "no feasible number of" if None in needed else max(filter(None, needed))
    enough = f"{most} seeds would decide whether {subject} by {within:g} points"
    if few:
        why = "one seed has no interval" if n == 1 else f"{n} seeds are too few for an interval"
        return f"undecided: {why}; {enough}, if the paired standard deviation is {spread}"
    return f"undecided: {enough} (with {n} seeds: up to {largest:.2f} points, {_method(count)})"


def _method(count: int) -> str:
    return f"intervals of paired differences{_level(count)}"


def _level(count: int) -> str:
    return f", level {tables.ALPHA:g}" + (f" / {count} for each of {count} comparisons" if count > 1 else "")


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
        as_long = frame[frame["train.epochs"] == base.train.epochs]
        for rows, epochs in ((as_long, "as many epochs"), (frame, "any number of epochs")):
            if sd := _pooled_sd(rows, sweep.space.keys):
                return Spread(sd, f"of {len(rows)} stored runs on {base.dataset} with {base.backbone}, {epochs}")
    return Spread(ASSUMED_SD, "assumed")


def _pooled_sd(frame: pd.DataFrame, searched: Sequence[str]) -> float | None:
    names = [str(name) for name in frame.columns]
    settings = [name for name in names if name.startswith(("train.", "data."))]
    together = [name for name in (*settings, "split", "method.version") if name not in searched]
    own = ["method", *(name for name in names if name.startswith("hyperparameters.") or name in searched)]
    squares, degrees = 0.0, 0
    for _, alike in frame.groupby(together, dropna=False, sort=False):
        number = alike.groupby(own, dropna=False, sort=False).ngroup()
        # of each configuration minus the one before, by seed
        steps = alike.assign(number=number).pivot_table(HEADLINE, "seed", "number").diff(axis=1)
        counts = steps.count().clip(lower=1)
        squares += float((steps.var() * (counts - 1)).sum())
        degrees += int((counts - 1).sum())
    return math.sqrt(squares / degrees) if degrees and squares else None


def detectable(sweep: Sweep, compared: int, spread: Spread) -> str:
    """Return the line that names the difference which a sweep can detect with its seeds, among so many comparisons."""
    n = len(sweep.seeds)
    seeds = "1 seed" if n == 1 else f"{n} seeds"
    if n < tables.MIN_PAIRS:
        return f"with {seeds} no difference is distinguishable from seed noise: an interval takes three or more"
    points = tables.detectable_difference(n, spread.sd, compared)
    power = f"{tables.POWER:.0%} power{_level(compared)}"
    return (
        f"with {seeds} a difference of about {points:.2g} points is detectable ({power}) if the paired standard "
        f"deviation is {spread}"
    )
