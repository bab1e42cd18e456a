"""The report of a sweep: tables, the best configuration, the keys' importance, a figure and a page."""

import json
import math
import shlex
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console
from scipy.stats import t

import methods
from benchmark import tables
from benchmark.console import say
from benchmark.escaping import figure as text
from benchmark.formatting import shown
from benchmark.reports import LINES, markdown_templates, new_figure, places, styled, write_figures
from benchmark.store import put
from benchmark.sweeps.outcomes import Outcome, answer, compared_pairs, expected_spread, ranked
from benchmark.sweeps.plan import Sweep
from benchmark.tables import ALPHA, Estimate, frame_csv, frame_markdown, paired_gain
from methods.schedules import inactive_terms

MAX_ROWS = 40
BEST = "best.yaml"
NONE = "–"  # noqa: RUF001 - a dash in a table

SEED = "seed"  # beside the keys: the share of the seed noise

MAX_CURVES = 24
Sample = tuple[dict[str, Any], float]


def write_report(sweep: Sweep, outcomes: Sequence[Outcome], console: Console) -> None:
    """Write tables, best configuration, importance, figure and page into the sweep's folder; print the page."""
    folder, order = sweep.folder, ranked(outcomes)
    numbers, words = configuration_tables(sweep, order)
    found = importances(sweep, outcomes)
    files = {"configurations": numbers, "runs": runs_table(sweep, outcomes)}
    # that of an earlier report may be refuted by more seeds
    (folder / "importance.csv").unlink(missing_ok=True)
    if found.shares:
        rows = [(key, x.value, x.low, x.high, found.how) for key, x in found.shares.items()]
        files["importance"] = pd.DataFrame(rows, columns=["key", "importance", "low", "high", "how"])
    for name, frame in files.items():
        put(folder / f"{name}.csv", frame_csv(frame, "%.10g"))
    best = order[0] if order and order[0].n else None
    if best is not None:
        put(folder / BEST, best_yaml(sweep, best, len(order)))
        write_figures(folder, {"configurations": configurations_figure([x for x in order if x.n], len(order))})
    options = places(sweep.command.plugins, Path(_path(sweep.command.store.root)), None)
    facts = {"sweep": sweep, "importance": found, "best": best, "left": len(order) - MAX_ROWS}
    facts["answer"] = answer(sweep, outcomes, expected_spread(outcomes))
    facts["compared"] = compared_pairs(sweep, outcomes) if sweep.question else []
    facts["table"] = frame_markdown(words[:MAX_ROWS], index=False, disable_numparse=True)
    facts["command"] = shlex.join(["bench", "run", "--config", _path(folder / BEST), *options])
    page = markdown_templates("benchmark.sweeps").get_template("sweep.md.j2").render(facts)
    put(folder / "README.md", page)
    say(console, "", *page.partition("\n![")[0].split("\n"), f"figures and tables: {_path(folder)}")


