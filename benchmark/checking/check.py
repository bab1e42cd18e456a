"""``bench check``: any method against the contract, one of the project's own or of a plug-in."""

import re
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from itertools import islice, tee
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from benchmark.checking.cases import (
    PROGRESS,
    Case,
    ContractError,
    State,
    bound,
    cases,
    choices,
    difference,
    predictions,
    prepare,
    take_step,
)
from benchmark.checking.contract import CLAUSES
from benchmark.configuration import OPTIONS, SECTIONS
from methods import registry
from methods.errors import InputError, unknown
from methods.hyperparameters import BaseHyperparameters
from methods.interface import Method
from methods.plugins import place_of, reason_of


@dataclass(frozen=True)
class ClauseResult:
    """One clause of the contract in one case."""

    case: str  # empty for what needs none
    clause: str
    reason: str | None = None  # how it is broken


def check(name: str, plugins: Sequence[str | Path] = ()) -> list[ClauseResult]:
    """Check a method and return the results of all clauses.

    Args:
        name: One of ``methods.available(plugins)``.
        plugins: Python files that define further methods.

    Raises:
        InputError: If there is no such method.
    """
    catalogue = registry.catalogue(plugins)
    if name not in catalogue:
        raise unknown("method", name, catalogue)
    if broken := catalogue[name].broken:
        return [ClauseResult("", "can be imported", broken)]
    method = registry.load(name, plugins)
    results = list(checked("", DECLARATION, method, gates=DECLARATION))
    if not faults(results):
        with TemporaryDirectory(prefix="bench-check-") as folder, own_randomness():
            results += _all_cases(method, Path(folder))
    return results


def check_case(case: Case) -> list[ClauseResult]:
    """Return the results of one case, up to the first that leaves no ground for others."""
    with own_randomness():
        return list(_one_case(case))


def check_lines(
    names: Sequence[str] | None, plugins: Sequence[str], check_one: Callable[[str, Sequence[str]], list[ClauseResult]]
) -> Iterator[tuple[bool, str]]:
    """Check several methods or networks, and yield for each whether it keeps the contract and the lines that say so.

    Args:
        names: Those that are checked; None for all methods.
        plugins: Python files that define further methods and networks.
        check_one: :func:`check`, or :func:`benchmark.checking.networks.check_network`.

    Raises:
        InputError: For an unknown name.
    """
    names = list(registry.catalogue(plugins)) if names is None else names
    width = max(map(len, names))
    for name in names:
        begin = time.perf_counter()
        results = check_one(name, plugins)
        seconds = time.perf_counter() - begin
        if broken := faults(results):
            yield False, "\n        ".join((f"FAIL  {name:<{width}}  {broken[0]}", *broken[1:]))
        else:
            yield True, f"ok    {name:<{width}}  ({len(results)} checks, {seconds:.1f} s)"


def faults(results: Iterable[ClauseResult]) -> list[str]:
    """Return one line for each fault: the clause, the reason, and in which cases it occurs."""
    cases_of: dict[tuple[str, str], list[ClauseResult]] = {}
    for result in results:
        if result.reason is not None:
            # the same fault has other numbers in another case
            cases_of.setdefault((result.clause, re.sub(r"\d[\d.e+-]*", "#", result.reason)), []).append(result)
    lines = []
    for same in cases_of.values():
        more = f" and {len(same) - 3} more" if len(same) > 3 else ""
        where = f" ({', '.join(own.case for own in same[:3])}{more})" if same[0].case else ""
        lines.append(f"{same[0].clause}: {same[0].reason}{where}")
    return lines


@contextmanager
def own_randomness() -> Iterator[None]:
    """Check on one thread, the quickest for small networks; threads and random numbers are as they were afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


def described(error: Exception, method: type[Method] | None = None) -> str:
    """Return an error in one line, with the line of the method's file that it comes from."""
    return reason_of(error) + (place_of(error, method) if method else "")


# ---- what a method declares ----


def _check_name(method: type[Method]) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", method.name):
        raise ContractError(f"{method.name!r} has more in it than letters, digits, - and _")
    if method.name in (*SECTIONS, *OPTIONS):
        raise ContractError(f"{method.name!r} is a key of the configuration")


def _check_docstring(method: type[Method]) -> None:
    if not (method.__doc__ or "").strip():
        raise ContractError("the class has no docstring")


def _check_hyperparameters(method: type[Method]) -> None:
    model = getattr(method, "Hyperparameters", None)
    if not isinstance(model, type) or not issubclass(model, BaseHyperparameters):
        raise ContractError("Hyperparameters is no subclass of BaseHyperparameters")
    for name, info in model.model_fields.items():
        if not (info.description or "").strip():
            raise ContractError(f"{name} has no description")
    given = {name: info for name, info in model.model_fields.items() if not info.is_required()}
    try:
        model.model_validate({name: info.get_default(call_default_factory=True) for name, info in given.items()})
    except ValidationError as error:
        # what must be given is missing here; a default is validated only when it is given
        for fault in error.errors(include_url=False):
            if fault["type"] != "missing":
                where = ".".join(map(str, fault["loc"]))
                raise ContractError(f"{where} has a default that is refused: {fault['msg']}") from None


def _check_unknown(method: type[Method]) -> None:
    try:
        method.Hyperparameters.resolve({"no_such_hyperparameter": 1})
    except InputError:
        return
    raise ContractError("an unknown hyperparameter is accepted")


