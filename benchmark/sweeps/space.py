"""The space that a sweep searches: keys, the values of each, when a key counts, and how that is written."""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from benchmark.configuration import parse_yaml
from benchmark.formatting import shown
from methods.errors import InputError, unknown
from methods.hyperparameters import validated

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Assignment = dict[str, Any]  # a configuration of the space: the keys that count in it, and their values

MAX_GRID = 100_000
DIGITS = 4  # significant digits of a sampled number: the tables show exactly what was run
LARGEST = 1e300  # bound of a range, in either direction

RANGES = ("uniform", "loguniform", "randint")
FORMS = "a list [a,b,c], uniform(a,b), loguniform(a,b) or randint(a,b)"
_CALL = re.compile(r"\s*(\w+)\s*\((.*)\)\s*", re.DOTALL)


@dataclass(frozen=True)
class Parameter:
    """One key of the space: its values are those of a list, or the numbers between two bounds, both included."""

    key: str  # a hyperparameter's bare name, or `train.lr`, `data.pad`
    values: tuple[Any, ...]  # of the list, or the lower and the upper bound
    form: str = "list"  # or `uniform`, `loguniform`, or whole numbers (`randint`)
    # the values of other keys with which it counts; without any, always
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def counts(self, others: Assignment) -> bool:
        """Return whether the key has an effect beside the others' values."""
        return all(key in others and others[key] in values for key, values in self.when.items())

    def has(self, value: Any) -> bool:
        """Return whether a value is one of the key's."""
        if self.form == "list":
            return value in self.values
        return isinstance(value, int | float) and self.values[0] <= value <= self.values[1]

    def default(self, usual: Any) -> Any:
        """Return the usual value as it is written in the space, or the first one if the space does not have it."""
        # 1 is 1.0 to Python, and another text in a table
        written = self.values if self.form == "list" else (usual,)
        return next((value for value in written if value == usual and self.has(value)), self.values[0])

    def sample(self, random: Random) -> Any:
        """Return a random value."""
        if self.form == "list":
            return random.choice(self.values)
        if self.form == "randint":
            return random.randint(*self.values)
        if self.form == "loguniform":
            return self._rounded(math.exp(random.uniform(*map(math.log, self.values))))
        return self._rounded(random.uniform(*self.values))

    def suggest(self, trial: "BaseTrial") -> Any:
        """Return the value that an Optuna trial suggests; to Optuna the values of a list are texts."""
        if self.form == "list":
            texts = {json.dumps(value): value for value in self.values}
            return texts[trial.suggest_categorical(self.key, list(texts))]
        if self.form == "randint":
            return trial.suggest_int(self.key, *self.values)
        return self._rounded(trial.suggest_float(self.key, *self.values, log=self.form == "loguniform"))

    def _rounded(self, value: float) -> float:
        low, high = map(float, self.values)
        return min(max(float(f"{value:.{DIGITS}g}"), low), high)

    @property
    def words(self) -> str:
        """Its values as they are written."""
        if self.form == "list":
            return f"[{', '.join(map(shown, self.values))}]"
        return f"{self.form}({self.values[0]:g}, {self.values[1]:g})"

    def __str__(self) -> str:
        conditions = [f"{key}={'|'.join(map(shown, values))}" for key, values in self.when.items()]
        return f"{self.key}={self.words}" + (f" if {' and '.join(conditions)}" if conditions else "")


