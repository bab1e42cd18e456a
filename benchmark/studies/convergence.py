"""Monte Carlo: how soon students converge under each method's schedule, and how many never do.

A trial is K students in D dimensions on one random bowl with curvatures A (per trial and axis), each with noise of its
own and a mean teacher m_i; coordinates are relative to the optimum:

    x_i <- x_i - lr (A x_i + noise_i + v(e) d(e) g(x_i - mean_(j!=i) m_j) + w(e) (1 - d(e)) mean_(j!=i) g(x_i - m_j))
    m_i <- a_t m_i + (1 - a_t) x_i

where w has the ramp-up and v, of the ensemble, has it only where the ensemble is ramped too.

``g(u) = s tanh(u/s)``: like the gradient of a distillation loss on softmax outputs, the pull of a teacher is linear
nearby and bounded far away. With a linear g the two terms are the same, ``mean_j (x - m_j) = x - mean_j m_j``, whatever
d is: a study with a linear pull could not tell a decaying ensemble from none.
"""

import math
from collections.abc import Collection, Mapping
from importlib.resources import files
from itertools import product
from statistics import NormalDist
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field, model_validator
from scipy import stats

from benchmark.configuration import parse_yaml
from benchmark.reports import LINES, new_figure, styled
from benchmark.studies import Report, Row, Strict, interval_columns
from methods.schedules import Decay, Ramp, decay_weight, ema_decay_at, ramped_weight, rate_to_floor

Floats = npt.NDArray[np.float32]
Start = Literal["copy", "moved", "independent"]

CHUNK = 8192
"""Trials simulated together at most: one array of theirs fits into a processor's cache."""
CHUNK_NUMBERS = 2**24
"""Noise held at a time. Like the chunk, it decides which trial gets which random numbers."""
MAX_STEPS = 2000
NEGLIGIBLE = 1e-12
SENSITIVITY_TRIALS = 10_000


class Settings(Strict):
    """What the study assumes."""

    seed: int = Field(0, ge=0, lt=2**32, description="of all random numbers")
    trials: int = Field(100_000, ge=2, le=1_000_000, description="random bowls, each under every condition")
    epochs: int = Field(300, ge=1, le=MAX_STEPS, description="length of a trial, as the schedules count it")
    steps_per_epoch: int = Field(1, ge=1, le=MAX_STEPS, description="descent steps per epoch")
    peers: int = Field(3, ge=2, le=8, description="students of a trial; the first one is scored")
    dimensions: int = Field(2, ge=1, le=16, description="of the bowl")
    learning_rate: float = Field(0.1, gt=0, le=1, description="of the descent")
    curvature_low: float = Field(0.2, gt=0, le=20, description="lowest curvature; sampled log-uniformly for each axis")
    curvature_high: float = Field(5.0, gt=0, le=20, description="highest curvature")
    noise: float = Field(0.3, ge=0, le=10, description="standard deviation of the gradient's noise")
    start_spread: float = Field(1.0, ge=0, le=100, description="standard deviation of the starts")
    optimum_spread: float = Field(1.0, ge=0, le=100, description="standard deviation of the optimum, shared by peers")
    tolerance: float = Field(0.2, gt=0, le=100, description="distance from the optimum within which it is reached")
    saturation: float = Field(1.0, gt=0, le=1000, description="s of the pull s tanh(u/s): distance where it levels off")
    pcl_weight: float = Field(1.0, ge=0, le=10, description="weight of PCL's pull")
    dkel_weight: float = Field(0.1, ge=0, le=10, description="weight of DKEL's pull")
    rampup_epochs: int = Field(80, ge=0, le=MAX_STEPS, description="length of the ramp-up")
    decay_rate: float = Field(0.5, ge=0, le=10, description="rate per epoch of the released exponential decay")
    decay_floor: float = Field(0.01, ge=0, lt=1, description="a share of the ensemble not above it counts as 0")
    decay_epochs: int = Field(80, ge=0, le=MAX_STEPS, description="horizon of the decay")
    ema_decay: float = Field(0.68, ge=0, lt=1, description="of the mean teacher a step; 0.999^391 is 0.68 an epoch")
    init_steps: int = Field(2, ge=0, le=1000, description="steps that a decoupled teacher takes on its own first")
    init_lr_scale: float = Field(0.01, gt=0, le=1, description="learning rate of those steps, as a share of the rate")
    early_epochs: int = Field(10, ge=1, le=MAX_STEPS, description="what counts as early")
    relevance: float = Field(0.05, ge=0, le=1, description="smallest difference that matters, as a share")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.curvature_low > self.curvature_high:
            raise ValueError("curvature_low must not be above curvature_high")
        if self.learning_rate * (self.curvature_high + max(self.pcl_weight, self.dkel_weight)) >= 2:
            raise ValueError("the descent diverges: learning_rate * (curvature_high + weight) must be below 2")
        if self.steps > MAX_STEPS:
            raise ValueError(f"epochs * steps_per_epoch must be at most {MAX_STEPS}")
        if self.early_epochs > self.epochs:
            raise ValueError("early_epochs must not be above epochs")
        return self

    @property
    def steps(self) -> int:
        """Descent steps of a trial."""
        return self.epochs * self.steps_per_epoch


