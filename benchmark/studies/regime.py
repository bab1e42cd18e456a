"""Which recipe is short and yet informative: methods converge, there is something to regularise, seeds agree.

Recipes are tried from the cheapest on; the first that meets all conditions is taken. Everything is scored on training
images that were held out: the test set is not read. No condition looks at what a method gains.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, product
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure
from pydantic import Field

from benchmark import datasets
from benchmark.configuration import DataConfig, Request, RunConfig, TrainConfig, complete_methods, recipes
from benchmark.escaping import figure as figure_text
from benchmark.reports import LINES, new_figure, styled
from benchmark.running import Command, prepare
from benchmark.speed.cost import macs_per_image
from benchmark.store import Status
from benchmark.studies import Report, Strict
from benchmark.studies.runs import Engine, RunSettings, carry_out
from benchmark.tables import MAX_SEEDS, frame_markdown, half_width, seeds_for_half_width
from methods import registry
from methods.errors import InputError
from methods.hyperparameters import validated
from methods.mean_teacher import longest_decay

LAST_PART = 0.2
TABLE_SEEDS, TABLE_PLACES = 10, 2


class Settings(RunSettings):
    """What the study assumes."""

    grid: str = Field("studies/regime", min_length=1, description="a YAML file with the recipes, or its name")
    seeds: int = Field(2, ge=1, le=1000, description="runs of each method under each recipe")
    max_fall: float = Field(2.0, gt=0, le=100, description="percent that a loss may fall in the last fifth of a run")
    max_behind: float = Field(3.0, ge=0, le=100, description="points that a method may be behind the reference")
    min_gap: float = Field(15.0, ge=0, le=100, description="points between the reference's training and held-out score")
    max_hours: float = Field(4.0, gt=0, le=10_000, description="hours for ten seeds of all methods, two side by side")
    precision_seeds: int = Field(0, ge=0, le=1000, description="seeds that tell the table's precision; 0: none")
    max_half_width: float = Field(0.7, gt=0, le=100, description="points that half an interval of the table may have")
    max_seeds: int = Field(10, ge=2, le=1000, description="seeds with which the table has to be that precise")
    engine: Engine = "ray"


class Grid(Strict):
    """What is varied, on which images, and what the methods are compared with."""

    description: str
    dataset: str
    reference: str
    methods: list[str] = Field([], description="those that have to converge; none: all that need no teacher")
    paired_with: str = Field("", description="whose paired differences to the reference give the spread of the seeds")
    images_per_class: list[int] = Field(min_length=1)
    held_out_per_class: int = Field(ge=1)
    image_sizes: list[int | None] = Field([None], min_length=1, description="sides in pixels; null: the images' own")
    comparisons: int | None = Field(None, ge=1, description="in the table; null: of all with the reference, twice")
    equal_cost: str = Field("", description="whose cost the table at equal cost has; none: the most expensive")
    backbones: list[str] = Field(min_length=1)
    epochs: list[int] = Field(min_length=1)
    warmup_epochs: list[float] = Field(min_length=1)
    train: dict[str, Any] = Field({})
    data: dict[str, Any] = Field({})


def read_grid(name: str) -> Grid:
    """Return the grid in a YAML file, with the methods' names filled in.

    Raises:
        InputError: For an unknown key, or a reference that is not among the methods.
    """
    grid = validated(Grid, recipes.read(recipes.find(name)), "regime")
    if not grid.methods:
        grid = grid.model_copy(update={"methods": complete_methods(Request([]))})
    for word, method in (("reference", grid.reference), ("method of equal cost", grid.equal_cost or grid.reference)):
        if method not in grid.methods:
            raise InputError(f"regime: the {word} {method!r} is not among the methods")
    return grid


def plans(grid: Grid, seeds: int, settings: RunSettings) -> list[tuple[str, dict[str, Any], Command]]:
    """Return every recipe's name, its configuration, and its runs scored on held-out training images; cheapest first.

    A recipe's cost is the MACs of training all methods once, counted by ``torch.utils.flop_counter``. ``seeds`` is the
    number of runs of each method. A mean teacher's decay that is too long for a recipe is shortened.
    """
    shape = datasets.shape(grid.dataset, DataConfig(), datasets.default_root())
    batch_size = int(grid.train.get("batch_size", TrainConfig().batch_size))
    decays = {name: registry.load(name, ()).Hyperparameters.model_fields.get("ema_decay") for name in grid.methods}
    found, macs = [], {}
    varied = product(grid.images_per_class, grid.image_sizes, grid.backbones, grid.epochs, grid.warmup_epochs)
    for images, side, backbone, epochs, warmup in varied:
        size = f" of {side}x{side}" if side else ""
        name = f"{images} images per class{size}, {backbone}, {epochs} epochs, warm-up {warmup:g}"
        longest = longest_decay(epochs * -(-shape.num_classes * images // batch_size))
        train = {**grid.train, "epochs": epochs, "warmup_epochs": warmup}
        data = {**grid.data, "train_per_class": images, **({"image_size": side} if side else {})}
        layer = {"methods": grid.methods, "dataset": grid.dataset, "backbone": backbone, "train": train, "data": data}
        layer |= {name: {"ema_decay": longest} for name, field in decays.items() if field and field.default > longest}
        of_class = images + grid.held_out_per_class
        held_out = {"train_per_class": of_class, "holdout": grid.held_out_per_class / of_class}
        scored = {"train": {**train, "eval_every": epochs, "collapse_epochs": epochs}, "data": {**data, **held_out}}
        command = prepare([{**layer, **scored, "seeds": seeds, **settings.layer}], fetch=True)
        if (backbone, side) not in macs:
            sized = replace(shape, image_size=side or shape.image_size)
            of_method = {run.method: run for run in command.runs}
            macs[backbone, side] = sum(macs_per_image(run, sized).train for run in of_method.values())
        found.append(((images * epochs * macs[backbone, side], warmup), (name, layer, command)))
    return [plan for _, plan in sorted(found, key=lambda pair: pair[0])]


def fall_in_the_last_part(losses: Sequence[float]) -> float:
    """Return by how much of itself a loss falls over the last fifth of a run, in percent, along a fitted line.

    With the least-squares line l through the losses of the last ``max(2, round(E / 5))`` of E epochs, one each and at
    least two, it is ``100 (l(first) - l(last)) / l(first)``; negative for a loss that rises.
    """
    length = max(2, round(LAST_PART * len(losses)))
    slope, start = np.polyfit(np.arange(length), np.asarray(losses[-length:], dtype=np.float64), 1)
    return float(100 * (-slope * (length - 1)) / start)


def faults(rows: pd.DataFrame, settings: Settings, reference: str, equal_cost: str) -> list[str]:
    """Return the conditions that a recipe breaks, one line each.

    There is one row per method: ``method, fall, held_out, training, seconds``; ``equal_cost`` is that of
    :func:`table_hours`.
    """
    known = rows.set_index("method")
    own = known.loc[reference]
    found = []
    gap = own["training"] - own["held_out"]
    if not gap >= settings.min_gap:
        found.append(f"{reference} fits its training images only {gap:.1f} points better than held-out ones")
    for method, row in known.iterrows():
        if not row["fall"] < settings.max_fall:
            found.append(f"{method} has not converged: its loss falls by {row['fall']:.1f} %")
        if not row["held_out"] >= own["held_out"] - settings.max_behind:
            found.append(f"{method} is {own['held_out'] - row['held_out']:.1f} points behind {reference}")
    if (hours := table_hours(known["seconds"], equal_cost)) > settings.max_hours:
        found.append(f"ten seeds of all methods take {hours:.1f} h")
    return found


def table_hours(seconds: "pd.Series[float]", equal_cost: str) -> float:
    """Return the hours of a table at equal epochs and at a method's cost, ten seeds, two at a time.

    From the seconds of a run by method; ``equal_cost`` is the most expensive if it is none of them.
    """
    of_one = seconds.get(equal_cost, seconds.max())
    return float(TABLE_SEEDS * (seconds.sum() + len(seconds) * of_one) / TABLE_PLACES / 3600)


def run(settings: Settings) -> Report:
    """Try the recipes from the cheapest on, until one meets all conditions.

    The reference is trained first: where it leaves nothing to regularise, the others are not trained; nor where the
    spread of the paired differences between it and one other method makes the table's intervals too wide.

    Raises:
        InputError: For a grid that defines no runs.
        MachineError: If a run did not end.
    """
    grid = read_grid(settings.grid)
    if settings.precision_seeds and grid.paired_with not in grid.methods:
        raise InputError(f"regime: precision_seeds needs a grid with paired_with, one of {', '.join(grid.methods)}")
    judged_by = settings, grid.reference, grid.equal_cost
    tables, curves, candidates, precision, chosen = [], [], [], [], None
    for recipe, layer, command in plans(grid, max(settings.seeds, settings.precision_seeds), settings):
        few = [run for run in command.runs if run.seed < settings.seeds]
        rows, losses = _trained(command, [run for run in few if run.method == grid.reference])
        wanted: float = TABLE_SEEDS
        broken = faults(rows, *judged_by)
        if not broken and settings.precision_seeds:
            precision.append({"recipe": recipe, **_precision(command, grid, settings)})
            wanted = precision[-1]["seeds for it"] or math.inf
            if wanted > settings.max_seeds:
                seeds = wanted if wanted < math.inf else f"more than {MAX_SEEDS}"
                broken = [f"intervals of {settings.max_half_width:g} points to either side take {seeds} seeds"]
        if not broken:
            rows, losses = _trained(command, few)
            broken = faults(rows, *judged_by)
        tables.append(rows)
        tables[-1].insert(0, "recipe", recipe)
        curves.append(losses.assign(recipe=recipe))
        candidates.append({"recipe": recipe, "methods": len(rows), "breaks": "; ".join(broken)})
        if not broken:
            chosen = layer | {"seeds": max(wanted, settings.precision_seeds)}
            break
    made = {"regime": pd.concat(tables), "candidates": pd.DataFrame(candidates), "precision": pd.DataFrame(precision)}
    tried = made["candidates"].assign(breaks=made["candidates"]["breaks"].replace("", "nothing: taken"))
    shown = {"judged": made["regime"].round(2), "precision": made["precision"].round(2), "tried": tried}
    facts: dict[str, Any] = {name: frame_markdown(frame, index=False) for name, frame in shown.items() if len(frame)}
    facts |= {"grid": grid, "taken": None if chosen is None else candidates[-1]["recipe"]}
    files = {} if chosen is None else {"recipe.yaml": yaml.safe_dump(chosen, sort_keys=False)}
    return Report(_plot(made["candidates"], pd.concat(curves)), made, facts, files)


def _precision(command: Command, grid: Grid, settings: Settings) -> dict[str, Any]:
    """Carry out runs of two methods, and return the spread of their paired differences over the seeds."""
    frame = carry_out(command, [run for run in command.runs if run.method in (grid.reference, grid.paired_with)])
    ends = frame.groupby("run").tail(1).pivot_table(index="seed", columns="method", values="student")
    spread, alone = float((ends[grid.paired_with] - ends[grid.reference]).std()), ends.std()
    comparisons = grid.comparisons or 2 * (len(grid.methods) - 1)
    found = {"n": len(ends)} | {f"sd of {method}": alone[method] for method in (grid.reference, grid.paired_with)}
    found |= {"sd of paired differences": spread, "comparisons": comparisons}
    found["half-width"] = half_width(settings.precision_seeds, spread, comparisons)
    return found | {"seeds for it": seeds_for_half_width(settings.max_half_width, spread, comparisons)}


def _trained(command: Command, runs: Sequence[RunConfig]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Carry out runs of a recipe, and return what the conditions look at per method, and its losses per epoch."""
    frame, rows = carry_out(command, runs), []
    curves = frame.groupby(["method", "epoch"], sort=False)["loss"].mean().reset_index()
    for method, mine in frame.groupby("method", sort=False):
        last = mine.groupby("run").tail(1)
        # as if all epochs were as long as the shortest: other work only makes an epoch longer
        seconds = mine.groupby("run")["seconds"].agg(lambda epochs: len(epochs) * epochs.min())
        losses = curves.loc[curves["method"] == method, "loss"].tolist()
        finished = (last["status"] == Status.FINISHED).all()
        row = {"method": method, "n": len(last), "loss": losses[-1] if finished else np.nan}
        row |= {"fall": fall_in_the_last_part(losses) if finished else np.nan, "training": last["train_student"].mean()}
        rows.append(row | {"held_out": last["student"].mean(), "seconds": seconds.mean()})
    return pd.DataFrame(rows), curves


@styled()
def _plot(tried: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Return the figure: for every recipe that was tried with all methods, the training losses over the epochs."""
    whole = tried.loc[tried["methods"] > 1, "recipe"].tolist() or tried["recipe"].tolist()
    figure = new_figure(7.5, 2.4 * len(whole))
    axes = figure.subplots(len(whole), 1, squeeze=False)[:, 0]
    for axis, recipe in zip(axes, whole, strict=True):
        mine = curves[curves["recipe"] == recipe]
        last = mine["epoch"].max()
        for line, (method, curve) in zip(cycle(LINES), mine.groupby("method", sort=False), strict=False):
            relative = 100 * curve["loss"] / curve["loss"].iloc[0]
            look: dict[str, Any] = {"color": line.color, "ls": line.dash, "marker": line.marker, "ms": 3}
            axis.plot(curve["epoch"] + 1, relative, markevery=0.12, label=figure_text(method), **look)
        axis.axvspan(last * (1 - LAST_PART) + 1, last + 1, color="0.92", zorder=0)
        axis.set(title=figure_text(recipe), ylabel="loss, % of the first epoch's")
    axes[0].legend(ncol=3)
    axes[-1].set_xlabel("epoch (shaded: the part in which losses must have converged)")
    return figure