@dataclass(frozen=True)
class Space:
    """The parameters of a sweep, each after those that its conditions name."""

    parameters: tuple[Parameter, ...]

    @property
    def keys(self) -> list[str]:
        """The keys, in order."""
        return [parameter.key for parameter in self.parameters]

    def assign(self, choose: Callable[[Parameter], Any]) -> Assignment:
        """Return the configuration in which each key that counts has the chosen value."""
        assignment: Assignment = {}
        for parameter in self.parameters:
            if parameter.counts(assignment):
                assignment[parameter.key] = choose(parameter)
        return assignment

    def random(self, seed: int, count: int) -> list[Assignment]:
        """Return so many different configurations; a larger number begins with the same: each has its generator."""
        found: dict[str, Assignment] = {}
        for index in range(100 * count):
            if len(found) == count:
                break
            generator = Random(f"{seed}:{index}")  # noqa: S311 - nothing secret
            assignment = self.assign(partial(Parameter.sample, random=generator))
            found.setdefault(identity(assignment), assignment)
        return list(found.values())

    def grid(self) -> list[Assignment]:
        """Return every configuration in the order in which they are written, or raise an InputError for too many."""
        values: list[Sequence[Any]] = []
        for x in self.parameters:
            if x.form not in ("list", "randint"):
                raise InputError(f"grid needs lists: {x.key} is {x.words} (search random or optuna takes it)")
            values.append(x.values if x.form == "list" else range(x.values[0], x.values[1] + 1))
        if math.prod(map(len, values)) > MAX_GRID:
            raise InputError(f"the grid has more than {MAX_GRID:,} configurations: search random or optuna")
        combinations = (dict(zip(self.keys, combination, strict=True)) for combination in product(*values))
        return distinct(self.completed({}, combination) for combination in combinations)

    def completed(self, given: Assignment, base: Assignment) -> Assignment:
        """Return the configuration with some keys given, and every other key that counts then as in the base."""
        return self.assign(lambda parameter: given.get(parameter.key, base[parameter.key]))

    def suggest(self, trial: "BaseTrial") -> Assignment:
        """Return the configuration of an Optuna trial, asking it for the keys that count."""
        return self.assign(partial(Parameter.suggest, trial=trial))

    def has(self, key: str, value: Any) -> bool:
        """Return whether a value is one of a key's."""
        return any(parameter.key == key and parameter.has(value) for parameter in self.parameters)

    def allows(self, given: Assignment) -> bool:
        """Return whether there are configurations with some keys given, among them those that their conditions name."""
        counting = {parameter.key for parameter in self.parameters if parameter.counts(given)}
        return all(key in counting and self.has(key, value) for key, value in given.items())

    def contains(self, assignment: Assignment) -> bool:
        """Return whether a configuration is one of this space."""
        rebuilt = self.assign(lambda parameter: assignment.get(parameter.key))
        return rebuilt == assignment and self.allows(assignment)


def identity(assignment: Assignment) -> str:
    """Return the canonical form, equal for equal configurations."""
    return json.dumps(assignment, sort_keys=True)


def distinct(assignments: Iterable[Assignment]) -> list[Assignment]:
    """Return the configurations, equal ones once."""
    return list({identity(assignment): assignment for assignment in assignments}.values())


def described(assignment: Assignment) -> str:
    """Return a configuration as ``decay=exp, decay_rate=0.5``."""
    return ", ".join(f"{key}={shown(value)}" for key, value in assignment.items()) or "the defaults"


def parse_space(content: Any, words: Iterable[str], known: Callable[[str], str]) -> Space:
    """Return the space of a file's ``space`` and of the words after ``--space``, which replace the file's keys.

    Args:
        content: A mapping of keys to lists, ranges, or ``{values: ..., when: {key: [values]}}``.
        words: Such as ``decay_rate=loguniform(0.01,1) if decay=exp``.
        known: Returns a key's canonical form, or raises the InputError for an unknown key.

    Raises:
        InputError: For anything that is no such space.
    """
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise InputError(f"space must hold keys and values, as in 'space: {{decay: [exp, none]}}' (given: {content!r})")
    found = [_parameter(key, entry, f"space.{key}", known) for key, entry in content.items()]
    parameters = {parameter.key: parameter for parameter in found}
    for word in words:
        parameter = _parameter(*_entry(word), f"--space {word}", known)
        if parameter.key in parameters:
            parameters = dict(_restricted(parameters, parameter))
        parameters[parameter.key] = parameter
    if not parameters:
        raise InputError("nothing to search: give --space KEY=VALUES, or a file with 'space'")
    return Space(tuple(_ordered(parameters)))


