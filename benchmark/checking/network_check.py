"""Checks any backbone against the contract: of the catalogue, a library's, or a plug-in's."""

import time
from collections.abc import Iterator, Sequence

from benchmark.checking.cases import Case
from benchmark.checking.check import Finding, check_case, faults, own_randomness
from benchmark.checking.comparing import ContractError
from benchmark.checking.network_contract import CLAUSES, NetworkCase
from methods import backbones, registry
from methods.errors import InputError
from methods.interface import Method
from methods.peers import BranchedPeers, SeparatePeers

ALL = "all"
"""The word for every backbone of the catalogue and of the plug-ins."""

SIDES = (8, 28, 32, 64, 96, 224)
"""Of the images: 8x8 digits, 28x28 grey images, CIFAR, and larger ones for networks that take no smaller."""


def network_reports(names: str, plugins: Sequence[str] = ()) -> Iterator[tuple[bool, str]]:
    """Check backbones and yield for each whether it keeps the contract and the lines that say so.

    Args:
        names: Separated by commas, or ``all``.
        plugins: Python files that define further backbones.

    Raises:
        InputError: If there is no such backbone.
    """
    chosen = list(backbones.available(plugins)) if names == ALL else [name.strip() for name in names.split(",")]
    for name in chosen if names != ALL else ():
        backbones.describe(name, plugins)
    width = max(map(len, chosen))
    for name in chosen:
        begin = time.perf_counter()
        findings = check_network(name, plugins)
        seconds = time.perf_counter() - begin
        if broken := faults(findings):
            yield False, "\n        ".join((f"FAIL  {name:<{width}}  {broken[0]}", *broken[1:]))
        else:
            shapes = ", ".join(dict.fromkeys(finding.case for finding in findings if finding.case))
            yield True, f"ok    {name:<{width}}  ({len(findings)} checks, {seconds:.1f} s: {shapes})"


def check_network(name: str, plugins: Sequence[str] = ()) -> list[Finding]:
    """Check a backbone and return everything that was looked at.

    It is checked at the smallest two sides of :data:`SIDES` that it takes, grey and in colour, then in a method of
    separate networks and one of branches.

    Raises:
        InputError: If there is no such backbone.
    """
    backbones.describe(name, plugins)
    sides: list[int] = []
    refusal = ""
    for side in SIDES:
        try:
            backbones.make(name, 5, 3, side, plugins)
        except InputError as error:
            refusal = str(error)
            continue
        sides.append(side)
        if len(sides) == 2:
            break
    if not sides:
        return [Finding("", "takes images of some size", refusal)]
    given = tuple(map(str, plugins))
    cases = [
        NetworkCase(f"{sides[0]}x{sides[0]} in colour", name, given, image_size=sides[0]),
        NetworkCase(f"{sides[-1]}x{sides[-1]} grey", name, given, num_classes=2, in_channels=1, image_size=sides[-1]),
    ]
    with own_randomness():
        findings = [finding for case in cases for finding in _checked(case)]
        if all(finding.ok for finding in findings):
            findings += _in_methods(cases[0])
    return findings


def _checked(case: NetworkCase) -> Iterator[Finding]:
    for what, clause in CLAUSES.items():
        try:
            clause(case)
        except ContractError as violation:
            yield Finding(case.label, what, str(violation))
        except Exception as error:
            message = str(error).strip()
            yield Finding(case.label, what, f"{type(error).__name__}: {message.splitlines()[0] if message else ''}")
            # whatever follows would meet it again
            return
        else:
            yield Finding(case.label, what)


def _in_methods(case: NetworkCase) -> Iterator[Finding]:
    for shape in (SeparatePeers, BranchedPeers):
        method = _simplest(shape)
        if shape is BranchedPeers and not case.stages:
            yield Finding(f"{method.name} refuses it", "says in one line that it is not cut")
            continue
        fields = method.Hyperparameters.model_fields
        tried = Case(
            f"in {method.name}",
            method,
            {"peers": 2} if "peers" in fields else {},
            backbone=case.name,
            num_classes=case.num_classes,
            in_channels=case.in_channels,
            image_size=case.image_size,
            depth="essential",
            plugins=case.plugins,
        )
        yield from check_case(tried)


def _simplest(shape: type[Method]) -> type[Method]:
    """Return the oldest of the project's own methods of a shape that needs nothing else."""
    for name in registry.catalogue():
        method = registry.load(name)
        required = [field for field in method.Hyperparameters.model_fields.values() if field.is_required()]
        if issubclass(method, shape) and not required:
            return method
    raise LookupError(f"no method is a {shape.__name__}")
