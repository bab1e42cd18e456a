"""Descriptions of methods, hyperparameters, metrics and settings as text, for ``bench list`` and the pages."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from benchmark.configuration import SECTIONS
from benchmark.formatting import shown
from benchmark.metrics import known
from benchmark.reports.schedules import default_schedules
from methods import registry
from methods.errors import InputError
from methods.hyperparameters import REFERENCE_EPOCHS, scales_with_epochs

if TYPE_CHECKING:
    from methods.interface import Method

FIDELITY = "docs/fidelity.md"
WORDS = {int: "whole number", float: "number", bool: "true or false", str: "word", type(None): "null"}
BOUNDS = {Ge: "at least", Gt: "above", Le: "at most", Lt: "below"}


def method(name: str, plugins: Sequence[str] = ()) -> list[str]:
    """Return a method's description, hyperparameters, predictors, schedules and differences, or raise an InputError."""
    import torch

    from benchmark.reports.page import markdown_templates

    cls = registry.load(name, plugins)
    given: dict[str, Any] = {"cls": cls, "item": registry.catalogue(plugins)[name], "networks": networks(cls)}
    given["hyperparameters"] = _table(described(key, info) for key, info in cls.Hyperparameters.model_fields.items())
    try:
        # a small network tells what a method predicts
        built = registry.build(name, backbone="resnet8", num_classes=10, image_size=32, plugins=plugins)
    except InputError as error:
        given["unusable"] = error
    else:
        with torch.no_grad():
            given |= {"predictors": built.eval().predict(torch.zeros(1, 3, 32, 32)), "students": built.students}
    given |= {"schedules": default_schedules(cls), "differences": differences(name), "file": FIDELITY}
    return markdown_templates("benchmark.reports").get_template("method.txt.j2").render(given).splitlines()


def networks(cls: "type[Method]") -> str:
    """Return which networks the peers of a method may have."""
    return "any, or several joined by +" if cls.mixed_backbones else "one for all peers"


class Difference(NamedTuple):
    """A difference between a method's released code and its paper or this project, and the test that covers it."""

    methods: str
    released: str
    here: str
    why: str
    test: str


def differences(name: str) -> list[Difference]:
    """Return the known differences of a method; none where the page that lists them is not installed."""
    packaged = Path(str(files("benchmark"))) / FIDELITY
    path = packaged if packaged.is_file() else packaged.parents[2] / FIDELITY
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines if line.startswith("|")]
    whole = [Difference(*row) for row in rows if len(row) == len(Difference._fields)]
    return [row for row in whole if name in re.split(r",\s*", row.methods)]


def hyperparameters(plugins: Sequence[str] = ()) -> Iterator[str]:
    """Yield every hyperparameter of every method."""
    usable = [name for name, item in registry.catalogue(plugins).items() if not item.broken]
    yield from _fields({name: registry.load(name, plugins).Hyperparameters for name in usable})


def settings() -> Iterator[str]:
    """Yield every setting of training and data."""
    yield from _fields(SECTIONS)


def _fields(models: Mapping[str, type[BaseModel]]) -> Iterator[str]:
    fields = [(f"{name}.{key}", info) for name, model in models.items() for key, info in model.model_fields.items()]
    yield from _table(described(key, info) for key, info in fields)


def metrics(plugins: Sequence[str] = ()) -> Iterator[str]:
    """Yield every metric that tables can show."""
    ends = {"high": "higher is better", "low": "lower is better", None: "no direction"}
    declared = [metric for listing in registry.catalogue(plugins).values() for metric in listing.metrics]
    yield from _table((one.name, ends[one.better], "", one.description) for one in known(declared).values())


def described(key: str, info: FieldInfo) -> tuple[str, str, str, str]:
    """Return a setting's name, its valid values, its default and its description."""
    limits = {one: words for one in info.metadata for kind, words in BOUNDS.items() if isinstance(one, kind)}
    bounds = [f"{words} {getattr(one, type(one).__name__.lower()):g}" for one, words in limits.items()]
    default = "must be given" if info.is_required() else f"default {shown(info.get_default(call_default_factory=True))}"
    if scales_with_epochs(info):
        default += f" of {REFERENCE_EPOCHS} epochs"
    return key, " ".join([_kind(info.annotation), *bounds]), default, info.description or ""


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in WORDS:
        return WORDS[annotation]
    if origin is list:
        return f"list of {_kind(arguments[0])}s"
    if arguments and all(isinstance(word, str | bool) for word in arguments):
        return "|".join(map(shown, arguments))
    # an alias that carries bounds, or a union
    parts = [part for part in arguments if isinstance(part, type) or get_origin(part) is not None]
    return " or ".join(dict.fromkeys(map(_kind, parts))) or str(annotation)


def _table(rows: Iterable[tuple[str, str, str, str]]) -> list[str]:
    """Return the rows with aligned columns; a column that is empty in all rows is left out."""
    *columns, last = zip(*rows, strict=True)
    aligned = [[cell.ljust(max(map(len, column))) for cell in column] for column in columns if any(column)]
    return ["  " + "  ".join(row) for row in zip(*aligned, last, strict=True)]