class Condition(NamedTuple):
    """How the students of a trial are taught."""

    weight: float
    ramp: Ramp
    start: Start
    warmup: bool
    decay: Decay
    ramped: bool = False  # whether the ramp-up applies to the ensemble too, and the released rate to its decay


def dkel(start: str, decay: str, ramp: str) -> str:
    """Return the name of DKEL's condition with this teacher's start, decay and ramp."""
    return f"DKEL {start} teacher, decay {decay}, {'no ramp' if ramp == 'none' else 'ramp'}"


NO_TEACHER, PCL = "no teacher", "PCL"
RAMPED, RELEASED = "DKEL with a ramped ensemble", "DKEL as released"
DEFAULT, INDEPENDENT = dkel("moved", "exp", "intended"), dkel("independent", "exp", "intended")
FREE_INDEPENDENT = dkel("independent", "exp", "none")
STARTS: tuple[Start, ...] = ("moved", "independent")
RAMPS: tuple[Ramp, ...] = ("intended", "none")
SHAPES: tuple[Decay, ...] = get_args(Decay)


def conditions(settings: Settings) -> dict[str, Condition]:
    """Return every condition: no teacher, PCL, DKEL by start, decay and ramp, with a ramped ensemble, as released."""
    weight = settings.dkel_weight
    # the teacher of the first one only watches
    chosen = {NO_TEACHER: Condition(0.0, "none", "copy", True, "none")}
    chosen[PCL] = Condition(settings.pcl_weight, "intended", "copy", True, "none")
    for start, ramp, shape in product(STARTS, RAMPS, SHAPES):
        chosen[dkel(start, shape, ramp)] = Condition(weight, ramp, start, False, shape)
    chosen[RAMPED] = Condition(weight, "intended", "moved", False, "exp", ramped=True)
    chosen[RELEASED] = Condition(weight, "released", "moved", True, "exp", ramped=True)
    return chosen


class Trials(NamedTuple):
    """The random numbers of some trials, the same for every condition; K peers, D axes, n trials."""

    curvature: Floats  # [D, n]
    students: Floats  # [K, D, n] where they start, seen from the optimum
    teachers: dict[Start, Floats]  # [K, D, n]
    noise: Floats  # [steps, K, D, n] times the learning rate


def sample_trials(settings: Settings, count: int, generator: np.random.Generator) -> Trials:
    """Sample bowls, starts and noise, and take the decoupled teachers' own first steps."""
    shape = (settings.peers, settings.dimensions, count)

    def normal(scale: float, *shape: int) -> Floats:
        sampled = generator.standard_normal(shape, dtype=np.float32)
        sampled *= np.float32(scale)
        return sampled

    low, high = math.log(settings.curvature_low), math.log(settings.curvature_high)
    curvature = np.exp(generator.uniform(low, high, shape[1:])).astype(np.float32)
    optimum = normal(settings.optimum_spread, *shape[1:])
    students = normal(settings.start_spread, *shape) - optimum
    moved, independent = students, normal(settings.start_spread, *shape) - optimum
    rate = np.float32(settings.learning_rate * settings.init_lr_scale)
    for _ in range(settings.init_steps):
        moved = moved - rate * (curvature * moved + normal(settings.noise, *shape))
        independent = independent - rate * (curvature * independent + normal(settings.noise, *shape))
    starts: dict[Start, Floats] = {"copy": students, "moved": moved, "independent": independent}
    return Trials(curvature, students, starts, normal(settings.learning_rate * settings.noise, settings.steps, *shape))


