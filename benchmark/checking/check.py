"""Checks any method against the contract, one of the project's own or of a plugin."""

import inspect
import re
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from pydantic import ValidationError

from benchmark.checking.cases import Case, cases
from benchmark.checking.comparing import ContractError
from benchmark.checking.contract import CLAUSES
from benchmark.checking.effects import without_effect
from benchmark.configuration import OPTIONS, SECTIONS
from methods import registry
from methods.errors import InputError, unknown
from methods.hyperparameters import BaseHyperparameters
from methods.interface import Method


@dataclass(frozen=True)
class Finding:
    """One clause of the contract in one case.

    Attributes:
        case: Under which configuration; empty for what needs none.
        what: The clause.
        reason: How it is broken, or None.
    """

    case: str
    what: str
    reason: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the clause is kept."""
        return self.reason is None


def check(name: str, plugins: Sequence[str | Path] = ()) -> list[Finding]:
    """Check a method and return everything that was looked at.

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
        return [Finding("", "can be imported", broken)]
    method = registry.load(name, plugins)
    findings = list(_declaration(method))
    if all(finding.ok for finding in findings):
        with TemporaryDirectory(prefix="bench-check-") as folder, own_randomness():
            findings += _all_cases(method, Path(folder))
    return findings


def check_case(case: Case) -> list[Finding]:
    """Return the findings of one case, up to the first that leaves no ground for others."""
    with own_randomness():
        return list(_one_case(case))


def reports(name: str | None = None, plugins: Sequence[str | Path] = ()) -> Iterator[tuple[bool, str]]:
    """Check one method, or all, and yield for each whether it keeps the contract and the lines that say so.

    Raises:
        InputError: If there is no such method.
    """
    names = [name] if name else list(registry.catalogue(plugins))
    width = max(map(len, names))
    for each in names:
        begin = time.perf_counter()
        findings = check(each, plugins)
        seconds = time.perf_counter() - begin
        if broken := faults(findings):
            yield False, "\n        ".join((f"FAIL  {each:<{width}}  {broken[0]}", *broken[1:]))
        else:
            yield True, f"ok    {each:<{width}}  ({len(findings)} checks, {seconds:.1f} s)"


def faults(findings: Iterable[Finding]) -> list[str]:
    """Return one line for each fault: the clause, the reason, and in which cases it is met."""
    met: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if finding.reason is not None:
            # the same fault has other numbers in another case
            met.setdefault((finding.what, re.sub(r"\d[\d.e+-]*", "#", finding.reason)), []).append(finding)
    return [f"{same[0].what}: {same[0].reason}{_where([f.case for f in same])}" for same in met.values()]


def _where(labels: Sequence[str]) -> str:
    if not labels[0]:
        return ""
    return f" ({', '.join(labels[:3])}{f' and {len(labels) - 3} more' if len(labels) > 3 else ''})"


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


def _declaration(method: type[Method]) -> Iterator[Finding]:
    yield Finding("", "a name that can be written on the command line", _name_fault(method.name))
    documented = bool((method.__doc__ or "").strip())
    yield Finding("", "a first line of its docstring", None if documented else "the class has no docstring")
    model = getattr(method, "Hyperparameters", None)
    if not isinstance(model, type) or not issubclass(model, BaseHyperparameters):
        yield Finding("", "hyperparameters of its own", "Hyperparameters is no subclass of BaseHyperparameters")
        return
    yield Finding("", "hyperparameters described, defaults within their ranges", _hyperparameter_fault(model))
    yield Finding("", "unknown hyperparameters refused", _unknown_fault(model))


def _name_fault(name: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return f"{name!r} has more in it than letters, digits, - and _"
    if name in (*SECTIONS, *OPTIONS):
        return f"{name!r} is a key of the configuration"
    return None


def _hyperparameter_fault(model: type[BaseHyperparameters]) -> str | None:
    for name, info in model.model_fields.items():
        if not (info.description or "").strip():
            return f"{name} has no description"
    given = {name: info for name, info in model.model_fields.items() if not info.is_required()}
    try:
        model.model_validate({name: info.get_default(call_default_factory=True) for name, info in given.items()})
    except ValidationError as error:
        # what must be given is missing here; a default is validated only when it is given
        for fault in error.errors(include_url=False):
            if fault["type"] != "missing":
                return f"{'.'.join(map(str, fault['loc']))} has a default that is refused: {fault['msg']}"
    return None


def _unknown_fault(model: type[BaseHyperparameters]) -> str | None:
    try:
        model.resolve({"no_such_hyperparameter": 1})
    except InputError:
        return None
    return "a hyperparameter that is not there is taken without a word"


def _all_cases(method: type[Method], folder: Path) -> Iterator[Finding]:
    try:
        kept = True
        for case in cases(method, folder):
            findings = list(_one_case(case))
            yield from findings
            kept = kept and all(finding.ok for finding in findings)
        if kept:
            yield _effects(next(cases(method, folder)))
    except Exception as error:
        yield Finding("", "example: the hyperparameters that it needs", _described(error, method))


def _effects(case: Case) -> Finding:
    what = "every hyperparameter changes something"
    try:
        names = without_effect(case)
    except Exception as error:
        return Finding("", what, _described(error, case.method))
    reason = "changes nothing: neither losses nor updates, state or predictions"
    return Finding("", what, f"{', '.join(names)} {reason}" if names else None)


def _one_case(case: Case) -> Iterator[Finding]:
    try:
        students = getattr(case.fresh, "students", ())
    except InputError as error:
        yield Finding(case.label, "is built", None if case.may_refuse else str(error))
        return
    except Exception as error:
        yield Finding(case.label, "is built", _described(error, case.method))
        return
    if not isinstance(students, tuple) or not students:
        yield Finding(case.label, "is built", "students names no predictor (a tuple of their names)")
        return
    yield Finding(case.label, "is built")
    gates = CLAUSES["gates"]
    for what, clause in CLAUSES[case.depth].items():
        try:
            clause(case)
        except ContractError as violation:
            yield Finding(case.label, what, str(violation))
            if what in gates:
                return
        except Exception as error:
            # whatever follows would meet it again
            yield Finding(case.label, what, _described(error, case.method))
            return
        else:
            yield Finding(case.label, what)


def _described(error: Exception, method: type[Method]) -> str:
    message = str(error).splitlines()
    source = inspect.getsourcefile(method)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == source]
    where = f" ({Path(source).name}, line {lines[-1]})" if source and lines else ""
    return f"{type(error).__name__}: {message[0] if message else 'no message'}{where}"
