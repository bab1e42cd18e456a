"""The results of a sweep's configurations, read from the store, and which keys explain their differences."""

import json
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from statistics import mean, stdev
from typing import Any, NamedTuple

import pandas as pd

from benchmark import tables
from benchmark.configuration import RunConfig
from benchmark.store import Status
from benchmark.sweeps.plan import Configuration, Sweep
from benchmark.tables import ALPHA, Estimate
from methods.schedules import Schedule

SEED = "seed"  # beside the keys: the share of the seed noise

Sample = tuple[dict[str, Any], float]


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


class Importance(NamedTuple):
    """The share of the accuracy's variance that each key explains."""

    shares: Mapping[str, Estimate]  # by key, the largest first, each with an interval; empty where nothing can be said
    how: str  # how they were found, or why there are none


def importances(sweep: Sweep, outcomes: Sequence[Outcome]) -> Importance:
    """Return each key's share by Optuna's fANOVA, where the configurations differ by more than seed noise.

    Every finished run is a sample. A key that does not count in a configuration has its default there; the seed is one
    more key. The interval is the jackknife's over the seeds, cut to 0 and 1: with ``s(-i)`` the share without seed i,
    ``share ± t(0.975, n - 1) sqrt((n - 1) / n sum_i (s(-i) - mean s(-i))^2)``.

    Source: Efron & Tibshirani (1993), "An Introduction to the Bootstrap", chapter 11. The bootstrap itself has too few
    different samples of three to five seeds.
    """
    from scipy.stats import t

    finished = [outcome for outcome in outcomes if outcome.n]
    seeds = sorted({seed for outcome in finished for seed in outcome.scores})
    if len(finished) < 2:
        return Importance({}, "fewer than two configurations have finished")
    if len(seeds) < 2:
        return Importance({}, "with one seed the seed noise is unknown")
    p = noise_p([outcome.scores for outcome in finished])
    if p is None:
        return Importance({}, "the configurations have no two seeds in common")
    test = f"two-way analysis of variance of configurations and seeds, p = {p:.2g}"
    if p >= ALPHA:
        return Importance({}, f"the differences between configurations do not exceed seed noise ({test})")
    if find_spec("optuna") is None:
        return Importance({}, "it needs the package optuna: pip install 'okdbench[sweep]'")
    samples: list[Sample] = []
    for outcome in finished:
        values = {key: sweep.value_of(outcome.configuration.runs[0], key) for key in sweep.space.keys}
        samples += [({**values, SEED: seed}, score) for seed, score in outcome.scores.items()]
    whole, n = _fanova(samples), len(seeds)
    parts = [_fanova([x for x in samples if x[0][SEED] != seed]) for seed in seeds]
    errors = pd.DataFrame(parts, columns=[*whole]).fillna(0.0).std() * (n - 1) / math.sqrt(n)
    halves = float(t.ppf(1 - ALPHA / 2, n - 1)) * errors
    shares = {key: Estimate(x, max(0.0, x - halves[key]), min(1.0, x + halves[key])) for key, x in whole.items()}
    how = f"fANOVA (optuna), 95 % jackknife intervals over {n} seeds; {test}"
    return Importance(dict(sorted(shares.items(), key=lambda pair: -pair[1].value)), how)


def noise_p(scores: Sequence[Mapping[int, float]]) -> float | None:
    """Return the p value of the differences between configurations against seed noise.

    It is that of :func:`benchmark.tables.two_way`, in which the seeds that all configurations have are blocks.

    Args:
        scores: By configuration, then by seed; at least two configurations.

    Returns:
        None if they share fewer than two seeds.
    """
    seeds = sorted(set.intersection(*({*each} for each in scores)))
    return tables.two_way([[each[seed] for seed in seeds] for each in scores]).p if len(seeds) > 1 else None


def _fanova(samples: Sequence[Sample]) -> dict[str, float]:
    """Return the share of each key with several values; none where all scores are equal: there is no variance."""
    import optuna

    if len({score for _, score in samples}) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    columns: dict[str, list[Any]] = {}
    distributions: dict[str, optuna.distributions.BaseDistribution] = {}
    for key in samples[0][0]:
        values = [features[key] for features, _ in samples]
        texts = [json.dumps(value) for value in values]
        if len(set(texts)) == 1:
            continue
        if key != SEED and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            columns[key] = [float(value) for value in values]
            distributions[key] = optuna.distributions.FloatDistribution(min(columns[key]), max(columns[key]))
        else:
            columns[key] = texts
            distributions[key] = optuna.distributions.CategoricalDistribution(sorted(set(texts)))
    study = optuna.create_study(direction="maximize")
    for place, (_, score) in enumerate(samples):
        params = {key: column[place] for key, column in columns.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return {key: float(x) for key, x in optuna.importance.get_param_importances(study, evaluator=evaluator).items()}
