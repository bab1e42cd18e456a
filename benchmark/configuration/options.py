"""The options of ``bench run`` and ``bench sweep``; flags, keys of files and arguments of the API derive from here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from benchmark import paths
from methods.errors import InputError, unknown

Engine = Literal["ray", "serial"]
LogitsType = Literal["float16", "float32"]

DATA_ROOT = "data"
"""Where datasets are by default."""

MAX_SEEDS, SEED_STEP, TRIALS = 20, 5, 20
"""Of ``--until-decided``, and of a sweep that is not a grid."""


@dataclass(frozen=True)
class Option:
    """One option."""

    type: type  # of its value on the command line; a list is a flag that may be repeated
    help: str  # one sentence for bench run --help
    default: Any = None  # what counts if it is not given
    metavar: str | None = None  # what stands for the value in the help
    choices: tuple[str, ...] = ()  # the valid words
    low: int | None = None
    high: int | None = None
    names: str = ""  # what a shell completes: methods, datasets or backbones
    # whether its words are separated by commas, or a list in a file; what it means is checked by its reader
    several: bool = False
    flag: str | None = None  # on the command line, where it is not -- and the key

    def checked(self, key: str, value: Any) -> Any:
        """Return the value given, or the default for None; raise an InputError for another type or one out of range."""
        value = self.default if value is None else value
        if value is None or self.several or self.type is list:
            return value
        if self.choices and value not in self.choices:
            raise unknown(key, str(value), self.choices)
        if self.type is bool and type(value) is not bool:
            raise InputError(f"{key} must be true or false (given: {value!r})")
        if self.type is int and self.low is not None and self.high is not None:
            if type(value) is not int or not self.low <= value <= self.high:
                raise InputError(f"{key} must be a whole number from {self.low} to {self.high} (given: {value!r})")
        elif self.type is float and (type(value) not in (int, float) or not 0 < value < float("inf")):
            raise InputError(f"{key} must be a number above 0 (given: {value!r})")
        elif self.type in (str, Path) and not (isinstance(value, str) and value.strip() and paths.possible(value)):
            raise InputError(f"{key} must be a word (given: {value!r})")
        return paths.written(value, key) if self.type is Path else value


OPTIONS: Mapping[str, Option] = {
    "methods": Option(str, "Names separated by commas; all if not given.", names="methods", several=True),
    "variants": Option(
        list,
        "Add a variant: 'dkel: decay=none', or 'dml as dml-slow: train.lr=0.05'.",
        None,
        "VARIANT",
        flag="--variant",
    ),
    "dataset": Option(
        str,
        "Names, or forms as folder:PATH or '\"folder:a,b\"', with commas.",
        "digits",
        names="datasets",
        several=True,
    ),
    "backbone": Option(
        str, "Names with commas; a+b for peers with different networks.", "resnet32", names="backbones", several=True
    ),
    "seeds": Option(str, "How many (3) or which (0,4,7 or 0-4; a single one: 7,).", 1, several=True),
    "epochs": Option(int, "Short for --set train.epochs=N."),
    "results": Option(Path, "Where runs are stored (default: results).", "results", "DIR"),
    "data_root": Option(Path, "Where datasets are stored (default: $OKDBENCH_DATA, or data).", metavar="DIR"),
    "engine": Option(str, "ray (in parallel) or serial (in this process).", "ray", choices=get_args(Engine)),
    "address": Option(str, "Address of an existing Ray cluster to join."),
    "device": Option(str, "auto, cpu, cuda, cuda:N or cuda:N,M.", "auto"),
    "trials_per_gpu": Option(int, "Runs in parallel on one GPU.", 1, low=1, high=100),
    "save_students": Option(bool, "Keep the students' weights.", default=False),
    "save_predictions": Option(bool, "Keep all logits on the scored images, after the last epoch.", default=False),
    "predictions_type": Option(
        str, "With --save-predictions: float16 (default) or float32.", metavar="TYPE", choices=get_args(LogitsType)
    ),
    "equal_cost": Option(
        str, "Give every method the epochs that this method's training cost allows.", metavar="METHOD", names="methods"
    ),
    "cost": Option(str, "With --equal-cost: macs, or time as measured here.", "macs", choices=("macs", "time")),
    "stop_after": Option(
        str, "Stop in time, as 9m or 1h30m: no epoch that is to end later is begun. Run again to resume.", None, "TIME"
    ),
    "log": Option(str, "Also write the metrics to these, with commas: tensorboard, wandb, mlflow.", several=True),
}
"""By their keys in a configuration file."""

RUN_ALONE = {"methods", "variants", "equal_cost", "cost"}
RUN_ALONE |= {"save_students", "save_predictions", "predictions_type"}
"""Those that ``bench sweep`` does not have."""

UNTIL_DECIDED_OPTIONS: Mapping[str, Option] = {
    "until_decided": Option(
        float, "Add seeds until every method is better, worse or equivalent within this many points.", metavar="POINTS"
    ),
    "baseline": Option(str, "With --until-decided: the method to compare with.", metavar="METHOD", names="methods"),
    "max_seeds": Option(int, f"With --until-decided: the largest number of seeds (default: {MAX_SEEDS}).", MAX_SEEDS),
    "step": Option(
        int, f"With --until-decided: seeds at a time (default: {SEED_STEP}).", SEED_STEP, flag="--seed-step"
    ),
}
"""Of ``bench run`` alone, and no keys of a file: the seeds that they ask for depend on results."""

SWEEP_OPTIONS: Mapping[str, Option] = {
    "method": Option(str, "The method that is searched.", names="methods"),
    "trials": Option(int, f"Configurations to try (default: all of a grid, else {TRIALS}).", low=1, high=10_000),
    "search": Option(str, "grid, random or optuna.", default="random", choices=("grid", "random", "optuna")),
    "scheduler": Option(str, "none, or asha for early stopping.", default="none", choices=("none", "asha")),
    "search_seed": Option(int, "Random seed of the search.", default=0, low=0, high=2**32 - 1),
    "storage": Option(str, "With --search optuna: keep its study in this SQLite file, or at an URL.", metavar="FILE"),
}
"""Of ``bench sweep`` beside those of :data:`OPTIONS` that it shares."""
