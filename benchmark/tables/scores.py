"""The numbers that a run can be judged by, each from the metrics of its last epoch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, Literal

import pandas as pd

Record = Mapping[Any, Any]
"""A run: its last epoch's metrics, its settings, and ``best_epoch``, the highest accuracy of any epoch."""

EACH = "each"
"""The score that is a number a student."""

CLASSES = "classes"
"""The score that is a number a class."""

CLASS_PREFIX = "class_top1/"
"""Of the metrics that it comes from."""


@dataclass(frozen=True)
class Score:
    """One number of a run.

    Attributes:
        description: What it is.
        of: How it comes from the run; nothing if the method has none, else by part: ``""``, or the student or class.
        digits: Decimal places that it is shown with.
        best: Which end is better; None where neither is.
    """

    description: str
    of: Callable[[Record], Mapping[str, float]]
    digits: int = 2
    best: Literal["high", "low"] | None = "high"


def students(run: Record) -> list[str]:
    """Return the names of a run's students; none before it has ended."""
    return [name for name in str(run["students"]).split(",") if name]


def network_of(run: Record, student: str) -> str:
    """Return the backbone of a student, where the peers differ; else nothing."""
    parts = str(run["backbone"]).split("+")
    names = students(run)
    return parts[names.index(student)] if len(parts) == len(names) > 1 else ""


def _values(run: Record, keys: Iterable[str]) -> list[float]:
    return [float(run[key]) for key in keys if key in run and pd.notna(run[key])]


def _single(value: float | None, factor: float = 1.0) -> Mapping[str, float]:
    return {} if value is None else {"": factor * value}


def _of(key: str, factor: float = 1.0) -> Callable[[Record], Mapping[str, float]]:
    return lambda run: _single(next(iter(_values(run, [key])), None), factor)


def _students_mean(metric: str, factor: float = 1.0) -> Callable[[Record], Mapping[str, float]]:
    def score(run: Record) -> Mapping[str, float]:
        values = _values(run, (f"{metric}/{name}" for name in students(run)))
        return _single(mean(values), factor) if values else {}

    return score


def _mean_of(kind: str) -> Callable[[Record], Mapping[str, float]]:
    def score(run: Record) -> Mapping[str, float]:
        prefix = f"top1/{kind}"
        names = [key for key in run if key.startswith(prefix) and key.removeprefix(prefix).isdigit() | (key == prefix)]
        values = _values(run, names)
        return _single(mean(values)) if values else {}

    return score


def _first(run: Record) -> Mapping[str, float]:
    return _single(next(iter(_values(run, (f"top1/{name}" for name in students(run)[:1]))), None))


def _best(run: Record) -> Mapping[str, float]:
    return _single(max(_values(run, (f"top1/{name}" for name in students(run))), default=None))


def _each(run: Record) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for name in students(run):
        for value in _values(run, [f"top1/{name}"]):
            found[f"{name} {network_of(run, name)}".strip()] = value
    return found


def _by_class(run: Record) -> Mapping[str, float]:
    # a damaged name would be no number: what is no index is no class
    words = (str(key).removeprefix(CLASS_PREFIX) for key in run if str(key).startswith(CLASS_PREFIX))
    places = sorted(int(word) for word in words if word.isdecimal())
    return {f"class {place}": value for place in places for value in _values(run, [f"{CLASS_PREFIX}{place}"])}


