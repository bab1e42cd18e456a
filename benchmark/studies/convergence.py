"""Monte Carlo: how soon students converge under each method's schedule, and how many never do.

The model is that of :mod:`benchmark.studies.simulation`; here its outcomes become a table with intervals, a finding on
each claim of the paper's abstract, a figure and a page.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from benchmark.reports import LINES, new_figure, styled
from benchmark.studies import Report, interval_columns
from benchmark.studies.simulation import (
    NO_TEACHER,
    PCL,
    RAMPED,
    RELEASED,
    ConvergenceSettings,
    Outcome,
    dkel,
    simulate_all,
)
from methods.schedules import Decay

__all__ = ["ConvergenceResult", "ConvergenceSettings", "report", "run"]

Z = NormalDist().inv_cdf(0.975)
SENSITIVITY_TRIALS = 10_000

DEFAULT = dkel("moved", "exp", "intended")
INDEPENDENT = dkel("independent", "exp", "intended")
FREE = dkel("moved", "exp", "none")
FREE_INDEPENDENT = dkel("independent", "exp", "none")

REACH, NEVER = "steps to reach the optimum", "share that never settles"
FIELDS = {
    REACH: "reached",
    "steps to settle": "settled",
    NEVER: "settled",
    "early student-teacher distance": "early_gap",
    "final student-teacher distance": "final_gap",
    "early spread of the peers": "early_spread",
    "early distance from the optimum": "early_distance",
    "final distance from the optimum": "final_distance",
}


class Claim(NamedTuple):
    """One claim as a paired comparison: under ``condition`` the measure is ``direction`` than under ``reference``."""

    about: str
    measure: str
    condition: str
    direction: str
    reference: str


APART = "An independent teacher makes the networks more diverse"
COLLAPSE = "An independent teacher makes collapse (here: never settling) less likely"
EARLY = "An ensemble with a weight that is large at first helps early"
LATE = "Its decrease helps later"
WHOLE = "The method as a whole converges sooner"
CLAIMS = (
    Claim(APART, "early student-teacher distance", INDEPENDENT, "more", DEFAULT),
    Claim(APART, "final student-teacher distance", INDEPENDENT, "more", DEFAULT),
    Claim(APART, "early spread of the peers", INDEPENDENT, "more", DEFAULT),
    Claim(APART, "early spread of the peers", FREE_INDEPENDENT, "more", FREE),
    Claim(COLLAPSE, NEVER, INDEPENDENT, "less", DEFAULT),
    Claim(COLLAPSE, NEVER, FREE_INDEPENDENT, "less", FREE),
    Claim(COLLAPSE, NEVER, INDEPENDENT, "less", PCL),
    Claim(EARLY, "early distance from the optimum", DEFAULT, "less", dkel("moved", "none", "intended")),
    Claim(EARLY, "early distance from the optimum", FREE, "less", dkel("moved", "none", "none")),
    Claim(EARLY, REACH, FREE, "less", dkel("moved", "none", "none")),
    Claim(EARLY, REACH, dkel("moved", "cosine", "none"), "less", dkel("moved", "none", "none")),
    Claim(LATE, "steps to settle", FREE, "less", dkel("moved", "constant", "none")),
    Claim(LATE, "final distance from the optimum", DEFAULT, "less", dkel("moved", "constant", "intended")),
    Claim(WHOLE, REACH, DEFAULT, "less", NO_TEACHER),
    Claim(WHOLE, REACH, DEFAULT, "less", PCL),
    Claim(WHOLE, REACH, DEFAULT, "less", RAMPED),
    Claim(WHOLE, REACH, DEFAULT, "less", RELEASED),
)


def variants(settings: ConvergenceSettings) -> dict[str, ConvergenceSettings]:
    """Return settings that might change the findings: DKEL as strong as PCL, a slow teacher, both, a harder pull."""
    changes = {
        "DKEL at PCL's weight": {"dkel_weight": settings.pcl_weight},
        "EMA 0.97": {"ema_decay": 0.97},
        "both": {"dkel_weight": settings.pcl_weight, "ema_decay": 0.97},
        "saturation 0.2": {"saturation": 0.2},
    }
    trials = min(settings.trials, SENSITIVITY_TRIALS)
    return {name: settings.model_copy(update={**change, "trials": trials}) for name, change in changes.items()}


@dataclass(frozen=True)
class ConvergenceResult:
    """Everything that the study found.

    Attributes:
        table: One row per condition, with 95 % intervals in ``*_low`` and ``*_high``.
        claims: One row per claim: the paired difference with its interval, and the finding; then its finding under each
            of the variants.
        outcomes: Condition -> what came of each trial.
    """

    settings: ConvergenceSettings
    table: pd.DataFrame
    claims: pd.DataFrame
    outcomes: dict[str, Outcome]


def run(settings: ConvergenceSettings) -> ConvergenceResult:
    """Simulate every condition on the same trials, and the conditions of the claims again under the variants."""
    outcomes = simulate_all(settings)
    table = pd.DataFrame([_row(settings, condition, outcomes) for condition in outcomes])
    claims = findings(settings, outcomes)
    named = {name for claim in CLAIMS for name in (claim.condition, claim.reference)}
    for name, variant in variants(settings).items():
        claims[name] = findings(variant, simulate_all(variant, named))["finding"]
    return ConvergenceResult(settings, table, claims, outcomes)


def median_interval(steps: npt.NDArray[np.int32], last: int) -> tuple[float, float, float]:
    """Return the median and its 95 % interval from order statistics; beyond the last step: infinite.

    The ranks are ``n/2 -+ z sqrt(n)/2``, rounded outwards: no assumption on the distribution.
    """
    trials = len(steps)
    half = Z * math.sqrt(trials) / 2
    ordered = np.sort(steps)

    def at(rank: int) -> float:
        step = int(ordered[min(max(rank, 1), trials) - 1])
        return step if step <= last else math.inf

    return at((trials + 1) // 2), at(math.floor(trials / 2 - half)), at(math.ceil(trials / 2 + half) + 1)


def mean_interval(values: npt.NDArray[np.generic]) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval by the normal distribution."""
    numbers = values.astype(np.float64)
    mean, half = float(numbers.mean()), Z * float(numbers.std(ddof=1)) / math.sqrt(len(numbers))
    return mean, mean - half, mean + half


