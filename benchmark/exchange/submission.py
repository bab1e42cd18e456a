"""Submissions: a folder with ``submission.yaml``, a bundle of runs and, of a new method, its code."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, Field

from benchmark import configuration, datasets, paths
from benchmark.configuration import SECTIONS, FieldRole
from benchmark.errors import MachineError
from benchmark.exchange import bundles
from benchmark.exchange.verification import cases
from benchmark.store import DamagedError, put, read_regular
from methods import registry
from methods.errors import InputError, unknown
from methods.hyperparameters import validated

FORM = "submission.yaml"
BUNDLE = "runs.tar.gz"
TO_FILL_IN = "TO FILL IN"  # begins what ``bench submit --prepare`` cannot know
_MAX_CODE = 1_000_000

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
