"""Which recipe is short and yet says something: methods converge, there is something to regularise, seeds agree.

Recipes are tried from the cheapest on; the first that keeps all conditions is taken. Everything is scored on training
images that were held out: the test set is not read. No condition looks at what a method gains.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict, Field

from benchmark import running, store
from benchmark.configuration import RunConfig
from benchmark.consoles import new_console
from benchmark.errors import MachineError
from benchmark.escaping import figure as figure_text, markdown
from benchmark.reports import LINES, new_figure, styled
from benchmark.store import Status, put
from benchmark.studies.output import settings_text, write_study
from benchmark.studies.regime_grid import Candidate, Grid, plans, read_grid
from benchmark.studies.runs import WHERE
from benchmark.tables import MAX_SEEDS, frame_markdown, half_width, seeds_for_half_width
from methods.errors import InputError

LAST_PART = 0.2
TABLE_SEEDS, TABLE_PLACES = 10, 2


class RegimeSettings(BaseModel):
    """What the study assumes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    grid: str = Field("studies/regime", min_length=1, description="a YAML file with the recipes, or its name")
    seeds: int = Field(2, ge=1, le=1000, description="runs of each method under each recipe")
    max_fall: float = Field(
        2.0, gt=0, le=100, description="percent by which a training loss may fall in the last fifth of a run"
    )
    max_behind: float = Field(3.0, ge=0, le=100, description="points that a method may be behind the reference")
    min_gap: float = Field(
        15.0, ge=0, le=100, description="points that the reference's training accuracy must lie above the held-out one"
    )
    max_hours: float = Field(
        4.0, gt=0, le=10_000, description="hours that ten seeds of all methods may take, two runs side by side"
    )
    precision_seeds: int = Field(
        0, ge=0, le=1000, description="seeds from which the width of the table's intervals is found; 0: not looked at"
    )
    max_half_width: float = Field(
        0.7, gt=0, le=100, description="points that the half-width of a confidence interval of the table may have"
    )
    max_seeds: int = Field(10, ge=2, le=1000, description="seeds with which the table has to be that precise")
    results: str = Field("results", min_length=1, exclude=True, description=WHERE)
    engine: str = Field("ray", min_length=1, exclude=True, description="ray (side by side) or serial")
    device: str = Field("auto", min_length=1, exclude=True, description="auto, cpu, cuda or cuda:N")


@dataclass(frozen=True)
class RegimeResult:
    """Everything that the study found.

    Attributes:
        settings: What it assumed.
        grid: What was varied.
        table: One row per recipe that was tried and method: loss, fall, accuracies, seconds.
        verdicts: One row per recipe that was tried: which condition it breaks; nothing for the one that is taken.
        curves: Training loss by recipe, method, epoch: the mean over the seeds, relative to the first epoch.
        chosen: The first recipe that keeps all conditions, as a configuration file; None if there is none.
        precision: One row per recipe whose precision was examined: deviations, half-width, seeds for the bound.
    """

    settings: RegimeSettings
    grid: Grid
    table: pd.DataFrame
    verdicts: pd.DataFrame
    curves: pd.DataFrame
    chosen: dict[str, Any] | None
    precision: pd.DataFrame


def fall_in_the_last_part(losses: Sequence[float], part: float = LAST_PART) -> float:
    """Return by how much of itself a loss falls over the last part of a run, in percent, along a fitted line.

    With the least-squares line l through the losses of the last ``max(2, round(part E))`` of E epochs it is
    ``100 (l(first) - l(last)) / l(first)``; negative for a loss that rises.

    Args:
        losses: One an epoch, at least two.
        part: Of the run, in (0, 1].
    """
    length = max(2, round(part * len(losses)))
    last = np.asarray(losses[-length:], dtype=np.float64)
    epochs = np.arange(length)
    slope, start = np.polyfit(epochs, last, 1)
    return float(100 * (-slope * (length - 1)) / start)


def faults(rows: pd.DataFrame, settings: RegimeSettings, reference: str, equal_cost: str = "") -> list[str]:
    """Return which conditions a recipe breaks, a line each.

    Args:
        rows: One a method: ``method, fall, held_out, training, seconds``.
        settings: The conditions.
        reference: The method that the others are compared with.
        equal_cost: The method whose cost the table at equal cost has; none stands for the dearest.
    """
    known = rows.set_index("method")
    own = known.loc[reference]
    found = []
    gap = own["training"] - own["held_out"]
    if not gap >= settings.min_gap:
        found.append(f"{reference} fits its training images only {gap:.1f} points better than held-out ones")
    for method, row in known.iterrows():
        if not row["fall"] < settings.max_fall:
            found.append(f"{method} has not arrived: its loss falls by {row['fall']:.1f} %")
        if not row["held_out"] >= own["held_out"] - settings.max_behind:
            found.append(f"{method} is {own['held_out'] - row['held_out']:.1f} points behind {reference}")
    if (hours := table_hours(known["seconds"], equal_cost)) > settings.max_hours:
        found.append(f"ten seeds of all methods take {hours:.1f} h")
    return found


