"""Typed hyperparameters with ranges, checked by one validator wherever they come from."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from methods.errors import InputError, unknown
from methods.schedules import Schedule, schedule_remarks

REFERENCE_EPOCHS = 300
"""The length of the published CIFAR runs, for which defaults in epochs are stated."""

_SCALES = "scales_with_epochs"
_FILE = "names_a_file"
_BEFORE = "value_before_it_existed"
_SINCE = "since_version"

ModelT = TypeVar("ModelT", bound=BaseModel)


class BaseHyperparameters(BaseModel):
    """The base of every method's own hyperparameters: unknown names are errors, values are strict."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    read_with: ClassVar[Mapping[str, tuple[str, tuple[Any, ...]]]] = {}
    """Hyperparameters that are read beside some values of another alone, by name: the other, and those values.

    Nothing else of a run changes by it: a table does not tell rows apart by a value that nothing reads. It is written
    out, since tables read it without importing the method.
    """

    @classmethod
    def resolve(cls, given: Mapping[str, Any], epochs: int = REFERENCE_EPOCHS, owner: str = "") -> Self:
        """Fill in the defaults and check every value.

        Args:
            given: Values by name.
            epochs: The length of the run; defaults made with :func:`epochs_field` shrink and grow with it.
            owner: The method's name, for messages.

        Raises:
            InputError: For an unknown name or a value out of range.
        """
        values = dict(given)
        for name in values:
            if name not in cls.model_fields:
                of = f"hyperparameter of {owner!r}" if owner else "hyperparameter"
                raise unknown(of, name, cls.model_fields)
        for name, field in cls.model_fields.items():
            if name not in values and scales_with_epochs(field):
                values[name] = max(1, round(field.get_default() * epochs / REFERENCE_EPOCHS))
        return validated(cls, values, owner)

    @classmethod
    def restored(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a stored configuration, with what those fields meant that are newer than it is.

        The inverse of :meth:`stored`; fields made with :func:`since_field` are filled in.
        """
        return {name: before for name, (before, _) in cls._later_fields().items()} | dict(stored)

    def stored(self) -> dict[str, Any]:
        """Return all values as JSON, without the later fields that have the value which earlier versions had.

        A configuration that means the same as one which was stored earlier is written, and so identified, like it.
        """
        values = self.model_dump(mode="json")
        later = self._later_fields()
        return {key: value for key, value in values.items() if key not in later or value != later[key][0]}

    def stored_version(self, version: int) -> int:
        """Return the version of the method that first gave these numbers.

        Args:
            version: The method's present one, for a model without later fields.
        """
        later = self._later_fields()
        # what came after the last of these fields changed the numbers of every configuration
        if not later or version > max(since for _, since in later.values()):
            return version
        oldest = min(since for _, since in later.values()) - 1
        return max([oldest, *(since for name, (before, since) in later.items() if getattr(self, name) != before)])

    @classmethod
    def _later_fields(cls) -> dict[str, tuple[Any, int]]:
        marked = {name: field.json_schema_extra for name, field in cls.model_fields.items()}
        return {
            name: (extra[_BEFORE], int(str(extra[_SINCE])))
            for name, extra in marked.items()
            if isinstance(extra, dict) and _SINCE in extra
        }

    @classmethod
    def files(cls) -> list[str]:
        """Return the names of the hyperparameters that name a file, whose content counts and not its path."""
        return [name for name, field in cls.model_fields.items() if _marked(field.json_schema_extra, _FILE)]

    def schedules(self, epochs: int) -> dict[str, Schedule]:
        """Return how the weights of loss terms change in a run of so many epochs, by the terms' names in ``losses``.

        Terms of constant weight are left out.
        """
        return {}

    def declared_inactive(self) -> dict[str, str]:
        """Return the loss terms that are inactive by intention with these values, and for what reason."""
        return {}

    def remarks(self, epochs: int, steps: int) -> list[str]:
        """Return one line for each value that does not fit a run of so many epochs and optimiser steps."""
        return schedule_remarks(self.schedules(epochs))


def validated(model: type[ModelT], values: Mapping[str, Any], owner: str = "") -> ModelT:
    """Return the validated model, or raise an InputError that states the first fault on one line."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in (*([owner] if owner else []), *fault["loc"]))
        if fault["type"] == "extra_forbidden":
            raise unknown(f"key in {owner!r}" if owner else "key", str(fault["loc"][-1]), model.model_fields) from None
        if fault["type"] == "missing":
            field = model.model_fields.get(str(fault["loc"][-1])) if issubclass(model, BaseHyperparameters) else None
            how = f", the {field.description}: --set {key}=VALUE" if field else ""
            raise InputError(f"{key} must be given{how}") from None
        message = fault["msg"].removeprefix("Value error, ")
        given = f" (given: {_shown(fault['input'])})"
        raise InputError(f"{key}: {message}{given}" if key else f"{message}{given}") from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _marked(extra: Any, mark: str) -> bool:
    return isinstance(extra, dict) and bool(extra.get(mark))


def scales_with_epochs(field: FieldInfo) -> bool:
    """Return whether a default is stated for :data:`REFERENCE_EPOCHS` and scales with the run."""
    return _marked(field.json_schema_extra, _SCALES)


def file_field(description: str) -> Any:
    """The path of a file that must be given."""
    return Field(min_length=1, description=description, json_schema_extra={_FILE: True})


def since_field(default: Any, before: Any, version: int, description: str) -> Any:
    """A value that came with a version of its method and whose default changes the numbers.

    Args:
        default: Of new configurations.
        before: What configurations without the field mean; at this value the field is no part of a run's identity.
        version: Of the method.
        description: For lists and pages.
    """
    return Field(default, description=description, json_schema_extra={_BEFORE: before, _SINCE: version})


def epochs_field(default: int, description: str) -> Any:
    """A whole number of epochs, 0 or more, whose default is stated for 300 epochs and scales with the run."""
    return Field(default, ge=0, description=description, json_schema_extra={_SCALES: True})
