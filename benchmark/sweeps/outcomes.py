"""The results of a sweep's configurations, the answer that they give to its question, and what its seeds can detect."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, stdev
from typing import Any, NamedTuple

import pandas as pd

from benchmark import tables
from benchmark.configuration import RunConfig
from benchmark.formatting import counted, shown
from benchmark.reports import markdown_templates
from benchmark.store import Status
from benchmark.sweeps.plan import BOUND, Configuration, Sweep
from benchmark.sweeps.space import described, identity
from benchmark.tables import Word, verdict
from methods.schedules import Schedule

ASSUMED_SD = 0.5  # points, where no runs say more
MAX_NAMED = 3


@dataclass(frozen=True)
class Outcome:
    """The results of a configuration."""

    configuration: Configuration
    # the students' accuracy after the last epoch on the validation part, by seed, of the finished runs
    scores: Mapping[int, float]
    last: Mapping[int, float] = field(default_factory=dict)  # the last accuracy of the other runs, by seed
    epochs: int = 0  # that were trained, over all seeds
    status: str = ""  # of its runs, in words
    schedules: Mapping[str, Schedule] = field(default_factory=dict)  # of its loss terms' weights, by term
    runs: Sequence[dict[str, Any]] = ()  # seed, accuracy, status, reason and folder of each run

    @property
    def n(self) -> int:
        """How many seeds have finished."""
        return len(self.scores)

    @property
    def mean(self) -> float:
        """Over the finished seeds; nan without any."""
        return mean(self.scores.values()) if self.scores else math.nan

    @property
    def std(self) -> float:
        """The sample's, over the finished seeds; nan for fewer than two."""
        return stdev(self.scores.values()) if self.n > 1 else math.nan


def outcome(sweep: Sweep, configuration: Configuration) -> Outcome:
    """Return the results of a configuration so far."""
    store, first = sweep.command.store, configuration.runs[0]
    runs: list[dict[str, Any]] = []
    scores: dict[int, float] = {}
    last: dict[int, float] = {}
    epochs = 0
    for run in configuration.runs:
        result, rows = store.result(run), store.metrics(run)
        status = str(result.status if result else Status.UNFINISHED if rows else "not begun")
        accuracy = next((row["student"] for row in reversed(rows) if "student" in row), None)
        if accuracy is not None:
            (scores if status == Status.FINISHED else last)[run.seed] = accuracy
        epochs += len(rows)
        own = {"seed": run.seed, "accuracy": accuracy, "status": status, "reason": result.reason if result else ""}
        runs.append(own | {"run": store.folder(run).name})
    reasons = {row["status"]: row["reason"] and f": {row['reason']}" for row in reversed(runs)}
    counts = Counter(row["status"] for row in runs)
    words = "; ".join(f"{count} {status}{reasons[status]}" for status, count in counts.items())
    schedules = sweep.hyperparameters(first).schedules(first.train.epochs)
    return Outcome(configuration, scores, last, epochs, words, schedules, runs)


def complete(sweep: Sweep, run: RunConfig) -> bool:
    """Return whether a run needs nothing more in this sweep; ASHA does not resume what it stopped."""
    result = sweep.command.store.result(run)
    return result is not None and result.status in complete_statuses(sweep)