class Entry(BaseModel):
    """A key's values and conditions in a file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    values: Any
    when: dict[str, Any] = {}


def _entry(word: str) -> tuple[str, dict[str, Any]]:
    """Return the key and the entry of a file that a word of the command line is short for."""
    source = f"--space {word}"
    assignment, condition, conditions = word.partition(" if ")
    parts = [assignment, *(conditions.split(" and ") if condition else ())]
    (key, text), *pairs = ([piece.strip() for piece in part.partition("=")[::2]] for part in parts)
    if not all((key, text, *(piece for pair in pairs for piece in pair))):
        raise InputError(f"--space takes KEY=VALUES with {FORMS}, and 'if KEY=VALUE|VALUE and ...' (given: {word!r})")
    lists = {name: values if values[0] == "[" else f"[{values.replace('|', ',')}]" for name, values in pairs}
    when = {name: parse_yaml(values, source) for name, values in lists.items()}
    return key, {"values": text if _CALL.fullmatch(text) else parse_yaml(text, source), "when": when}


def _parameter(key: str, content: Any, source: str, known: Callable[[str], str]) -> Parameter:
    entry = validated(Entry, content if isinstance(content, dict) else {"values": content}, source)
    conditions = {known(name): tuple(x) if isinstance(x, list) else (x,) for name, x in entry.when.items()}
    return Parameter(known(key), *_values(entry.values, source), conditions)


def _values(content: Any, source: str) -> tuple[tuple[Any, ...], str]:
    """Return a parameter's values and their form."""
    if isinstance(content, list):
        if not content:
            raise InputError(f"{source}: the list is empty")
        try:
            return tuple({json.dumps(value): value for value in content}.values()), "list"
        except (TypeError, ValueError):
            raise InputError(f"{source}: values are words, numbers, true, false, null or lists of them") from None
    call = _CALL.fullmatch(content) if isinstance(content, str) else None
    if call is None:
        raise InputError(f"{source}: {FORMS} is expected (given: {content!r})")
    form, inside = call.groups()
    if form not in RANGES:
        raise unknown(f"form of values in {source!r}:", form, RANGES)
    kind, above = "whole numbers" if form == "randint" else "numbers", " above 0" if form == "loguniform" else ""
    types, lowest = (int,) if form == "randint" else (int, float), 0 if above else -LARGEST
    bounds = parse_yaml(f"[{inside}]", source)
    numbers = [x for x in bounds if type(x) in types and abs(x) < LARGEST]
    if not len(bounds) == len(numbers) == 2 or not lowest < numbers[0] < numbers[1]:
        raise InputError(f"{source}: {form} takes two {kind}, a lower bound{above} and a higher one")
    return tuple(numbers if form == "randint" else map(float, numbers)), form


def _restricted(parameters: Mapping[str, Parameter], new: Parameter) -> Iterator[tuple[str, Parameter]]:
    """Yield the parameters as they are once one is replaced, without those that count with none of its values."""
    for key, parameter in parameters.items():
        if new.key not in parameter.when or new.form != "list":
            yield key, parameter
        elif left := tuple(value for value in parameter.when[new.key] if new.has(value)):
            yield key, replace(parameter, when={**parameter.when, new.key: left})


def _ordered(parameters: Mapping[str, Parameter]) -> list[Parameter]:
    """Return the parameters, each after those that its conditions name."""
    conditions = [(name, *condition) for name, parameter in parameters.items() for condition in parameter.when.items()]
    for name, key, values in conditions:
        if key not in parameters:
            raise unknown(f"key in the condition of {name!r}", key, parameters)
        other = parameters[key]
        if other.form != "list":
            raise InputError(f"the condition of {name!r} needs a list of values for {key!r}, not {other.words}")
        for value in values:
            if not other.has(value):
                raise unknown(f"value of {key!r} in the condition of {name!r}", shown(value), map(shown, other.values))
    ordered: dict[str, Parameter] = {}
    while waiting := {name: x for name, x in parameters.items() if name not in ordered}:
        ready = {name: x for name, x in waiting.items() if x.when.keys() <= ordered.keys()}
        if not ready:
            raise InputError(f"the conditions of {', '.join(waiting)} depend on each other in a circle")
        ordered |= ready
    return list(ordered.values())
