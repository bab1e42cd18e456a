"""What there is to know of a method, of all hyperparameters, of the scores and of the settings, as text."""

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from benchmark.configuration import SECTIONS
from benchmark.metrics import known
from methods import registry
from methods.errors import InputError
from methods.hyperparameters import REFERENCE_EPOCHS, scales_with_epochs

if TYPE_CHECKING:
    from methods.interface import Method

FIDELITY = "docs/fidelity.md"
BACKBONE, CLASSES, SIDE = "resnet8", 10, 32
"""What a method is built with to see what it predicts."""


def method(name: str, plugins: Sequence[str] = ()) -> Iterator[str]:
    """Yield what there is to know of a method.

    Raises:
        InputError: If there is none of that name, or its plug-in is broken.
    """
    cls = registry.load(name, plugins)
    item = registry.catalogue(plugins)[name]
    year = f" ({item.year})" if item.year else ""
    yield f"{name}{year}: {item.description}"
    text = [" ".join(part.split()) for part in (cls.__doc__ or "").strip().split("\n\n")[1:]]
    for paragraph in text:
        yield f"  {paragraph}"
    yield from ("", "hyperparameters, set as " + f"{name}.KEY=VALUE:")
    yield from _table(described(key, info) for key, info in cls.Hyperparameters.model_fields.items())
    yield from _predicted(name, plugins)
    yield from _schedules(cls)
    networks = "any, or several joined by +" if cls.mixed_backbones else "one for all peers"
    yield from ("", f"networks: {networks}", f"version: {cls.version}", f"defined in: {item.origin}")
    if found := quirks(name):
        yield from ("", f"where released code and paper differ ({FIDELITY}):")
        yield from (f"  {line}" for line in found)


def _predicted(name: str, plugins: Sequence[str]) -> Iterator[str]:
    import torch

    try:
        built: Method = registry.build(name, backbone=BACKBONE, num_classes=CLASSES, image_size=SIDE, plugins=plugins)
    except InputError as error:
        yield from ("", f"predictors: known once it can be built ({error})")
        return
    with torch.no_grad():
        predictors = built.eval().predict(torch.zeros(1, 3, SIDE, SIDE))
    yield from (
        "",
        f"predictors: {', '.join(predictors)}",
        f"students, whose mean is the headline: {', '.join(built.students)}",
    )


def _schedules(cls: "type[Method]") -> Iterator[str]:
    required = [key for key, info in cls.Hyperparameters.model_fields.items() if info.is_required()]
    terms = {} if required else cls.Hyperparameters.resolve({}, owner=cls.name).schedules(REFERENCE_EPOCHS)
    if terms:
        yield f"schedules (bench schedules --method {cls.name} draws them): {', '.join(terms)}"


class Difference(NamedTuple):
    """Something in which a method's released code and its paper, or this project, differ.

    Attributes:
        methods: Whom it is about.
        released: What the released code does.
        here: What is done here.
        why: The reason.
        test: What holds it.
    """

    methods: str
    released: str
    here: str
    why: str
    test: str


def differences(name: str) -> list[Difference]:
    """Return what is known of a method's released code; nothing where the page that says it is not there."""
    packaged = Path(str(files("benchmark"))) / FIDELITY
    path = packaged if packaged.is_file() else packaged.parents[2] / FIDELITY
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines if line.startswith("|")]
    whole = [Difference(*row) for row in rows if len(row) == len(Difference._fields)]
    return [row for row in whole if name in re.split(r",\s*", row.methods)]


def quirks(name: str) -> list[str]:
    """Return what is known of a method's released code, a line each."""
    return [f"released: {row.released}; here: {row.here}; why: {row.why}" for row in differences(name)]


def hyperparameters(plugins: Sequence[str] = ()) -> Iterator[str]:
    """Yield every hyperparameter of every method."""
    usable = [name for name, item in registry.catalogue(plugins).items() if not item.broken]
    yield from _table(
        described(f"{name}.{key}", info)
        for name in usable
        for key, info in registry.load(name, plugins).Hyperparameters.model_fields.items()
    )


def settings() -> Iterator[str]:
    """Yield every setting of training and data."""
    yield from _table(
        described(f"{section}.{key}", info)
        for section, model in SECTIONS.items()
        for key, info in model.model_fields.items()
    )


def metrics(plugins: Sequence[str] = ()) -> Iterator[str]:
    """Yield every metric."""
    ends = {"high": "higher is better", "low": "lower is better", None: "neither end is better"}
    declared = [metric for listing in registry.catalogue(plugins).values() for metric in listing.metrics]
    yield from _table((one.name, ends[one.better], "", one.description) for one in known(declared).values())


def described(key: str, info: FieldInfo) -> tuple[str, str, str, str]:
    """Return a setting's name, which values it takes, its default and what it is."""
    default = "must be given" if info.is_required() else f"default {_word(info.get_default(call_default_factory=True))}"
    if scales_with_epochs(info):
        default += f" of {REFERENCE_EPOCHS} epochs"
    return key, allowed(info), default, info.description or ""


def allowed(info: FieldInfo) -> str:
    """Return which values a field takes, in words."""
    signs = {Ge: "at least", Gt: "above", Le: "at most", Lt: "below"}
    kind = _kind(info.annotation)
    bounds = [
        f"{words} {getattr(bound, sign.__name__.lower()):g}"
        for bound in info.metadata
        for sign, words in signs.items()
        if isinstance(bound, sign)
    ]
    return " ".join([kind, *bounds]) if bounds else kind


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    names = {int: "whole number", float: "number", bool: "true or false", str: "word"}
    if annotation in names:
        return names[annotation]
    if annotation is type(None):
        return "null"
    if origin is list:
        return "list of " + _kind(arguments[0]) + "s"
    if arguments and all(isinstance(word, str) for word in arguments):
        return "|".join(arguments)
    # an alias that carries bounds, or a union
    return " or ".join(dict.fromkeys(_kind(part) for part in arguments if _nameable(part))) or str(annotation)


def _nameable(part: Any) -> bool:
    return isinstance(part, type) or get_origin(part) is not None


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(rows: Iterator[tuple[str, str, str, str]] | Any) -> Iterator[str]:
    """Yield the rows with their columns under each other."""
    every = list(rows)
    widths = [max((len(row[place]) for row in every), default=0) for place in range(3)]
    for row in every:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  " + "  ".join([*(cell for cell, width in zip(cells, widths, strict=True) if width), row[3]]).rstrip()
