"""The space that a sweep searches: keys, what each may be, and when it counts."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import Any, Protocol

from methods.errors import InputError

Assignment = dict[str, Any]
"""A configuration of the space: the keys that count in it, and their values."""

MAX_GRID = 100_000
DIGITS = 4
"""Significant digits of a drawn number: what the tables show is what was run."""


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[Any, ...]

    @property
    def probes(self) -> tuple[Any, ...]:
        """The values that must be valid for all to be."""
        return self.values

    def draw(self, random: Random) -> Any:
        """Return a value by chance."""
        return random.choice(self.values)

    def __str__(self) -> str:
        return f"[{', '.join(map(shown, self.values))}]"


@dataclass(frozen=True)
class Range:
    """A number between two bounds, both included: ``uniform``, ``loguniform`` or whole (``randint``)."""

    form: str
    low: float
    high: float

    @property
    def probes(self) -> tuple[Any, ...]:
        """The values that must be valid for all to be."""
        return self.low, self.high

    def draw(self, random: Random) -> Any:
        """Return a value by chance."""
        if self.form == "randint":
            return random.randint(int(self.low), int(self.high))
        if self.form == "loguniform":
            return self.rounded(math.exp(random.uniform(math.log(self.low), math.log(self.high))))
        return self.rounded(random.uniform(self.low, self.high))

    def rounded(self, value: float) -> float:
        """Return a value with few digits, inside the bounds."""
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.form}({self.low:g}, {self.high:g})"


Domain = Choice | Range


class Suggester(Protocol):
    """What Optuna calls a trial."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> Any:
        """Return one of the choices."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Return a whole number."""


@dataclass(frozen=True)
class Parameter:
    """One key of the space.

    Attributes:
        key: A hyperparameter's bare name, or ``train.lr``, ``data.pad``.
        domain: What it may be.
        when: The values of other keys with which it counts; without any, always.
    """

    key: str
    domain: Domain
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def counts(self, others: Assignment) -> bool:
        """Return whether the key has an effect beside the others' values."""
        return all(key in others and others[key] in values for key, values in self.when.items())

    def __str__(self) -> str:
        conditions = [f"{key}={'|'.join(map(shown, values))}" for key, values in self.when.items()]
        return f"{self.key}={self.domain}" + (f" if {' and '.join(conditions)}" if conditions else "")