def _path(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def configuration_tables(sweep: Sweep, order: Sequence[Outcome]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row per configuration, the best first: in numbers, and as the table that is printed."""
    numbers, words = [], []
    for rank, x in enumerate(order, start=1):
        gain = paired_gain(x.scores, order[0].scores) if rank > 1 else None
        mean, low, high = (gain.mean, gain.low, gain.high) if gain else (None, None, None)
        difference = "" if mean is None else f"{mean:+.2f}"
        if low is not None and high is not None:
            difference += f" [{low:+.2f}, {high:+.2f}]"
        values, terms = x.configuration.assignment, inactive_terms(x.schedules)
        row = {"rank": rank, "configuration": x.configuration.number, **_csv_values(sweep, x)}
        row |= {"mean": x.mean, "std": x.std, "n": x.n, "difference_to_best": mean}
        row |= {"difference_to_best_low": low, "difference_to_best_high": high, "total_epochs": x.epochs}
        numbers.append(row | {"status": x.status, "inactive_terms": " ".join(terms)})
        row = {"#": x.configuration.number, **{key: shown(values.get(key, NONE)) for key in sweep.space.keys}}
        row |= {"validation accuracy": _accuracy(x), "difference to best": difference}
        words.append(row | {"total epochs (all seeds)": x.epochs, "runs": x.status})
    return pd.DataFrame(numbers), pd.DataFrame(words)


def runs_table(sweep: Sweep, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return one row per run: configuration, seed, accuracy, status and folder."""
    rows = [(x, run) for x in outcomes for run in x.runs]
    return pd.DataFrame([{"configuration": x.configuration.number, **_csv_values(sweep, x), **run} for x, run in rows])


def _csv_values(sweep: Sweep, x: Outcome) -> dict[str, Any]:
    values = {key: x.configuration.assignment.get(key) for key in sweep.space.keys}
    return {key: str(value) if isinstance(value, list) else value for key, value in values.items()}


def _accuracy(x: Outcome) -> str:
    if not x.n:
        return f"({sum(x.last.values()) / len(x.last):.2f})" if x.last else NONE
    return f"{x.mean:.2f} ({x.n})" if x.n == 1 else f"{x.mean:.2f} ± {x.std:.2f} ({x.n})"


def best_yaml(sweep: Sweep, best: Outcome, tried: int) -> str:
    """Return the best configuration as a file for ``bench run --config``, which scores it on the test set."""
    run = best.configuration.runs[0]
    tried_as = f"Best of {tried} configurations of the sweep {sweep.name} ({best.configuration.label})"
    content: dict[str, Any] = {"description": f"{tried_as}: {_accuracy(best)} % on held-out training images"}
    dataset = [run.dataset] if "," in run.dataset else run.dataset
    content |= {"methods": [run.method], "dataset": dataset, "backbone": run.backbone}
    content |= {"seeds": [one.seed for one in best.configuration.runs], "train": run.train.model_dump(mode="json")}
    content["data"] = {**run.data.model_dump(mode="json"), "holdout": 0.0}
    content[run.method] = methods.restored(run.method, run.hyperparameters, sweep.command.plugins)
    if sweep.command.data_root != Path("data"):
        content["data_root"] = str(sweep.command.data_root)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


# importance


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
    """Return the p value of the differences between configurations against seed noise; None with no two shared seeds.

    It is that of :func:`benchmark.tables.two_way`, in which the seeds that all configurations have are blocks.

    Args:
        scores: By configuration, then by seed; at least two configurations.
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


# the figure


@styled()
def configurations_figure(finished: Sequence[Outcome], total: int) -> Figure:
    """Return the figure of the best configurations: the terms' curves where they differ, and every seed's accuracy."""
    rows = finished[:MAX_CURVES]
    curves: dict[str, set[str]] = {}
    for term, schedule in (pair for outcome in rows for pair in outcome.schedules.items()):
        curves.setdefault(term, set()).add(json.dumps(schedule.product))
    lines = dict(zip((term for term, shapes in curves.items() if len(shapes) > 1), LINES, strict=False))
    figure = new_figure(8.2, 1.5 + 0.42 * len(rows))
    widths = [1, 2.2] if lines else [1]
    axes = figure.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)[0]
    first, accuracy = axes[0], axes[-1]
    for place, outcome in enumerate(rows):
        accuracy.plot([*outcome.scores.values()], [place] * outcome.n, "o", color="#777777", markersize=3, alpha=0.8)
        spread = outcome.std if outcome.n > 1 else 0.0
        accuracy.errorbar(outcome.mean, place, xerr=spread, fmt="D", color="black", markersize=4.5, capsize=2)
        for term, line in lines.items():
            if term in outcome.schedules:
                heights = place + 0.4 - 0.8 * np.array(outcome.schedules[term].product)
                first.plot(np.arange(len(heights)) + 1, heights, color=line.color, ls=line.dash, lw=1.3)
    first.xaxis.get_major_locator().set_params(integer=True)
    first.set(xlabel="epoch", ylim=(len(rows) - 0.5, -0.5))
    accuracy.set_xlabel("validation accuracy in %: seeds (dots), mean and standard deviation")
    labels = ["\n".join(map(text, wrap(outcome.configuration.label, 44))) for outcome in rows]
    first.set_yticks(range(len(rows)), labels, fontsize=8)
    for one in axes:
        one.spines["left"].set_visible(False)
        one.tick_params(axis="y", length=0)
    title = "Configurations, the best first" + (f" ({len(rows)} of {total})" if len(rows) < total else "")
    figure.suptitle(title, fontsize=10)
    handles = [Line2D([], [], color=x.color, linestyle=x.dash, label=text(term)) for term, x in lines.items()]
    if lines:
        look = {"title": "factor of a loss term's weight, 0 to 1 (left)", "title_fontsize": 8}
        figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(lines)), **look)
    return figure
