"""What each part and each setting of the method adds: training runs that differ from the reference in one thing."""

import pandas as pd

from benchmark.store import Status
from benchmark.studies import Report, Row, interval_columns, runs


class Settings(runs.TrainingSettings):
    """What the study assumes: short runs with settings that are good for all cases."""

    cases: runs.Cases = "studies/ablation"


def run(settings: Settings) -> Report:
    """Carry out the runs that are missing in the store, and compare them with the reference, seed by seed."""
    trained = runs.train(settings, runs.read_cases(settings.cases))
    first = trained.file.reference
    reference = trained.accuracies(first)
    records: list[Row] = []
    differences, plotted = [], []
    for case in trained.file.all():
        accuracy = trained.accuracies(case)
        paired = (accuracy - reference).dropna()
        collapsed = (trained.ends(case)["status"] == Status.COLLAPSED).sum()
        # of two cases with one name in the table, one run serves both: there is nothing to compare
        is_reference = (case.method, case.set) == (first.method, first.set)
        row: Row = {"factor": case.factor, "case": case.name, "accuracy": accuracy.mean(), "std": accuracy.std()}
        row |= {"n": len(accuracy), "collapsed": collapsed, "diverged": settings.seeds - len(accuracy)}
        row |= {**interval_columns("difference", runs.mean_interval(paired)), "pairs": len(paired)}
        records.append(row | {"is_reference": is_reference})
        differences += [(case.factor, case.name, seed, difference) for seed, difference in paired.items()]
        if case is not first:
            label = f"{case.label} (default)" if is_reference and case.factor else case.label
            plotted.append((label, paired.tolist(), row))
    table = pd.DataFrame(records)
    details = pd.DataFrame(differences, columns=["factor", "case", "seed", "difference"])
    compared = table[~table["is_reference"]]
    excludes_0 = compared[(compared["difference_low"] > 0) | (compared["difference_high"] < 0)]
    facts = {"file": trained.file, "device": trained.device, "compared": len(compared)}
    facts["differing"] = excludes_0.to_dict("records")
    title = "Small and grey: one seed; large: mean with 95 % interval"
    unit = "students' accuracy minus the default's, points, same seed"
    figure = runs.plot_gains(plotted, "difference", title, unit)
    return Report(figure, {"ablation": table, "differences": details}, facts)
