"""Many random bowls with peers that teach one another: the model of the study of convergence.

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
from collections.abc import Collection
from typing import Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from benchmark.studies import Strict
from methods.schedules import Decay, Ramp, decay_weight, ema_decay_at, ramped_weight, rate_to_floor

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int32]
Start = Literal["copy", "moved", "independent"]

CHUNK = 8192
"""Trials simulated together at most: one array of theirs fits into a processor's cache."""
CHUNK_NUMBERS = 2**24
"""Noise held at a time. Like the chunk, it decides which trial gets which random numbers."""
MAX_STEPS = 2000
NEGLIGIBLE = 1e-12


class ConvergenceSettings(Strict):
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

    name: str
    weight: float
    ramp: Ramp
    start: Start
    warmup: bool
    decay: Decay
    ramped: bool = False
    """Whether the ramp-up applies to the ensemble too, and the released rate to its decay."""


def dkel(start: str, decay: str, ramp: str) -> str:
    """Return the name of DKEL's condition with this teacher's start, decay and ramp."""
    return f"DKEL {start} teacher, decay {decay}, {'no ramp' if ramp == 'none' else 'ramp'}"


NO_TEACHER, PCL = "no teacher", "PCL"
RAMPED, RELEASED = "DKEL with a ramped ensemble", "DKEL as released"


def conditions(settings: ConvergenceSettings) -> tuple[Condition, ...]:
    """Return every condition: no teacher, PCL, DKEL by start, decay and ramp, with a ramped ensemble, as released."""
    # the teacher of the first one only watches
    chosen = [Condition(NO_TEACHER, 0.0, "none", "copy", True, "none")]
    chosen.append(Condition(PCL, settings.pcl_weight, "intended", "copy", True, "none"))
    starts: tuple[Start, ...] = ("moved", "independent")
    ramps: tuple[Ramp, ...] = ("intended", "none")
    shapes: tuple[Decay, ...] = get_args(Decay)
    chosen += [
        Condition(dkel(start, decay, ramp), settings.dkel_weight, ramp, start, False, decay)
        for start in starts
        for ramp in ramps
        for decay in shapes
    ]
    chosen.append(Condition(RAMPED, settings.dkel_weight, "intended", "moved", False, "exp", ramped=True))
    chosen.append(Condition(RELEASED, settings.dkel_weight, "released", "moved", True, "exp", ramped=True))
    return tuple(chosen)


class Trials(NamedTuple):
    """The random numbers of some trials, the same for every condition; K peers, D axes, n trials."""

    curvature: Floats  # [D, n]
    students: Floats  # [K, D, n] where they start, seen from the optimum
    teachers: dict[Start, Floats]  # [K, D, n]
    noise: Floats  # [steps, K, D, n] times the learning rate


def sample_trials(settings: ConvergenceSettings, count: int, generator: np.random.Generator) -> Trials:
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


class Outcome(NamedTuple):
    """What came of each trial, for its first student; a step beyond the last means never."""

    reached: Counts
    settled: Counts
    teacher_settled: Counts
    early_gap: Floats  # student to own teacher, mean over the early steps
    final_gap: Floats
    early_spread: Floats  # root mean square distance of the peers from their mean
    early_distance: Floats
    final_distance: Floats


def simulate(settings: ConvergenceSettings, condition: Condition, trials: Trials) -> Outcome:
    """Run the trials under one condition."""
    x, m = trials.students.copy(), trials.teachers[condition.start].copy()
    steps, early = settings.steps, settings.early_epochs * settings.steps_per_epoch
    count = x.shape[-1]
    tolerance = np.float32(settings.tolerance**2)
    keep = np.float32(1.0) - np.float32(settings.learning_rate) * trials.curvature
    waiting = np.ones(count, np.bool_)
    reached, settled, teacher_settled = np.zeros((3, count), np.int32)
    gap = np.zeros(count, np.float32)
    spread = early_distance = gap
    for step in range(steps + 1):
        squared = (x[0] * x[0]).sum(0)
        outside = squared > tolerance
        waiting &= outside
        reached += waiting  # one more step without having been there
        np.maximum(settled, outside * np.int32(step + 1), out=settled)
        np.maximum(teacher_settled, ((m[0] * m[0]).sum(0) > tolerance) * np.int32(step + 1), out=teacher_settled)
        if step <= early:
            gap += np.sqrt(((x[0] - m[0]) ** 2).sum(0))
        if step == early:
            early_distance = np.sqrt(squared)
            spread = np.sqrt(((x - x.mean(0)) ** 2).sum((0, 1)) / np.float32(len(x)))
        if step == steps:
            break
        weight, share = taught(settings, condition, step // settings.steps_per_epoch)
        if weight > NEGLIGIBLE:
            pulled = pull(x, m, share, settings.saturation)
            pulled *= np.float32(settings.learning_rate * weight)
            x *= keep
            x -= pulled
        else:
            x *= keep
        x -= trials.noise[step]
        m += np.float32(1.0 - ema_decay_at(step, settings.ema_decay, condition.warmup)) * (x - m)
    final_distance, final_gap = (np.sqrt((u * u).sum(0)) for u in (x[0], x[0] - m[0]))
    gap /= np.float32(early + 1)
    return Outcome(reached, settled, teacher_settled, gap, final_gap, spread, early_distance, final_distance)


def taught(settings: ConvergenceSettings, condition: Condition, epoch: int) -> tuple[float, float]:
    """Return the weight of both pulls together at an epoch, ``v d + w (1 - d)``, and the ensemble's share of it."""
    floor, horizon = settings.decay_floor, settings.decay_epochs
    rate = settings.decay_rate if condition.ramped else rate_to_floor(floor, horizon)
    share = decay_weight(condition.decay, epoch, rate, floor, horizon)
    ramped = ramped_weight(condition.ramp, epoch, settings.rampup_epochs, condition.weight)
    ensemble = share * (ramped if condition.ramped else condition.weight)
    weight = ensemble + (1 - share) * ramped
    return weight, ensemble / weight if weight > NEGLIGIBLE else 0.0


def simulate_all(settings: ConvergenceSettings, only: Collection[str] | None = None) -> dict[str, Outcome]:
    """Run every condition, or only those of these names, on the same trials."""
    size = max(1, min(CHUNK, CHUNK_NUMBERS // (settings.steps * settings.peers * settings.dimensions)))
    counts = [min(size, settings.trials - first) for first in range(0, settings.trials, size)]
    seeds = np.random.SeedSequence(settings.seed).spawn(len(counts))
    chosen = [condition for condition in conditions(settings) if only is None or condition.name in only]
    parts: dict[str, list[Outcome]] = {condition.name: [] for condition in chosen}
    for count, seed in zip(counts, seeds, strict=True):
        trials = sample_trials(settings, count, np.random.default_rng(seed))
        for condition in chosen:
            parts[condition.name].append(simulate(settings, condition, trials))
    return {name: Outcome(*map(np.concatenate, zip(*part, strict=True))) for name, part in parts.items()}
