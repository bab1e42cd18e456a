"""A student in the plane, pulled towards its mean teacher: what the teacher's start changes, and for how long.

On the bowl ``f(x) = x^T A x / 2`` (optimum at the origin, A diagonal) the student x and its mean teacher m go

    x <- x - lr (A x + noise + w_t (x - m))
    m <- a_t m + (1 - a_t) x

All of it is linear, so there are closed forms, with which every simulated number is compared.
"""

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field, model_validator

from benchmark.reports import LINES, new_figure, styled
from benchmark.studies import Report, Strict
from methods.schedules import Ramp, ema_decay_at, ramped_weight

Array = npt.NDArray[np.float64]


class Settings(Strict):
    """What the study assumes."""

    seed: int = Field(0, ge=0, lt=2**32, description="of all random numbers")
    samples: int = Field(1000, ge=1, le=10_000, description="random starts; the paths shown are the first one's")
    steps: int = Field(500, ge=1, le=10_000, description="descent steps")
    steps_per_epoch: int = Field(1, ge=1, le=10_000, description="steps that the ramp-up counts as one epoch")
    learning_rate: float = Field(0.1, gt=0, le=1, description="of the descent")
    curvature_x: float = Field(1.0, gt=0, le=20, description="of the bowl along the first axis")
    curvature_y: float = Field(0.25, gt=0, le=20, description="of the bowl along the second axis")
    noise: float = Field(0.0, ge=0, le=10, description="standard deviation of the gradient's noise; 0: ideal")
    weight: float = Field(1.0, ge=0, le=20, description="of the pull towards the teacher")
    ramp: Ramp = Field("none", description="ramp-up of the weight: as intended, as in the released code, or none")
    rampup_epochs: int = Field(80, ge=0, le=10_000, description="length of the ramp-up")
    ema_decay: float = Field(0.9, ge=0, lt=1, description="decay of the mean teacher")
    start_x: float = Field(-2.0, ge=-100, le=100, description="centre of the starts, first coordinate")
    start_y: float = Field(1.5, ge=-100, le=100, description="centre of the starts, second coordinate")
    spread: float = Field(1.0, ge=0, le=100, description="standard deviation of the starts around their centre")
    init_steps: int = Field(2, ge=0, le=1000, description="steps that a decoupled teacher takes on its own first")
    init_lr_scale: float = Field(0.01, gt=0, le=1, description="learning rate of those steps, as a share of the rate")
    tolerance: float = Field(0.01, gt=0, lt=1, description="distance that counts as none, as a share of the start's")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.learning_rate * (self.curvature.max() + self.weight) >= 2:
            raise ValueError("the descent diverges: learning_rate * (curvature + weight) must be below 2")
        if self.spread == self.start_x == self.start_y == 0:
            raise ValueError("the starts must differ from the optimum: spread, start_x or start_y other than 0")
        if self.samples * self.steps > 2_000_000:
            raise ValueError("samples * steps must be at most 2000000")
        return self

    @property
    def curvature(self) -> Array:
        """The diagonal of A."""
        return np.array([self.curvature_x, self.curvature_y])


CASES = {
    "no teacher": ("none", True),
    "PCL: copy": ("copy", True),
    "DKEL: copy moved on": ("moved", False),
    "DKEL: independent": ("independent", False),
    "released DKEL: copy moved on, first factor 0": ("moved", True),
    "independent, first factor 0": ("independent", True),
}
"""Where a teacher starts, and whether its moving average warms up (its first factor is then 0)."""


def run(settings: Settings) -> Report:
    """Simulate every case from the same starts with the same noise."""
    paths, separations, table = simulate_cases(settings)
    errors = ["separation_error", "coupling_error"]
    facts = {
        "error": table[errors].to_numpy().max(),
        "case": dict(zip(("none", "started_equal", "moved", "independent"), table.to_dict("records"), strict=False)),
        "same_after_warm": table["same_after_closed"].iloc[-1],
        "table": table.set_index("case").drop(columns=errors).T.to_markdown(floatfmt=".4g"),
    }
    return Report(_plot(settings, paths, separations), {"geometry": table}, facts)


