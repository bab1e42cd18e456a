"""What each part and each setting of the method adds: training runs that differ from the reference in one thing."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from benchmark.escaping import figure as figure_text
from benchmark.reports import LINES, new_figure, styled
from benchmark.store import Status
from benchmark.studies import Report, interval_columns, interval_text, runs
from benchmark.tables import frame_markdown


class AblationSettings(runs.TrainingSettings):
    """What the study assumes: short runs with settings that are good for all cases."""

    cases: runs.Cases = "studies/ablation"


def run(settings: AblationSettings) -> runs.CasesResult:
    """Carry out the runs that are missing in the store, and compare them with the reference, seed by seed."""
    trained = runs.train(settings, runs.read_cases(settings.cases))
    first = trained.file.reference
    reference = trained.accuracies(first)
    rows, differences = [], []
    for case in trained.file.all():
        accuracy = trained.accuracies(case)
        paired = (accuracy - reference).dropna()
        rows.append(
            {
                "factor": case.factor,
                "case": case.name,
                "accuracy": accuracy.mean(),
                "std": accuracy.std(),
                "n": len(accuracy),
                "collapsed": int((trained.ends(case)["status"] == Status.COLLAPSED).sum()),
                "diverged": settings.seeds - len(accuracy),
                **interval_columns("difference", runs.mean_interval(paired)),
                "pairs": len(paired),
                # of two cases with one name in the table, one run serves both: there is nothing to compare
                "is_reference": (case.method, case.set) == (first.method, first.set),
            }
        )
        differences += [(case.factor, case.name, seed, difference) for seed, difference in paired.items()]
    details = pd.DataFrame(differences, columns=["factor", "case", "seed", "difference"])
    return runs.CasesResult(settings, trained, pd.DataFrame(rows), details)


def _plot(result: runs.CasesResult) -> Figure:
    """Return the figure: every case's differences to the reference, seed by seed, with their mean and interval."""
    table, seeds = result.table[result.table["factor"] != ""], result.details
    factors = table.groupby("factor", sort=False)
    with styled():
        figure = new_figure(7.5, 1.2 + 0.34 * (len(table) + len(factors)))
        axis = figure.subplots()
        place, ticks, labels = 0.0, [], []
        for line, (factor, rows) in zip(LINES[1:] * len(factors), factors, strict=False):
            look: dict[str, Any] = {"textcoords": "offset points", "weight": "bold"}
            axis.annotate(figure_text(str(factor)), (0, place), (4, -3), xycoords=axis.get_yaxis_transform(), **look)
            place += 1
            for row in rows.to_dict("records"):
                ticks.append(place)
                labels.append(figure_text(_name(row)))
                if row["is_reference"]:
                    axis.plot(0, place, "o", color="k", ms=5)
                else:
                    of_case = (seeds["factor"] == factor) & (seeds["case"] == row["case"])
                    own = seeds.loc[of_case, "difference"]
                    axis.plot(own, [place] * len(own), line.marker, color="0.6", ms=3, mfc="none")
                    runs.plot_interval(axis, row, "difference", place, line)
                place += 1
        axis.set_yticks(ticks, labels)
        axis.set(ylim=(place - 0.3, -0.7), xlabel="students' accuracy minus the default's, points, same seed")
        axis.set_title("Small and grey: one seed; large: mean with 95 % interval")
        axis.axvline(0, color="0.3", lw=0.8)
        axis.grid(visible=False, axis="y")
    return figure


def report(result: runs.CasesResult) -> Report:
    """Return figure, tables and the facts of the page."""
    table, records = result.table, result.table.to_dict("records")
    compared = table[~table["is_reference"]]
    excludes_0 = compared[(compared["difference_low"] > 0) | (compared["difference_high"] < 0)]
    shown = pd.DataFrame(
        {
            "factor": table["factor"],
            "case": [_name(row) for row in records],
            "accuracy, mean ± std (n)": [f"{row['accuracy']:.2f} ± {row['std']:.2f} ({row['n']})" for row in records],
            "collapsed": table["collapsed"],
            "diverged": table["diverged"],
            "difference to the default": ["" if row["is_reference"] else _difference(row) for row in records],
        }
    )
    facts = {
        "file": result.trained.file,
        "device": result.trained.device,
        "reference": records[0],
        "compared": len(compared),
        "differing": [(row, _difference(row)) for row in excludes_0.to_dict("records")],
        "table": frame_markdown(shown, index=False),
    }
    return Report(_plot(result), {"ablation": table, "differences": result.details}, facts)


def _name(row: Mapping[Hashable, Any]) -> str:
    return f"{row['case']} (default)" if row["is_reference"] and row["factor"] else str(row["case"])


def _difference(row: Mapping[Hashable, Any]) -> str:
    text = interval_text(row, "difference", "+.2f")
    return f"{text}, no interval (n = {row['pairs']})" if pd.isna(row["difference_low"]) else text
