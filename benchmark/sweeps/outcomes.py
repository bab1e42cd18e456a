"""The results of a sweep's configurations, read from the store, and which keys explain their differences."""

import json
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import mean, stdev
from typing import Any

from benchmark.store import Status
from benchmark.sweeps.plan import Configuration, Sweep
from benchmark.tables import ALPHA, Estimate, two_way
from methods.schedules import Schedule, inactive_terms

SEED = "seed"  # beside the keys: the share of the seed noise

FANOVA = "fANOVA (optuna)"
PERMUTATION = "permutation (scikit-learn)"

Sample = tuple[dict[str, Any], float]


@dataclass(frozen=True)
class Outcome:
    """The results of a configuration."""

    configuration: Configuration
    # the students' accuracy after the last epoch on the validation part, by seed, of the finished runs
    scores: Mapping[int, float]
    last: Mapping[int, float]  # the last accuracy of the runs that did not finish, by seed
    epochs: int  # that were trained, over all seeds
    statuses: Mapping[str, tuple[int, str]]  # by status, the number of runs and the first one's reason
    schedules: Mapping[str, Schedule]  # the weights of its loss terms over the epochs, by term

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
        """The statuses of its runs in words."""
        return "; ".join(f"{n} {status}{f': {reason}' * bool(reason)}" for status, (n, reason) in self.statuses.items())

    @property
    def inactive_terms(self) -> list[str]:
        """The inactive loss terms."""
        return inactive_terms(self.schedules)


def outcome(sweep: Sweep, configuration: Configuration) -> Outcome:
    """Return the results of a configuration so far."""
    store = sweep.command.store
    scores: dict[int, float] = {}
    last: dict[int, float] = {}
    counts: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    epochs = 0
    for run in configuration.runs:
        result, rows = store.result(run), store.metrics(run)
        status = result.status if result else Status.UNFINISHED if rows else None
        word = str(status) if status else "not begun"
        counts[word] += 1
        reasons.setdefault(word, result.reason if result else "")
        epochs += len(rows)
        accuracy = next((row["student"] for row in reversed(rows) if "student" in row), None)
        if accuracy is not None:
            (scores if status is Status.FINISHED else last)[run.seed] = accuracy
    statuses = {word: (count, reasons[word]) for word, count in counts.items()}
    first = configuration.runs[0]
    schedules = sweep.hyperparameters(first).schedules(first.train.epochs)
    return Outcome(configuration, scores, last, epochs, statuses, schedules)


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes by the most finished seeds, then by their mean: a lucky seed alone does not win."""
    return sorted(outcomes, key=lambda x: (-x.n, -x.mean if x.n else 0.0, x.configuration.number))


@dataclass(frozen=True)
class Importance:
    """The share of the accuracy's variance that each key explains."""

    shares: Mapping[str, Estimate]  # by key, the largest first, each with an interval; empty where nothing can be said
    how: str  # how they were found, or why there are none

    @property
    def line(self) -> str:
        """The same for a person to read."""
        if not self.shares:
            return f"importance: not reported: {self.how}"
        return f"importance, {self.how}: " + ", ".join(f"{key} {x.text('.0%')}" for key, x in self.shares.items())


def importances(sweep: Sweep, outcomes: Sequence[Outcome]) -> Importance:
    """Return each key's share, where the configurations differ by more than seed noise.

    Every finished run is a sample. A key that does not count in a configuration has its default there; the seed is one
    more key. The interval is the jackknife's over the seeds, cut to 0 and 1: with ``s(-i)`` the share without seed i,
    ``share ± t(0.975, n - 1) sqrt((n - 1) / n sum_i (s(-i) - mean s(-i))^2)``.

    Source: Efron & Tibshirani (1993), "An Introduction to the Bootstrap", chapter 11. The bootstrap itself has too few
    different samples of three to five seeds.
    """
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
    samples: list[Sample] = []
    for outcome in finished:
        values = {key: sweep.value_of(outcome.configuration.runs[0], key) for key in sweep.space.keys}
        samples += [({**values, SEED: seed}, score) for seed, score in outcome.scores.items()]
    share, name = (_fanova, FANOVA) if find_spec("optuna") else (_permutation, PERMUTATION)
    whole = share(_varied(samples))
    parts = []
    for seed in seeds:
        left = [x for x in samples if x[0][SEED] != seed]
        # where all scores are equal there is no variance to share
        parts.append(share(_varied(left)) if len({score for _, score in left}) > 1 else {})
    shares = {key: _jackknife(value, [part.get(key, 0.0) for part in parts]) for key, value in whole.items()}
    how = f"{name}, 95 % jackknife intervals over {len(seeds)} seeds; {test}"
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
    return two_way([[each[seed] for seed in seeds] for each in scores]).p if len(seeds) > 1 else None


def _varied(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples without the keys that have one value."""
    varied = [key for key in samples[0][0] if len({json.dumps(features[key]) for features, _ in samples}) > 1]
    return [({key: features[key] for key in varied}, score) for features, score in samples]


def _jackknife(value: float, parts: Sequence[float]) -> Estimate:
    from scipy.stats import t

    n, center = len(parts), math.fsum(parts) / len(parts)
    error = math.sqrt((n - 1) / n * math.fsum((part - center) ** 2 for part in parts))
    half = float(t.ppf(1 - ALPHA / 2, n - 1)) * error
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))


def _column(samples: Sequence[Sample], key: str) -> list[float] | list[str]:
    """Return a key's values: numbers, or texts where they are words or something else."""
    values = [features[key] for features, _ in samples]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return [float(value) for value in values] if numeric else [json.dumps(value) for value in values]


def _fanova(samples: Sequence[Sample]) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    columns = {key: _column(samples, key) for key in samples[0][0]}
    if SEED in columns:
        columns[SEED] = [json.dumps(features[SEED]) for features, _ in samples]
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        key: optuna.distributions.CategoricalDistribution(sorted(set(column)))
        if isinstance(column[0], str)
        else optuna.distributions.FloatDistribution(min(column), max(column))
        for key, column in columns.items()
    }
    study = optuna.create_study(direction="maximize")
    for place, (_, score) in enumerate(samples):
        params = {key: values[place] for key, values in columns.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return {key: float(x) for key, x in optuna.importance.get_param_importances(study, evaluator=evaluator).items()}


def _permutation(samples: Sequence[Sample]) -> dict[str, float]:
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    keys = list(samples[0][0])
    columns = [
        np.unique(column, return_inverse=True)[1] if isinstance(column[0], str) else column
        for column in (_column(samples, key) for key in keys)
    ]
    table, scores = np.array(columns, dtype=float).T, np.array([score for _, score in samples])
    forest = RandomForestRegressor(n_estimators=64, random_state=0).fit(table, scores)
    raw = permutation_importance(forest, table, scores, n_repeats=10, random_state=0).importances_mean.clip(min=0)
    total = float(raw.sum()) or 1.0
    return {key: float(value) / total for key, value in zip(keys, raw, strict=True)}
