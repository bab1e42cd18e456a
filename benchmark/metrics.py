"""Every metric in one place: unit, range, direction, decimals, and how it is computed from a stored run.

A :class:`Recorded` number is written by training for each epoch, under its name or under ``name/<part>``, and checked
when a run is read. A :class:`Metric` is one number of a whole run. Those that methods declare themselves
(:class:`methods.metrics.MethodMetric`) are beside ours in :func:`known`. Torch and pandas are not imported.
"""

import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from statistics import mean
from typing import Any, Literal

from benchmark.formatting import OTHER_WORDS
from methods import registry
from methods.errors import InputError, unknown
from methods.metrics import MethodMetric, Role

Run = Mapping[Any, Any]
"""A run: its last epoch's numbers by name, ``cost.*``, ``students``, ``roles``, ``backbone`` and ``best_epoch``."""

DECLARED = "metrics"  # the key of `frame.attrs` with the metrics that the methods of a frame's runs have declared

METHOD = "method/"  # begins the names under which a method's own numbers are recorded

EACH, CLASSES, HEADLINE = "each", "classes", "student"
CLASS_PREFIX = "class_top1/"
ROUNDING = 1e-6  # by which rounding may leave the end of a range

DECIMALS: Mapping[str, int] = {"%": 2, "points": 2, "nats": 3, "s": 0, "ms": 1, "MiB": 0, "M": 2, "": 3}
"""Places that a number is shown with, by its unit."""

Better = Literal["high", "low"] | None
Section = Literal["Accuracy", "Calibration", "Homogenisation", "Training", "Cost", "Method"]


@dataclass(frozen=True)
class Recorded:
    """A number, or a family of them, that training records for an epoch."""

    name: str  # the whole name, or what is before its slash
    unit: str = ""  # as in DECIMALS
    low: float | None = None  # lowest possible value; None for none, and for what is in %: that is from 0 to 100
    high: float | None = None  # highest possible value; the same
    of_predictors: bool = False  # whether each predictor has one, by its name after the slash
    # whether runs of one identity must agree in it to the last bit on one device. Diagnostics need not: they are only
    # there where they were asked for
    compared: bool = False
    deterministic: bool = True  # whether the same run gives it again; times do not
    # what it is called in figures, by the part after the slash; the part is empty for the name alone
    labels: Mapping[str, str] = field(default_factory=dict)
    figure: Literal["curves", "homogeneity", ""] = ""  # the figure (`bench plot`) that shows the labelled ones
    section: Section = "Training"  # where a page lists its curves


RECORDED: Mapping[str, Recorded] = {
    one.name: one
    for one in (
        Recorded("epoch"),
        Recorded("lr", low=0, compared=True),
        Recorded("seconds", "s", 0, deterministic=False),
        Recorded(HEADLINE, "%", compared=True, labels={"": "student accuracy"}, figure="curves", section="Accuracy"),
        Recorded("top1", "%", of_predictors=True, compared=True,
                 labels={"ensemble": "accuracy of the ensemble"}, figure="curves", section="Accuracy"),
        Recorded("loss", compared=True, labels={"": "training loss"}, figure="curves"),
        Recorded("top5", "%", of_predictors=True, compared=True, section="Accuracy"),
        Recorded("nll", "nats", 0, of_predictors=True, compared=True, section="Calibration"),
        Recorded("ece", "", 0, of_predictors=True, section="Calibration"),
        Recorded("worst_class", "%", section="Accuracy"),
        Recorded("class_top1", "%", section="Accuracy"),
        Recorded("train_student", "%", section="Accuracy"),
        Recorded("gain", "points", -100, 100,
                 labels={"teachers": "teachers minus peers", "ensemble": "ensemble minus peers"}, figure="curves",
                 section="Homogenisation"),
        Recorded("distance", "", 0, labels={"peers": "distance between peers' probabilities"}, figure="homogeneity",
                 section="Homogenisation"),
        Recorded("kl", "nats", 0, labels={"peers": "KL between peers", "teacher-peer": "KL(teacher || peer)"},
                 figure="homogeneity", section="Homogenisation"),
        Recorded("disagreement", "%", labels={"peers": "peers disagree"}, figure="homogeneity",
                 section="Homogenisation"),
        Recorded("cka", "", 0, section="Homogenisation"),
        Recorded("gradient", "", 0),
        Recorded("gradient_share", "%"),
    )
}  # fmt: skip


