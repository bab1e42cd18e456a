"""What somebody hands in: a folder with ``submission.yaml``, a bundle of runs and, of a new method, its code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from benchmark.configuration import SECTIONS, read_yaml
from benchmark.exchange.compression import ending_of
from methods.errors import InputError
from methods.hyperparameters import validated

FORM = "submission.yaml"

Line = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\r\n]+$")]
FileName = Annotated[str, Field(pattern=r"^\w[\w.-]{0,99}$", description="of a file beside submission.yaml")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Code(_Strict):
    """The plug-in of a method that is not in this package.

    Attributes:
        file: Beside ``submission.yaml``.
        hash: As the runs have it; ``bench submit --check`` says which it is.
    """

    file: FileName
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{12,64}$")]


class Form(_Strict):
    """What ``submission.yaml`` says.

    Attributes:
        who: Who hands it in, and how to reach them.
        method: What it is about; the bundle may have runs of methods of this package to compare with.
        code: Of a plug-in; left out for a method of this package.
        recipe: The name of the recipe that the runs follow.
        settings: What they have otherwise, by section (train, data) and key.
        machine: What they were made on, in words.
        licence: Of the results, such as CC-BY-4.0.
        bundle: Of the runs, by ``bench pack``.
        about: What else is to be known.
    """

    who: Line
    method: Line
    code: Code | None = None
    recipe: Line
    settings: dict[str, dict[str, Any]] = {}
    machine: Line
    licence: Line
    bundle: FileName
    about: Line | None = None


@dataclass(frozen=True)
class Submission:
    """A submission and where it lies."""

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


def read(folder: Path) -> Submission:
    """Return the submission in a folder.

    Raises:
        InputError: If there is none, or it says anything unknown, nothing where something is asked, or names a file
            that is not there.
    """
    path = folder / FORM
    if not path.is_file():
        raise InputError(f"no submission in {folder}: there is no {FORM} (docs/submitting.md says what it holds)")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold keys and values: {', '.join(Form.model_fields)}")
    try:
        form = validated(Form, content, FORM)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    for section, values in form.settings.items():
        if section not in SECTIONS:
            raise InputError(f"{path}: settings has no section {section!r} (valid: {', '.join(SECTIONS)})")
        validated(SECTIONS[section], values, f"{FORM}: settings.{section}")
    ending_of(folder / form.bundle)
    for name in [form.bundle, *([form.code.file] if form.code else [])]:
        if not (folder / name).is_file():
            raise InputError(f"{path} names {name}, which is not beside it")
    return Submission(folder, form)


def below(folder: Path) -> list[Submission]:
    """Return the submissions that lie in a folder, a folder each, by name; none if there is no such folder.

    Raises:
        InputError: If one is not what :func:`read` takes.
    """
    return [read(path.parent) for path in sorted(folder.glob(f"*/{FORM}"))]
