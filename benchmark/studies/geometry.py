"""A student in the plane, pulled towards its mean teacher: what the teacher's start changes, and for how long.

On the bowl ``f(x) = x^T A x / 2`` (optimum at the origin, A diagonal) the student x and its mean teacher m go

    x <- x - lr (A x + noise + w_t (x - m))
    m <- a_t m + (1 - a_t) x

All of it is linear, so there are closed forms, with which every simulated number is compared.
"""

import math
from typing import Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field, model_validator

from benchmark.reports import LINES, new_figure, styled
from benchmark.studies import Report, Strict
from methods.schedules import Ramp, ema_decay_at, ramped_weight

Array = npt.NDArray[np.float64]
Start = Literal["none", "copy", "moved", "independent"]


class GeometrySettings(Strict):
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
    tolerance: float = Field(
        0.01, gt=0, lt=1, description="what counts as no distance, as a share of the start's from the optimum"
    )

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

    def weights(self) -> Array:
        """Return w_t for every step."""
        epochs = [step // self.steps_per_epoch for step in range(self.steps)]
        return np.array([ramped_weight(self.ramp, epoch, self.rampup_epochs, self.weight) for epoch in epochs])

    def factors(self, warmup: bool) -> Array:
        """Return a_t for every step."""
        return np.array([ema_decay_at(step, self.ema_decay, warmup) for step in range(self.steps)])


class Case(NamedTuple):
    """Where a teacher starts, and whether its moving average warms up (its first factor is then 0)."""

    name: str
    start: Start
    warmup: bool


CASES = (
    Case("no teacher", "none", True),
    Case("PCL: copy", "copy", True),
    Case("DKEL: copy moved on", "moved", False),
    Case("DKEL: independent", "independent", False),
    Case("released DKEL: copy moved on, first factor 0", "moved", True),
    Case("independent, first factor 0", "independent", True),
)


class GeometryResult(NamedTuple):
    """Everything that the study found."""

    settings: GeometrySettings
    table: pd.DataFrame  # one row per case; medians over the samples
    paths: dict[str, Array]  # case -> points of student and teacher, [2, steps + 1, samples, 2]
    # case -> separation, on one student's path, of the case's teacher and one that starts as a copy, as a share of the
    # start's distance from the optimum: simulated and closed form, [2, steps + 1, samples]
    separations: dict[str, Array]


def run(settings: GeometrySettings) -> GeometryResult:
    """Simulate every case from the same starts with the same noise."""
    generator = np.random.default_rng(settings.seed)
    centre = np.array([settings.start_x, settings.start_y])
    student, other = centre + settings.spread * generator.standard_normal((2, settings.samples, 2))
    noise = settings.noise * generator.standard_normal((settings.steps, settings.samples, 2))
    # the teacher's own steps are exact: x <- (1 - rate A) x
    on_its_own = (1.0 - settings.learning_rate * settings.init_lr_scale * settings.curvature) ** settings.init_steps
    starts = {"none": student, "copy": student, "moved": on_its_own * student, "independent": on_its_own * other}

    paths, separations, rows = {}, {}, []
    for case in CASES:
        weights, factors = settings.weights() * (case.start != "none"), settings.factors(case.warmup)
        task = settings, student, starts[case.start], weights, factors
        paths[case.name] = path = simulate(*task, noise)
        error = np.abs(simulate(*task, np.zeros(settings.steps)) - coupled_closed_form(*task)).max()
        reference = paths.get("PCL: copy", path)[0]
        separations[case.name] = apart = separation(reference, starts["copy"], starts[case.start], factors)
        last = step_matrices(settings, weights[-1], factors[-1])
        rows.append(_row(settings, case, path, apart, factors, last) | {"coupling_error": float(error)})
    return GeometryResult(settings, pd.DataFrame(rows), paths, separations)


def simulate(
    settings: GeometrySettings, student: Array, teacher: Array, weights: Array, factors: Array, noise: Array
) -> Array:
    """Return the points of students and teachers, ``[2, steps + 1, samples, 2]``, step by step."""
    points = np.empty((2, len(weights) + 1, *student.shape))
    points[:, 0] = student, teacher
    for step, (weight, factor) in enumerate(zip(weights, factors, strict=True)):
        x, m = points[:, step]
        gradient = settings.curvature * x + noise[step]
        points[0, step + 1] = x - settings.learning_rate * (gradient + weight * (x - m))
        points[1, step + 1] = factor * m + (1.0 - factor) * points[0, step + 1]
    return points


def step_matrices(settings: GeometrySettings, weight: float, factor: float) -> Array:
    """Return the matrix of one noiseless step for each axis, ``[axis, 2, 2]``, that acts on (student, teacher).

    ``x' = r x + l m`` and ``m' = (1 - a) r x + (a + (1 - a) l) m`` with ``r = 1 - lr (A + w)`` and ``l = lr w``.
    """
    pull = settings.learning_rate * weight
    keep = 1.0 - settings.learning_rate * settings.curvature - pull
    rows = [[keep, np.full(2, pull)], [(1 - factor) * keep, np.full(2, factor + (1 - factor) * pull)]]
    return np.moveaxis(np.array(rows), -1, 0)


def coupled_closed_form(
    settings: GeometrySettings, student: Array, teacher: Array, weights: Array, factors: Array
) -> Array:
    """Return the noiseless points, as :func:`simulate` does, from ``(x, m)_t = M^(t - c) M_(c-1) ... M_0 (x, m)_0``.

    From step c on weight and factor are constant (c = 0 without ramp and warm-up) and M is taken to a power.
    """
    steps = len(weights)
    changes = np.flatnonzero((weights != weights[-1]) | (factors != factors[-1]))
    constant_from = int(changes[-1]) + 1 if changes.size else 0
    last = step_matrices(settings, weights[-1], factors[-1])
    propagators = np.empty((steps + 1, 2, 2, 2))
    propagators[0] = np.eye(2)
    for step in range(constant_from):
        propagators[step + 1] = step_matrices(settings, weights[step], factors[step]) @ propagators[step]
    for step in range(constant_from, steps + 1):
        propagators[step] = np.linalg.matrix_power(last, step - constant_from) @ propagators[constant_from]
    return np.asarray(np.einsum("tapq,qda->ptda", propagators, np.stack([student, teacher])))


def separation(path: Array, copy: Array, teacher: Array, factors: Array) -> Array:
    """Return how far two teachers of one student stay apart, ``[2, steps + 1, samples]``: simulated and closed form.

    ``m_t - m'_t = (a_0 a_1 ... a_(t-1)) (m_0 - m'_0)``: what the student does drops out, whatever its path. In shares
    of the path's first distance from the optimum.
    """
    pair = np.stack([teacher, copy])
    simulated = [pair[0] - pair[1]]
    for step, factor in enumerate(factors):
        pair = factor * pair + (1.0 - factor) * path[step + 1]
        simulated.append(pair[0] - pair[1])
    products = np.concatenate([[1.0], np.cumprod(factors)])
    closed = products[:, None, None] * (teacher - copy)
    lengths = np.linalg.norm(np.stack([np.stack(simulated), closed]), axis=-1)
    return np.asarray(lengths / np.linalg.norm(path[0], axis=-1))


def steps_until_same(start: Array, factors: Array, tolerance: float) -> Array:
    """Return the first step at which separations of such starts are within the tolerance; infinite if at none.

    The product of the factors, which never grows, reaches ``tolerance/start`` there; for a constant factor a it is
    ``ceil(log(tolerance/start)/log(a))``.
    """
    products = np.concatenate([[1.0], np.cumprod(factors)])
    return _first(products[:, None] * start <= tolerance)


def pull_angles(student: Array, teacher: Array) -> Array:
    """Return the angle in degrees between the pull ``m - x`` and ``-x``, towards the optimum; nan without a pull."""
    pull, optimum = teacher - student, -student
    lengths = np.linalg.norm(pull, axis=-1) * np.linalg.norm(optimum, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.where(lengths > 0, (pull * optimum).sum(-1) / lengths, np.nan)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _first(reached: npt.NDArray[np.bool_]) -> Array:
    return np.where(reached.any(0), reached.argmax(0).astype(float), np.inf)


def _median(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else math.nan


def _row(
    settings: GeometrySettings, case: Case, path: Array, apart: Array, factors: Array, last: Array
) -> dict[str, object]:
    """Return a case's numbers: medians over the samples; distances in shares of the start's from the optimum."""
    student, teacher = path
    start = np.linalg.norm(student[0], axis=-1)
    distance, gap = (np.linalg.norm(points, axis=-1) / start for points in (student, student - teacher))
    angles = pull_angles(student, teacher)
    taught = case.start != "none"
    eigenvalues = np.linalg.eigvals(last) if taught else 1.0 - settings.learning_rate * settings.curvature
    row: dict[str, object] = {"case": case.name, "first_factor": factors[0]}
    for step in (step for step in (1, 10, 50) if step <= settings.steps):
        row[f"distance_at_{step}"] = _median(distance[step])
        row[f"gap_at_{step}"] = _median(gap[step])
        row[f"angle_at_{step}"] = _median(angles[step]) if taught else math.nan
    row["helpful_pulls"] = float((angles[: min(10, settings.steps)] < 90).mean()) if taught else math.nan
    row["steps_to_optimum"] = _median(_first(distance <= settings.tolerance))
    row["slowest_factor"] = float(np.abs(eigenvalues).max())
    row["separation_at_0"] = _median(apart[0, 0])
    row["same_after_closed"] = _median(steps_until_same(apart[1, 0], factors, settings.tolerance))
    row["same_after_simulated"] = _median(_first(apart[0] <= settings.tolerance))
    return row | {"separation_error": float(np.abs(apart[0] - apart[1]).max())}


def _plot(result: GeometryResult) -> Figure:
    """Return the figure: paths of the first sample; distances, angles and separations as medians over the samples."""
    settings = result.settings
    shown = min(settings.steps, 60)
    with styled():
        figure = new_figure(10.0, 8.0)
        (paths, gaps), (angles, apart) = figure.subplots(2, 2)
        for name, line in (("no teacher", LINES[0]), ("PCL: copy", LINES[1]), ("DKEL: independent", LINES[3])):
            paths.plot(*result.paths[name][0, :, 0].T, color=line.color, ls=line.dash, label=f"student, {name}")
            if name != "no teacher":
                points = result.paths[name][1, 0:40:4, 0].T
                paths.plot(*points, line.marker, color=line.color, ms=4, mfc="none", label="its teacher, each 4th step")
        paths.plot(0, 0, "k*", ms=10, label="optimum")
        paths.set(title="Paths of the first sample", xlabel="first coordinate", ylabel="second coordinate")
        paths.set_aspect("equal", "datalim")
        paths.legend(handlelength=3)
        for line, case in zip(LINES[1:], CASES[1:], strict=False):
            student, teacher = result.paths[case.name][:, : shown + 1]
            gap = np.linalg.norm(student - teacher, axis=-1) / np.linalg.norm(student[0], axis=-1)
            # lines that overlap stay visible: the first is the broadest
            look = {"color": line.color, "ls": line.dash, "lw": 3.0 if case.start == "copy" else 1.6}
            gaps.plot(np.median(gap, axis=1), label=case.name, **look)
            angles.plot([_median(angle) for angle in pull_angles(student, teacher)], **look)
            if case.start != "copy":
                simulated, closed = np.median(result.separations[case.name][:, : shown + 1], axis=-1)
                apart.plot(np.maximum(closed, 1e-30), **look)
                apart.plot(simulated, line.marker, color=line.color, ms=6, mfc="none", markevery=4)
            for axis in (gaps, angles, apart):
                axis.set(xlim=(-1, shown), xlabel="step")
        gaps.set(title="Distance from student to teacher", ylabel="share of the start's from the optimum")
        angles.set(title="Angle between the pull and the direction to the optimum", ylabel="degrees")
        angles.set(ylim=(0, 180), yticks=[0, 45, 90, 135, 180])
        angles.axhline(90, color="0.5", lw=0.8)
        apart.set(title="Two teachers of one student: separation from a copied start", ylabel="share, as above")
        apart.set(yscale="log", ylim=(1e-6, 2))
        apart.axhline(settings.tolerance, color="0.5", lw=0.8)
        note = {"textcoords": "offset points", "ha": "right"}
        angles.annotate("above: away from the optimum", (shown, 90), (-4, 4), **note)
        apart.annotate(f"below {settings.tolerance:g}: the same", (shown, settings.tolerance), (-4, 4), **note)
        apart.annotate("lines: product of the EMA factors; marks: simulation", (shown, 1), (-4, -2), **note)
        apart.annotate("first factor 0: nothing is left from step 1 on", (2, 2e-6), (0, 0), textcoords="offset points")
        figure.legend(*gaps.get_legend_handles_labels(), loc="outside lower center", ncols=2, handlelength=4)
    return figure


def report(result: GeometryResult) -> Report:
    """Return figure, table and the facts of the page."""
    table = result.table.set_index("case")
    errors = ["separation_error", "coupling_error"]
    facts = {
        "error": table[errors].to_numpy().max(),
        "case": dict(zip(("none", "started_equal", "moved", "independent"), table.to_dict("records"), strict=False)),
        "same_after_warm": table["same_after_closed"].iloc[-1],
        "table": table.drop(columns=errors).T.to_markdown(floatfmt=".4g"),
    }
    return Report(_plot(result), {"geometry": result.table}, facts)