def measured(measure: str, outcome: Outcome, steps: int) -> npt.NDArray[np.float64]:
    """Return a measure of every trial; one that never reaches it counts as one step more than there are."""
    values = getattr(outcome, FIELDS[measure])
    return np.asarray(values > steps if measure == NEVER else values, np.float64)


def paired_difference(
    measure: str, outcome: Outcome, reference: Outcome, steps: int
) -> tuple[tuple[float, float, float], float]:
    """Return the mean difference of a measure over the trials with its 95 % interval, and the reference's mean."""
    base = measured(measure, reference, steps)
    difference = measured(measure, outcome, steps) - base
    if measure == NEVER:
        # Agresti and Min (2005): half a pair more of each kind, so that no difference at all keeps an uncertainty
        difference = np.append(difference, [math.sqrt(0.5), -math.sqrt(0.5)])
    return mean_interval(difference), float(base.mean())


def findings(settings: ConvergenceSettings, outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    """Return each claim with its paired difference and the finding.

    ``borne out``: the interval is on the claimed side of 0 and the difference is at least ``relevance`` of the
    reference's mean; ``contradicted``: that on the other side; ``too small``: not 0, but less (or ``opposite``); ``no
    difference``: the interval contains 0.
    """
    rows = []
    for claim in CLAIMS:
        pair = outcomes[claim.condition], outcomes[claim.reference]
        (difference, low, high), base = paired_difference(claim.measure, *pair, settings.steps)
        claimed_side = low > 0 if claim.direction == "more" else high < 0
        if low <= 0 <= high:
            finding = "no difference"
        elif abs(difference) < settings.relevance * abs(base):
            finding = "too small" if claimed_side else "too small, opposite"
        else:
            finding = "borne out" if claimed_side else "contradicted"
        numbers = {"reference_mean": base, "difference": difference, "difference_low": low, "difference_high": high}
        rows.append({**claim._asdict(), **numbers, "finding": finding})
    return pd.DataFrame(rows)


def _row(settings: ConvergenceSettings, condition: str, outcomes: Mapping[str, Outcome]) -> dict[str, object]:
    outcome, last = outcomes[condition], settings.steps
    row: dict[str, object] = {"condition": condition, "trials": settings.trials}
    moments = {"reach": outcome.reached, "settle": outcome.settled, "teacher_settle": outcome.teacher_settled}
    for name, steps in moments.items():
        never = stats.binomtest(int((steps > last).sum()), settings.trials)
        row |= interval_columns(f"{name}_median", median_interval(steps, last))
        row |= interval_columns(f"{name}_never", (never.statistic, *never.proportion_ci(0.95, method="wilson")))
    row |= interval_columns("reach_later", paired_difference(REACH, outcome, outcomes[NO_TEACHER], last)[0])
    for name in ("early_gap", "final_gap", "early_spread", "early_distance", "final_distance"):
        row |= interval_columns(name, mean_interval(getattr(outcome, name)))
    return row


def _plot(result: ConvergenceResult) -> Figure:
    """Return the figure: which share reaches the optimum and settles by each step, and DKEL's conditions compared."""
    settings, table = result.settings, result.table.set_index("condition")
    shown = {NO_TEACHER: "no teacher", PCL: "PCL", DEFAULT: "DKEL (moved, exp, ramp)"}
    shown |= {FREE_INDEPENDENT: "DKEL (independent, exp, no ramp)", RELEASED: RELEASED}
    shapes: tuple[str, ...] = get_args(Decay)
    with styled():
        figure = new_figure(10.0, 8.5)
        (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=[1, 1.1])
        reach, settle = above.subplots(1, 2, sharey=True)
        later, never = below.subplots(1, 2, sharey=True)
        for line, (name, label) in zip(LINES, shown.items(), strict=False):
            outcome = result.outcomes[name]
            for axis, steps in ((reach, outcome.reached), (settle, outcome.settled)):
                share = np.cumsum(np.bincount(steps, minlength=settings.steps + 2))[: settings.steps + 1]
                axis.plot(share / settings.trials, color=line.color, ls=line.dash, lw=1.6, label=label)
        reach.set(title="Reached: within the tolerance for the first time", ylabel="share of the trials", ylim=(0, 1))
        most = float(np.quantile(result.outcomes[NO_TEACHER].reached, 0.99))
        reach.set(xlabel="step", xlim=(0, min(max(most, 1.0), settings.steps)))
        settle.set(title="Settled: within it from here to the end", xlabel="step", xlim=(0, settings.steps))
        above.legend(*reach.get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=4)

        pairs = [(start, ramp) for start in ("moved", "independent") for ramp in ("intended", "none")]
        for axis, column, scale in ((later, "reach_later", 1.0), (never, "settle_never", 100.0)):
            for place, (line, (start, ramp)) in enumerate(zip(LINES, pairs, strict=False)):
                rows = table.loc[[dkel(start, shape, ramp) for shape in shapes]] * scale
                heights = np.arange(len(shapes)) + 0.18 * (place - 1.5)
                errors = [rows[column] - rows[f"{column}_low"], rows[f"{column}_high"] - rows[column]]
                label = f"{start} teacher, {'no ramp' if ramp == 'none' else 'ramp'}"
                look = {"color": line.color, "mfc": "none", "ms": 6, "capsize": 3, "label": label}
                axis.errorbar(rows[column], heights, xerr=errors, fmt=line.marker, **look)
            for line, name in zip(LINES, (NO_TEACHER, PCL, RELEASED), strict=False):
                axis.axvline(
                    float(table[column].astype(float)[name]) * scale, color="0.35", ls=line.dash, lw=1.2, label=name
                )
        later.set_yticks(range(len(shapes)), [f"decay: {shape}" for shape in shapes])
        later.invert_yaxis()
        later.set(
            title="Steps to reach the optimum, relative to no teacher",
            xlabel="mean of the paired differences, 95 % interval",
        )
        never.set(title="Trials that never settle", xlabel="percent, 95 % interval")
        below.legend(*never.get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=4)
    return figure


def report(result: ConvergenceResult) -> Report:
    """Return figure, tables and the facts of the page."""
    settings, claims = result.settings, result.claims
    overall = []
    for about, group in claims.groupby("about", sort=False):
        counts = group["finding"].value_counts()
        borne_out = int(counts.get("borne out", 0))
        word = "not borne out" if borne_out == 0 else "borne out" if borne_out == len(group) else "partly borne out"
        overall.append((about, word, ", ".join(f"{finding} ({count})" for finding, count in counts.items())))
    compared = claims.assign(
        comparison=claims["condition"] + " against " + claims["reference"],
        claimed=claims["direction"],
        difference=[
            f"{row.difference:.3g} [{row.difference_low:.3g}, {row.difference_high:.3g}] of {row.reference_mean:.3g}"
            for row in claims.itertuples()
        ],
    )[["comparison", "measure", "claimed", "difference", "finding", *variants(settings)]]

    def interval(name: str, scale: float = 1.0) -> list[str]:
        columns = (result.table[name + ending] * scale for ending in ("", "_low", "_high"))
        return [f"{value:.4g} [{low:.4g}, {high:.4g}]" for value, low, high in zip(*columns, strict=True)]

    overview = pd.DataFrame(
        {
            "condition": result.table["condition"],
            f"{REACH}, median": interval("reach_median"),
            "never reach it, %": interval("reach_never", 100),
            "steps to settle, median": interval("settle_median"),
            "never settle, %": interval("settle_never", 100),
            "teacher never settles, %": interval("teacher_settle_never", 100),
            "early student-teacher distance": interval("early_gap"),
        }
    )
    facts: dict[str, Any] = {
        "conditions": len(result.table),
        "overall": overall,
        "compared": compared.to_markdown(index=False),
        "overview": overview.to_markdown(index=False),
    }
    return Report(_plot(result), {"convergence": result.table, "claims": claims}, facts)
