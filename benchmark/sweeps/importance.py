"""Which keys of a sweep matter: the share of the accuracy's variance that each explains."""

import json
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from benchmark.sweeps.outcomes import Outcome, value_of

SEED = "seed"
"""Stands beside the keys: what explains less than the seed does is not told from luck."""

FANOVA = "fANOVA (optuna)"
PERMUTATION = "permutation (scikit-learn)"

Sample = tuple[dict[str, Any], float]


def importances(keys: Sequence[str], outcomes: Sequence[Outcome]) -> tuple[dict[str, float], str]:
    """Return each key's share, the largest first, and how it was found; nothing if there is nothing to compare.

    Every finished run is a sample. A key that does not count in a configuration stands there with its default. With
    several seeds the seed is one more key.

    Args:
        keys: Of the space.
        outcomes: All configurations.
    """
    samples: list[Sample] = []
    for outcome in outcomes:
        values = {key: value_of(outcome, key) for key in keys}
        samples += [({**values, SEED: seed}, score) for seed, score in outcome.scores.items()]
    varied = [key for key in (*keys, SEED) if len({json.dumps(features[key]) for features, _ in samples}) > 1]
    samples = [({key: features[key] for key in varied}, score) for features, score in samples]
    if len({json.dumps(features) for features, _ in samples}) < 4 or len({score for _, score in samples}) < 2:
        return {}, FANOVA
    if not set(varied) - {SEED}:
        return {}, FANOVA
    by_optuna = find_spec("optuna") is not None
    found = _fanova(samples) if by_optuna else _permutation(samples)
    return dict(sorted(found.items(), key=lambda pair: -pair[1])), FANOVA if by_optuna else PERMUTATION


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
