"""Training runs with settings that provoke collapse: how alike the peers become, and how many runs collapse.

A run has collapsed if its loss is not finite or its students are no better than guessing after the last epoch.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from benchmark.escaping import figure as figure_text
from benchmark.reports import LINES, new_figure, styled
from benchmark.store import Status
from benchmark.studies import Report, interval_columns, plot_interval
from benchmark.studies.runs import (
    BatchSize,
    Cases,
    Epochs,
    LearningRate,
    RampUp,
    Seeds,
    Trained,
    TrainingSettings,
    last_rows,
    mean_interval,
    train,
)
from benchmark.tables import frame_markdown

MEASURES = {
    "distance/peers": ("Distance between two peers' probabilities", "peers' distance"),
    "distance/teacher-peer": ("Distance between a peer and its mean teacher", "teacher's distance"),
    "student": ("Accuracy of the students", "accuracy, %"),
}
"""What is followed over the epochs, with its title and its column's heading; what the runs do not have is left out."""


class HomogeneitySettings(TrainingSettings):
    """What the study assumes: many short runs with a large learning rate, small batches and no ramp-up."""

    cases: Cases = "studies/homogeneity"
    seeds: Seeds = 12
    epochs: Epochs = 6
    lr: LearningRate = 0.3
    batch_size: BatchSize = 10
    ramp: RampUp = "none"


@dataclass(frozen=True)
class HomogeneityResult:
    """Everything that the study found.

    Attributes:
        table: One row per case: how many runs collapsed, with exact intervals, and their last measures.
        curves: One row per case, epoch and measure: mean, 95 % interval and number of runs.
    """

    settings: HomogeneitySettings
    trained: Trained
    table: pd.DataFrame
    curves: pd.DataFrame


def run(settings: HomogeneitySettings) -> HomogeneityResult:
    """Carry out the runs that are missing in the store, and count."""
    trained = train(settings)
    ends = last_rows(trained.frame)
    of_case = {case.label: ends[ends["label"] == case.label].set_index("seed") for case in trained.file.all()}
    lost = {label: collapsed(rows, trained.limit) for label, rows in of_case.items()}
    reference = lost[trained.file.reference.label]
    rows = [_row(label, of_case[label], lost[label], reference, trained.limit) for label in of_case]
    return HomogeneityResult(settings, trained, pd.DataFrame(rows), curves(trained.frame))


def collapsed(ends: pd.DataFrame, limit: float) -> "pd.Series[bool]":
    """Return for the last rows of a case's runs, by seed, whether they collapsed."""
    at_chance = ends["student"].isna() | (ends["student"] <= limit)
    return at_chance | ends["status"].isin([Status.COLLAPSED, Status.DIVERGED])


def exact_interval(count: int, runs: int) -> tuple[float, float]:
    """Return Clopper and Pearson's exact 95 % interval of a share."""
    interval = stats.binomtest(count, runs).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


def paired_test(lost: "pd.Series[bool]", reference: "pd.Series[bool]") -> tuple[int, int, float]:
    """Return on how many seeds only this one collapsed, only the reference, and McNemar's exact p-value."""
    here, there = int((lost & ~reference).sum()), int((~lost & reference).sum())
    return here, there, float(stats.binomtest(here, here + there).pvalue) if here + there else 1.0


