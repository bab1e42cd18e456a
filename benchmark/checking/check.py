"""``bench check``: any method against the contract, one of the project's own or of a plug-in."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from benchmark.checking import cases
from benchmark.checking.cases import PROGRESS, Case, Clauses, ContractError, Depth, RefusedError, State, require
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
    """Check one of ``methods.available(plugins)`` and return the results of all clauses, or raise an InputError."""
    catalogue = registry.catalogue(plugins)
    if name not in catalogue:
        raise unknown("method", name, catalogue)
    if broken := catalogue[name].broken:
        return [ClauseResult("", "can be imported", broken)]
    method = registry.load(name, plugins)
    results = list(checked("", DECLARATION, method))
    if faults(results):
        return results
    with TemporaryDirectory(prefix="bench-check-") as folder, own_randomness():
        try:
            for case in cases.cases(method, Path(folder), plugins):
                results += check_case(case)
            if not faults(results):
                results += checked("", EFFECTS, next(cases.cases(method, Path(folder), plugins)), method)
        except Exception as error:
            reason = reason_of(error) + place_of(error, method)
            results.append(ClauseResult("", "example: the hyperparameters that it needs", reason))
    return results


def check_case(case: Case) -> list[ClauseResult]:
    """Return the results of one case, up to the first that leaves no ground for others."""
    with own_randomness():
        return list(checked(case.label, CLAUSES, case, case.method, case.depth))


def checked(
    label: str, clauses: Clauses, case: Any, method: type[Method] | None = None, depth: Depth = Depth.ALL
) -> Iterator[ClauseResult]:
    """Yield the result of each clause, up to an error or the first gate that is broken: all others would meet it."""
    for name, (needed, clause) in clauses.items():
        if needed > depth:
            continue
        reason, ends = None, False
        try:
            clause(case)
        except RefusedError:
            ends = True
        except ContractError as violation:
            reason, ends = str(violation), needed is Depth.GATES
        except Exception as error:
            reason, ends = reason_of(error) + (place_of(error, method) if method else ""), True
        yield ClauseResult(label, name, reason)
        if ends:
            return


def check_lines(
    names: Sequence[str] | None, plugins: Sequence[str], check_one: Callable[[str, Sequence[str]], list[ClauseResult]]
) -> Iterator[tuple[bool, str]]:
    """Check several methods (None: all) or networks; yield whether each keeps the contract and the lines that say so.

    ``check_one`` is :func:`check`, or :func:`benchmark.checking.networks.check_network`; an unknown name is an
    InputError.
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


# ---- what a method declares ----

DECLARATION: Clauses = {}


@cases.clause(DECLARATION, "name, docstring and hyperparameters", Depth.GATES)
def _declared(method: type[Method]) -> None:
    written = re.fullmatch(r"[A-Za-z0-9_-]+", method.name)
    require(written, f"the name {method.name!r} has more in it than letters, digits, - and _")
    require(method.name not in (*SECTIONS, *OPTIONS), f"the name {method.name!r} is a key of the configuration")
    require((method.__doc__ or "").strip(), "the class has no docstring")
    model = getattr(method, "Hyperparameters", None)
    if not isinstance(model, type) or not issubclass(model, BaseHyperparameters):
        raise ContractError("Hyperparameters is no subclass of BaseHyperparameters")
    defaults = {}
    for name, info in model.model_fields.items():
        require((info.description or "").strip(), f"{name} has no description")
        if not info.is_required():
            defaults[name] = info.get_default(call_default_factory=True)
    try:
        model.model_validate(defaults)
    except ValidationError as error:
        # what must be given is missing here; a default is validated only when it is given
        for fault in error.errors(include_url=False):
            where = ".".join(map(str, fault["loc"]))
            require(fault["type"] == "missing", f"{where} has a default that is refused: {fault['msg']}")
    try:
        model.resolve({"no_such_hyperparameter": 1})
    except InputError:
        return
    raise ContractError("an unknown hyperparameter is accepted")


# ---- whether every hyperparameter changes something ----

EFFECTS: Clauses = {}

MAX_BASES = 12
"""Configurations in which a hyperparameter is tried: some act only with another one's value."""


@cases.clause(EFFECTS, "every hyperparameter changes something")
def _every_hyperparameter_acts(case: Case) -> None:
    # what the method's example gives, such as a file, is not varied, and what has no other value is not judged
    fields = {
        name: info
        for name, info in case.method.Hyperparameters.model_fields.items()
        if name not in case.hyperparameters
    }

    def acts(name: str) -> bool:
        values = _alternatives(fields[name])
        # the other hyperparameters at their defaults, then one of them at one of its other choices
        others = [{"peers": 3}] if "peers" in fields else []
        for other, info in fields.items():
            others += [{other: value} for value in cases.choices(info) if value != info.default]
        bases = [base for base in others if name not in base][:MAX_BASES]
        # before steps are taken with other values, those are tried with which the losses differ at once
        for base, parts in (({}, None), *((base, 1) for base in bases), *((base, None) for base in bases)):
            if any(_differ(case, base, {**base, name: value}, parts) for value in values):
                return True
        return not values

    if names := [name for name in fields if not acts(name)]:
        reason = "changes nothing: neither losses nor updates, state or predictions"
        raise ContractError(f"{', '.join(names)} {reason}")


def _differ(case: Case, ours: Mapping[str, Any], theirs: Mapping[str, Any], parts: int | None) -> bool:
    """Return whether two configurations have other numbers in the first so many parts of a run; None: in all."""
    both = [replace(case, hyperparameters={**case.hyperparameters, **changes}) for changes in (ours, theirs)]
    try:
        pairs = zip(*(islice(_parts(own), parts) for own in both), strict=True)
        return any(cases.difference(one, other) for one, other in pairs)
    except InputError:
        return False


def _parts(case: Case) -> Iterator[State]:
    """Yield the losses of the first outputs all along a run, those of each step, then all that the steps led to."""
    method = case.fresh
    torch.manual_seed(0)
    views, labels = case.batch(method.views)
    outputs = method(views)
    terms = {number: method.losses(outputs, labels, progress) for number, progress in enumerate(PROGRESS)}
    yield {f"{number} {name}": term.detach() for number, own in terms.items() for name, term in own.items()}
    trainer = case.trainer(cases.EPOCHS)
    for batch, progress in cases.steps_of(trainer):
        yield trainer.train_step(batch, progress)
    with torch.no_grad():
        predicted = trainer.method.eval().predict(case.images())
    yield {"state": trainer.method.state_dict(), "predictions": predicted, "students": trainer.method.students}


def _alternatives(info: FieldInfo) -> list[Any]:
    """Return other values of a hyperparameter, some of which may be out of its range."""
    default = info.get_default(call_default_factory=True)
    values: list[Any] = list(cases.choices(info))
    whole = "int" in str(info.annotation)
    if not values and (whole or "float" in str(info.annotation)):
        start = default if isinstance(default, int | float) else 0
        low, high = (cases.bound(info, *words) or 0.0 for words in (("ge", "gt"), ("le", "lt")))
        values = [start / 2, 2 * start, start + 1]
        if low < high and not whole:
            values += [low + share * (high - low) for share in (0.1, 0.9)]
        values = [round(value) if whole else float(value) for value in values]
    return [value for value in values if value != default]
