"""How the configurations of a sweep did, read from the store."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import methods
from benchmark.store import Status, Store
from benchmark.sweeps.plan import Configuration
from methods import registry
from methods.schedules import Schedule, inactive_terms


@dataclass(frozen=True)
class Outcome:
    """How a configuration did.

    Attributes:
        configuration: Which.
        scores: The students' accuracy after the last epoch on the validation part, by seed, of the finished runs.
        last: The last accuracy of the runs that did not finish, by seed.
        epochs: That were trained, over all seeds.
        statuses: How many runs ended how, and the first reason of each kind.
        schedules: How the weights of its loss terms change, by term.
        hyperparameters: All of them, with the defaults filled in.
    """

    configuration: Configuration
    scores: Mapping[int, float]
    last: Mapping[int, float]
    epochs: int
    statuses: Mapping[str, tuple[int, str]]
    schedules: Mapping[str, Schedule]
    hyperparameters: Mapping[str, Any]

    @property
    def n(self) -> int:
        """How many seeds have finished."""
        return len(self.scores)

    @property
    def mean(self) -> float:
        """Over the finished seeds; nan without any."""
        return mean(self.scores.values()) if self.scores else float("nan")

    @property
    def std(self) -> float:
        """The sample's, over the finished seeds; nan for fewer than two."""
        return stdev(self.scores.values()) if self.n > 1 else float("nan")

    @property
    def status(self) -> str:
        """How its runs ended, in words."""
        return "; ".join(f"{n} {status}{f': {reason}' * bool(reason)}" for status, (n, reason) in self.statuses.items())

    @property
    def inactive_terms(self) -> list[str]:
        """The inactive loss terms."""
        return inactive_terms(self.schedules)


def outcome(configuration: Configuration, store: Store, plugins: Sequence[str] = ()) -> Outcome:
    """Return how a configuration did so far."""
    scores: dict[int, float] = {}
    last: dict[int, float] = {}
    statuses: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    epochs = 0
    for run in configuration.runs:
        result, rows = store.result(run), store.metrics(run)
        status = result.status if result else Status.UNFINISHED if rows else None
        word = str(status) if status else "not begun"
        statuses[word] += 1
        reasons.setdefault(word, result.reason if result else "")
        epochs += len(rows)
        accuracy = next((row["student"] for row in reversed(rows) if "student" in row), None)
        if accuracy is not None:
            (scores if status is Status.FINISHED else last)[run.seed] = accuracy
    run = configuration.runs[0]
    values = methods.restored(run.method, run.hyperparameters, plugins)
    chosen = registry.load(run.method, plugins).Hyperparameters.resolve(values, owner=run.method)
    endings = {word: (count, reasons[word]) for word, count in statuses.items()}
    return Outcome(
        configuration, scores, last, epochs, endings, chosen.schedules(run.train.epochs), chosen.model_dump(mode="json")
    )


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes from the best: those with the most finished seeds first, by their mean.

    A mean of fewer seeds is not preferred to one of more: a lucky seed would win.
    """
    return sorted(outcomes, key=lambda x: (-x.n, -x.mean if x.n else 0.0, x.configuration.number))
