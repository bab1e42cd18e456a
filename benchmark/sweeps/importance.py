"""Which keys of a sweep matter: the share of the accuracy's variance that each explains."""

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from benchmark.sweeps.outcomes import Outcome
from benchmark.sweeps.plan import Sweep
from benchmark.tables import ALPHA, Estimate

SEED = "seed"
"""Stands beside the keys: the share of the seed noise."""

FANOVA = "fANOVA (optuna)"
PERMUTATION = "permutation (scikit-learn)"

Sample = tuple[dict[str, Any], float]


@dataclass(frozen=True)
class Importance:
    """How much of the accuracy's variance the keys explain.

    Attributes:
        shares: By key, the largest first, each with an interval; empty where nothing can be said.
        how: How they were found, or why there are none.
    """

    shares: Mapping[str, Estimate]
    how: str

    @property
    def line(self) -> str:
        """The same for a person to read."""
        if not self.shares:
            return f"importance: not reported: {self.how}"
        return f"importance, {self.how}: " + ", ".join(f"{key} {x.text('.0%')}" for key, x in self.shares.items())


def importances(sweep: Sweep, outcomes: Sequence[Outcome]) -> Importance:
    """Return each key's share, where the configurations differ by more than seed noise.

    Every finished run is a sample. A key that does not count in a configuration stands there with its default; the seed
    is one more key. The interval is the jackknife's over the seeds, cut to 0 and 1: with ``s(-i)`` the share without
    seed i, ``share ± t(0.975, n - 1) sqrt((n - 1) / n sum_i (s(-i) - mean s(-i))^2)``.

    Source: Efron & Tibshirani (1993), "An Introduction to the Bootstrap", chapter 11. The bootstrap itself has too few
    different samples of three to five seeds.

    Args:
        sweep: The sweep.
        outcomes: All configurations.
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
    by_optuna = find_spec("optuna") is not None
    share = _fanova if by_optuna else _permutation
    whole = share(_varied(samples))
    parts = []
    for seed in seeds:
        left = [x for x in samples if x[0][SEED] != seed]
        # where all scores are equal there is no variance to share
        parts.append(share(_varied(left)) if len({score for _, score in left}) > 1 else {})
    shares = {key: _jackknife(value, [part.get(key, 0.0) for part in parts]) for key, value in whole.items()}
    how = f"{FANOVA if by_optuna else PERMUTATION}, 95 % jackknife intervals over {len(seeds)} seeds; {test}"
    return Importance(dict(sorted(shares.items(), key=lambda pair: -pair[1].value)), how)


def noise_p(scores: Sequence[Mapping[int, float]]) -> float | None:
    """Return the p value of the differences between configurations against seed noise.

    Over the seeds that all have it is the F test of a two-way analysis of variance without replication, in which the
    seeds are blocks: with k configurations, n seeds and residuals ``r = x - row mean - column mean + mean``,
    ``F = n var(row means) / (sum r^2 / ((k - 1) (n - 1)))`` has k - 1 and (k - 1) (n - 1) degrees of freedom. For two
    configurations it is the paired t-test.

    Source: Montgomery (2017), "Design and Analysis of Experiments", chapter 4 (randomized complete block design).

    Args:
        scores: By configuration, then by seed; at least two configurations.

    Returns:
        None if they share fewer than two seeds.
    """
    import numpy as np
    from scipy.stats import f

    seeds = sorted(set.intersection(*({*each} for each in scores)))
    if len(seeds) < 2:
        return None
    table = np.array([[each[seed] for seed in seeds] for each in scores])
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    residuals = table - rows[:, None] - columns[None, :] + table.mean()
    degrees = len(rows) - 1, (len(rows) - 1) * (len(columns) - 1)
    between, within = len(columns) * float(rows.var(ddof=1)), float((residuals**2).sum()) / degrees[1]
    if within <= 1e-18 * float((table**2).mean()):
        # nothing but rounding is left: without noise every difference exceeds it
        return 0.0 if between > within else 1.0
    return float(f.sf(between / within, *degrees))


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


def _fanova(samples: Sequence[Sample]) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    columns = {key: [features[key] for features, _ in samples] for key in samples[0][0]}
    distributions: dict[str, optuna.distributions.BaseDistribution] = {}
    for key, values in columns.items():
        if _numeric(values) and key != SEED:
            distributions[key] = optuna.distributions.FloatDistribution(min(values), max(values))
        else:
            words = sorted({json.dumps(value) for value in values})
            distributions[key] = optuna.distributions.CategoricalDistribution(words)
    study = optuna.create_study(direction="maximize")
    for features, score in samples:
        params = {
            key: float(value)
            if isinstance(distributions[key], optuna.distributions.FloatDistribution)
            else json.dumps(value)
            for key, value in features.items()
        }
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
    columns = []
    for key in keys:
        values = [features[key] for features, _ in samples]
        if _numeric(values):
            columns.append([float(value) for value in values])
        else:
            words = sorted({json.dumps(value) for value in values})
            columns.append([float(words.index(json.dumps(value))) for value in values])
    table, scores = np.array(columns).T, np.array([score for _, score in samples])
    forest = RandomForestRegressor(n_estimators=64, random_state=0).fit(table, scores)
    raw = permutation_importance(forest, table, scores, n_repeats=10, random_state=0).importances_mean.clip(min=0)
    total = float(raw.sum()) or 1.0
    return {key: float(value) / total for key, value in zip(keys, raw, strict=True)}


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
