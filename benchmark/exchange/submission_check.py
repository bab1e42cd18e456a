"""The check of a submission: what must be equal to what is planned here, and what repetitions say of its claims."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from statistics import fmean
from typing import Any, NamedTuple

from benchmark import configuration, datasets
from benchmark.configuration import RunConfig
from benchmark.exchange.comparison import BOUND, Mark, Statement
from benchmark.exchange.submission import Submission
from benchmark.exchange.verification import Access, Record, allowed, cases, repeat, statements
from benchmark.metrics import RECORDED
from benchmark.store import Contents, DamagedError, Status, environment
from methods import registry
from methods.errors import InputError

# what of a run's configuration must be what is planned here, and what a person calls it
_PARTS = {
    **dict.fromkeys(("method_version", "budgets"), "protocol"),
    **dict.fromkeys(("hyperparameters", "train", "data"), "recipe"),
    **{"dataset_checksum": "data", "sources": "code", "files": "files"},
}
_ROUNDING = 1e-6  # points by which rounding may move a mean


class Checked(NamedTuple):
    """What checking a submission came to."""

    mark: Mark  # of the submission: that of its weakest claim, or `differs` if anything is not as it must be
    claims: Mapping[str, Statement]  # what repetitions say of each claim, by method, dataset and network
    record: Record  # to be kept by the checker


def check(
    submission: Submission,
    access: Access,
    seed: int,
    minutes: float | None = None,
    sample: int | None = None,
    bound: float = BOUND,
    tell: Callable[[str], None] = print,
) -> Checked:
    """Check a submission; the code of its plug-in is run. ``tell`` is given a line per step.

    The bound is the inflation that must be excluded, in points of accuracy; what is repeated is as in :func:`repeat`.

    Raises:
        InputError: If the bundle is damaged or holds no run that has ended.
    """
    every = cases(submission.bundle, submission.folder)
    problems = list(unequal(submission, every, access))
    for problem in problems:
        tell(f"{Mark.DIFFERS:<13} {problem}")
    repeated = repeat(every, access, seed, sample, minutes, tell)
    record = Record(seed=seed, environment=environment.versions(), problems=problems, runs=repeated)
    claims = statements(every, record, bound)
    for name, statement in claims.items():
        tell(statement.line(name))
    # the one that says least for the claims
    mark = Mark.DIFFERS if problems else max((one.mark for one in claims.values()), key=list(Mark).index)
    return Checked(mark, claims, record)


def unequal(submission: Submission, every: Sequence[Contents], access: Access) -> Iterator[str]:
    """Yield a line for everything that is not what it must be: method, code, protocol, recipe, data.

    Each run must have the configuration that ``bench run`` plans here for the recipe and the settings that the
    submission names, and the metrics and students that its method gives; the hyperparameters of the submission's own
    method alone are free. Of a dataset that is not here the checksum is not compared.
    """
    form = submission.form
    if all(case.config.method != form.method for case in every):
        yield f"method: no run is of {form.method}"
    try:
        source = configuration.source_of_method(form.method, submission.plugins)
    except InputError as error:
        yield f"code: {error}"
    else:
        if source is None and form.code is not None:
            yield f"code: {form.method} is a method of this package, which {form.code.file} does not change"
        elif source is not None and form.code is not None and form.code.hash != source.hash:
            yield f"code: {form.code.file} has the hash {source.hash}, not {form.code.hash}"
    seeds: dict[tuple[str, str], dict[str, set[int]]] = {}
    for config in (case.config for case in every):
        seeds.setdefault((config.dataset, config.backbone), {}).setdefault(config.method, set()).add(config.seed)
    for (dataset, backbone), by_method in seeds.items():
        if len({frozenset(own) for own in by_method.values()}) > 1:
            yield f"protocol: on {dataset}/{backbone} the methods have other seeds than one another"
    known: dict[str, tuple[RunConfig | str, _Predictors | None]] = {}
    for case in every:
        config = case.config
        if case.status is not Status.FINISHED:
            yield f"protocol: {case.name} is {case.status}, not finished"
        if case.claim not in known:
            known[case.claim] = _planned(submission, config, access), _predictors(config, access)
        planned, predictors = known[case.claim]
        if inconsistent := _inconsistent(case, predictors):
            yield f"protocol: {inconsistent} ({case.name})"
        yield from (f"uses: {line} ({case.name})" for line in _relabelled(config, access))
        if isinstance(planned, str):
            yield f"recipe: {case.name}: {planned}"
        else:
            yield from (f"{line} ({case.name})" for line in _differences(config, planned))


# of a run, by its configuration and the method here: its students, and all predictors
_Predictors = tuple[tuple[str, ...], frozenset[str]]


def _predictors(config: RunConfig, access: Access) -> _Predictors | None:
    """Return what a method predicts with; None if it cannot be built here."""
    import torch

    from benchmark.datasets import Shape
    from benchmark.training import initialise_method, without_values

    try:
        sizes = datasets.describe(config.dataset, access.plugins).sizes
        shape = Shape(*(sizes or (100, 100, 10, 3, 32))).part(config.data)
        config = allowed(config, access) if config.files else config

        def named() -> _Predictors:
            method = initialise_method(config, shape, access.plugins).eval()
            images = torch.zeros(2, shape.in_channels, shape.image_size, shape.image_size)
            return method.students, frozenset(method.predict(images))

        with torch.no_grad():
            return without_values(named)
    except (InputError, DamagedError, OSError):
        return None


def _inconsistent(case: Contents, predictors: _Predictors | None) -> str:
    """Return why a run has not the metrics and students that its configuration gives, of the first such epoch."""
    train, result = case.config.train, case.result
    students = result.students if result else ()
    own, known = predictors or (students, frozenset(students))
    if students != own:
        return f"students are {', '.join(students) or 'none'}, by its method {', '.join(own)}"
    families = [one.name for one in RECORDED.values() if one.compared and one.of_predictors]
    scores = {"student", *(f"{family}/{name}" for family in families for name in known)}
    for epoch, row in enumerate(case.rows):
        evaluated = (epoch + 1) % train.eval_every == 0 or epoch == train.epochs - 1
        if missing := sorted({"lr", "loss", *(scores if evaluated else ())} - row.keys()):
            return f"epoch {epoch} lacks {', '.join(missing)}"
        if not evaluated:
            continue
        there = {predictor for family, _, predictor in (name.partition("/") for name in row) if family in families}
        if predictors is not None and (more := sorted(there - known - {""})):
            return f"epoch {epoch} has metrics of {', '.join(more)}, which its method does not predict with"
        mean = fmean(row[f"top1/{name}"] for name in students) if students else row["student"]
        if abs(row["student"] - mean) > _ROUNDING:
            return f"student in epoch {epoch} is {row['student']:g}, the students' mean {mean:g}"
    return ""


def _relabelled(config: RunConfig, access: Access) -> Iterator[str]:
    """Yield a line where a run says that it was asked for as something that its own configuration is not."""
    others = registry.catalogue(access.plugins).keys() - {config.method}
    for use in config.uses:
        if use.name in others:
            yield f"it is called {use.name}, which is another method"
        values = dict(config.hyperparameters)
        with suppress(InputError):
            values |= registry.restored(config.method, config.hyperparameters, access.plugins)
        for key, value in use.chosen.items():
            if values.get(key) != value:
                yield f"{key} is said to be {value}, and is {values.get(key)}"
        for key in use.train.keys() - configuration.TrainConfig.model_fields.keys():
            yield f"{key} is no setting of training"


def _planned(submission: Submission, config: RunConfig, access: Access) -> RunConfig | str:
    """Return what ``bench run`` plans here for a run of seed 0, or why it plans nothing."""
    form = submission.form
    try:
        own = allowed(config, access)
        asked: dict[str, Any] = {"methods": [own.method], "dataset": [own.dataset], "backbone": [own.backbone]}
        asked |= {"seeds": [0], **form.settings}
        if own.method == form.method:
            asked[own.method] = dict(own.hyperparameters)
        recipe: configuration.Layer = configuration.layer_from_file(form.recipe, access.plugins)
        kept = {key: value for key, value in recipe.items() if isinstance(value, Mapping)}
        request = configuration.Request([kept, asked], access.plugins, access.data_root)
        here = datasets.present(own.dataset, access.data_root, access.plugins)
        known = {} if here else {(own.dataset, own.data): own.dataset_checksum}
        (planned,) = configuration.plan(request, datasets, known)
    except (InputError, DamagedError) as error:
        return str(error)
    return planned


def _differences(config: RunConfig, planned: RunConfig) -> Iterator[str]:
    """Yield a line for each setting in which a run is not what is planned."""
    theirs, ours = dict(_settings(config)), dict(_settings(planned))
    for name in dict.fromkeys((*ours, *theirs)):
        section, _, key = name.partition(".")
        if ours.get(name) != theirs.get(name) and key not in config.files:
            yield f"{_PARTS[section]}: {name} is {theirs.get(name)}, here {ours.get(name)}"


def _settings(config: RunConfig) -> Iterator[tuple[str, Any]]:
    """Yield all that must be what is planned, by name: what decides a run's numbers, and its budgets."""
    sections = {"train": config.train.canonical(), "data": config.data.canonical()}
    for name in _PARTS:
        value = sections.get(name, getattr(config, name))
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", own) for key, own in value.items())
        else:
            yield name, value