def figure_labels(figure: str, declared: Iterable[MethodMetric] = ()) -> dict[str, str]:
    """Return the recorded numbers that a figure (``curves`` or ``homogeneity``) shows, with label and unit."""
    found = {
        f"{one.name}/{part}" if part else one.name: f"{label} in {one.unit}" if one.unit else label
        for one in RECORDED.values()
        if one.figure == figure
        for part, label in one.labels.items()
    }
    own = declared_by_methods(declared) if figure == "curves" else ()
    return found | {METHOD + (one.key or one.name): one.description.partition(",")[0] for one in own}


def own_names(declared: Iterable[MethodMetric] = ()) -> dict[str, str]:
    """Return what the recorded numbers of methods are called, by the names that rows have them under."""
    return {METHOD + (one.key or one.name): one.name for one in declared_by_methods(declared)}


def _limits(one: "Recorded | MethodMetric") -> tuple[float | None, float | None]:
    return (0.0, 100.0) if one.unit == "%" else (one.low, one.high)


@lru_cache(4096)
def _limits_of(name: str) -> tuple[float | None, float | None] | None:
    one = RECORDED.get(name.partition("/")[0])
    return None if one is None else _limits(one)


def out_of_range(row: Mapping[str, float], declared: Sequence[MethodMetric] = ()) -> Iterator[str]:
    """Yield a line for each number of an epoch, ours or one that the run's method declares, out of its range."""
    own = {METHOD + (one.key or one.name): _limits(one) for one in declared}
    for name, value in row.items():
        low, high = _limits_of(name) or own.get(name, (None, None))
        if low is not None and value < low - ROUNDING:
            yield f"{name} is below {low:g} ({value:g})"
        elif high is not None and value > high + ROUNDING:
            yield f"{name} is above {high:g} ({value:g})"


@dataclass(frozen=True)
class Metric:
    """One number of a run."""

    name: str  # as the command line and tables have it
    description: str  # what it is, on one line; before its first comma in short
    # how it comes from the run; nothing if the method has none, else by part: `""`, or the student or class
    of: Callable[[Run], Mapping[str, float]] = field(compare=False)
    unit: str = "%"  # as in DECIMALS
    better: Better = "high"  # which end is better; None where neither is
    section: Section | None = None  # where reports show it; None for nowhere
    # whose it is: `student`, a role, or nothing for the run as a whole
    predictors: Role | Literal["student", ""] = "student"
    accuracy: bool = False  # whether it is an accuracy or a difference of two, which `--digits` rounds
    deterministic: bool = True  # whether the same run gives it again
    title: str = ""  # what is above its column where a short text is needed; empty for the name
    places: int | None = None  # decimals; None for those of the unit

    @property
    def decimals(self) -> int:
        """Places that it is shown with."""
        return DECIMALS.get(self.unit, 3) if self.places is None else self.places

    @property
    def short(self) -> str:
        """What it is, in a few words."""
        return self.description.partition(",")[0]


def students(run: Run) -> list[str]:
    """Return the names of a run's students; none before it has ended."""
    return [name for name in str(run["students"]).split(",") if name]


def of_role(run: Run, role: Role) -> list[str]:
    """Return the names of a run's predictors of one role, in the method's order."""
    pairs = (pair.partition("=") for pair in str(run.get("roles", "")).split(","))
    return [name for name, _, found in pairs if found == role]


def roles_text(roles: Mapping[str, str]) -> str:
    """Return roles as a frame's column has them; :func:`of_role` reads it."""
    return ",".join(f"{name}={role}" for name, role in roles.items())


# how a metric comes from a run


def _values(run: Run, keys: Iterable[str]) -> list[float]:
    numbers = (run.get(key) for key in keys)
    return [float(number) for number in numbers if number is not None and not math.isnan(number)]


def _over(
    names: Callable[[Run], Sequence[str]],
    recorded: str = "top1/",
    factor: float = 1.0,
    of: Callable[[Iterable[float]], float] = mean,
) -> Callable[[Run], Mapping[str, float]]:
    """Return a metric that is one number, such as the mean, of the numbers of some predictors."""

    def metric(run: Run) -> dict[str, float]:
        values = _values(run, (recorded + name for name in names(run)))
        return {"": factor * of(values)} if values else {}

    return metric


