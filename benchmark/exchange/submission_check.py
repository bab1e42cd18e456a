"""Whether a submission is what it says: what must be equal is compared, and a sample of its runs is repeated."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmark import datasets
from benchmark.configuration import (
    SECTIONS,
    FieldRole,
    Layer,
    Request,
    RunConfig,
    layer_from_file,
    plan,
    settings_of_role,
    source_of_method,
)
from benchmark.exchange.comparison import Outcome
from benchmark.exchange.records import Mark, Record, mark, repeated
from benchmark.exchange.submission import Submission
from benchmark.exchange.verification import Case, cases, verify
from benchmark.store import Status, brief, environment
from methods.errors import InputError

_PARTS = {
    "method_version": "protocol",
    "hyperparameters": "recipe",
    "train": "recipe",
    "data": "recipe",
    "dataset_checksum": "data",
    "sources": "code",
    "files": "files",
}
"""What of a run's configuration must be what is planned here, and what a person calls it."""

_ROUNDING = 1e-6
"""Points by which rounding may move a mean."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Drawn:
    """The runs that are to be repeated.

    Attributes:
        cases: In the order of the draw.
        left: How many do not fit into the time.
    """

    cases: Sequence[Case]
    left: int


def check(
    handed_in: Submission,
    data_root: Path,
    minutes: float,
    sample: int | None = None,
    seed: int = 0,
    device: str | None = None,
    tell: Tell = print,
) -> Record:
    """Check a submission and return what it came to.

    It ``differs`` if anything that must be equal is not, or a repeated run has other numbers; it is ``verified`` if
    nothing differs and a run was repeated; else it stays ``claimed``. The code of its plug-in is run.

    Args:
        handed_in: The submission.
        data_root: Where data sets lie.
        minutes: How long runs are repeated, above 0: one that would not end in time, by what it took its maker, is not
            begun.
        sample: How many runs are repeated at most; None for as many as fit.
        seed: Of the draw.
        device: As ``bench run`` takes it; None for the kind that the runs were made on.
        tell: Is given a line a step.

    Raises:
        InputError: If the bundle is damaged or holds no run that has ended.
    """
    every = cases(str(handed_in.bundle), Path())
    reasons = list(unequal(handed_in, every, data_root))
    for reason in reasons:
        tell(f"differs       {reason}")
    drawn = draw(every, 60 * minutes, sample, seed)
    end = time.monotonic() + 60 * minutes
    verdicts: dict[str, tuple[str, Outcome, str]] = {}
    for case in drawn.cases:
        if verdicts and time.monotonic() + _seconds(case) > end:
            break
        verdict = verify(case, data_root, device, handed_in.plugins)
        verdicts[case.name] = (brief(case.name, case.contents).digest, verdict.outcome, verdict.text)
        tell(f"{verdict.outcome:<12}  {case.name}{f'  {verdict.text}' if verdict.text else ''}")
    found = mark(outcome for _, outcome, _ in verdicts.values())
    counted = f"{sum(_repeated(outcome) for _, outcome, _ in verdicts.values())} of {len(every)} runs repeated"
    return repeated(verdicts, environment.versions()).model_copy(
        update={"verdict": Mark.DIFFERS if reasons else found, "reasons": [*reasons, counted]}
    )


def _repeated(outcome: Outcome) -> bool:
    return outcome is not Outcome.NOT_REPEATED


def draw(every: Sequence[Case], seconds: float, sample: int | None = None, seed: int = 0) -> Drawn:
    """Return runs drawn at random that together take no more than a time, by what they took their maker.

    Args:
        every: To draw from.
        seconds: The time.
        sample: How many at most; None for as many as fit.
        seed: Of the draw.
    """
    order = sorted(every, key=lambda case: case.name)
    random.Random(seed).shuffle(order)  # noqa: S311 - nothing secret
    chosen: list[Case] = []
    left = seconds
    for case in order:
        if len(chosen) != sample and _seconds(case) <= left:
            chosen.append(case)
            left -= _seconds(case)
    return Drawn(chosen, len(order) - len(chosen))


def _seconds(case: Case) -> float:
    return case.contents.result.seconds if case.contents.result else 0.0


def unequal(handed_in: Submission, every: Sequence[Case], data_root: Path) -> Iterator[str]:
    """Yield a line for everything that is not what it must be: method, code, protocol, recipe, data.

    Each run must have the configuration that ``bench run`` plans here for the recipe and the settings that the
    submission names; the hyperparameters of its own method alone are free.

    Args:
        handed_in: The submission.
        every: Its runs.
        data_root: Where data sets lie; of one that is not there the checksum is not compared.
    """
    form = handed_in.form
    if all(case.contents.config.method != form.method for case in every):
        yield f"method: no run is of {form.method}"
    yield from _code(handed_in)
    yield from _seeds(every)
    known: dict[str, RunConfig | str] = {}
    for case in every:
        config = case.contents.config
        if case.contents.status is not Status.FINISHED:
            yield f"protocol: {case.name} is {case.contents.status}, not finished"
        elif len(case.contents.rows) != config.train.epochs:
            yield f"protocol: {case.name} has {len(case.contents.rows)} epochs of {config.train.epochs}"
        yield from _inconsistent(case)
        key = config.model_copy(update={"seed": 0}).identity
        if key not in known:
            known[key] = _planned(handed_in, config, data_root)
        planned = known[key]
        if isinstance(planned, str):
            yield f"recipe: {case.name}: {planned}"
        else:
            yield from (f"{line} ({case.name})" for line in _differences(config, planned))


def _inconsistent(case: Case) -> Iterator[str]:
    """Yield a line where the headline is not the mean over the students that it is said to be."""
    students = case.contents.result.students if case.contents.result else ()
    for epoch, row in enumerate(case.contents.rows):
        own = [row[f"top1/{name}"] for name in students if f"top1/{name}" in row]
        if own and "student" in row and abs(row["student"] - fmean(own)) > _ROUNDING:
            said = f"student in epoch {epoch} is {row['student']:g}, the students' mean {fmean(own):g}"
            yield f"protocol: {said} ({case.name})"
            return


def _code(handed_in: Submission) -> Iterator[str]:
    form = handed_in.form
    try:
        source = source_of_method(form.method, handed_in.plugins)
    except InputError as error:
        yield f"code: {error}"
        return
    if source is None and form.code is not None:
        yield f"code: {form.method} is a method of this package, which {form.code.file} does not change"
    if source is not None and form.code is not None and form.code.hash != source.hash:
        yield f"code: {form.code.file} has the hash {source.hash}, not {form.code.hash}"


def _seeds(every: Sequence[Case]) -> Iterator[str]:
    seeds: dict[tuple[str, str], dict[str, set[int]]] = {}
    for case in every:
        config = case.contents.config
        seeds.setdefault((config.dataset, config.backbone), {}).setdefault(config.method, set()).add(config.seed)
    for (dataset, backbone), by_method in seeds.items():
        if len({frozenset(own) for own in by_method.values()}) > 1:
            yield f"protocol: on {dataset}/{backbone} the methods have other seeds than one another"


def _planned(handed_in: Submission, config: RunConfig, data_root: Path) -> RunConfig | str:
    """Return what ``bench run`` plans here for a run of seed 0, or why it plans nothing."""
    form = handed_in.form
    asked: dict[str, Any] = {"methods": [config.method], "dataset": [config.dataset], "backbone": [config.backbone]}
    asked |= {"seeds": [0], **form.settings}
    if config.method == form.method:
        asked[config.method] = dict(config.hyperparameters)
    try:
        recipe: Layer = layer_from_file(form.recipe, handed_in.plugins)
        kept = {key: value for key, value in recipe.items() if isinstance(value, Mapping)}
        request = Request([kept, asked], handed_in.plugins, data_root)
        here = datasets.present(config.dataset, data_root, handed_in.plugins)
        known = {} if here else {(config.dataset, config.data): config.dataset_checksum}
        (planned,) = plan(request, datasets, known)
    except InputError as error:
        return str(error)
    return planned


def _differences(config: RunConfig, planned: RunConfig) -> Iterator[str]:
    """Yield a line for each setting in which a run is not what is planned."""
    for name, part in _PARTS.items():
        ours, theirs = (_flat(getattr(one, name), name) for one in (planned, config))
        for key in dict.fromkeys((*ours, *theirs)):
            same = ours.get(key) == theirs.get(key) or key in settings_of_role(FieldRole.MEASURES)
            if key in settings_of_role(FieldRole.EXECUTION):
                same = (ours.get(key) is True) == (theirs.get(key) is True)
            if not same:
                yield f"{part}: {key} is {theirs.get(key)}, here {ours.get(key)}"


def _flat(value: Any, name: str) -> dict[str, Any]:
    if name in SECTIONS:
        return {f"{name}.{key}": own for key, own in value.model_dump(mode="json").items()}
    return {f"{name}.{key}": own for key, own in value.items()} if isinstance(value, dict) else {name: value}