def pull(students: Floats, teachers: Floats, share: float, saturation: float) -> Floats:
    """Return ``d g(x_i - mean_(j!=i) m_j) + (1 - d) mean_(j!=i) g(x_i - m_j)`` for points ``[K, ...]``."""
    peers, s = len(students), np.float32(saturation)
    total = np.zeros_like(students)
    if share < 1:
        for offset in range(1, peers):
            total += np.tanh((students - np.roll(teachers, -offset, axis=0)) / s) * s
        total *= np.float32((1.0 - share) / (peers - 1))
    if share > 0:
        mean = (teachers.sum(0) - teachers) * np.float32(1.0 / (peers - 1))
        total += np.tanh((students - mean) / s) * s * np.float32(share)
    return total


def simulate(settings: Settings, condition: Condition, trials: Trials) -> pd.DataFrame:
    """Run the trials under one condition.

    Returns:
        A row per trial, of its first student: the steps at which it ``reached`` the optimum and ``settled`` there, and
        its teacher (``teacher_settled``), where one beyond the last means never (``never``: to settle); its distance
        from its teacher, the mean over the early steps (``early_gap``) and in the end (``final_gap``); the root mean
        square distance of the peers from their mean (``early_spread``); ``early_distance`` and ``final_distance`` from
        the optimum.
    """
    x, m = trials.students, trials.teachers[condition.start].copy()
    steps, early = settings.steps, settings.early_epochs * settings.steps_per_epoch
    count, tolerance = x.shape[-1], np.float32(settings.tolerance**2)
    keep = np.float32(1.0) - np.float32(settings.learning_rate) * trials.curvature
    waiting, gap = np.ones(count, np.bool_), np.zeros(count, np.float32)
    reached, settled, teacher_settled = np.zeros((3, count), np.int32)
    found: dict[str, npt.NDArray[Any]] = {"reached": reached, "settled": settled, "teacher_settled": teacher_settled}
    for step in range(steps + 1):
        outside = squared(x[0]) > tolerance
        waiting &= outside
        reached += waiting  # one more step without having been there
        settled[outside] = step + 1
        teacher_settled[squared(m[0]) > tolerance] = step + 1
        if step <= early:
            gap += np.sqrt(squared(x[0] - m[0]))
        if step == early:
            found |= {"early_gap": gap / np.float32(early + 1), "early_distance": np.sqrt(squared(x[0]))}
            found["early_spread"] = np.sqrt(((x - x.mean(0)) ** 2).sum((0, 1)) / np.float32(len(x)))
        if step == steps:
            break
        weight, share = taught(settings, condition, step // settings.steps_per_epoch)
        pulled = np.zeros_like(x)
        if weight > NEGLIGIBLE:
            pulled = pull(x, m, share, settings.saturation) * np.float32(settings.learning_rate * weight)
        x = x * keep - pulled - trials.noise[step]
        m += np.float32(1.0 - ema_decay_at(step, settings.ema_decay, condition.warmup)) * (x - m)
    ends = {"final_distance": x[0], "final_gap": x[0] - m[0]}
    return pd.DataFrame(found | {"never": settled > steps} | {name: np.sqrt(squared(u)) for name, u in ends.items()})


def squared(points: Floats) -> Floats:
    """Return the square of the Euclidean length of points ``[D, n]``."""
    return np.asarray((points * points).sum(0))


def taught(settings: Settings, condition: Condition, epoch: int) -> tuple[float, float]:
    """Return the weight of both pulls together at an epoch, ``v d + w (1 - d)``, and the ensemble's share of it."""
    floor, horizon = settings.decay_floor, settings.decay_epochs
    rate = settings.decay_rate if condition.ramped else rate_to_floor(floor, horizon)
    share = decay_weight(condition.decay, epoch, rate, floor, horizon)
    ramped = ramped_weight(condition.ramp, epoch, settings.rampup_epochs, condition.weight)
    ensemble = share * (ramped if condition.ramped else condition.weight)
    weight = ensemble + (1 - share) * ramped
    return weight, ensemble / weight if weight > NEGLIGIBLE else 0.0


def simulate_all(settings: Settings, only: Collection[str] | None = None) -> dict[str, pd.DataFrame]:
    """Run every condition, or only those of these names, on the same trials."""
    size = max(1, min(CHUNK, CHUNK_NUMBERS // (settings.steps * settings.peers * settings.dimensions)))
    counts = [min(size, settings.trials - first) for first in range(0, settings.trials, size)]
    seeds = np.random.SeedSequence(settings.seed).spawn(len(counts))
    chosen = {name: each for name, each in conditions(settings).items() if only is None or name in only}
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in chosen}
    for count, seed in zip(counts, seeds, strict=True):
        trials = sample_trials(settings, count, np.random.default_rng(seed))
        for name, condition in chosen.items():
            parts[name].append(simulate(settings, condition, trials))
    return {name: pd.concat(part, ignore_index=True) for name, part in parts.items()}


CLAIMS = parse_yaml(files("benchmark.studies").joinpath("convergence.yaml").read_text(encoding="utf-8"), "claims")
MEASURES: dict[str, str] = CLAIMS["measures"]
"""What each column of the outcomes that a claim is about is called."""


def variants(settings: Settings) -> dict[str, Settings]:
    """Return settings that might change the findings: DKEL as strong as PCL, a slow teacher, both, a harder pull."""
    strong, slow = {"dkel_weight": settings.pcl_weight}, {"ema_decay": 0.97}
    changes = {"DKEL at PCL's weight": strong, "EMA 0.97": slow, "both": strong | slow}
    changes["saturation 0.2"] = {"saturation": 0.2}
    trials = min(settings.trials, SENSITIVITY_TRIALS)
    return {name: settings.model_copy(update={**change, "trials": trials}) for name, change in changes.items()}


def run(settings: Settings) -> Report:
    """Simulate every condition on the same trials, and the conditions of the claims again under the variants."""
    outcomes = simulate_all(settings)
    table = pd.DataFrame([_row(settings, condition, outcomes) for condition in outcomes])
    claims = findings(settings, outcomes)
    named = {*claims["condition"], *claims["reference"]}
    for name, variant in variants(settings).items():
        claims[name] = findings(variant, simulate_all(variant, named))["finding"]

    overall = []
    for about, group in claims.groupby("about", sort=False):
        counts = group["finding"].value_counts()
        share = counts.get("borne out", 0) / len(group)
        word = "not borne out" if share == 0 else "borne out" if share == 1 else "partly borne out"
        overall.append((about, word, ", ".join(f"{finding} ({count})" for finding, count in counts.items())))
    facts = {"overall": overall, "variants": [*variants(settings)]}
    figure = _plot(settings, outcomes)
    return Report(figure, {"convergence": table, "claims": claims}, facts)


Z = NormalDist().inv_cdf(0.975)


def median_interval(steps: npt.NDArray[np.int32], last: int) -> tuple[float, float, float]:
    """Return the median and its 95 % interval from order statistics; beyond the last step: infinite.

    The ranks are ``n/2 -+ z sqrt(n)/2``, rounded outwards: no assumption on the distribution.
    """
    trials, half = len(steps), Z * math.sqrt(len(steps)) / 2
    ordered = np.sort(np.where(steps <= last, steps, math.inf))
    ranks = np.array([(trials + 1) // 2, math.floor(trials / 2 - half), math.ceil(trials / 2 + half) + 1])
    middle, low, high = ordered[np.clip(ranks, 1, trials) - 1].tolist()
    return middle, low, high


def mean_interval(values: npt.NDArray[np.generic]) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval by the normal distribution."""
    numbers = values.astype(np.float64)
    mean, half = float(numbers.mean()), Z * float(numbers.std(ddof=1)) / math.sqrt(len(numbers))
    return mean, mean - half, mean + half


def paired_difference(measure: str, outcome: pd.DataFrame, reference: pd.DataFrame) -> tuple[float, float, float]:
    """Return the mean difference of a measure over the trials with its 95 % interval.

    A trial that never reaches the optimum counts as one step more than there are.
    """
    differences = outcome[measure].to_numpy(np.float64) - reference[measure].to_numpy(np.float64)
    # Agresti and Min (2005): half a pair more of each kind, so that no difference at all keeps an uncertainty
    added = [math.sqrt(0.5), -math.sqrt(0.5)] if measure == "never" else []
    return mean_interval(np.append(differences, added))


def findings(settings: Settings, outcomes: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return each claim with its paired difference and the finding.

    ``borne out``: the interval is on the claimed side of 0 and the difference is at least ``relevance`` of the
    reference's mean; ``contradicted``: that on the other side; ``too small``: not 0, but less (or ``opposite``); ``no
    difference``: the interval contains 0.
    """
    rows = []
    claims = [(about, *claim) for about, its in CLAIMS["claims"].items() for claim in its]
    for about, measure, condition, direction, reference in claims:
        interval = paired_difference(measure, outcomes[condition], outcomes[reference])
        base = float(outcomes[reference][measure].to_numpy(np.float64).mean())
        difference, low, high = interval
        claimed_side = low > 0 if direction == "more" else high < 0
        if low <= 0 <= high:
            finding = "no difference"
        elif abs(difference) < settings.relevance * abs(base):
            finding = "too small" if claimed_side else "too small, opposite"
        else:
            finding = "borne out" if claimed_side else "contradicted"
        row: Row = {"about": about, "measure": MEASURES[measure], "condition": condition, "direction": direction}
        row |= {"reference": reference, "reference_mean": base, **interval_columns("difference", interval)}
        rows.append(row | {"finding": finding})
    return pd.DataFrame(rows)


def _row(settings: Settings, condition: str, outcomes: Mapping[str, pd.DataFrame]) -> Row:
    outcome, last = outcomes[condition], settings.steps
    row: Row = {"condition": condition, "trials": settings.trials}
    for name, moment in {"reach": "reached", "settle": "settled", "teacher_settle": "teacher_settled"}.items():
        steps = outcome[moment].to_numpy()
        never = stats.binomtest(int((steps > last).sum()), settings.trials)
        row |= interval_columns(f"{name}_median", median_interval(steps, last))
        row |= interval_columns(f"{name}_never", (never.statistic, *never.proportion_ci(0.95, method="wilson")))
    row |= interval_columns("reach_later", paired_difference("reached", outcome, outcomes[NO_TEACHER]))
    for name in (name for name in MEASURES if name.startswith(("early", "final"))):
        row |= interval_columns(name, mean_interval(outcome[name].to_numpy()))
    return row


@styled()
def _plot(settings: Settings, outcomes: Mapping[str, pd.DataFrame]) -> Figure:
    """Return the figure: which share of the trials reaches the optimum, and settles there, by each step."""
    shown = {NO_TEACHER: "no teacher", PCL: "PCL", DEFAULT: "DKEL (moved, exp, ramp)"}
    shown |= {FREE_INDEPENDENT: "DKEL (independent, exp, no ramp)", RELEASED: RELEASED}
    figure = new_figure(10.0, 4.2)
    reach, settle = figure.subplots(1, 2, sharey=True)
    for line, (name, label) in zip(LINES, shown.items(), strict=False):
        for axis, moment in ((reach, "reached"), (settle, "settled")):
            axis.ecdf(outcomes[name][moment], compress=True, color=line.color, ls=line.dash, lw=1.6, label=label)
    reach.set(title="Reached: within the tolerance for the first time", ylabel="share of the trials", ylim=(0, 1))
    most = float(outcomes[NO_TEACHER]["reached"].quantile(0.99))
    reach.set(xlabel="step", xlim=(0, min(max(most, 1.0), settings.steps)))
    settle.set(title="Settled: within it from here to the end", xlabel="step", xlim=(0, settings.steps))
    figure.legend(*reach.get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=4)
    return figure
