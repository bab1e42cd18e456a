"""How much the choice of a training subset moves gains: training runs of every subset with every seed.

A gain is a case's accuracy minus the reference's on the same subset with the same seed. Over subsets s and seeds i it
is ``g_si = mean + subset_s + seed_i + rest_si`` with random effects, whose standard deviations come from the mean
squares of a two-way analysis of variance: ``rest^2 = MS_rest`` and ``subset^2 = (MS_subset - MS_rest) / seeds``.

Source: Montgomery (2017), "Design and Analysis of Experiments", chapter 13.
"""

import math

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from benchmark.escaping import figure as figure_text
from benchmark.reports import LINES, new_figure, styled
from benchmark.studies import Report, interval_columns, runs
from benchmark.tables import frame_markdown, two_way


class SubsetsSettings(runs.TrainingSettings):
    """What the study assumes: short runs on small subsets."""

    cases: runs.Cases = "studies/subsets"
    subsets: int = Field(5, ge=2, le=1000, description="values of data.subset_seed, from 0")


def run(settings: SubsetsSettings) -> runs.CasesResult:
    """Carry out the runs that are missing in the store, and divide the spread of gains among subsets and seeds."""
    file = runs.read_cases(settings.cases)
    gains, devices = [], set()
    for subset in range(settings.subsets):
        trained = runs.train(settings, file.model_copy(update={"data": {**file.data, "subset_seed": subset}}))
        devices.add(trained.device)
        reference = trained.accuracies(file.reference)
        for case in file.cases:
            for seed, gain in (trained.accuracies(case) - reference).dropna().items():
                gains.append({"case": case.label, "subset": subset, "seed": seed, "gain": gain})
    found = pd.DataFrame(gains, columns=["case", "subset", "seed", "gain"])
    rows = []
    for case in file.cases:
        mine = found[found["case"] == case.label].pivot_table("gain", "subset", "seed")
        rows.append({"case": case.label, **components(mine.dropna(axis=1))})
    trained = trained._replace(device=", ".join(sorted(devices)))
    return runs.CasesResult(settings, trained, pd.DataFrame(rows), found)


def components(table: pd.DataFrame) -> dict[str, float]:
    """Return mean, interval over subsets, and components of the spread of gains.

    Args:
        table: One row per subset, one column per seed that all subsets have.

    Returns:
        ``seeds, gain, gain_low, gain_high, sd_subset, sd_seed, sd_rest, p_subset``; of fewer than two subsets or seeds
        no components. ``p_subset`` is that of the F test that subsets do not differ.
    """
    subsets, seeds = table.shape
    row = {"seeds": seeds, **interval_columns("gain", runs.mean_interval(table.mean(axis=1)))}
    if min(subsets, seeds) < 2:
        return row | dict.fromkeys(("sd_subset", "sd_seed", "sd_rest", "p_subset"), math.nan)
    found = two_way(table.to_numpy().tolist())
    return row | {
        "sd_subset": math.sqrt(max(0.0, found.rows - found.rest) / seeds),
        "sd_seed": math.sqrt(max(0.0, found.columns - found.rest) / subsets),
        "sd_rest": math.sqrt(found.rest),
        "p_subset": found.p,
    }


def _plot(result: runs.CasesResult) -> Figure:
    """Return the figure: for each case the mean gain on every subset, and over all with its interval."""
    with styled():
        figure = new_figure(7.5, 1.6 + 0.5 * len(result.table))
        axis = figure.subplots()
        for place, row in enumerate(result.table.to_dict("records")):
            line = LINES[place % len(LINES)]
            means = result.details[result.details["case"] == row["case"]].groupby("subset")["gain"].mean()
            axis.plot(means, [place + 0.15] * len(means), line.marker, color="0.6", ms=4, mfc="none")
            runs.plot_interval(axis, row, "gain", place, line)
        axis.set_yticks(range(len(result.table)), [figure_text(case) for case in result.table["case"]])
        axis.set(ylim=(len(result.table) - 0.5, -0.5), xlabel="gain in points")
        axis.set_title("Grey: one subset, mean over its seeds; large: mean with 95 % interval over subsets")
        axis.axvline(0, color="0.3", lw=0.8)
        axis.grid(visible=False, axis="y")
    return figure


def report(result: runs.CasesResult) -> Report:
    """Return figure, tables and the facts of the page."""
    table = result.table
    rows = table.to_dict("records")
    shown = pd.DataFrame(
        {
            "case": table["case"],
            "gain, mean over subsets": [
                f"{x['gain']:+.2f} [{x['gain_low']:+.2f}, {x['gain_high']:+.2f}]" for x in rows
            ],
            "sd between subsets": table["sd_subset"].round(2),
            "sd between seeds": table["sd_seed"].round(2),
            "sd of the rest": table["sd_rest"].round(2),
            "p of subsets": [f"{x['p_subset']:.2g}" for x in rows],
            "seeds": table["seeds"],
        }
    )
    trained = result.trained
    facts = {"file": trained.file, "device": trained.device, "table": frame_markdown(shown, index=False)}
    return Report(_plot(result), {"subsets": table, "gains": result.details}, facts)
