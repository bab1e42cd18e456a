"""How a sweep's space is written, in a file and on the command line."""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from benchmark.configuration import yaml_files
from benchmark.sweeps.space import Choice, Domain, Parameter, Range, Space, shown
from methods.errors import InputError, unknown

_RANGES = ("uniform", "loguniform", "randint")
_FORMS = (*_RANGES, "choice")
_GRAMMAR = "a list [a,b,c], choice(a,b,c), uniform(a,b), loguniform(a,b) or randint(a,b)"
_CALL = re.compile(r"\s*(\w+)\s*\((.*)\)\s*", re.DOTALL)


def parse_space(content: Any, words: Iterable[str], known: Callable[[str], str]) -> Space:
    """Return the space that a file's ``space`` and the words after ``--space`` mean; a word replaces the file's key.

    Args:
        content: A mapping of keys to lists, expressions, or ``{values: ..., when: {key: [values]}}``.
        words: Such as ``decay_rate=loguniform(0.01,1) if decay=exp``.
        known: Returns a key's canonical form, or raises the InputError for a key that there is not.

    Raises:
        InputError: For anything that is no such space.
    """
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise InputError(f"space must hold keys and values, as in 'space: {{decay: [exp, none]}}' (given: {content!r})")
    parameters = {parameter.key: parameter for parameter in (_from_file(key, x, known) for key, x in content.items())}
    for parameter in (_from_word(word, known) for word in words):
        if parameter.key in parameters:
            parameters = dict(_narrowed(parameters, parameter))
        parameters[parameter.key] = parameter
    if not parameters:
        raise InputError("nothing to search: give --space KEY=VALUES, or a file with 'space'")
    return Space(tuple(_ordered(parameters)))


def _narrowed(parameters: Mapping[str, Parameter], new: Parameter) -> Iterator[tuple[str, Parameter]]:
    """Yield the parameters as they are once one is replaced: those that count with none of its values are left out."""
    for key, parameter in parameters.items():
        if new.key in parameter.when and isinstance(new.domain, Choice):
            left = tuple(value for value in parameter.when[new.key] if value in new.domain.values)
            if left:
                yield key, replace(parameter, when={**parameter.when, new.key: left})
        else:
            yield key, parameter


def _from_file(key: str, content: Any, known: Callable[[str], str]) -> Parameter:
    when: Any = {}
    if isinstance(content, dict):
        for name in content:
            if name not in ("values", "when"):
                raise unknown(f"key of space.{key}", str(name), ("values", "when"))
        content, when = content.get("values"), content.get("when", {})
    if not isinstance(when, dict):
        raise InputError(f"space.{key}: when takes keys and values, as in 'when: {{decay: [exp]}}' (given: {when!r})")
    conditions = {known(str(name)): _values(value) for name, value in when.items()}
    return Parameter(known(key), _domain(content, f"space.{key}"), conditions)


def _from_word(word: str, known: Callable[[str], str]) -> Parameter:
    source = f"--space {word}"
    assignment, condition, conditions = word.partition(" if ")
    key, equals, text = assignment.partition("=")
    if not (equals and key.strip() and text.strip()):
        raise InputError(f"--space takes KEY=VALUES with {_GRAMMAR} (given: {word!r})")
    when = {}
    for part in conditions.split(" and ") if condition else ():
        name, equals, values = part.partition("=")
        if not (equals and name.strip() and values.strip()):
            raise InputError(f"{source}: a condition is KEY=VALUE, as in 'if decay=exp' or 'if decay=exp|linear'")
        listed = values if values.strip().startswith("[") else f"[{values.replace('|', ',')}]"
        when[known(name.strip())] = _values(yaml_files.parse(listed, source))
    text = text.strip()
    content = text if _CALL.fullmatch(text) else yaml_files.parse(text, source)
    return Parameter(known(key.strip()), _domain(content, source), when)


def _values(content: Any) -> tuple[Any, ...]:
    return tuple(content) if isinstance(content, list) else (content,)


def _domain(content: Any, source: str) -> Domain:
    if isinstance(content, list):
        return _choice(content, source)
    call = _CALL.fullmatch(content) if isinstance(content, str) else None
    if call is None:
        raise InputError(f"{source}: {_GRAMMAR} is expected (given: {content!r})")
    form, inside = call.groups()
    if form not in _FORMS:
        raise unknown(f"form of values in {source!r}:", form, _FORMS)
    values = yaml_files.parse(f"[{inside}]", source)
    return _choice(values, source) if form == "choice" else _range(form, values, source)


def _choice(values: list[Any], source: str) -> Choice:
    if not values:
        raise InputError(f"{source}: the list is empty")
    try:
        words = {json.dumps(value): value for value in values}
    except (TypeError, ValueError):
        raise InputError(f"{source}: values are words, numbers, true, false, null or lists of them") from None
    return Choice(tuple(words.values()))


def _range(form: str, bounds: list[Any], source: str) -> Range:
    kind = (int,) if form == "randint" else (int, float)
    if len(bounds) != 2 or not all(type(bound) in kind and math.isfinite(bound) for bound in bounds):
        numbers = "whole numbers" if form == "randint" else "numbers"
        raise InputError(f"{source}: {form} takes two {numbers}, the lower and the upper bound")
    low, high = bounds
    if low >= high:
        raise InputError(f"{source}: the lower bound {low:g} is not below the upper bound {high:g}")
    if form == "loguniform" and low <= 0:
        raise InputError(f"{source}: loguniform needs bounds above 0 (given: {low:g})")
    return Range(form, low, high) if form == "randint" else Range(form, float(low), float(high))


def _ordered(parameters: Mapping[str, Parameter]) -> Iterator[Parameter]:
    """Yield each parameter after those that its conditions name."""
    for parameter in parameters.values():
        for key, values in parameter.when.items():
            if key not in parameters:
                raise unknown(f"key in the condition of {parameter.key!r}", key, parameters)
            domain = parameters[key].domain
            if not isinstance(domain, Choice):
                raise InputError(f"the condition of {parameter.key!r} needs a list of values for {key!r}, not {domain}")
            for value in values:
                if value not in domain.values:
                    raise unknown(
                        f"value of {key!r} in the condition of {parameter.key!r}",
                        shown(value),
                        map(shown, domain.values),
                    )
    waiting, done = dict(parameters), set[str]()
    while waiting:
        ready = [parameter for parameter in waiting.values() if set(parameter.when) <= done]
        if not ready:
            raise InputError(f"the conditions of {', '.join(waiting)} go round in a circle")
        for parameter in ready:
            yield waiting.pop(parameter.key)
            done.add(parameter.key)
