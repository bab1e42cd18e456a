"""The answer to what a sweep was asked, in one line."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.metrics import HEADLINE, METRICS
from benchmark.sweeps.foresight import Spread
from benchmark.sweeps.outcomes import Outcome, ranked
from benchmark.sweeps.plan import Configuration, Sweep
from benchmark.sweeps.question import WITHIN, Question
from benchmark.sweeps.space import Assignment, described, identity, shown
from benchmark.tables import ALPHA, MIN_PAIRS, Gain, Verdict, gains, judged, seeds_that_decide

MAX_NAMED = 3
OURS, REFERENCE = "ours", "reference"


@dataclass(frozen=True)
class Comparison:
    """Two configurations that are compared by the seeds that both have.

    Attributes:
        ours: The scores by seed.
        reference: Those of what it is compared with.
        ours_name: What differs from the reference, or the whole configuration.
        reference_name: What differs from ours.
        where: The keys and values that both have, where other comparisons have others; else empty.
    """

    ours: Outcome
    reference: Outcome
    ours_name: str
    reference_name: str
    where: str = ""


@dataclass(frozen=True)
class Judged:
    """A comparison with its difference, corrected for all others, and what it comes to."""

    comparison: Comparison
    gain: Gain
    verdict: Verdict

    @property
    def differs(self) -> bool:
        """Whether the difference is statistically significant."""
        return self.gain.significant

    @property
    def same(self) -> bool:
        """Whether the two are equivalent within the bound; so are two whose scores are equal with every seed."""
        identical = self.gain.n >= MIN_PAIRS and self.gain.p is None and self.gain.mean == 0 and self.verdict.sd == 0
        return self.verdict.word == "same" or identical

    @property
    def reach(self) -> float:
        """The largest difference, in either direction, that the interval leaves possible."""
        if self.gain.low is None or self.gain.high is None:
            return abs(self.gain.mean)
        return max(-self.gain.low, self.gain.high)

    def text(self) -> str:
        """Return how the two differ."""
        one, size = self.comparison, abs(self.gain.mean)
        where = f" with {one.where}" if one.where else ""
        ends = sorted(abs(end) for end in (self.gain.low or 0.0, self.gain.high or 0.0))
        word = "better" if self.gain.mean > 0 else "worse"
        interval = f"{size:.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"
        return f"{one.ours_name} is {word} than {one.reference_name} by {interval} points{where}"


def pairs(sweep: Sweep, configurations: Sequence[Configuration]) -> list[tuple[Configuration, Configuration]]:
    """Return which configurations are compared with which, to answer the question that a sweep declares.

    Args:
        sweep: With a question.
        configurations: That are tried.

    Returns:
        Those whose reference, which has the same values of all other keys, is tried too.
    """
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


def count(sweep: Sweep, configurations: Sequence[Configuration]) -> int:
    """Return how many comparisons the answer is corrected for."""
    return len(pairs(sweep, configurations)) if sweep.question else len(configurations) - 1


def answer(sweep: Sweep, outcomes: Sequence[Outcome], spread: Spread) -> str:
    """Return the answer to the sweep's question, or that it is undecided and how many seeds would decide.

    The differences are paired by seed, their intervals and p values corrected by Holm's procedure for all comparisons.
    Without a question it is whether the best configuration differs from the default; where the default is the best, or
    was not tried, whether the best differs from the second.

    Args:
        sweep: The sweep.
        outcomes: Of every configuration.
        spread: What the standard deviation of paired differences is taken for where there are too few seeds.
    """
    finished = [outcome for outcome in ranked(outcomes) if outcome.n]
    if len(finished) < 2:
        return f"undecided: {len(finished)} of {len(outcomes)} configurations have finished a run, a comparison takes 2"
    if sweep.question is not None:
        return _declared(sweep, sweep.question, finished, spread)
    return _of_the_best(sweep, finished, spread)


def _declared(sweep: Sweep, question: Question, finished: Sequence[Outcome], spread: Spread) -> str:
    by_number = {outcome.configuration.number: outcome for outcome in finished}
    found = pairs(sweep, [outcome.configuration for outcome in finished])
    contexts = {_shared(ours.assignment, reference.assignment) for ours, reference in found}
    judged_ones = _judged(
        [
            Comparison(
                by_number[ours.number],
                by_number[reference.number],
                _differing(ours.assignment, reference.assignment),
                _differing(reference.assignment, ours.assignment),
                _shared(ours.assignment, reference.assignment) if len(contexts) > 1 else "",
            )
            for ours, reference in found
        ],
        question.within,
    )
    if not judged_ones:
        return f"undecided: no finished configuration says {question}"
    references = " or ".join(map(shown, question.against))
    different = sorted((x for x in judged_ones if x.differs), key=lambda x: -abs(x.gain.mean))
    others = [x for x in judged_ones if not x.differs]
    subject = f"{question.key} differs from {references}"
    rest = _Rest(f"no {subject} by more than", subject, question.within, len(judged_ones), spread)
    if not different:
        return rest.text(others)
    parts = [x.text() for x in different[:MAX_NAMED]]
    if len(different) > MAX_NAMED:
        parts.append(f"{len(different) - MAX_NAMED} more differences")
    named = f"{'; '.join(parts)} ({_method(len(judged_ones))})"
    return f"{named}; of the other {len(others)}: {rest.text(others)}" if others else named


def _of_the_best(sweep: Sweep, finished: Sequence[Outcome], spread: Spread) -> str:
    best = finished[0]
    default = next((x for x in finished if x.configuration.runs[0].identity == sweep.base.identity), None)
    name = f"the best, {best.configuration.label},"
    if default is None or default is best:
        # the true best's comparisons with all others hold together: so the claim needs all of them
        roles = ["the second, ", *[""] * (len(finished) - 2)]
        found = [_named(best, other, name, role) for other, role in zip(finished[1:], roles, strict=True)]
        judged_ones = _judged(found, WITHIN)
        asked = sorted(judged_ones, key=lambda x: x.differs)[:1]
    else:
        found = [_named(other, default, name, "the default, ") for other in finished if other is not default]
        judged_ones = _judged(found, WITHIN)
        asked = [x for x in judged_ones if x.comparison.ours is best]
    if not asked:
        return f"undecided: {name} has no seed in common with what it is compared with"
    [focus] = asked
    if focus.differs:
        return f"{focus.text()} ({_method(len(judged_ones))})"
    subject = f"{name} differs from {focus.comparison.reference_name}"
    return _Rest(f"{subject} by no more than", subject, WITHIN, len(judged_ones), spread).text([focus])


def _named(ours: Outcome, reference: Outcome, name: str, role: str) -> Comparison:
    return Comparison(ours, reference, name, f"{role}{reference.configuration.label},")


def _judged(comparisons: Sequence[Comparison], within: float) -> list[Judged]:
    """Return the comparisons that share a seed, judged together: each is a column with a row for either side."""
    scores = {(OURS, index): x.ours.scores for index, x in enumerate(comparisons)}
    scores |= {(REFERENCE, index): x.reference.scores for index, x in enumerate(comparisons)}
    found = gains(scores, REFERENCE)
    better = dict.fromkeys((index for _, index in scores), METRICS[HEADLINE].better)
    verdicts = judged(scores, found, REFERENCE, within, better).verdicts
    return [
        Judged(x, found[OURS, index], verdicts[OURS, index])
        for index, x in enumerate(comparisons)
        if (OURS, index) in found
    ]


@dataclass(frozen=True)
class _Rest:
    """How it is said that none of some differences exceeds a bound, or how many seeds would decide it."""

    equal: str
    subject: str
    within: float
    comparisons: int
    spread: Spread

    def text(self, found: Sequence[Judged]) -> str:
        """Return what the differences come to, none of which is statistically significant."""
        largest = max(x.reach for x in found)
        if all(x.same for x in found):
            if largest == 0:
                return f"{self.equal} 0 points (the accuracies are equal with every seed)"
            if largest <= self.within:
                return f"{self.equal} {math.ceil(100 * largest) / 100:.2f} points ({_method(self.comparisons)})"
            # all of them are claimed together, which takes each test at its own level and no correction
            tests = f"two one-sided t-tests at {ALPHA:.0%} for each of {len(found)} comparisons"
            return f"{self.equal} {self.within:g} points ({tests})"
        undecided = [x for x in found if not x.same]
        n = min(x.gain.n for x in undecided)
        if n < MIN_PAIRS:
            few = "one seed has no interval" if n == 1 else f"{n} seeds are too few for an interval"
            needed = seeds_that_decide(self.within, self.spread.sd, self.comparisons)
            condition = f", if the paired standard deviation is {self.spread}"
            return f"undecided: {few}; {self._enough(needed)}{condition}"
        numbers = [x.verdict.decides for x in undecided if x.gain.p is not None]
        if not numbers:
            return f"undecided: whether {self.subject}: a difference that is equal with every seed has no interval"
        feasible = [number for number in numbers if number is not None]
        enough = self._enough(max(feasible) if len(feasible) == len(numbers) else None)
        return f"undecided: {enough} (with {n} seeds: up to {largest:.2f} points, {_method(self.comparisons)})"

    def _enough(self, needed: int | None) -> str:
        seeds = "no feasible number of seeds" if needed is None else f"{needed} seeds"
        return f"{seeds} would decide whether {self.subject} by {self.within:g} points"


def _method(comparisons: int) -> str:
    corrected = f", corrected for {comparisons} comparisons" if comparisons > 1 else ""
    return f"95 % intervals of paired differences{corrected}"


def _differing(ours: Assignment, other: Assignment) -> str:
    return described({key: value for key, value in ours.items() if key not in other or other[key] != value})


def _shared(ours: Assignment, other: Assignment) -> str:
    shared = {key: value for key, value in ours.items() if key in other and other[key] == value}
    return described(shared) if shared else ""
