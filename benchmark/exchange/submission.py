"""Submissions: a folder with ``submission.yaml``, a bundle of runs and, of a new method, its code; and their check."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, Field

from benchmark import configuration, datasets, paths
from benchmark.configuration import SECTIONS, FieldRole, RunConfig
from benchmark.errors import MachineError
from benchmark.exchange import bundles
from benchmark.exchange.comparison import BOUND, Mark, Statement
from benchmark.exchange.verification import Access, Record, allowed, cases, repeat, statements
from benchmark.metrics import RECORDED
from benchmark.store import Contents, DamagedError, Status, environment, put, read_regular
from methods import registry
from methods.errors import InputError, unknown
from methods.hyperparameters import validated

FORM = "submission.yaml"
BUNDLE = "runs.tar.gz"
TO_FILL_IN = "TO FILL IN"  # begins what ``bench submit --prepare`` cannot know
_MAX_CODE = 1_000_000
# what of a run's configuration must be what is planned here, and what a person calls it
_PARTS = {
    **dict.fromkeys(("method_version", "budgets"), "protocol"),
    **dict.fromkeys(("hyperparameters", "train", "data"), "recipe"),
    **{"dataset_checksum": "data", "sources": "code", "files": "files"},
}
_ROUNDING = 1e-6  # points by which rounding may move a mean

Line = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
WebAddress = Annotated[str, Field(max_length=300, pattern=r"""^https?://[^\s\x00-\x1f\x7f-\x9f"<>\\]+$""")]
FileName = Annotated[str, Field(pattern=r"^\w[\w.-]{0,99}$", description="of a file beside submission.yaml")]


class Code(BaseModel, extra="forbid", frozen=True, strict=True):
    """The plug-in of a method that is not in this package."""

    file: FileName  # beside `submission.yaml`
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{12,64}$")]  # as the runs have it


class Form(BaseModel, extra="forbid", frozen=True, strict=True, allow_inf_nan=False):
    """What ``submission.yaml`` says."""

    who: Line  # who submits it, and how to reach them
    method: Line  # what it is about; the bundle may have runs of methods of this package to compare with
    code: Code | None = None  # of a plug-in; left out for a method of this package
    recipe: Line  # the name of the recipe that the runs follow
    settings: dict[str, dict[str, Any]] = {}  # what they have otherwise, by section (train, data) and key
    machine: Line  # what they were made on, in words
    licence: Line  # of the results, such as CC-BY-4.0
    bundle: FileName  # of the runs, by `bench pack`
    paper: WebAddress | None = Field(None, description="link to the paper, http or https")
    trials: int | None = Field(None, ge=0, description="trials spent on tuning the method, 0 for none")
    about: Line | None = Field(None, description="further remarks")


@dataclass(frozen=True)
class Submission:
    """A submission and where it is."""

    folder: Path
    form: Form

    @property
    def name(self) -> str:
        """What it is called: its folder."""
        return self.folder.resolve().name

    @property
    def bundle(self) -> Path:
        """The bundle of its runs."""
        return self.folder / self.form.bundle

    @property
    def plugins(self) -> tuple[str, ...]:
        """The files that its runs need."""
        return (str(self.folder / self.form.code.file),) if self.form.code else ()


def read(folder: Path, draft: bool = False) -> Submission:
    """Return the submission in a folder; in a draft something may still be to be filled in.

    It is an InputError if there is none, it says anything unknown, or it names a file that is not there or is a link.
    """
    path = folder / FORM
    if path.is_symlink() or not path.is_file():
        raise InputError(f"no submission in {folder}: there is no {FORM} (docs/submitting.md says what it holds)")
    content = configuration.read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold keys and values: {', '.join(Form.model_fields)}")
    for key, value in content.items():
        if isinstance(value, str) and value.startswith(TO_FILL_IN) and not draft:
            raise InputError(f"{path}: {key} is still to be filled in")
    form = validated(Form, content, str(path))
    for section, values in form.settings.items():
        if section not in SECTIONS:
            raise unknown(f"section of settings in {path}", section, SECTIONS)
        validated(SECTIONS[section], values, f"{path}: settings.{section}")
    bundles.ending_of(folder / form.bundle)
    for name in [form.bundle, *([form.code.file] if form.code else [])]:
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise InputError(f"{path} names {name}, which is no file beside it")
    return Submission(folder, form)


