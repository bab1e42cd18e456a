"""Checks any method against the contract, one of the project's own or of a plugin."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmark.cases import Case, cases
from benchmark.config import SECTIONS
from benchmark.contract import CLAUSES, ContractError
from benchmark.request import LISTS, OPTIONS
from methods import registry
from methods.errors import InputError, unknown
from methods.hyperparameters import BaseHyperparameters, validated
from methods.interface import Method


@dataclass(frozen=True)
class Finding:
    """One clause of the contract in one case.

    Attributes:
        case: Under which configuration.
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
        return [Finding("declaration", "can be imported", broken)]
    method = registry.load(name, plugins)
    findings = list(_declaration(method))
    if all(finding.ok for finding in findings):
        with TemporaryDirectory(prefix="bench-check-") as folder, _own_randomness():
            findings += _all_cases(method, Path(folder))
    return findings


def faults(findings: Iterable[Finding]) -> list[str]:
    """Return one line for each clause that is broken: its first reason, and in which cases it is met."""
    met: dict[str, list[Finding]] = {}
    for finding in findings:
        if not finding.ok:
            met.setdefault(finding.what, []).append(finding)
    return [f"{what}: {broken[0].reason} ({_shown([f.case for f in broken])})" for what, broken in met.items()]


def _shown(labels: Sequence[str]) -> str:
    return ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")


@contextmanager
def _own_randomness() -> Iterator[None]:
    # one thread is quickest for small networks, and the caller finds its threads and random numbers as they were
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


def _declaration(method: type[Method]) -> Iterator[Finding]:
    what: Mapping[str, str | None] = {
        "a name that can be written on the command line": _name_fault(method.name),
        "a first line of its docstring": None if (method.__doc__ or "").strip() else "the class has no docstring",
        "hyperparameters described and within their ranges": _hyperparameter_fault(method),
        "unknown hyperparameters refused": _unknown_fault(method),
    }
    for clause, reason in what.items():
        yield Finding("declaration", clause, reason)


def _name_fault(name: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return f"{name!r} has more in it than letters, digits, - and _"
    if name in (*SECTIONS, *LISTS, *OPTIONS):
        return f"{name!r} is a key of the configuration"
    return None


def _hyperparameter_fault(method: type[Method]) -> str | None:
    model = getattr(method, "Hyperparameters", None)
    if not isinstance(model, type) or not issubclass(model, BaseHyperparameters):
        return "Hyperparameters is no subclass of BaseHyperparameters"
    for name, info in model.model_fields.items():
        if not (info.description or "").strip():
            return f"{name} has no description"
        if not info.is_required():
            try:
                validated(model, {name: info.get_default(call_default_factory=True)}, method.name)
            except InputError as error:
                if "Field required" not in str(error):
                    return f"{name} has a default that is refused: {error}"
    return None


def _unknown_fault(method: type[Method]) -> str | None:
    try:
        method.Hyperparameters.resolve({"no_such_hyperparameter": 1}, owner=method.name)
    except InputError:
        return None
    return "a hyperparameter that is not there is taken without a word"


def _all_cases(method: type[Method], folder: Path) -> Iterator[Finding]:
    try:
        for case in cases(method, folder):
            yield from _one_case(case)
    except Exception as error:
        yield Finding("example", "example: the hyperparameters that it needs", _described(error))


def _one_case(case: Case) -> Iterator[Finding]:
    try:
        students = getattr(case.fresh, "students", ())
    except InputError as error:
        yield Finding(case.label, "is built", None if case.may_refuse else str(error))
        return
    except Exception as error:
        yield Finding(case.label, "is built", _described(error))
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
            yield Finding(case.label, what, _described(error))
            return
        else:
            yield Finding(case.label, what)


def _described(error: Exception) -> str:
    message = str(error).splitlines()
    return f"{type(error).__name__}: {message[0] if message else 'no message'}"