DECLARATION: Mapping[str, Callable[[type[Method]], None]] = {
    "a name that can be written on the command line": _check_name,
    "a first line of its docstring": _check_docstring,
    "hyperparameters described, defaults within their ranges": _check_hyperparameters,
    "unknown hyperparameters refused": _check_unknown,
}


# ---- what it does ----


def _all_cases(method: type[Method], folder: Path) -> Iterator[ClauseResult]:
    try:
        kept = True
        for case in cases(method, folder):
            results = list(_one_case(case))
            yield from results
            kept = kept and not faults(results)
        if kept:
            acts = {"every hyperparameter changes something": _every_hyperparameter_acts}
            yield from checked("", acts, next(cases(method, folder)), method)
    except Exception as error:
        yield ClauseResult("", "example: the hyperparameters that it needs", described(error, method))


def _one_case(case: Case) -> Iterator[ClauseResult]:
    reason: str | None = None
    try:
        students = getattr(case.fresh, "students", ())
        if not isinstance(students, tuple) or not students:
            reason = "students names no predictor (a tuple of their names)"
    except InputError as error:
        yield ClauseResult(case.label, "is built", None if case.may_refuse else str(error))
        return
    except Exception as error:
        reason = described(error, case.method)
    yield ClauseResult(case.label, "is built", reason)
    if reason is None:
        yield from checked(case.label, CLAUSES[case.depth], case, case.method, CLAUSES["gates"])


def checked(
    label: str,
    clauses: Mapping[str, Callable[[Any], None]],
    case: Any,
    method: type[Method] | None = None,
    gates: Container[str] = (),
) -> Iterator[ClauseResult]:
    """Yield the result of each clause, up to an error or the first gate that is broken: all others would meet it."""
    for name, clause in clauses.items():
        try:
            clause(case)
        except ContractError as violation:
            yield ClauseResult(label, name, str(violation))
            if name in gates:
                return
        except Exception as error:
            yield ClauseResult(label, name, described(error, method))
            return
        else:
            yield ClauseResult(label, name)


# ---- whether every hyperparameter changes something ----

MAX_BASES = 12
"""Configurations in which a hyperparameter is tried: some act only with another one's value."""


def _every_hyperparameter_acts(case: Case) -> None:
    """What the method's example gives, such as a file, is not varied, and what has no other value is not judged."""
    fields = case.method.Hyperparameters.model_fields
    trajectories: dict[str, Iterator[State] | None] = {}

    def parts(changes: Mapping[str, Any]) -> Iterator[State] | None:
        key = repr(sorted(changes.items()))
        if key not in trajectories:
            varied = replace(case, hyperparameters={**case.hyperparameters, **changes})
            try:
                (trajectories[key],) = tee(_parts(varied, varied.build()), 1)
            except InputError:
                trajectories[key] = None
        # each copy begins anew, and no part is computed twice
        return copy(trajectories[key])

    def acts(name: str) -> bool:
        values = list(_alternatives(fields[name]))
        defaults, *others = _bases(case, name)
        # before steps are taken with other values, those are tried with which the losses differ at once
        for base, some in ((defaults, None), *((base, 1) for base in others), *((base, None) for base in others)):
            for value in values:
                before, after = parts(base), parts({**base, name: value})
                if before is not None and after is not None:
                    pairs = zip(islice(before, some), islice(after, some), strict=True)
                    if any(difference(ours, theirs) for ours, theirs in pairs):
                        return True
        return not values

    if names := [name for name in fields if name not in case.hyperparameters and not acts(name)]:
        reason = "changes nothing: neither losses nor updates, state or predictions"
        raise ContractError(f"{', '.join(names)} {reason}")


def _bases(case: Case, name: str) -> Iterator[dict[str, Any]]:
    """Yield what the other hyperparameters are set to while one is varied: the defaults, then one choice of another."""
    yield {}
    fields = case.method.Hyperparameters.model_fields
    others = {other: info for other, info in fields.items() if other not in (name, *case.hyperparameters)}
    pairs = [{other: value} for other, info in others.items() for value in choices(info) if value != info.default]
    yield from ([{"peers": 3}, *pairs] if "peers" in others else pairs)[:MAX_BASES]


def _parts(case: Case, method: Method) -> Iterator[State]:
    """Yield the losses of the first outputs all along a run, those of each step, then all that the steps led to."""
    method.train()
    torch.manual_seed(0)
    views, labels = case.batch(0, method.views)
    outputs = method(views)
    terms = {number: method.losses(outputs, labels, progress) for number, progress in enumerate(PROGRESS)}
    yield {f"{number} {name}": term.detach() for number, own in terms.items() for name, term in own.items()}
    prepare(case, method)
    for number in range(len(PROGRESS)):
        yield take_step(case, method, number)
    predicted = predictions(method.eval(), case.images())
    yield {"state": method.state_dict(), "predictions": predicted, "students": method.students}


def _alternatives(info: FieldInfo) -> Iterator[Any]:
    """Yield other values of a hyperparameter, some of which may be out of its range."""
    default = info.get_default(call_default_factory=True)
    if known := choices(info):
        yield from (value for value in known if value != default)
        return
    whole = "int" in str(info.annotation)
    if not whole and "float" not in str(info.annotation):
        return
    start = default if isinstance(default, int | float) else 0
    low, high = (bound(info, *words) or 0.0 for words in (("ge", "gt"), ("le", "lt")))
    values: list[Any] = [start / 2, 2 * start, start + 1]
    if low < high and not whole:
        values += [low + share * (high - low) for share in (0.1, 0.9)]
    written = (round(value) if whole else float(value) for value in values)
    yield from (value for value in dict.fromkeys(written) if value != default)