def table_hours(seconds: "pd.Series[float]", equal_cost: str = "") -> float:
    """Return the hours of a table at equal epochs and at a method's cost, ten seeds, two at a time.

    Args:
        seconds: Of a run, by method.
        equal_cost: The method; none, or one that is not among them yet, stands for the dearest.
    """
    of_one = seconds.get(equal_cost, seconds.max())
    return float(TABLE_SEEDS * (seconds.sum() + len(seconds) * of_one) / TABLE_PLACES / 3600)


def undisturbed_seconds(epochs: "pd.Series[float]") -> float:
    """Return what a run takes on a machine of its own: all its epochs at the pace of its quickest.

    Other work on the machine makes an epoch longer and never shorter.

    Args:
        epochs: Seconds of each.
    """
    return float(len(epochs) * epochs.min())


def run(settings: RegimeSettings) -> RegimeResult:
    """Try the recipes from the cheapest on, until one keeps all conditions.

    The reference is trained first: where it leaves nothing to regularise, the others are not trained; nor where the
    spread of the paired differences between it and one other method makes the table's intervals too wide.

    Raises:
        InputError: For a grid that means no runs.
        MachineError: If a run could not be brought to an end.
    """
    grid = read_grid(settings.grid)
    if settings.precision_seeds and grid.paired_with not in grid.methods:
        raise InputError(f"regime: precision_seeds needs a grid with paired_with, one of {', '.join(grid.methods)}")
    options = {key: str(getattr(settings, key)) for key in ("results", "engine", "device")}
    tables, verdicts, curves, precision, chosen = [], [], [], [], None
    for candidate, layer, command in plans(grid, max(settings.seeds, settings.precision_seeds), **options):
        few = [run for run in command.runs if run.seed < settings.seeds]
        rows, lines = _trained(command, [run for run in few if run.method == grid.reference], candidate)
        broken = faults(rows, settings, grid.reference, grid.equal_cost)
        if not broken and settings.precision_seeds:
            paired = [run for run in command.runs if run.method in (grid.reference, grid.paired_with)]
            precision.append(_precision(command, paired, candidate, grid, settings))
            wanted = precision[-1]["seeds for it"]
            if wanted is None or wanted > settings.max_seeds:
                seeds = wanted or f"more than {MAX_SEEDS}"
                broken = [f"intervals of {settings.max_half_width:g} points to either side take {seeds} seeds"]
        if not broken:
            rows, lines = _trained(command, few, candidate)
            broken = faults(rows, settings, grid.reference, grid.equal_cost)
        tables.append(rows)
        curves.append(lines)
        verdicts.append({"recipe": str(candidate), "methods": len(rows), "breaks": "; ".join(broken)})
        if not broken:
            wanted = precision[-1]["seeds for it"] if precision else TABLE_SEEDS
            chosen = layer | {"seeds": max(wanted, settings.precision_seeds)}
            break
    return RegimeResult(
        settings,
        grid,
        pd.concat(tables),
        pd.DataFrame(verdicts),
        pd.concat(curves),
        chosen,
        pd.DataFrame(precision),
    )


def _precision(
    command: running.Command, runs: Sequence[RunConfig], candidate: Candidate, grid: Grid, settings: RegimeSettings
) -> dict[str, Any]:
    """Carry out runs of two methods, and return how far their paired differences spread over the seeds."""
    frame = _carried_out(command, runs)
    ends = frame.groupby("run").tail(1).pivot_table(index="seed", columns="method", values="student")
    reference, other = ends[grid.reference], ends[grid.paired_with]
    spread = stdev((other - reference).tolist())
    comparisons = grid.comparisons or 2 * (len(grid.methods) - 1)
    return {
        "recipe": str(candidate),
        "n": len(ends),
        f"sd of {grid.reference}": stdev(reference.tolist()),
        f"sd of {grid.paired_with}": stdev(other.tolist()),
        "sd of paired differences": spread,
        "comparisons": comparisons,
        "half-width": half_width(settings.precision_seeds, spread, comparisons),
        "seeds for it": seeds_for_half_width(settings.max_half_width, spread, comparisons),
    }


