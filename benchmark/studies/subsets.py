"""How much the choice of a training subset moves gains: training runs of every subset with every seed.

A gain is a case's accuracy minus the reference's on the same subset with the same seed. Over subsets s and seeds i it
is ``g_si = mean + subset_s + seed_i + rest_si`` with random effects, whose standard deviations come from the mean
squares of a two-way analysis of variance: ``rest^2 = MS_rest`` and ``subset^2 = (MS_subset - MS_rest) / seeds``.

Source: Montgomery (2017), "Design and Analysis of Experiments", chapter 13.
"""

import math

import pandas as pd
from pydantic import Field

from benchmark.studies import Report, Row, interval_columns, runs
from benchmark.tables import two_way


class Settings(runs.TrainingSettings):
    """What the study assumes: short runs on small subsets."""

    cases: runs.Cases = "studies/subsets"
    subsets: int = Field(5, ge=2, le=1000, description="values of data.subset_seed, from 0")


def run(settings: Settings) -> Report:
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
    rows: list[Row] = []
    plotted = []
    for case in file.cases:
        mine = found[found["case"] == case.label].pivot_table("gain", "subset", "seed")
        rows.append({"case": case.label, **components(mine.dropna(axis=1))})
        plotted.append((case.label, mine.mean(axis=1).tolist(), rows[-1]))
    facts = {"file": file, "device": ", ".join(sorted(devices))}
    title = "Grey: one subset, mean over its seeds; large: mean with 95 % interval over subsets"
    figure = runs.plot_gains(plotted, "gain", title, "gain in points")
    return Report(figure, {"subsets": pd.DataFrame(rows), "gains": found}, facts)


def components(table: pd.DataFrame) -> Row:
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