@dataclass(frozen=True)
class Space:
    """The parameters of a sweep, each after those that its conditions name."""

    parameters: tuple[Parameter, ...]

    @property
    def keys(self) -> list[str]:
        """The keys, in order."""
        return [parameter.key for parameter in self.parameters]

    def draw(self, random: Random) -> Assignment:
        """Return a configuration by chance."""
        return self._assign(lambda parameter: parameter.domain.draw(random))

    def random(self, seed: int, count: int) -> list[Assignment]:
        """Return so many different configurations, fewer if there are not as many.

        The n-th is drawn from a generator of its own: asking for more leaves the first ones as they are.
        """
        found: dict[str, Assignment] = {}
        for index in range(100 * count):
            if len(found) == count:
                break
            assignment = self.draw(Random(f"{seed}:{index}"))  # noqa: S311 - nothing secret
            found.setdefault(identity(assignment), assignment)
        return list(found.values())

    def grid(self) -> list[Assignment]:
        """Return every configuration of a space of lists (and whole numbers), in the order in which it is written.

        Raises:
            InputError: If a key has infinitely many values, or the configurations are too many.
        """
        found: dict[str, Assignment] = {}
        values = [_listed(parameter) for parameter in self.parameters]
        if math.prod(map(len, values)) > MAX_GRID:
            raise InputError(f"the grid has more than {MAX_GRID:,} configurations: search random or optuna")
        for combination in product(*values):
            chosen = dict(zip(self.keys, combination, strict=True))
            assignment = self._assign(lambda parameter, chosen=chosen: chosen[parameter.key])  # type: ignore[misc]
            found.setdefault(identity(assignment), assignment)
        return list(found.values())

    def base(self, defaults: Assignment) -> Assignment:
        """Return a value for every key, also for those that count only beside others.

        Args:
            defaults: By key; one that is not in the space is replaced by the first value that is written there.
        """
        return {p.key: _own(p.domain, defaults.get(p.key)) for p in self.parameters}

    def completed(self, given: Assignment, base: Assignment) -> Assignment:
        """Return the configuration with some keys given, and every other key that counts then as in the base."""
        return self._assign(lambda parameter: given.get(parameter.key, base[parameter.key]))

    def graded(
        self,
        base: Assignment,
        controls: Sequence[Assignment] = (),
        seed: int = 0,
        urgency: Callable[[Assignment], int] = lambda _: 0,
    ) -> list[Assignment]:
        """Return the grid in the order in which a part of it is tried.

        First come the controls, then the base, then what differs from it in one key, then in two, and so on. Where as
        many keys differ the more urgent ones come first, and of those that are equally urgent chance decides.

        Args:
            base: A value for every key.
            controls: Configurations of the space.
            seed: Of the chance.
            urgency: The smaller, the earlier.
        """
        grid = self.grid()
        Random(f"grid:{seed}").shuffle(grid)  # noqa: S311 - nothing secret

        def place(assignment: Assignment) -> tuple[int, int]:
            if assignment in controls:
                return -1, controls.index(assignment)
            return sum(value != base[key] for key, value in assignment.items()), urgency(assignment)

        return sorted(grid, key=place)

    def suggest(self, trial: Suggester) -> Assignment:
        """Return the configuration that an Optuna trial stands for, asking it for the keys that count."""

        def ask(parameter: Parameter) -> Any:
            match parameter.domain:
                case Choice(values):
                    words = {json.dumps(value): value for value in values}
                    return words[trial.suggest_categorical(parameter.key, list(words))]
                case Range("randint", low, high):
                    return trial.suggest_int(parameter.key, int(low), int(high))
                case Range(form, low, high) as domain:
                    return domain.rounded(trial.suggest_float(parameter.key, low, high, log=form == "loguniform"))

        return self._assign(ask)

    def has(self, key: str, value: Any) -> bool:
        """Return whether a value is one of a key's."""
        return any(parameter.key == key and _within(parameter.domain, value) for parameter in self.parameters)

    def allows(self, given: Assignment) -> bool:
        """Return whether there are configurations with some keys given, among them those that their conditions name."""
        counting = {parameter.key for parameter in self.parameters if parameter.counts(given)}
        return all(key in counting and self.has(key, value) for key, value in given.items())

    def contains(self, assignment: Assignment) -> bool:
        """Return whether a configuration is one of this space."""
        try:
            rebuilt = self._assign(lambda parameter: assignment[parameter.key])
        except KeyError:
            return False
        return rebuilt == assignment and all(
            _within(p.domain, rebuilt[p.key]) for p in self.parameters if p.counts(rebuilt)
        )

    def _assign(self, choose: "Callable[[Parameter], Any]") -> Assignment:
        assignment: Assignment = {}
        for parameter in self.parameters:
            if parameter.counts(assignment):
                assignment[parameter.key] = choose(parameter)
        return assignment


def _within(domain: Domain, value: Any) -> bool:
    if isinstance(domain, Choice):
        return value in domain.values
    return isinstance(value, int | float) and domain.low <= value <= domain.high


def _own(domain: Domain, default: Any) -> Any:
    """Return a value of the domain: the default if it is one."""
    if isinstance(domain, Choice):
        # as it is written in the space: 1 is 1.0 to Python, and another word to a table
        return next((value for value in domain.values if value == default), domain.values[0])
    return default if _within(domain, default) else domain.low


def identity(assignment: Assignment) -> str:
    """Return the canonical form, equal for equal configurations."""
    return json.dumps(assignment, sort_keys=True)


def shown(value: Any) -> str:
    """Return a value as a person writes it."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def described(assignment: Assignment) -> str:
    """Return a configuration as ``decay=exp, decay_rate=0.5``."""
    return ", ".join(f"{key}={shown(value)}" for key, value in assignment.items()) or "the defaults"


def _listed(parameter: Parameter) -> Sequence[Any]:
    match parameter.domain:
        case Choice(values):
            return values
        case Range("randint", low, high) if high - low < MAX_GRID:
            return range(int(low), int(high) + 1)
        case domain:
            raise InputError(f"grid needs lists: {parameter.key} is {domain} (search random or optuna takes it)")