def _trained(
    command: running.Command, runs: Sequence[RunConfig], candidate: Candidate
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Carry out runs of a recipe, and return what is judged of each method, and its losses."""
    frame = _carried_out(command, runs)
    rows, lines = [], []
    for method, mine in frame.groupby("method", sort=False):
        last = mine.groupby("run").tail(1)
        losses = mine.groupby("epoch")["loss"].mean()
        finished = (last["status"] == Status.FINISHED).all()
        rows.append(
            {
                "recipe": str(candidate),
                "method": method,
                "n": len(last),
                "loss": losses.iloc[-1] if finished else np.nan,
                "fall": fall_in_the_last_part(losses.tolist()) if finished else np.nan,
                "training": last["train_student"].mean(),
                "held_out": last["student"].mean(),
                "seconds": mine.groupby("run")["seconds"].apply(undisturbed_seconds).mean(),
            }
        )
        lines.append(pd.DataFrame({"recipe": str(candidate), "method": method, "loss": losses}).reset_index())
    return pd.DataFrame(rows), pd.concat(lines)


def _carried_out(command: running.Command, runs: Sequence[RunConfig]) -> pd.DataFrame:
    """Carry out the runs that are missing, and return the metrics of all: one row per run and epoch."""
    running.train_missing(command.of(runs), new_console(stderr=True))
    if unfinished := [run for run in runs if not command.store.ended(run)]:
        raise MachineError(
            f"{len(unfinished)} runs did not end (first: {unfinished[0].label}); resume with the same command"
        )
    frame = store.load(command.store.root, split="all")
    return frame[frame["run"].isin([command.store.folder(run).name for run in runs])]


def draw(result: RegimeResult) -> Figure:
    """Return the figure: for every recipe that was tried with all methods, the training losses over the epochs."""
    whole = result.verdicts.loc[result.verdicts["methods"] > 1, "recipe"].tolist() or result.verdicts["recipe"].tolist()
    with styled():
        figure = new_figure(7.5, 2.4 * len(whole))
        axes = figure.subplots(len(whole), 1, squeeze=False)[:, 0]
        for axis, recipe in zip(axes, whole, strict=True):
            mine = result.curves[result.curves["recipe"] == recipe]
            for index, (method, curve) in enumerate(mine.groupby("method", sort=False)):
                line = LINES[index % len(LINES)]
                relative = 100 * curve["loss"] / curve["loss"].iloc[0]
                every = max(1, len(curve) // 8)
                look: dict[str, Any] = {"color": line.color, "ls": line.dash, "marker": line.marker, "ms": 3}
                axis.plot(
                    curve["epoch"] + 1, relative, markevery=(index % every, every), label=figure_text(method), **look
                )
            axis.axvspan(curve["epoch"].max() * (1 - LAST_PART) + 1, curve["epoch"].max() + 1, color="0.92", zorder=0)
            axis.set_title(figure_text(recipe))
            axis.set_ylabel("loss, % of the first epoch's")
        axes[0].legend(ncol=3)
        axes[-1].set_xlabel("epoch (shaded: the part in which losses must have arrived)")
    return figure


def write(result: RegimeResult, folder: Path) -> list[Path]:
    """Write figure, tables, text, and the recipe that was chosen into a folder, which is made; return the files."""
    tables = {"regime": result.table, "verdicts": result.verdicts, "precision": result.precision}
    written = write_study(folder, "regime", draw(result), tables, _text(result))
    if result.chosen is not None:
        written.append(put(folder / "recipe.yaml", yaml.safe_dump(result.chosen, sort_keys=False)))
    return written


def _precision_text(result: RegimeResult) -> str:
    if result.precision.empty:
        return ""
    return f"""
## Precision

How wide the confidence intervals of the table will be, from the spread over {result.settings.precision_seeds} seeds of
`{result.grid.reference}` and `{result.grid.paired_with}` on held-out images: the half-width of the interval of a mean
paired difference at 0.05 divided by the number of comparisons, and the smallest number of seeds whose half-width is at
most {result.settings.max_half_width:g} points, which must not exceed {result.settings.max_seeds}. The gain itself is
not looked at.

{frame_markdown(result.precision.round(2), index=False)}
"""


def _text(result: RegimeResult) -> str:
    settings, grid = result.settings, result.grid
    tried = result.verdicts.assign(breaks=result.verdicts["breaks"].replace("", "nothing: taken"))
    ending = (
        "No recipe of the grid keeps all conditions."
        if result.chosen is None
        else f"Taken: **{markdown(result.verdicts['recipe'].iloc[-1])}** (`recipe.yaml`)."
    )
    dearest = f"`{grid.equal_cost}`" if grid.equal_cost else "the dearest"
    return f"""# Regime: a short recipe that says something

{grid.description}. {settings.seeds} seeds of each method, scored on {grid.held_out_per_class} training images a
class that were held out. The test set was not read. {settings_text("regime", settings)}

A recipe is taken if

- in the last fifth of the run no method's training loss falls by {settings.max_fall:g} % or more (on a fitted line);
- no method is more than {settings.max_behind:g} points behind `{grid.reference}`;
- `{grid.reference}` fits its training images at least {settings.min_gap:g} points better than the held-out ones:
  there is something to regularise;
- ten seeds of all methods, at equal epochs and at the cost of {dearest},
  take at most {settings.max_hours:g} hours, two runs side by side, with every epoch at the pace of a run's quickest
  (other work on the machine slowed the others).

Recipes are tried from the cheapest on (multiply-adds of all methods). `{grid.reference}` is trained first; where it
breaks a condition the others are not trained.

{frame_markdown(tried, index=False)}

{ending}
{_precision_text(result)}
## What was judged

{frame_markdown(result.table.round(2), index=False)}

![Training losses](regime.svg)
"""