def _number(key: str, factor: float = 1.0) -> Callable[[Run], Mapping[str, float]]:
    return _over(lambda run: [key], "", factor, max)


def _role(role: Role) -> Callable[[Run], list[str]]:
    return lambda run: of_role(run, role)


def _each(run: Run) -> Mapping[str, float]:
    networks, names = str(run["backbone"]).split("+"), students(run)
    # each peer has its network's name beside its own where they differ
    parts = [f" {one}" for one in networks] if len(networks) == len(names) > 1 else [""] * len(names)
    pairs = zip(names, parts, strict=True)
    return {f"{name}{part}": value for name, part in pairs for value in _values(run, [f"top1/{name}"])}


def _by_class(run: Run) -> Mapping[str, float]:
    # a damaged name would be no number: what is no index is no class
    words = (str(key).removeprefix(CLASS_PREFIX) for key in run if str(key).startswith(CLASS_PREFIX))
    places = sorted(int(word) for word in words if word.isdecimal())
    return {f"class {place}": value for place in places for value in _values(run, [f"{CLASS_PREFIX}{place}"])}


_accuracy = partial(Metric, accuracy=True)
_of_peers = partial(Metric, better=None, section="Homogenisation", predictors="peer")
_of_run = partial(Metric, better=None, predictors="")
_cost = partial(_of_run, section="Cost")

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        _accuracy(HEADLINE, "mean accuracy of the students in %, last epoch", _over(students), section="Accuracy",
                  title="accuracy, %"),
        _accuracy("first", "accuracy of the first student in %, last epoch", _over(lambda run: students(run)[:1])),
        _accuracy("best", "accuracy of the best student of each run in %, last epoch (selected on the scored images)",
                  _over(students, of=max)),
        _accuracy(EACH, "accuracy of each student in %, last epoch", _each),
        _accuracy("ensemble", "accuracy of the peers taken together in %, last epoch", _over(_role("ensemble")),
                  section="Accuracy", predictors="ensemble"),
        _accuracy("peers", "mean accuracy of the peers' own heads in %, last epoch", _over(_role("peer")),
                  section="Accuracy", predictors="peer"),
        _accuracy("teachers", "mean accuracy of the teachers in %, last epoch", _over(_role("teacher")),
                  section="Accuracy", predictors="teacher"),
        _accuracy("best-epoch", "mean accuracy of the students in %, best epoch (selected on the scored images)",
                  _number("best_epoch"), section="Accuracy"),
        _accuracy("training-accuracy",
                  "mean accuracy of the students in % on training images without augmentation, last epoch",
                  _number("train_student"), better=None),
        _accuracy("top5", "mean top-5 accuracy of the students in %, last epoch", _over(students, "top5/")),
        _accuracy("worst-class",
                  "accuracy in % on the class on which a student's is lowest, mean over the students, last epoch",
                  _over(students, "worst_class/")),
        _accuracy(CLASSES, "accuracy in % on each class, by its index, mean over the students, last epoch; of runs "
                  "with --set train.class_accuracy=true", _by_class),
        Metric("nll", "mean negative log-likelihood of the students in nats, last epoch", _over(students, "nll/"),
               "nats", "low", "Calibration"),
        Metric("ece", "mean expected calibration error of the students in % (15 bins), last epoch",
               _over(students, "ece/", 100), "%", "low", "Calibration"),
        _accuracy("ensemble-gain", "the ensemble's accuracy minus the peers' mean, in points, last epoch",
                  _number("gain/ensemble"), "points", section="Homogenisation", predictors="ensemble"),
        _accuracy("teacher-gain", "the teachers' mean accuracy minus the peers', in points, last epoch",
                  _number("gain/teachers"), "points", section="Homogenisation", predictors="teacher"),
        _of_peers("distance", "Euclidean distance between two peers' probabilities, mean over pairs, last epoch",
                  _number("distance/peers"), ""),
        _of_peers("kl", "KL divergence between two peers in nats, mean over pairs, last epoch", _number("kl/peers"),
                  "nats"),
        _of_peers("disagreement", "images on which two peers disagree in %, mean over pairs, last epoch",
                  _number("disagreement/peers")),
        _of_peers("cka", "linear CKA between two peers' features, 1 for the same up to rotation, mean over pairs, last "
                  "epoch", _number("cka/peers"), "", section=None),
        _of_peers("teacher-kl", "KL(teacher || its peer) in nats, last epoch", _number("kl/teacher-peer"), "nats",
                  predictors="teacher"),
        _cost("seconds", "wall time of the run in seconds", _number("cost.seconds"), "s", deterministic=False,
              title="time, s"),
        _cost("step-time", "milliseconds of a training step without evaluation, on the machine of the run",
              _number("cost.step_seconds", 1000), "ms", deterministic=False, title="step, ms"),
        _cost("memory", "peak memory of the run's process in MiB", _number("cost.peak_memory_mib"), "MiB",
              deterministic=False, title="memory, MiB"),
        _of_run("state", "MiB of all weights and buffers that training holds, mean teachers and memory banks included",
                _number("cost.state_mib"), "MiB", places=1),
        _of_run("trained-parameters", "millions of parameters that are trained", _number("cost.parameters", 1e-6), "M",
                places=3),
        _cost("parameters", "millions of parameters of the deployed student", _number("cost.student_parameters", 1e-6),
              "M", places=3),
        _cost("multiply-adds", "MACs of the deployed student per image in millions",
              _number("cost.student_multiply_adds", 1e-6), "M"),
        _cost("training-multiply-adds", "training MACs per image in millions",
              _number("cost.step_multiply_adds", 1e-6), "M", title="training MACs, M"),
    )
}  # fmt: skip
"""Our own; :func:`known` has those of methods as well."""

