"""Accuracies that others have published, each with its source and with what differs from our protocol."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmark.configuration import parse_yaml

Epoch = Literal["best", "last", "unknown"]
Dataset = Literal["cifar10", "cifar100", "tinyimagenet", "imagenet"]
Quantity = Literal["accuracy", "std", "ensemble", "best_epoch"]
Percent = Annotated[float, Field(gt=0, lt=100)]
Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class PublishedNumber:
    """One accuracy in percent that somebody else has published.

    Attributes:
        method: Our method's name, or a name of its own where ours is another method.
        dataset: The dataset whose test set was scored.
        backbone: Our backbone's name, or a name of its own; several different networks are joined by ``+``.
        network: Which network of the backbone was scored; the backbone itself where it is one network.
        accuracy: Top-1.
        std: Its standard deviation, if given.
        runs: The number of runs, if known.
        ensemble: The ensemble's accuracy, if given.
        best_epoch: The best epoch's accuracy on the test set, if given beside ``accuracy``.
        epoch: Which epoch ``accuracy`` belongs to; ``best`` is chosen on the test set.
        source: The key of its source in :func:`sources`.
        protocol: What differs from our protocol in all of the source's numbers.
        note: What is to be known about this number in particular; may be empty.
    """

    method: str
    dataset: Dataset
    backbone: str
    network: str
    accuracy: float
    std: float | None
    runs: int | None
    ensemble: float | None
    best_epoch: float | None
    epoch: Epoch
    source: str
    protocol: str
    note: str


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Note(_Strict):
    """A remark on the numbers of these methods, backbones and datasets; an empty list stands for all."""

    methods: list[Text] = []
    backbones: list[Text] = []
    datasets: list[Dataset] = []
    note: Text

    def applies(self, method: str, backbone: str, dataset: Dataset) -> bool:
        """Return whether the remark is on a number."""
        return (
            (not self.methods or method in self.methods)
            and (not self.backbones or backbone in self.backbones)
            and (not self.datasets or dataset in self.datasets)
        )


class Source(_Strict):
    """Where numbers come from."""

    title: Text
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name on GitHub")]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,8}$")]
    place: Annotated[str, Field(min_length=1, description="where in the repository")]
    reports: Annotated[str, Field(min_length=1, description="what is reported, and by whom")]
    predictor: Annotated[str, Field(min_length=1, description="what was scored")]
    epoch: Epoch
    runs: Annotated[int, Field(ge=1)] | None
    networks: Text
    differences: Annotated[list[Text], Field(min_length=1, description="from our protocol")]
    notes: list[Note] = []

    @property
    def url(self) -> str:
        """The repository at the commit."""
        return f"https://github.com/{self.repository}/tree/{self.commit}"

    def note_on(self, method: str, backbone: str, dataset: Dataset) -> str:
        """Return what is to be known about one number."""
        return "; ".join(remark.note for remark in self.notes if remark.applies(method, backbone, dataset))


class _Names(_Strict):
    ours: list[Text]
    others: dict[Text, Text]

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if both := set(self.ours) & set(self.others):
            raise ValueError(f"both ours and others': {', '.join(sorted(both))}")
        return self

    def __contains__(self, name: str) -> bool:
        return name in self.ours or name in self.others


class _Table(_Strict):
    source: Text
    dataset: Dataset
    cells: list[Quantity] = ["accuracy"]
    methods: list[Text]
    networks: list[Annotated[int, Field(ge=1)]] | None = None
    rows: dict[Text, list[Percent | list[Percent]]]

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        if self.cells[:1] != ["accuracy"] or len(set(self.cells)) != len(self.cells):
            raise ValueError("cells must begin with accuracy and name each quantity once")
        for backbone, row in self.rows.items():
            if len(row) != len(self.methods):
                raise ValueError(f"{backbone} has {len(row)} cells for {len(self.methods)} methods")
            if any(isinstance(cell, list) and len(cell) != len(self.cells) for cell in row):
                raise ValueError(f"{backbone} has a cell that is not {self.cells}")
            several = set(range(1, backbone.count("+") + 2)) if "+" in backbone else set()
            if set(self.networks or ()) != several:
                raise ValueError(f"networks must name each network of {backbone}, and be left out for a single one")
        if self.networks is not None and len(self.networks) != len(self.methods):
            raise ValueError("networks must have one entry for each of the methods")
        return self

    def numbers(self, source: Source) -> Iterator[PublishedNumber]:
        for backbone, row in self.rows.items():
            networks = backbone.split("+")
            for column, (method, cell) in enumerate(zip(self.methods, row, strict=True)):
                values = dict(zip(self.cells, cell, strict=True)) if isinstance(cell, list) else {"accuracy": cell}
                yield PublishedNumber(
                    method=method,
                    dataset=self.dataset,
                    backbone=backbone,
                    network=networks[self.networks[column] - 1] if self.networks else backbone,
                    accuracy=values["accuracy"],
                    std=values.get("std"),
                    runs=source.runs,
                    ensemble=values.get("ensemble"),
                    best_epoch=values.get("best_epoch"),
                    epoch=source.epoch,
                    source=self.source,
                    protocol="; ".join(source.differences),
                    note=source.note_on(method, backbone, self.dataset),
                )


class _Content(_Strict):
    methods: _Names
    networks: _Names
    sources: dict[Text, Source]
    tables: list[_Table]

    @model_validator(mode="after")
    def _known(self) -> Self:
        for table in self.tables:
            if table.source not in self.sources:
                raise ValueError(f"no such source: {table.source}")
            for method in table.methods:
                if method not in self.methods:
                    raise ValueError(f"no such method: {method}")
            for backbone in table.rows:
                parts = backbone.split("+")
                if not all(part in self.networks for part in parts):
                    raise ValueError(f"no such network: {backbone}")
                if len(parts) > 1 and any(part in self.networks.ours for part in parts):
                    raise ValueError(f"one of our networks among others': {backbone}")
        for key, source in self.sources.items():
            tables = [table for table in self.tables if table.source == key]
            if not tables:
                raise ValueError(f"a source without numbers: {key}")
            for note in source.notes:
                meant = [
                    table
                    for table in tables
                    for method in table.methods
                    for backbone in table.rows
                    if note.applies(method, backbone, table.dataset)
                ]
                if not meant:
                    raise ValueError(f"a note on no number of {key}: {note.note}")
        return self


def parse(text: str) -> tuple[dict[str, Source], list[PublishedNumber]]:
    """Return the sources and numbers that the text of such a file holds.

    Raises:
        ValueError: If anything in it is unknown, missing or out of range.
    """
    content = _Content.model_validate(parse_yaml(text, "published.yaml"))
    numbers = [number for table in content.tables for number in table.numbers(content.sources[table.source])]
    return content.sources, numbers


@cache
def _packaged() -> tuple[dict[str, Source], list[PublishedNumber]]:
    return parse(files("benchmark.tables").joinpath("published.yaml").read_text(encoding="utf-8"))


def load() -> list[PublishedNumber]:
    """Return every published number, in the file's order."""
    return list(_packaged()[1])


def sources() -> dict[str, Source]:
    """Return the sources by key."""
    return dict(_packaged()[0])


def find(method: str, dataset: str, backbone: str) -> list[PublishedNumber]:
    """Return what is published for a method on a dataset and a backbone; an empty list if nothing is."""
    return [
        number
        for number in _packaged()[1]
        if (number.method, number.dataset, number.backbone) == (method, dataset, backbone)
    ]
