"""Studies made of training runs: cases from a YAML file, ordinary runs in the store, one tidy table of them.

Finished runs are not repeated, interrupted ones are resumed: the store remembers, not the study.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from benchmark import datasets, running, store
from benchmark.configuration import RunConfig, recipes
from benchmark.console import new_console
from benchmark.errors import MachineError
from benchmark.escaping import figure as figure_text
from benchmark.reports import LINES, Line, new_figure, styled
from benchmark.store import Status
from benchmark.studies import Row, Strict
from benchmark.tables import half_width
from methods import registry
from methods.errors import InputError
from methods.hyperparameters import validated
from methods.schedules import Ramp

Cases = Annotated[str, Field(min_length=1, description="a YAML file with the cases, or its name in configs/")]
Seeds = Annotated[int, Field(ge=2, le=1000, description="runs of each case; for one seed all see the same batches")]
Epochs = Annotated[int, Field(ge=1, le=10_000, description="length of a run")]
LearningRate = Annotated[float, Field(gt=0, le=100, description="learning rate at the start")]
BatchSize = Annotated[int, Field(ge=2, le=65_536, description="images per step")]
RampUp = Annotated[Ramp, Field(description="ramp-up of the distillation terms, where a case has none of its own")]
Engine = Annotated[str, Field(min_length=1, exclude=True, description="ray (side by side) or serial")]


class RunSettings(Strict):
    """Where and how runs are carried out: no part of the study's page, since they change no number."""

    results: str = Field("results", min_length=1, exclude=True, description="where runs are stored, and not repeated")
    engine: Engine = "serial"
    device: str = Field("auto", min_length=1, exclude=True, description="auto, cpu, cuda or cuda:N")

    @property
    def layer(self) -> dict[str, str]:
        """The same as keys of a configuration."""
        return {"results": self.results, "engine": self.engine, "device": self.device}


class TrainingSettings(RunSettings):
    """What every study of cases assumes."""

    cases: Cases = ""
    seeds: Seeds = 5
    epochs: Epochs = 8
    lr: LearningRate = 0.05
    batch_size: BatchSize = 20
    ramp: RampUp = "intended"
    ema_decay: float = Field(0.9, ge=0, lt=1, description="of the mean teacher, where a case has none of its own")
    train_per_class: int = Field(20, ge=2, le=100_000, description="training images per class")


class Case(Strict):
    """One of the things that a study compares: a method with hyperparameters of its own."""

    name: str = Field(min_length=1)
    factor: str = ""
    method: str
    set: dict[str, Any] = Field({})

    @property
    def label(self) -> str:
        """What identifies it among the cases."""
        return f"{self.factor}: {self.name}".removeprefix(": ")


class CaseFile(Strict):
    """What a study compares, and under which conditions."""

    description: str
    dataset: str
    backbone: str
    train: dict[str, Any] = Field({})
    data: dict[str, Any] = Field({})
    reference: Case
    cases: list[Case] = Field(min_length=1)

    def all(self) -> list[Case]:
        """Return the reference and then the cases."""
        return [self.reference, *self.cases]


class Trained(NamedTuple):
    """What came of a study's runs."""

    file: CaseFile
    # one row per case, seed and epoch, with label, status and the store's metrics; a run of two cases is in it twice
    frame: pd.DataFrame
    limit: float  # accuracy in percent up to which guessing explains it
    device: str  # what the runs were carried out on

    def ends(self, case: Case) -> pd.DataFrame:
        """Return the last rows of a case's runs, by seed."""
        mine = self.frame[self.frame["label"] == case.label].sort_values("epoch", kind="stable")
        return mine.groupby("seed", sort=False).tail(1).set_index("seed")

    def accuracies(self, case: Case) -> "pd.Series[float]":
        """Return the students' accuracy after the last epoch, by seed; a run that diverged has none."""
        ends = self.ends(case)
        return ends.loc[ends["status"] != Status.DIVERGED, "student"].astype(float).dropna()


def read_cases(name: str) -> CaseFile:
    """Return the cases in a YAML file.

    Raises:
        InputError: For an unknown key, or two cases of one name.
    """
    file = validated(CaseFile, recipes.read(recipes.find(name)), "cases")
    labels = [case.label for case in file.all()]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise InputError(f"{name}: there are two cases {twice!r}")
    return file


