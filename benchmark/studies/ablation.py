"""What each part and each setting of the method adds: training runs that differ from the reference in one thing."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from benchmark.escaping import figure as figure_text, markdown
from benchmark.reports import LINES, new_figure, styled
from benchmark.store import Status
from benchmark.studies.homogeneity import mean_interval
from benchmark.studies.output import PROVENANCE, settings_text, write_study
from benchmark.studies.runs import Trained, TrainingSettings, last_rows, train
from benchmark.tables import frame_markdown


class AblationSettings(TrainingSettings):
    """What the study assumes: short runs with settings that are good for all cases."""

    cases: str = Field("studies/ablation", min_length=1, description="a YAML file with the cases, or its name")


_DIFFERENCES = ["factor", "case", "seed", "difference"]


@dataclass(frozen=True)
class AblationResult:
    """Everything that the study found.

    Attributes:
        settings: What it assumed.
        trained: The runs.
        table: One row a case: accuracy, and the paired difference to the reference.
        differences: One row a case and seed: the difference to the reference with the same seed.
    """

    settings: AblationSettings
    trained: Trained
    table: pd.DataFrame
    differences: pd.DataFrame


def run(settings: AblationSettings) -> AblationResult:
    """Carry out the runs that are missing in the store, and compare them with the reference, seed by seed."""
    trained = train(settings)
    ends = last_rows(trained.frame)
    reference = _accuracies(ends, *trained.file.reference.key)
    rows, differences = [], []
    for case in trained.file.all():
        accuracy = _accuracies(ends, *case.key)
        paired = (accuracy - reference).dropna()
        mean, low, high = mean_interval(paired)
        rows.append(
            {
                "factor": case.factor,
                "case": case.name,
                "accuracy": accuracy.mean(),
                "std": accuracy.std(),
                "n": len(accuracy),
                "collapsed": int((_ends(ends, *case.key)["status"] == Status.COLLAPSED).sum()),
                "diverged": settings.seeds - len(accuracy),
                "difference": mean,
                "difference_low": low,
                "difference_high": high,
                "pairs": len(paired),
                # of two cases with one name in the table, one run serves both: there is nothing to compare
                "is_reference": case.set == trained.file.reference.set and case.method == trained.file.reference.method,
            }
        )
        for seed, difference in paired.items():
            differences.append({"factor": case.factor, "case": case.name, "seed": seed, "difference": difference})
    return AblationResult(settings, trained, pd.DataFrame(rows), pd.DataFrame(differences, columns=_DIFFERENCES))


def _ends(ends: pd.DataFrame, factor: str, case: str) -> pd.DataFrame:
    return ends[(ends["factor"] == factor) & (ends["case"] == case)].set_index("seed")


def _accuracies(ends: pd.DataFrame, factor: str, case: str) -> "pd.Series[float]":
    """Return the students' accuracy after the last epoch, by seed; a run that diverged has none."""
    mine = _ends(ends, factor, case)
    return mine.loc[mine["status"] != Status.DIVERGED, "student"].astype(float).dropna()


def draw(result: AblationResult) -> Figure:
    """Return the figure: every case's differences to the reference, seed by seed, with their mean and interval."""
    table = result.table[result.table["factor"] != ""]
    factors = list(dict.fromkeys(table["factor"]))
    with styled():
        figure = new_figure(7.5, 1.2 + 0.34 * (len(table) + len(factors)))
        axis = figure.subplots()
        place, ticks, labels = 0.0, [], []
        for line, factor in zip(LINES[1:] * len(factors), factors, strict=False):
            look: dict[str, Any] = {"textcoords": "offset points", "weight": "bold"}
            axis.annotate(figure_text(factor), (0, place), (4, -3), xycoords=axis.get_yaxis_transform(), **look)
            place += 1
            for row in table[table["factor"] == factor].to_dict("records"):
                ticks.append(place)
                labels.append(figure_text(str(row["case"])) + (" (default)" if row["is_reference"] else ""))
                if row["is_reference"]:
                    axis.plot(0, place, "o", color="k", ms=5)
                else:
                    all_ = result.differences
                    seeds = all_.loc[(all_["factor"] == factor) & (all_["case"] == row["case"]), "difference"]
                    axis.plot(seeds, [place] * len(seeds), line.marker, color="0.6", ms=3, mfc="none")
                    mean, low, high = (float(row[f"difference{end}"]) for end in ("", "_low", "_high"))
                    axis.errorbar(
                        mean, place, xerr=[[mean - low], [high - mean]], fmt=line.marker, color=line.color, capsize=3
                    )
                place += 1
        axis.set_yticks(ticks, labels)
        axis.set(ylim=(place - 0.3, -0.7), xlabel="students' accuracy minus the default's, points, same seed")
        axis.set_title("Small and grey: one seed; large: mean with 95 % interval")
        axis.axvline(0, color="0.3", lw=0.8)
        axis.grid(visible=False, axis="y")
    return figure