def curves(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the means over the runs for every case, epoch and measure that there is."""
    present = [name for name in MEASURES if name in frame.columns and frame[name].notna().any()]
    epochs = frame.dropna(subset="epoch")
    rows = []
    for _, group in epochs.groupby(["label", "epoch"], sort=False):
        case, epoch = group["label"].iloc[0], int(group["epoch"].iloc[0]) + 1
        for measure in present:
            interval = dict(zip(("mean", "low", "high"), mean_interval(group[measure]), strict=True))
            runs = int(group[measure].notna().sum())
            rows.append({"case": case, "epoch": epoch, "measure": measure, **interval, "runs": runs})
    return pd.DataFrame(rows)


def _row(
    case: str, ends: pd.DataFrame, lost: "pd.Series[bool]", reference: "pd.Series[bool]", limit: float
) -> dict[str, object]:
    runs, count = len(lost), int(lost.sum())
    here, there, p_value = paired_test(lost, reference)
    peers = ends[[name for name in ends.columns if name.startswith("top1/peer")]].dropna(axis=1, how="all")
    row: dict[str, object] = {
        "case": case,
        "runs": runs,
        "collapsed": count,
        **interval_columns("share", (count / runs, *exact_interval(count, runs))),
        "diverged": int((ends["status"] == Status.DIVERGED).sum()),
        "all_peers_at_chance": int((peers <= limit).all(axis=1).sum()) if peers.size else 0,
        "only_this_collapsed": here,
        "only_reference_collapsed": there,
        "p_value": p_value,
    }
    for measure in MEASURES:
        if measure in ends.columns and ends[measure].notna().any():
            for name, rows in ((measure, ends[measure]), (f"{measure}, not collapsed", ends[measure][~lost])):
                row |= interval_columns(name, mean_interval(rows))
    return row


def _plot(result: HomogeneityResult) -> Figure:
    """Return the figure: shares of collapsed runs, and how alike peers and teachers are over the epochs."""
    table, curves = result.table, result.curves
    with styled():
        figure = new_figure(10.0, 8.0)
        axes = list(figure.subplots(2, 2).flat)
        _plot_shares(axes[0], table)
        lines = [LINES[index % len(LINES)] for index in range(len(table))]
        present = [name for name in MEASURES if name in set(curves["measure"])]
        for axis, measure in zip(axes[1:], present, strict=False):
            for line, case in zip(lines, table["case"], strict=True):
                rows = curves[(curves["case"] == case) & (curves["measure"] == measure)].sort_values("epoch")
                look: dict[str, Any] = {"ls": line.dash, "color": line.color, "label": figure_text(case)}
                axis.plot(rows["epoch"], rows["mean"], line.marker, ms=4, mfc="w", **look)
                axis.fill_between(rows["epoch"], rows["low"], rows["high"], color=line.color, alpha=0.08, lw=0)
            most = float(curves.loc[curves["measure"] == measure, "mean"].max())
            axis.set(title=MEASURES[measure][0], xlabel="epoch", ylim=(0, 1.25 * most))
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.set_ylabel("percent" if measure == "student" else "Euclidean, mean over the test images")
        if "student" in present:
            axis = axes[1 + present.index("student")]
            axis.axhline(result.trained.limit, color="0.4", lw=0.8)
            axis.set_title(f"{MEASURES['student'][0]} (grey line: guessing)")
        for axis in axes[1 + len(present) :]:
            axis.set_visible(False)
        figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2, handlelength=4)
    return figure


def _plot_shares(axis: Axes, table: pd.DataFrame) -> None:
    for place, row in enumerate(table.to_dict("records")):
        line = LINES[place % len(LINES)]
        plot_interval(axis, row, "share", place, line, scale=100, mfc="w")
        axis.annotate(
            f"{figure_text(row['case'])}: {row['collapsed']} of {row['runs']}",
            (0, place),
            (2, 7),
            textcoords="offset points",
            size=8,
        )
    axis.set(title="Runs that collapsed", xlabel="percent, exact 95 % interval", xlim=(-2, 102))
    axis.set(ylim=(len(table) - 0.5, -0.8), yticks=[])


def report(result: HomogeneityResult) -> Report:
    """Return figure, tables and the facts of the page."""
    settings, table = result.settings, result.table
    reference, *others = table.to_dict("records")
    name = result.trained.file.reference.name
    counts = pd.DataFrame(
        {
            "case": table["case"],
            "collapsed": [f"{row.collapsed} of {row.runs}" for row in table.itertuples()],
            "share, exact 95 % interval": [
                f"{row.share:.0%} [{row.share_low:.0%}, {row.share_high:.0%}]" for row in table.itertuples()
            ],
            "of them diverged": table["diverged"],
            "all peers at chance": table["all_peers_at_chance"],
            # the reference is not compared with itself
            f"collapsed where {name} did not": ["", *table["only_this_collapsed"][1:]],
            "the other way round": ["", *table["only_reference_collapsed"][1:]],
            "p (exact McNemar)": ["", *(f"{value:.2g}" for value in table["p_value"][1:])],
        }
    )
    alike = pd.DataFrame({"case": table["case"]})
    for measure, (_, short) in MEASURES.items():
        for column, what in ((measure, ""), (f"{measure}, not collapsed", ", not collapsed")):
            if column in table.columns:
                alike[f"{short}{what}"] = [_interval(row, column) for row in table.to_dict("records")]
    low, high = exact_interval(settings.seeds // 2, settings.seeds)
    facts = {
        "file": result.trained.file,
        "device": result.trained.device,
        "limit": result.trained.limit,
        "reference": reference,
        "others": others,
        "counts": frame_markdown(counts, index=False),
        "alike": frame_markdown(alike, index=False),
        "complete": set(MEASURES) <= set(result.curves["measure"]),
        "half": f"[{low:.0%}, {high:.0%}]",
    }
    return Report(_plot(result), {"homogeneity": table, "curves": result.curves}, facts)


def _interval(row: Mapping[Hashable, float], name: str) -> str:
    value, low, high = (float(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    if math.isnan(value):
        return "none"
    return f"{value:.3g}" if math.isnan(low) else f"{value:.3g} [{low:.3g}, {high:.3g}]"
