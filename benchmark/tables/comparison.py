"""Comparisons that are declared before their runs are looked at, their verdicts, and sequential plans beside runs."""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmark.configuration import Suite
from benchmark.escaping import file_name, visible
from benchmark.metrics import HEADLINE, Better
from benchmark.store import DamagedError, put, read_regular
from benchmark.tables.gains import ALPHA, MAX_SEEDS, MIN_PAIRS, Gain, paired_gain, verdict
from methods.errors import InputError

PLANS = "plans"  # the folder below a results folder with the sequential plans of its runs
MAX_PLAN = 2**22  # bytes of a plan's file
MAX_LOOKS = 100

Name = Annotated[str, Field(min_length=1, max_length=250)]
Bound = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Declaration:
    """A comparison that was stated before its runs were looked at; the ranges are those of stored ones."""

    name: Name  # of the suite, or of the command
    baseline: Name  # the method that the others are compared with
    methods: Sequence[Name]  # the roster, baseline included
    seeds: Annotated[int, Field(ge=MIN_PAIRS, le=MAX_SEEDS)]  # how many each method has: 0, 1, ..
    # K, the number of comparisons that the level is for; more than are made leaves room for methods
    comparisons: Annotated[int, Field(ge=1, le=MAX_SEEDS)]
    # half-width of what counts as equivalent, by metric; what has none is not judged
    bounds: Annotated[Mapping[Name, Bound], Field(min_length=1)] = field(default_factory=lambda: {HEADLINE: 0.5})
    # seeds at each look, growing, the last being all of them; one look for none
    looks: Annotated[Sequence[int], Field(max_length=MAX_LOOKS)] = ()

    @property
    def alpha(self) -> float:
        """The level of each comparison: 0.05 / K, so that it depends on no other comparison that is shown."""
        return ALPHA / self.comparisons

    def levels(self) -> list[float]:
        """Return the level of each look."""
        looks = [*self.looks] or [self.seeds]
        return [self._level(looks[:n], n == len(looks)) for n in range(1, len(looks) + 1)]

    def _level(self, counts: Sequence[int], final: bool) -> float:
        """Return the level of the last of some looks, by their numbers of pairs."""
        if len(self.looks) < 2:
            return self.alpha
        from benchmark.tables.statistics import level

        return level(counts, self.seeds, self.alpha, final)

    def judge(
        self,
        ours: Mapping[int, float],
        baseline: Mapping[int, float],
        metric: str,
        better: Better,
        ended: Collection[int] | None = None,
    ) -> Gain | None:
        """Return the difference with its verdict: a function of these runs and of the declaration alone.

        Of several looks the first that decides counts, with the interval of its level and of its seeds. A look is
        taken when all of its seeds have ended; before the last one is complete, the verdict says how many are there.

        Args:
            metric: One of ``bounds``; another is exploratory and gets an interval of 95 % and no verdict.
            better: Which end of the metric is better.
            ended: The seeds that both have ended for good, with a value or without; None for those with values.
        """
        if metric not in self.bounds or better is None:
            return paired_gain(ours, baseline)
        bound = self.bounds[metric]
        there = set(ours.keys() & baseline.keys()) if ended is None else set(ended)
        looks = [*self.looks] or [self.seeds]
        complete = [look for look in looks if there >= set(range(look))]
        found: Gain | None = None
        counts: list[int] = []
        for look in complete:
            own, reference = ({seed: x for seed, x in one.items() if seed < look} for one in (ours, baseline))
            n = len(own.keys() & reference.keys())
            if n < MIN_PAIRS or counts[-1:] == [n]:
                continue
            counts.append(n)
            final = look == looks[-1]
            found = paired_gain(own, reference, self._level(counts, final))
            if found is None or found.low is None or found.high is None:
                continue
            word = verdict(found.low, found.high, bound, better)
            found = replace(found, verdict=word, bound=bound, note="" if final else f"at {look} seeds")
            if word != "undecided":
                return found
        found = found or paired_gain(ours, baseline, self.alpha)
        if found is None:
            return None
        missing = f"{len(there & set(range(self.seeds)))} of {self.seeds} seeds"
        why = missing if len(complete) < len(looks) else "" if found.p is not None else "no spread to judge by"
        return replace(found, verdict="undecided", bound=bound, note=why)


def declaration(name: str, suite: Suite) -> Declaration:
    """Return what a suite declares."""
    called, methods = f"{name}, version {suite.version}", tuple(suite.methods)
    bounds, looks = dict(suite.bounds), tuple(suite.looks)
    return Declaration(called, suite.baseline, methods, suite.seeds, suite.comparisons, bounds, looks)