def simulate_cases(settings: Settings) -> tuple[dict[str, Array], dict[str, Array], pd.DataFrame]:
    """Return by case the points as of :func:`simulate` and :func:`separation` from a copy, and a row for each case."""
    generator = np.random.default_rng(settings.seed)
    centre = np.array([settings.start_x, settings.start_y])
    student, other = centre + settings.spread * generator.standard_normal((2, settings.samples, 2))
    noise = settings.noise * generator.standard_normal((settings.steps, settings.samples, 2))
    # the teacher's own steps are exact: x <- (1 - rate A) x
    on_its_own = (1.0 - settings.learning_rate * settings.init_lr_scale * settings.curvature) ** settings.init_steps
    starts = {"none": student, "copy": student, "moved": on_its_own * student, "independent": on_its_own * other}
    ramp, length, weight = settings.ramp, settings.rampup_epochs, settings.weight
    epochs = [step // settings.steps_per_epoch for step in range(settings.steps)]
    ramped = np.array([ramped_weight(ramp, epoch, length, weight) for epoch in epochs])

    paths: dict[str, Array] = {}
    separations, rows = {}, []
    for name, (start, warmup) in CASES.items():
        weights = ramped * (start != "none")
        factors = np.array([ema_decay_at(step, settings.ema_decay, warmup) for step in range(settings.steps)])
        task = settings, student, starts[start], weights, factors
        paths[name] = path = simulate(*task, noise)
        error = np.abs(simulate(*task, np.zeros(settings.steps)) - coupled_closed_form(*task)).max()
        separations[name] = apart = separation(paths.get("PCL: copy", path)[0], student, starts[start], factors)
        last = step_matrices(settings, weights[-1], factors[-1])
        slowest = np.linalg.eigvals(last) if start != "none" else 1.0 - settings.learning_rate * settings.curvature
        same = [_median(first_step(one <= settings.tolerance)) for one in apart]
        row = {"case": name, "first_factor": factors[0], **_numbers(settings, path, start != "none")}
        row |= {"slowest_factor": np.abs(slowest).max(), "separation_at_0": _median(apart[0, 0])}
        row |= {"same_after_closed": same[1], "same_after_simulated": same[0]}
        rows.append(row | {"separation_error": np.abs(apart[0] - apart[1]).max(), "coupling_error": error})
    return paths, separations, pd.DataFrame(rows)


def _numbers(settings: Settings, path: Array, taught: bool) -> dict[str, float]:
    """Return medians over the samples; distances in shares of the start's from the optimum."""
    student, teacher = path
    start = np.linalg.norm(student[0], axis=-1)
    distance, gap = (np.linalg.norm(points, axis=-1) / start for points in (student, student - teacher))
    angles = pull_angles(student, teacher)
    numbers = {}
    for step in (step for step in (1, 10, 50) if step <= settings.steps):
        numbers[f"distance_at_{step}"] = _median(distance[step])
        numbers[f"gap_at_{step}"] = _median(gap[step])
        numbers[f"angle_at_{step}"] = _median(angles[step]) if taught else math.nan
    numbers["helpful_pulls"] = float((angles[: min(10, settings.steps)] < 90).mean()) if taught else math.nan
    return numbers | {"steps_to_optimum": _median(first_step(distance <= settings.tolerance))}


def simulate(settings: Settings, student: Array, teacher: Array, weights: Array, factors: Array, noise: Array) -> Array:
    """Return the points of students and teachers, ``[2, steps + 1, samples, 2]``, step by step."""
    points = np.empty((2, len(weights) + 1, *student.shape))
    points[:, 0] = student, teacher
    for step, (weight, factor) in enumerate(zip(weights, factors, strict=True)):
        x, m = points[:, step]
        gradient = settings.curvature * x + noise[step]
        points[0, step + 1] = x - settings.learning_rate * (gradient + weight * (x - m))
        points[1, step + 1] = factor * m + (1.0 - factor) * points[0, step + 1]
    return points


def step_matrices(settings: Settings, weight: float, factor: float) -> Array:
    """Return the matrix of one noiseless step for each axis, ``[axis, 2, 2]``, that acts on (student, teacher).

    ``x' = r x + l m`` and ``m' = (1 - a) r x + (a + (1 - a) l) m`` with ``r = 1 - lr (A + w)`` and ``l = lr w``.
    """
    pull = settings.learning_rate * weight
    keep = 1.0 - settings.learning_rate * settings.curvature - pull
    rows = [[keep, np.full(2, pull)], [(1 - factor) * keep, np.full(2, factor + (1 - factor) * pull)]]
    return np.moveaxis(np.array(rows), -1, 0)


def coupled_closed_form(settings: Settings, student: Array, teacher: Array, weights: Array, factors: Array) -> Array:
    """Return the noiseless points, as :func:`simulate` does, from ``(x, m)_t = M^(t - c) M_(c-1) ... M_0 (x, m)_0``.

    From step c on weight and factor are constant (c = 0 without ramp and warm-up) and M is taken to a power.
    """
    matrices = [step_matrices(settings, weight, factor) for weight, factor in zip(weights, factors, strict=True)]
    changes = np.flatnonzero((weights != weights[-1]) | (factors != factors[-1]))
    constant_from = int(changes[-1]) + 1 if changes.size else 0
    found = [*accumulate(matrices[:constant_from], lambda before, one: one @ before, initial=np.stack([np.eye(2)] * 2))]
    constant = range(1, len(matrices) - constant_from + 1)
    found += [np.linalg.matrix_power(matrices[-1], power) @ found[-1] for power in constant]
    return np.asarray(np.einsum("tapq,qda->ptda", np.stack(found), np.stack([student, teacher])))


def separation(path: Array, copy: Array, teacher: Array, factors: Array) -> Array:
    """Return how far two teachers of one student stay apart, ``[2, steps + 1, samples]``: simulated and closed form.

    ``m_t - m'_t = (a_0 a_1 ... a_(t-1)) (m_0 - m'_0)``: what the student does drops out, whatever its path. In shares
    of the path's first distance from the optimum.
    """
    pairs = [np.stack([teacher, copy])]
    for factor, student in zip(factors, path[1:], strict=True):
        pairs.append(factor * pairs[-1] + (1.0 - factor) * student)
    products = np.concatenate([[1.0], np.cumprod(factors)])
    apart = np.stack([np.subtract(*np.stack(pairs, axis=1)), products[:, None, None] * (teacher - copy)])
    return np.asarray(np.linalg.norm(apart, axis=-1) / np.linalg.norm(path[0], axis=-1))


def pull_angles(student: Array, teacher: Array) -> Array:
    """Return the angle in degrees between the pull ``m - x`` and ``-x``, towards the optimum; nan without a pull."""
    pull, optimum = teacher - student, -student
    lengths = np.linalg.norm(pull, axis=-1) * np.linalg.norm(optimum, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.where(lengths > 0, (pull * optimum).sum(-1) / lengths, np.nan)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def first_step(reached: npt.NDArray[np.bool_]) -> Array:
    """Return the first step, along the first axis, at which something is reached; infinite if at none."""
    return np.where(reached.any(0), reached.argmax(0).astype(float), np.inf)


def _median(values: Array) -> float:
    return float(pd.Series(values).median())


@styled()
def _plot(settings: Settings, points: Mapping[str, Array], separations: Mapping[str, Array]) -> Figure:
    """Return the figure: paths of the first sample; distances and separations as medians over the samples."""
    shown = min(settings.steps, 60)
    figure = new_figure(14.0, 4.6)
    paths, gaps, apart = figure.subplots(1, 3)
    for name, line in (("no teacher", LINES[0]), ("PCL: copy", LINES[1]), ("DKEL: independent", LINES[3])):
        paths.plot(*points[name][0, :, 0].T, color=line.color, ls=line.dash, label=f"student, {name}")
        if name != "no teacher":
            look = {"color": line.color, "ms": 4, "mfc": "none", "label": "its teacher, each 4th step"}
            paths.plot(*points[name][1, 0:40:4, 0].T, line.marker, **look)
    paths.plot(0, 0, "k*", ms=10, label="optimum")
    paths.set(title="Paths of the first sample", xlabel="first coordinate", ylabel="second coordinate")
    paths.set_aspect("equal", "datalim")
    paths.legend(handlelength=3)
    for line, (name, (start, _)) in zip(LINES[1:], [*CASES.items()][1:], strict=False):
        student, teacher = points[name][:, : shown + 1]
        gap = np.linalg.norm(student - teacher, axis=-1) / np.linalg.norm(student[0], axis=-1)
        # lines that overlap stay visible: the first is the broadest
        look = {"color": line.color, "ls": line.dash, "lw": 3.0 if start == "copy" else 1.6}
        gaps.plot(np.median(gap, axis=1), label=name, **look)
        if start != "copy":
            simulated, closed = np.median(separations[name][:, : shown + 1], axis=-1)
            apart.plot(np.maximum(closed, 1e-30), **look)
            apart.plot(simulated, line.marker, color=line.color, ms=6, mfc="none", markevery=4)
    ends = {"xlim": (-1, shown), "ylabel": "share of the start's from the optimum"}
    gaps.set(title="Distance from student to teacher", xlabel="step", **ends)
    apart.set(title="Two teachers of one student: separation from a copied start", yscale="log", ylim=(1e-6, 2))
    apart.set(xlabel="step (lines: product of the EMA factors, marks: simulation)", **ends)
    apart.axhline(settings.tolerance, color="0.5", lw=0.8)
    apart.annotate("first factor 0: nothing is left from step 1 on", (2, 2e-6))
    figure.legend(*gaps.get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=4)
    return figure