def train(settings: TrainingSettings, file: CaseFile) -> Trained:
    """Carry out the runs of all cases that are missing, and return all of them.

    Raises:
        InputError: For cases that define no runs.
        MachineError: If a run did not end, so that the cases cannot be compared.
    """
    from benchmark.training import chance_limit

    command, runs = plan(settings, file)
    frame = carry_out(command, command.runs)
    labels = [{"run": command.store.folder(run).name, "label": label} for label, mine in runs.items() for run in mine]
    dataset = datasets.load(file.dataset, command.runs[0].data, command.data_root)
    results = (command.store.result(run) for run in command.runs)
    devices = {(result.environment or {}).get("hardware", "unknown hardware") for result in results if result}
    limit = chance_limit(len(dataset.classes), len(dataset.test))
    return Trained(file, pd.DataFrame(labels).merge(frame, on="run"), limit, ", ".join(sorted(devices)))


def carry_out(command: running.Command, runs: Sequence[RunConfig]) -> pd.DataFrame:
    """Carry out the runs that are missing, and return the metrics of all: one row per run and epoch.

    Raises:
        MachineError: If a run did not end.
    """
    running.train_missing(command.of(runs), new_console(stderr=True))
    if unfinished := [run for run in runs if not command.store.ended(run)]:
        first = unfinished[0].label
        raise MachineError(f"{len(unfinished)} runs did not end (first: {first}); resume with the same command")
    names = {command.store.folder(run).name for run in runs}
    return store.load(command.store.root, where={"run": names}, split="all")


def plan(settings: TrainingSettings, file: CaseFile) -> tuple[running.Command, dict[str, Sequence[RunConfig]]]:
    """Return one command for the runs of all cases, each run once, and each case's runs."""
    shared = {"ramp": settings.ramp, "ema_decay": settings.ema_decay}
    # a run at chance throughout has collapsed; none ends early, so that curves are means over the same runs throughout
    schedule = {"lr": settings.lr, "batch_size": settings.batch_size, "collapse_epochs": settings.epochs}
    common = {"dataset": file.dataset, "backbone": file.backbone, "seeds": settings.seeds, "epochs": settings.epochs}
    sections = {"train": {**schedule, "diagnostics_every": 1, **file.train}}
    sections["data"] = {"train_per_class": settings.train_per_class, **file.data}
    commands = {}
    for case in file.all():
        known = registry.load(case.method, ()).Hyperparameters.model_fields
        own = {key: value for key, value in shared.items() if key in known} | case.set
        layer = {"methods": [case.method], **common, **sections, **settings.layer, case.method: own}
        commands[case.label] = running.prepare([layer], fetch=True)
    distinct = {run.identity: run for command in commands.values() for run in command.runs}
    # seed by seed: an interrupted study is the same one with fewer seeds
    in_turn = sorted(distinct.values(), key=lambda run: run.seed)
    whole = replace(commands[file.reference.label], runs=in_turn)
    return whole, {label: command.runs for label, command in commands.items()}


def mean_interval(values: "pd.Series[float]") -> tuple[float, float, float]:
    """Return the mean and its 95 % interval by the t distribution; no interval with fewer than three values."""
    known = values.dropna().to_numpy(np.float64)
    if not known.size:
        return math.nan, math.nan, math.nan
    mean = float(known.mean())
    half = half_width(known.size, float(known.std(ddof=1))) if known.size >= 3 else math.nan
    return mean, mean - half, mean + half


def plot_interval(axis: Axes, row: Row, name: str, place: float, line: Line, scale: float = 1.0, **look: Any) -> None:
    """Plot a number of a row with its interval at a height."""
    value, low, high = (scale * float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    errors = [[value - low], [high - value]]
    axis.errorbar(value, place, xerr=errors, fmt=line.marker, color=line.color, capsize=3, **look)


@styled()
def plot_gains(rows: Sequence[tuple[str, Sequence[float], Row]], name: str, title: str, unit: str) -> Figure:
    """Return the figure of differences to a reference: of each row the parts in grey, and the mean with its interval.

    Args:
        rows: What each is called, its parts, and a mapping with the interval ``name``.
        name: As in :func:`plot_interval`.
        title: What the parts are.
        unit: The label of the horizontal axis.
    """
    figure = new_figure(7.5, 1.5 + 0.4 * len(rows))
    axis = figure.subplots()
    for place, (_, parts, row) in enumerate(rows):
        line = LINES[place % len(LINES)]
        axis.plot(parts, [place + 0.15] * len(parts), line.marker, color="0.6", ms=3, mfc="none")
        plot_interval(axis, row, name, place, line)
    axis.set_yticks(range(len(rows)), [figure_text(label) for label, *_ in rows])
    axis.set(ylim=(len(rows) - 0.5, -0.5), xlabel=unit, title=title)
    axis.axvline(0, color="0.3", lw=0.8)
    axis.grid(visible=False, axis="y")
    return figure