def complete_statuses(sweep: Sweep) -> list[Status]:
    """Return the statuses of runs that need nothing more in a sweep."""
    stopped = [Status.STOPPED] if sweep.scheduler == "asha" else []
    return [*(status for status in Status if status.final), *stopped]


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes by the most finished seeds, then by their mean: a lucky seed alone does not win."""
    return sorted(outcomes, key=lambda x: (-x.n, -x.mean if x.n else 0.0, x.configuration.number))


# the answer


class Spread(NamedTuple):
    """The expected standard deviation of paired differences, in points, and its source."""

    sd: float
    source: str


class Compared(NamedTuple):
    """Two configurations that share a seed, and their difference; what has finished so far counts."""

    name: str
    other: str  # what the second is called
    where: str  # what both have in common, if other pairs have something else
    gain: tables.Gain  # with its verdict at the level that it has among all comparisons
    low: float  # the difference's interval, or the difference alone
    high: float

    @property
    def differs(self) -> bool:
        """Whether the two are better and worse."""
        return self.gain.verdict not in ("equivalent", "undecided")


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
        later = against[against.index(own) :] if own in against else ()
        for value in against if key in configuration.assignment else ():
            other = sweep.space.completed({**configuration.assignment, key: value}, base)
            if value not in (own, *later) and other.get(key) == value and identity(other) in tried:
                found.append((configuration, tried[identity(other)]))
    return found


def comparisons(sweep: Sweep, configurations: Sequence[Configuration]) -> int:
    """Return the number of comparisons that the level of the answer is for."""
    return len(pairs(sweep, configurations)) if sweep.question else len(configurations) - 1


def compared_pairs(sweep: Sweep, outcomes: Sequence[Outcome]) -> list[Compared]:
    """Return the comparisons that the answer is made of, each at its level among all that were asked for."""
    finished = [outcome for outcome in ranked(outcomes) if outcome.n]
    # of all that are tried: a verdict depends on its own runs, and not on which others have finished
    count = comparisons(sweep, [outcome.configuration for outcome in outcomes])
    if sweep.question is None:
        return _best_compared(sweep, finished, BOUND, count) if finished else []
    return _question_compared(sweep, finished, sweep.question.within, count)


def answer(sweep: Sweep, outcomes: Sequence[Outcome], spread: Spread) -> str:
    """Return the answer to the sweep's question, or that it is undecided and the number of seeds that would decide.

    The differences are paired by seed and judged as those of a table are, at level 0.05 / K for K comparisons.
    Without a question it is whether the best configuration differs from the default; where the default is the best, or
    was not tried, whether the best differs from the second. The expected spread counts where there are too few seeds.
    """
    question, finished = sweep.question, [outcome for outcome in ranked(outcomes) if outcome.n]
    count = comparisons(sweep, [outcome.configuration for outcome in outcomes])
    within, compared = question.within if question else BOUND, compared_pairs(sweep, outcomes)
    others = [x for x in compared if not x.differs]
    undecided = [x.gain for x in others if x.gain.verdict == "undecided"]
    n = min((gain.n for gain in undecided), default=0)
    sds = [gain.sd for gain in undecided if gain.p is not None and gain.sd] if n >= tables.MIN_PAIRS else [spread.sd]
    # whatever the difference is, an interval of half the bound excludes 0 or is within the bound
    needed = [tables.seeds_for_half_width(within / 2, sd, count) for sd in sds]
    different = sorted((x for x in compared if x.differs), key=lambda x: -abs(x.gain.mean))
    facts: dict[str, Any] = {"question": question, "finished": finished, "total": len(outcomes), "within": within}
    facts |= {"compared": compared, "different": different, "others": others, "undecided": undecided, "n": n}
    facts |= {"largest": max((max(-x.low, x.high) for x in others), default=0.0), "needed": needed}
    templates = markdown_templates("benchmark.sweeps")
    templates.filters["shown"] = shown
    text = templates.get_template("answer.j2").render(most_named=MAX_NAMED, spread=spread, level=_level(count), **facts)
    return " ".join(text.split())


def _question_compared(sweep: Sweep, finished: Sequence[Outcome], within: float, count: int) -> list[Compared]:
    outcomes = {outcome.configuration.number: outcome for outcome in finished}
    found = pairs(sweep, [outcome.configuration for outcome in finished])
    shared = [{k: v for k, v in x.assignment.items() if k in y.assignment and y.assignment[k] == v} for x, y in found]
    several = len(set(map(described, shared))) > 1
    compared = []
    for pair, same in zip(found, shared, strict=True):
        name, other = (described({k: v for k, v in x.assignment.items() if k not in same}) for x in pair)
        ours, reference = (outcomes[x.number] for x in pair)
        where = described(same) if same and several else ""
        compared += _compare(ours, reference, name, other, where, within, count)
    return compared


def _best_compared(sweep: Sweep, finished: Sequence[Outcome], within: float, count: int) -> list[Compared]:
    best, *rest = finished
    default = [x for x in rest if x.configuration.runs[0].identity == sweep.base.identity]
    compared = []
    for place, x in enumerate(default or rest):
        role = "the default, " if default else "the second, " if place == 0 else ""
        names = f"the best, {best.configuration.label},", f"{role}{x.configuration.label},"
        compared += _compare(best, x, *names, "", within, count)
    # that the best is better than all others takes all comparisons: the least significant one decides
    return sorted(compared, key=lambda x: x.differs)[:1]


def _compare(
    ours: Outcome, reference: Outcome, name: str, other: str, where: str, within: float, count: int
) -> list[Compared]:
    """Return the difference with its verdict; none of two that share no seed."""
    gain = tables.paired_gain(ours.scores, reference.scores, tables.ALPHA / count)
    if gain is None:
        return []
    low, high = (gain.mean if end is None else end for end in (gain.low, gain.high))
    word: Word = "undecided" if gain.p is None else verdict(low, high, within, "high")
    if gain.n >= tables.MIN_PAIRS and gain.mean == gain.sd == 0:
        # so are scores that are equal with every seed
        word = "equivalent"
    return [Compared(name, other, where, replace(gain, verdict=word, bound=within), low, high)]


def _level(count: int) -> str:
    return f", level {tables.ALPHA:g}" + (f" / {count} for each of {count} comparisons" if count > 1 else "")


def expected_spread(outcomes: Sequence[Outcome]) -> Spread:
    """Return the standard deviation of paired differences, from what a sweep's configurations have so far.

    Of each configuration minus the one before, seed by seed, the squared deviations from their means are pooled.
    Where no two configurations share two seeds, 0.5 points are assumed.
    """
    finished = {x.configuration.number: x.scores for x in outcomes if x.n}
    steps = pd.DataFrame(finished).diff(axis=1)
    degrees = (steps.count() - 1).clip(lower=0)
    squares = float((steps.var() * degrees).sum())
    if not squares:
        return Spread(ASSUMED_SD, "assumed")
    runs = sum(map(len, finished.values()))
    return Spread(math.sqrt(squares / degrees.sum()), f"of {runs} runs of its configurations")


def detectable(sweep: Sweep, compared: int, spread: Spread) -> str:
    """Return the line that names the difference which a sweep can detect with its seeds, among so many comparisons."""
    n = len(sweep.seeds)
    seeds = counted(n, "seed")
    if n < tables.MIN_PAIRS:
        return f"with {seeds} no difference is distinguishable from seed noise: an interval takes three or more"
    points = tables.detectable_difference(n, spread.sd, compared)
    power = f"{tables.POWER:.0%} power{_level(compared)}"
    condition = f"if the paired standard deviation is {spread.sd:.2f} points ({spread.source})"
    return f"with {seeds} a difference of about {points:.2g} points is detectable ({power}) {condition}"


def beforehand(sweep: Sweep, outcomes: Sequence[Outcome], wanted: int) -> list[str]:
    """Return what is said before a sweep continues: what it leaves out, and what it detects once all are chosen."""
    compared = comparisons(sweep, [x.configuration for x in outcomes]) + wanted
    line = detectable(sweep, max(1, compared), expected_spread(outcomes))
    return [sweep.left_out, line] if sweep.left_out else [line]