def statement(declared: Declaration, verdicts: bool = True) -> list[str]:
    """Return what was declared and, if they are shown, how its verdicts come about, a line each."""
    return note_lines("declaration.j2", declared=declared, verdicts=verdicts)


def note_lines(template: str, **given: Any) -> list[str]:
    """Return the lines of a template of notes, in which control characters of names are visible."""
    return [line for line in templates().get_template(template).render(given).split("\n") if line]


@cache
def templates() -> Environment:
    """Return the templates of tables and their notes."""
    return Environment(
        loader=PackageLoader("benchmark.tables"),
        autoescape=select_autoescape(),
        finalize=lambda value: visible(value) if isinstance(value, str) else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def check_bound(option: str, bound: float) -> float:
    """Return the half-width of what counts as equivalent, or raise an InputError if it is none."""
    if not 0 < bound < math.inf:
        raise InputError(f"{option} takes a difference above 0, such as 0.5 (given: {bound:g})")
    return bound


class Plan(NamedTuple):
    """A sequential plan: what is declared, the names of the runs that it may take, and its file's content."""

    declaration: Declaration
    runs: frozenset[str]
    content: bytes

    @property
    def file(self) -> str:
        """The name of its file, of its content alone: no plan can take the place of another."""
        return file_name(sha256(self.content.rstrip()).hexdigest()[:12], ".json")


class _StoredPlan(BaseModel):
    """What is in a plan's file, which may be anybody's; the levels are for people and computed anew."""

    model_config = ConfigDict(extra="forbid", strict=True)

    declaration: Declaration
    levels: Annotated[list[float], Field(max_length=MAX_LOOKS)]
    runs: Annotated[list[Name], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        one = self.declaration
        looks = [*one.looks] or [one.seeds]
        if not all(map(str.isprintable, (one.name, *one.methods, *one.bounds, *self.runs))):
            raise ValueError("a name is not printable")
        if one.baseline not in one.methods:
            raise ValueError("the baseline is not among the methods")
        if looks != sorted({*looks}) or looks[0] < 1 or looks[-1] != one.seeds:
            raise ValueError("its looks do not grow to all seeds")
        return self


def parsed_plan(content: bytes) -> Plan:
    """Return the plan that the content of a file is, or raise a ValueError."""
    found = _StoredPlan.model_validate_json(content)
    return Plan(found.declaration, frozenset(found.runs), content)


def keep_plan(root: Path, declared: Declaration, runs: Iterable[str]) -> list[str]:
    """Store a sequential plan of at most :data:`MAX_LOOKS` looks; return a line on each other plan of its runs."""
    if len(declared.looks) > MAX_LOOKS:
        raise InputError(f"a sequential plan has at most {MAX_LOOKS} looks (given: {len(declared.looks)})")
    names = sorted(runs)
    content = json.dumps({"declaration": asdict(declared), "levels": declared.levels(), "runs": names}, indent=2)
    plan = Plan(declared, frozenset(names), f"{content}\n".encode())
    if not (path := root / PLANS / plan.file).exists():
        put(path, plan.content)
    return plan_notes(names, stored_plans([root]), declared)


def stored_plans(results: Iterable[Path]) -> list[Plan]:
    """Return the sequential plans below results folders, or raise an InputError if a file there is none."""
    found: dict[str, Plan] = {}
    for path in [path for root in results for path in sorted((root / PLANS).glob("*.json"))]:
        try:
            plan = parsed_plan(read_regular(path, MAX_PLAN))
        except (OSError, ValueError, DamagedError):
            raise InputError(f"{path} is no sequential plan: move it away") from None
        found[plan.file] = plan
    return list(found.values())


def plan_of(runs: Collection[str], plans: Iterable[Plan], baseline: str | None) -> Declaration | None:
    """Return the one declared plan that all of some runs belong to, with that baseline or any; None for none.

    Of several that differ none counts: nothing says which of them was declared before the runs were looked at.
    """
    fitting = [plan.declaration for plan in plans if runs and plan.runs.issuperset(runs)]
    fitting = [declared for declared in fitting if baseline in (None, declared.baseline)]
    return fitting[0] if len({_compared(declared) for declared in fitting}) == 1 else None


def plan_notes(runs: Collection[str], plans: Iterable[Plan], applied: Declaration | None) -> list[str]:
    """Return a line for each stored plan of some of the runs that is not the declaration that is applied to them."""
    others = {}
    for plan in plans:
        compared, shared = _compared(plan.declaration), len(plan.runs.intersection(runs))
        if shared and (applied is None or compared != _compared(applied)):
            others[compared] = (plan.declaration, shared)
    return note_lines("plans.j2", others=others.values())


def _compared(declared: Declaration) -> str:
    """Return what tells plans apart: all but the name."""
    return json.dumps(asdict(replace(declared, name="")), sort_keys=True)