COSTS: Mapping[str, Metric] = {name: metric for name, metric in METRICS.items() if not metric.predictors}
"""What a run takes as a whole."""


def of_method(declared: MethodMetric) -> Metric:
    """Return the metric that a method declares."""
    of = _number(METHOD + (declared.key or declared.name))
    own = declared.unit, declared.better
    return Metric(declared.name, declared.description, of, *own, "Method", "", places=declared.decimals)


def refuse_taken(method: str, declared: Iterable[MethodMetric]) -> None:
    """Raise an InputError if a method declares a metric by a name that every method has already."""
    if taken := [one.name for one in declared if one.name in METRICS]:
        raise InputError(f"{method}: a metric of its own is named {taken[0]!r}, which every method has: rename it")


def known(declared: Iterable[MethodMetric] = ()) -> dict[str, Metric]:
    """Return every metric by name: ours, of the methods that are found, and those that runs declare (``DECLARED``)."""
    return {**METRICS} | {one.name: of_method(one) for one in declared_by_methods(declared) if one.name not in METRICS}


def of_frame(frame: Any) -> dict[str, Metric]:
    """Return every metric that a frame's runs may have."""
    return known(frame.attrs.get(DECLARED, ()))


def declared_by_methods(declared: Iterable[MethodMetric] = ()) -> list[MethodMetric]:
    """Return the metrics of the methods that are found and of others; of two of one name the first counts."""
    return [*{one.name: one for one in reversed([*_found(tuple(sys.path)), *declared])}.values()][::-1]


@cache
def _found(path: tuple[str, ...]) -> tuple[MethodMetric, ...]:
    # installed packages are looked for once
    return tuple(metric for listing in registry.catalogue().values() for metric in listing.metrics)


def cost_note(macs: Mapping[str, float], seconds: Mapping[str, float], margin: float = 0.1) -> str:
    """Return a line where MACs and time of training order methods differently by a margin in both; else nothing."""
    both, more = [name for name in macs if name in seconds], 1 + margin
    differing = [
        (one, other)
        for one, other in itertools.permutations(both, 2)
        if macs[one] * more < macs[other] and seconds[one] > seconds[other] * more
    ]
    if not differing:
        return ""
    least = min(both, key=macs.__getitem__)
    named = [
        f"{name} ({macs[name] / macs[least]:.1f} times the MACs of {least}, {seconds[name] / seconds[least]:.1f} times "
        "its time)"
        for name in dict.fromkeys(itertools.chain(*differing))
    ]
    return f"training MACs and time per step order these methods differently: {', '.join(named)}"


def checked(name: str, metrics: Mapping[str, Metric], option: str = "value") -> Metric:
    """Return the metric of a name, or raise an InputError that lists the names."""
    if name not in metrics:
        raise unknown(option, name, metrics, also=OTHER_WORDS)
    return metrics[name]
