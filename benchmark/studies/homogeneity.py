"""Training runs with settings that provoke collapse: how alike the peers become, and how many runs collapse.

A run has collapsed if its loss is not finite or its students are no better than guessing after the last epoch.
"""

from collections.abc import Sequence
from itertools import cycle, product
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from benchmark.escaping import figure as figure_text
from benchmark.reports import LINES, new_figure, styled
from benchmark.store import Status
from benchmark.studies import Report, Row, interval_columns, runs

MEASURES = {
    "distance/peers": ("Distance between two peers' probabilities", "peers' distance"),
    "distance/teacher-peer": ("Distance between a peer and its mean teacher", "teacher's distance"),
    "student": ("Accuracy of the students", "accuracy, %"),
}
"""What is followed over the epochs, with its title and its column's heading; what the runs do not have is left out."""


class Settings(runs.TrainingSettings):
    """What the study assumes: many short runs with a large learning rate, small batches and no ramp-up."""

    cases: runs.Cases = "studies/homogeneity"
    seeds: runs.Seeds = 12
    epochs: runs.Epochs = 6
    lr: runs.LearningRate = 0.3
    batch_size: runs.BatchSize = 10
    ramp: runs.RampUp = "none"


def run(settings: Settings) -> Report:
    """Carry out the runs that are missing in the store, and count how many collapsed, with exact intervals."""
    trained = runs.train(settings, runs.read_cases(settings.cases))
    cases, reference = trained.file.all(), trained.file.reference
    lost = {case.label: collapsed(trained.ends(case), trained.limit) for case in cases}
    records: list[Row] = []
    for case in cases:
        ends, mine = trained.ends(case), lost[case.label]
        count, among = int(mine.sum()), len(mine)
        here, there, p_value = paired_test(mine, lost[reference.label])
        peers = ends.filter(regex="^top1/peer").dropna(axis=1, how="all")
        at_chance = int((peers <= trained.limit).all(axis=1).sum()) if peers.size else 0
        row: Row = {"case": case.label, "runs": among, "collapsed": count}
        row |= interval_columns("share", (count / among, *exact_interval(count, among)))
        row |= {"diverged": int((ends["status"] == Status.DIVERGED).sum()), "all_peers_at_chance": at_chance}
        row |= {"only_this_collapsed": here, "only_reference_collapsed": there, "p_value": p_value}
        for measure in _present(ends):
            row |= interval_columns(measure, runs.mean_interval(ends[measure]))
            row |= interval_columns(f"{measure}, not collapsed", runs.mean_interval(ends[measure][~mine]))
        records.append(row)
    table, over_epochs = pd.DataFrame(records), curves(trained.frame)
    low, high = exact_interval(settings.seeds // 2, settings.seeds)
    measured = product(MEASURES.items(), ("", ", not collapsed"))
    facts = {"file": trained.file, "device": trained.device, "limit": trained.limit, "half": f"[{low:.0%}, {high:.0%}]"}
    facts["columns"] = [(f"{x}{of}", f"{words[1]}{of}") for (x, words), of in measured if f"{x}{of}" in table.columns]
    facts["complete"] = set(MEASURES) <= set(over_epochs["measure"])
    figure = _plot(records, over_epochs, trained.limit)
    return Report(figure, {"homogeneity": table, "curves": over_epochs}, facts)


def _present(frame: pd.DataFrame) -> list[str]:
    return [name for name in MEASURES if name in frame.columns and frame[name].notna().any()]


def collapsed(ends: pd.DataFrame, limit: float) -> "pd.Series[bool]":
    """Return for the last rows of a case's runs, by seed, whether they collapsed."""
    at_chance = ends["student"].isna() | (ends["student"] <= limit)
    return at_chance | ends["status"].isin([Status.COLLAPSED, Status.DIVERGED])


def exact_interval(count: int, among: int) -> tuple[float, float]:
    """Return Clopper and Pearson's exact 95 % interval of a share."""
    interval = stats.binomtest(count, among).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


def paired_test(lost: "pd.Series[bool]", reference: "pd.Series[bool]") -> tuple[int, int, float]:
    """Return on how many seeds only this one collapsed, only the reference, and McNemar's exact p-value."""
    here, there = int((lost & ~reference).sum()), int((~lost & reference).sum())
    return here, there, float(stats.binomtest(here, here + there).pvalue) if here + there else 1.0


def curves(frame: pd.DataFrame) -> pd.DataFrame:
    """Return mean, 95 % interval and number of runs for every case, epoch and measure that there is."""
    rows = []
    for (case, _), group in frame.dropna(subset="epoch").groupby(["label", "epoch"], sort=False):
        epoch = int(group["epoch"].iloc[0]) + 1
        for measure in _present(frame):
            mean, low, high = runs.mean_interval(group[measure])
            row = {"case": case, "epoch": epoch, "measure": measure, "mean": mean, "low": low, "high": high}
            rows.append(row | {"runs": int(group[measure].notna().sum())})
    return pd.DataFrame(rows)


@styled()
def _plot(records: Sequence[Row], curves: pd.DataFrame, limit: float) -> Figure:
    """Return the figure: shares of collapsed runs, and how alike peers and teachers are over the epochs."""
    present = [name for name in MEASURES if name in set(curves["measure"])]
    figure = new_figure(10.0, 8.0)
    shares, *axes = figure.subplots(2, 2).flat
    for place, (line, row) in enumerate(zip(cycle(LINES), records, strict=False)):
        runs.plot_interval(shares, row, "share", place, line, scale=100, mfc="w")
        text = f"{figure_text(row['case'])}: {row['collapsed']} of {row['runs']}"
        shares.annotate(text, (0, place), (2, 7), textcoords="offset points", size=8)
        look: dict[str, Any] = {"ls": line.dash, "color": line.color, "label": figure_text(row["case"])}
        for axis, measure in zip(axes, present, strict=False):
            rows = curves[(curves["measure"] == measure) & (curves["case"] == row["case"])].sort_values("epoch")
            axis.plot(rows["epoch"], rows["mean"], line.marker, ms=4, mfc="w", **look)
            axis.fill_between(rows["epoch"], rows["low"], rows["high"], color=line.color, alpha=0.08, lw=0)
    shares.set(title="Runs that collapsed", xlabel="percent, exact 95 % interval", xlim=(-2, 102))
    shares.set(ylim=(len(records) - 0.5, -0.8), yticks=[])
    for axis, measure in zip(axes, present, strict=False):
        highest = float(curves.loc[curves["measure"] == measure, "mean"].max())
        axis.set(title=MEASURES[measure][0], xlabel="epoch", ylim=(0, 1.25 * highest))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_ylabel("percent" if measure == "student" else "Euclidean, mean over the test images")
        if measure == "student":
            axis.axhline(limit, color="0.4", lw=0.8, label="guessing")
    for axis in axes[len(present) :]:
        axis.set_visible(False)
    figure.legend(*axes[len(present) - 1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