SCORES: Mapping[str, Score] = {
    "student": Score("mean accuracy of the students in %, last epoch", _students_mean("top1")),
    "first": Score("accuracy of the first student in %, last epoch", _first),
    "best": Score("accuracy of the best student of each run in %, last epoch (selected on the scored images)", _best),
    EACH: Score("accuracy of each student in %, last epoch", _each),
    "ensemble": Score("accuracy of the peers taken together in %, last epoch", _of("top1/ensemble")),
    "peers": Score("mean accuracy of the peers' own heads in %, last epoch", _mean_of("peer")),
    "teachers": Score("mean accuracy of the teachers in %, last epoch", _mean_of("teacher")),
    "best-epoch": Score(
        "mean accuracy of the students in %, best epoch (selected on the scored images)", _of("best_epoch")
    ),
    "training-accuracy": Score(
        "mean accuracy of the students in % on training images without augmentation, last epoch",
        _of("train_student"),
        2,
        None,
    ),
    "top5": Score("mean top-5 accuracy of the students in %, last epoch", _students_mean("top5")),
    "worst-class": Score(
        "accuracy in % on the class on which a student's is lowest, mean over the students, last epoch",
        _students_mean("worst_class"),
    ),
    CLASSES: Score(
        "accuracy in % on each class, by its index, mean over the students, last epoch; of runs with "
        "--set train.class_accuracy=true",
        _by_class,
    ),
    "nll": Score("mean negative log-likelihood of the students in nats, last epoch", _students_mean("nll"), 3, "low"),
    "ece": Score(
        "mean expected calibration error of the students in % (15 bins), last epoch",
        _students_mean("ece", 100),
        2,
        "low",
    ),
    "ensemble-gain": Score(
        "the ensemble's accuracy minus the peers' mean, in points, last epoch", _of("gain/ensemble")
    ),
    "teacher-gain": Score("the teachers' mean accuracy minus the peers', in points, last epoch", _of("gain/teachers")),
    "distance": Score(
        "Euclidean distance between two peers' probabilities, mean over pairs, last epoch",
        _of("distance/peers"),
        3,
        None,
    ),
    "kl": Score("KL divergence between two peers in nats, mean over pairs, last epoch", _of("kl/peers"), 3, None),
    "disagreement": Score(
        "images on which two peers disagree in %, mean over pairs, last epoch", _of("disagreement/peers"), 2, None
    ),
    "cka": Score(
        "linear CKA between two peers' features, 1 for the same up to rotation, mean over pairs, last epoch",
        _of("cka/peers"),
        3,
        None,
    ),
    "teacher-kl": Score("KL(teacher || its peer) in nats, last epoch", _of("kl/teacher-peer"), 3, None),
    "expert-share": Score(
        "batches in which a teacher waits for its student in %, last epoch", _of("method/expert_share"), 2, None
    ),
    "switch-gap": Score(
        "L1 distance between a student's and its teacher's probabilities, last epoch", _of("method/gap"), 3, None
    ),
    "switch-threshold": Score(
        "the distance above which the teacher may wait, last epoch", _of("method/threshold"), 3, None
    ),
    "seconds": Score("wall time of the run in seconds", _of("cost.seconds"), 0, None),
    "memory": Score("peak memory of the run's process in MiB", _of("cost.peak_memory_mib"), 0, None),
    "state": Score(
        "MiB of all weights and buffers that training holds, mean teachers and memory banks included",
        _of("cost.state_mib"),
        1,
        None,
    ),
    "parameters": Score(
        "millions of parameters of the deployed student", _of("cost.student_parameters", 1e-6), 3, None
    ),
    "multiply-adds": Score(
        "millions of multiply-adds of the deployed student an image", _of("cost.student_multiply_adds", 1e-6), 2, None
    ),
    "training-multiply-adds": Score(
        "millions of multiply-adds of a training step an image", _of("cost.step_multiply_adds", 1e-6), 2, None
    ),
}


def summaries(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row a run: its last epoch and ``best_epoch``.

    Args:
        frame: From :func:`benchmark.store.load`, of all epochs or of the last ones.
    """
    if "best_epoch" in frame.columns:
        last = frame.copy(deep=False)
        # pandas would copy what stands there for every group of runs
        last.attrs = {}
        return last
    last = frame.drop_duplicates("run", keep="last").copy()
    if "student" not in frame.columns:
        return last.assign(best_epoch=float("nan"))
    best = frame.groupby("run", sort=False)["student"].max()
    return last.assign(best_epoch=last["run"].map(best))


def of_run(score: str, run: Record) -> Mapping[str, float]:
    """Return a run's score by part, see :class:`Score`."""
    return SCORES[score].of(run)


def shown(names: Sequence[str]) -> list[str]:
    """Return a line a score that says what it is."""
    return [f"{name}: {SCORES[name].description}" for name in names]
