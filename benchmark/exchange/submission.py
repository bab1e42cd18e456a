"""Submissions: a folder with ``submission.yaml``, a bundle of runs and, of a new method, its code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from benchmark import configuration, datasets, paths
from benchmark.configuration import SECTIONS, FieldRole
from benchmark.errors import MachineError
from benchmark.exchange import bundles
from benchmark.exchange.verification import Case, cases
from benchmark.store import DamagedError, put, read_regular
from methods import registry
from methods.errors import InputError, unknown
from methods.hyperparameters import validated

FORM = "submission.yaml"
BUNDLE = "runs.tar.gz"
TO_FILL_IN = "TO FILL IN"
"""Begins what ``bench submit --prepare`` cannot know."""

_CHANGE_NO_NUMBER = (FieldRole.MEASURES, FieldRole.EXECUTION)
_MAX_FORM = 100_000
_MAX_CODE = 1_000_000


Line = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
WebAddress = Annotated[str, Field(max_length=300, pattern=r"""^https?://[^\s\x00-\x1f\x7f-\x9f"<>\\]+$""")]
FileName = Annotated[str, Field(pattern=r"^\w[\w.-]{0,99}$", description="of a file beside submission.yaml")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Code(_Strict):
    """The plug-in of a method that is not in this package."""

    file: FileName  # beside `submission.yaml`
    # as the runs have it; `bench submit --check` says which it is
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{12,64}$")]


class Form(_Strict):
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

    Raises:
        InputError: If there is none, or it says anything unknown, nothing where something is asked, or names a file
            that is not there or is a link.
    """
    path = folder / FORM
    try:
        content = configuration.parse_yaml(read_regular(path, _MAX_FORM).decode(), str(path))
    except FileNotFoundError:
        where = "docs/submitting.md says what it holds"
        raise InputError(f"no submission in {folder}: there is no {FORM} ({where})") from None
    except (OSError, UnicodeDecodeError, DamagedError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold keys and values: {', '.join(Form.model_fields)}")
    for key, value in content.items():
        if isinstance(value, str) and value.startswith(TO_FILL_IN) and not draft:
            raise InputError(f"{path}: {key} is still to be filled in")
    try:
        form = validated(Form, content, FORM)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    for section, values in form.settings.items():
        if section not in SECTIONS:
            raise InputError(f"{path}: settings has no section {section!r} (valid: {', '.join(SECTIONS)})")
        validated(SECTIONS[section], values, f"{FORM}: settings.{section}")
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
        results: The results folder.
        out: The submission's folder; it is made, and its name is the submission's.
        method: What it is about; needed where the runs are of several methods and none or several are of plug-ins.
        recipe: That the runs follow; the usual one of their dataset if it is empty.
        plugins: The plug-in's file, where it is not found where the runs were made.

    Raises:
        InputError: If there are no runs, or what it is about or its code is not known.
        MachineError: If the folder cannot be written.
    """
    every = cases(None, results)
    method = method or _about(every)
    own = [case for case in every if case.config.method == method]
    if not own:
        raise unknown("method", method, dict.fromkeys(case.config.method for case in every))
    config = own[0].contents.config
    form: dict[str, Any] = {"who": f"{TO_FILL_IN}: who submits it, and how to reach them", "method": method}
    if hash_of_code := config.sources.get("method"):
        code = _code(method, hash_of_code, [*plugins, *config.origin.plugins])
        try:
            put(out / code.name, read_regular(code, _MAX_CODE))
        except (OSError, DamagedError) as error:
            raise MachineError(f"cannot copy {code}: {error}") from None
        form["code"] = {"file": code.name, "hash": hash_of_code}
    form["recipe"] = recipe or datasets.recipe(config.dataset, [str(path) for path in plugins])
    if settings := _settings(form["recipe"], every):
        form["settings"] = settings
    form["machine"] = ", ".join(dict.fromkeys(case.contents.environment.get("hardware", "unknown") for case in every))
    form["licence"] = f"{TO_FILL_IN}: of the results, such as CC-BY-4.0"
    form["bundle"] = BUNDLE
    bundles.pack(results, out / BUNDLE)
    optional = {name: field.description for name, field in Form.model_fields.items() if name not in form}
    comments = [f"# {name}: {text}; optional\n" for name, text in optional.items() if text]
    return put(out / FORM, yaml.safe_dump(form, sort_keys=False, allow_unicode=True) + "".join(comments))


def _about(every: Sequence[Case]) -> str:
    """Return the method that a submission is about: the only one, or the only one of a plug-in."""
    of_plugins = {case.config.method for case in every if "method" in case.config.sources}
    methods = of_plugins or {case.config.method for case in every}
    if len(methods) != 1:
        raise InputError(f"what is the submission about? --method {'|'.join(sorted(methods))}")
    return methods.pop()


def _code(method: str, expected: str, plugins: Sequence[str]) -> Path:
    """Return the file of a plug-in's method whose code is what the runs had."""
    for plugin in dict.fromkeys(plugins):
        path = paths.plugin_file(plugin)
        if path.is_file() and method in registry.catalogue([path]):
            source = configuration.source_of_method(method, [path])
            if source is not None and source.hash == expected:
                return path
    raise InputError(f"no file has the code that the runs of {method} had: --plugin FILE.py (hash {expected})")


def _settings(recipe: str, every: Sequence[Case]) -> dict[str, dict[str, Any]]:
    """Return in which settings all runs differ from a recipe and agree with each other."""
    layer = configuration.layer_from_file(recipe, ())
    found: dict[str, dict[str, Any]] = {}
    for section, model in SECTIONS.items():
        given: Mapping[str, Any] = layer.get(section) or {}
        usual = validated(model, given, recipe).model_dump(mode="json")
        first, *others = [getattr(case.config, section).model_dump(mode="json") for case in every]
        free = {name.partition(".")[2] for role in _CHANGE_NO_NUMBER for name in configuration.settings_of_role(role)}
        own = {key: value for key, value in first.items() if key not in free and value != usual.get(key)}
        if own := {key: value for key, value in own.items() if all(other[key] == value for other in others)}:
            found[section] = own
    return found