def below(folder: Path) -> tuple[list[Submission], list[str]]:
    """Return the submissions in a folder, one folder each, by name, and a line for each that cannot be read."""
    found, faults = [], []
    for path in sorted(folder.glob(f"*/{FORM}")):
        try:
            found.append(read(path.parent))
        except InputError as error:
            faults.append(f"{path.parent.name} is left out: {error}")
    return found, faults


def prepare(results: Path, out: Path, method: str = "", recipe: str = "", plugins: Sequence[str] = ()) -> Path:
    """Write a submission of all runs of a results folder, as far as it follows from them, and return its form.

    What only a person knows is a line that begins with :data:`TO_FILL_IN`, or a comment where it is optional.

    Args:
        method: What it is about; needed where the runs are of several methods and none or several are of plug-ins.
        recipe: That the runs follow; the usual one of their dataset if it is empty.
        plugins: The plug-in's file, where it is not found where the runs were made.

    Raises:
        InputError: If there are no runs, or what it is about or its code is not known.
        MachineError: If the folder cannot be written.
    """
    every = cases(None, results)
    by_method = {case.config.method: case.config for case in reversed(every)}
    if not method:
        # the only one, or the only one of a plug-in
        of_plugins = [name for name, config in by_method.items() if "method" in config.sources]
        method, *others = of_plugins or by_method
        if others:
            raise InputError(f"what is the submission about? --method {'|'.join(sorted([method, *others]))}")
    if method not in by_method:
        raise unknown("method", method, by_method)
    config = by_method[method]
    form: dict[str, Any] = {"who": f"{TO_FILL_IN}: who submits it, and how to reach them", "method": method}
    if hash_of_code := config.sources.get("method"):
        code = _code(method, hash_of_code, [*plugins, *config.origin.plugins])
        try:
            put(out / code.name, read_regular(code, _MAX_CODE))
        except (OSError, DamagedError) as error:
            raise MachineError(f"cannot copy {code}: {error}") from None
        form["code"] = {"file": code.name, "hash": hash_of_code}
    form["recipe"] = recipe or datasets.recipe(config.dataset, [str(path) for path in plugins])
    # in which settings all runs differ from the recipe and agree with each other
    layer = configuration.layer_from_file(form["recipe"], ())
    for section, model in SECTIONS.items():
        usual = validated(model, layer.get(section) or {}, form["recipe"]).model_dump(mode="json")
        first, *rest = [getattr(case.config, section).model_dump(mode="json") for case in every]
        shared = {key: value for key, value in first.items() if all(other[key] == value for other in rest)}
        free = model.of_role(FieldRole.MEASURES, FieldRole.EXECUTION)
        if own := {key: value for key, value in shared.items() if value != usual[key] and key not in free}:
            form.setdefault("settings", {})[section] = own
    form["machine"] = ", ".join(dict.fromkeys(case.made_with.get("hardware", "unknown") for case in every))
    form["licence"] = f"{TO_FILL_IN}: of the results, such as CC-BY-4.0"
    form["bundle"] = BUNDLE
    bundles.pack(results, out / BUNDLE)
    optional = {name: field.description for name, field in Form.model_fields.items() if name not in form}
    comments = [f"# {name}: {text}; optional\n" for name, text in optional.items() if text]
    return put(out / FORM, yaml.safe_dump(form, sort_keys=False, allow_unicode=True) + "".join(comments))


def _code(method: str, expected: str, plugins: Sequence[str]) -> Path:
    """Return the file of a plug-in's method whose code is what the runs had."""
    for plugin in dict.fromkeys(plugins):
        path = paths.plugin_file(plugin)
        if path.is_file() and method in registry.catalogue([path]):
            source = configuration.source_of_method(method, [path])
            if source is not None and source.hash == expected:
                return path
    raise InputError(f"no file has the code that the runs of {method} had: --plugin FILE.py (hash {expected})")


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
