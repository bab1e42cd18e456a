"""Studies made of training runs: cases from a YAML file, ordinary runs in the store, one tidy table of them.

Runs that are finished are not repeated, and those that were interrupted go on: the store remembers, not the study.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from benchmark import datasets, running, store
from benchmark.configuration import Layer, RunConfig, recipes
from benchmark.consoles import Console, new_console
from benchmark.errors import MachineError
from methods import registry
from methods.errors import InputError
from methods.hyperparameters import validated
from methods.schedules import Ramp

WHERE = "where runs are stored; finished ones there are not repeated"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TrainingSettings(_Strict):
    """What every study of training runs assumes; every field is an option of the command line.

    Settings that do not change the numbers are left out of the study's text.
    """

    cases: str = Field("", min_length=1, description="a YAML file with the cases, or its name in configs/")
    seeds: int = Field(5, ge=2, le=1000, description="runs of each case; for one seed all see the same batches")
    epochs: int = Field(8, ge=1, le=10_000, description="length of a run")
    lr: float = Field(0.05, gt=0, le=100, description="learning rate at the start")
    batch_size: int = Field(20, ge=2, le=65_536, description="images a step")
    ramp: Ramp = Field("intended", description="ramp-up of the distillation terms, where a case has none of its own")
    ema_decay: float = Field(0.9, ge=0, lt=1, description="of the mean teacher, where a case has none of its own")
    train_per_class: int = Field(20, ge=2, le=100_000, description="training images a class")
    results: str = Field("results", min_length=1, exclude=True, description=WHERE)
    engine: str = Field("serial", min_length=1, exclude=True, description="ray (side by side) or serial")
    device: str = Field("auto", min_length=1, exclude=True, description="auto, cpu, cuda or cuda:N")


class Case(_Strict):
    """One of the things that a study compares: a method with hyperparameters of its own."""

    name: str = Field(min_length=1)
    factor: str = ""
    method: str
    set: dict[str, Any] = {}

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from every other case."""
        return self.factor, self.name

    @property
    def label(self) -> str:
        """The same in words."""
        return f"{self.factor} {self.name}".strip()


class CaseFile(_Strict):
    """What a study compares, and under which conditions."""

    description: str
    dataset: str
    backbone: str
    train: dict[str, Any] = {}
    data: dict[str, Any] = {}
    reference: Case
    cases: list[Case] = Field(min_length=1)

    def all(self) -> list[Case]:
        """Return the reference and then the cases."""
        return [self.reference, *self.cases]


class Trained(NamedTuple):
    """What came of a study's runs.

    Attributes:
        file: The cases.
        frame: A row a case, seed and epoch, with ``factor``, ``case``, ``label``, ``status`` and the metrics of the
            store; a run that serves two cases stands there twice.
        limit: Accuracy in percent up to which guessing explains it.
        device: What the runs were carried out on.
    """

    file: CaseFile
    frame: pd.DataFrame
    limit: float
    device: str


def read_cases(name: str) -> CaseFile:
    """Return the cases in a YAML file, or raise an InputError for what nothing reads or what stands twice."""
    content = recipes.read(recipes.find(name))
    file = validated(CaseFile, content, "cases")
    keys = [case.key for case in file.all()]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise InputError(f"{name}: the case {' '.join(twice).strip()!r} stands twice")
    return file


def train(settings: TrainingSettings, console: Console | None = None) -> Trained:
    """Carry out the runs of all cases that are missing, and return all of them.

    Raises:
        InputError: For cases that mean no runs.
        MachineError: If a run could not be brought to an end, so that the cases cannot be compared.
    """
    file = read_cases(settings.cases)
    command, runs = plan(settings, file)
    running.train_missing(command, console or new_console(stderr=True))
    unfinished = [run for run in command.runs if not command.store.ended(run)]
    if unfinished:
        raise MachineError(
            f"{len(unfinished)} runs did not end (first: {unfinished[0].label}); the same command goes on"
        )
    names = {command.store.folder(run).name for run in command.runs}
    frame = store.load(command.store.root, where={"run": names}, split="all")
    roles = [
        {"run": command.store.folder(run).name, "factor": case.factor, "case": case.name, "label": case.label}
        for case in file.all()
        for run in runs[case.key]
    ]
    tidy = pd.DataFrame(roles).merge(frame, on="run")
    dataset = datasets.load(file.dataset, command.runs[0].data, command.data_root)
    from benchmark.training import chance_limit

    ends = (command.store.result(run) for run in command.runs)
    devices = {(end.environment or {}).get("hardware", "unknown hardware") for end in ends if end}
    limit = chance_limit(len(dataset.classes), len(dataset.test))
    return Trained(file, tidy, limit, ", ".join(sorted(devices)))


def plan(settings: TrainingSettings, file: CaseFile) -> tuple[running.Command, dict[tuple[str, str], list[RunConfig]]]:
    """Return one command for the runs of all cases, each run once, and each case's runs."""
    commands = {case.key: running.prepare([_layer(settings, file, case)], fetch=True) for case in file.all()}
    distinct = {run.identity: run for command in commands.values() for run in command.runs}
    # seed by seed: what is finished when someone loses patience is the same study with fewer seeds
    in_turn = sorted(distinct.values(), key=lambda run: run.seed)
    whole = replace(commands[file.reference.key], runs=in_turn)
    return whole, {key: list(command.runs) for key, command in commands.items()}


def _layer(settings: TrainingSettings, file: CaseFile, case: Case) -> Layer:
    known = registry.load(case.method, ()).Hyperparameters.model_fields
    shared = {"ramp": settings.ramp, "ema_decay": settings.ema_decay}
    own = {key: value for key, value in shared.items() if key in known} | case.set
    # a run at chance throughout has collapsed; none ends early, so that curves are means over the same runs throughout
    schedule = {"lr": settings.lr, "batch_size": settings.batch_size, "collapse_epochs": settings.epochs}
    return {
        "methods": [case.method],
        "dataset": file.dataset,
        "backbone": file.backbone,
        "seeds": settings.seeds,
        "epochs": settings.epochs,
        "train": {**schedule, "diagnostics_every": 1, **file.train},
        "data": {"train_per_class": settings.train_per_class, **file.data},
        "results": settings.results,
        "engine": settings.engine,
        "device": settings.device,
        **({case.method: own} if own else {}),
    }


def last_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the last row of every case's every seed."""
    return frame.sort_values("epoch", kind="stable").groupby(["factor", "case", "seed"], sort=False).tail(1)