def describe(result: AblationResult) -> str:
    """Return the text of the study: what was run, what differs, the table."""
    settings, table, file = result.settings, result.table, result.trained.file
    name, dataset, backbone = map(markdown, (file.reference.name, file.dataset, file.backbone))
    reference, compared = table.iloc[0], table[~table["is_reference"]]
    sure = compared[(compared["difference_low"] > 0) | (compared["difference_high"] < 0)]
    verdict = (
        f"Of {len(compared)} cases {len(sure)} differ from the default by an interval that excludes 0"
        + (f": {'; '.join(_named(row) for row in sure.to_dict('records'))}." if len(sure) else ".")
        + f" Of so many, about {0.05 * len(compared):.1f} do so by chance alone; nothing is corrected for that."
    )
    records = table.to_dict("records")
    shown = pd.DataFrame(
        {
            "factor": table["factor"],
            "case": [
                f"{row['case']} (default)" if row["is_reference"] and row["factor"] else row["case"] for row in records
            ],
            "accuracy, mean ± std (n)": [f"{row['accuracy']:.2f} ± {row['std']:.2f} ({row['n']})" for row in records],
            "collapsed": table["collapsed"],
            "diverged": table["diverged"],
            "difference to the default": ["" if row["is_reference"] else _difference(row) for row in records],
        }
    )
    return f"""# Ablation

{PROVENANCE}

The default is {name}: {reference["accuracy"]:.2f} ± {reference["std"]:.2f} % ({reference["n"]} seeds).
Every other case differs in what it names. {settings.epochs} epochs on {dataset} with {settings.train_per_class}
training images a class, {backbone}, learning rate {settings.lr:g}, batches of {settings.batch_size}; for one seed
all cases see the same batches. The number is the students' mean accuracy in percent after the last epoch; differences
are paired by seed, with 95 % intervals by the t distribution. Trained on {result.trained.device}.

- {verdict}

{frame_markdown(shown, index=False)}

A run that collapsed counts with the accuracy that it has, one that diverged has none. "No decoupled teacher" means that
the moving average begins with a copy of the student, as PCL's does; "no decaying ensemble" that peers learn from each
other's teachers alone throughout.

## Limits

Small networks on a few small images, and short runs: the mean teacher's decay and the ramp-up were shortened with them.
An interval that contains 0 means that {settings.seeds} seeds do not show a difference, not that there is none. Deeper
networks, photographs and runs of hundreds of epochs may well order the cases otherwise.

{settings_text("ablation", settings)}
"""


def _named(row: Mapping[Hashable, Any]) -> str:
    return f"{markdown(row['factor'])} {markdown(row['case'])} ({_difference(row)})"


def _difference(row: Mapping[Hashable, Any]) -> str:
    if pd.isna(row["difference_low"]):
        return f"{row['difference']:+.2f}, no interval (n = {row['pairs']})"
    return f"{row['difference']:+.2f} [{row['difference_low']:+.2f}, {row['difference_high']:+.2f}]"


def write(result: AblationResult, folder: Path) -> list[Path]:
    """Write figure, tables and text into a folder."""
    tables = {"ablation": result.table, "differences": result.differences}
    return write_study(folder, "ablation", draw(result), tables, describe(result))
